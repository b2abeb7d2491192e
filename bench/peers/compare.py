"""Times kokeshi beside PyTorch and ONNX Runtime over the same token ids and the same weights.

See README.md for what is compared. Vectors are compared first; passes then take turns.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import agreement
import machine
import table
from contender import ISAS, PEERS, Contender, can_run

ROOT = Path(__file__).resolve().parents[2]
MODELS = ["v3", "v2-base"]
# The rows of each model's table; `--rows` can name any that `kokeshi bench --print-batches` has.
ROWS = {
    "v3": ["1×16", "1×128", "8×128", "32 ragged", "4×512", "1×2048", "1×8192"],
    "v2-base": ["8×128", "1×8192"],
}
FIXTURES = {"v3": "v3-tiny/original", "v2-base": "v2-tiny/std_wordpiece"}
# A turn lasts this long, or for one pass.
TURN_SECONDS = 0.5
MAX_PASSES = 50
# Threads of a program that has just ended a pass keep spinning for a while.
PAUSE_SECONDS = 0.2


def main():
    options = arguments()
    results = read(options.results)
    if options.rounds > 0:
        for model in options.models:
            measure(model, options, results)
            options.results.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    print(table.tables(results["rows"]))
    if options.write:
        options.write.write_text(table.document(results))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["v3"])
    parser.add_argument("--rows", nargs="+", help="such as `1×16 '32 ragged'`; default: by model")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--isa", choices=list(ISAS), default="native")
    parser.add_argument(
        "--rounds", type=int, default=5, help="turns of each program; 0 only prints and writes"
    )
    parser.add_argument(
        "--results", type=Path, default=ROOT / "bench/results.json",
        help="rows measured now replace their like in this file",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write all results as Markdown")
    parser.add_argument("--kokeshi", type=Path, default=ROOT / "target/release/kokeshi")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "target/peers", help="checkpoints and exported networks"
    )
    return parser.parse_args()


def read(path):
    """Results measured before, which must be of this machine."""
    here = machine.describe()
    if not path.exists():
        return {"machine": here, "rows": []}
    results = json.loads(path.read_text())
    if results["machine"] != here and results["rows"]:
        sys.exit(f"{path} holds results of another machine: give another file with --results")
    return results


def measure(model, options, results):
    folder = checkpoint(model, options)
    batches = print_batches(options.kokeshi, folder)
    names = options.rows or ROWS[model]
    for name in names:
        if name not in batches:
            sys.exit(f"there is no row `{name}`; there are {', '.join(batches)}")
    for library in dict.fromkeys(peer.split("-")[0] for peer in options.peers):
        agree_on_fixture(f"{library}-f32", model, options)
    running = {}
    try:
        for name in names:
            batch = batches[name]
            peers = [p for p in options.peers if can_run(p, model, options.isa, batch)]
            if not peers:
                print(f"{name} is left out: no peer can run it", file=sys.stderr)
                continue
            for contender in dict.fromkeys(c for peer in peers for c in (PEERS[peer], peer)):
                if contender not in running:
                    print(f"starting {contender}", file=sys.stderr)
                    running[contender] = Contender(
                        contender, model, folder, options.isa, options.kokeshi
                    )
                    if contender in PEERS:
                        agree(running, contender, agreement.probe("probe", batches["8×128"]))
            row = timed(running, peers, batch, options.rounds)
            row.update(model=model, isa=options.isa, commit=machine.commit(ROOT))
            replace(results["rows"], row)
    finally:
        for contender in running.values():
            contender.stop()


def checkpoint(model, options):
    """A checkpoint of random weights, made at the first call."""
    folder = options.work / model
    if not (folder / "model.safetensors").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = [options.kokeshi, "models", "synthesize", folder, "--shape", model]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return folder


def print_batches(kokeshi, folder):
    command = [kokeshi, "bench", "--print-batches", "--model", folder]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    batches = map(json.loads, lines.splitlines())
    return {batch["name"]: batch for batch in batches}


def agree(running, peer, batch, limits=None):
    """Runs `batch` on `peer` and on ours, which warms both up; the cosine of their vectors."""
    ours, theirs = (running[name].run(batch)[1] for name in (PEERS[peer], peer))
    return agreement.check(peer, batch["name"], ours, theirs, limits or agreement.LIMITS[peer])


def agree_on_fixture(peer, model, options):
    """Compares vectors of the checkpoint that our own tests hold against published results."""
    folder = options.work / f"{model}-fixture"
    shutil.copytree(ROOT / "fixtures" / FIXTURES[model], folder, dirs_exist_ok=True)
    batches = print_batches(options.kokeshi, folder)
    batch = next(
        (
            batches[name]
            for name in ["32 ragged, mixed tasks", "32 ragged"]
            if name in batches and can_run(peer, model, "native", batches[name])
        ),
        None,
    )
    if batch is None:
        return
    names = (PEERS[peer], peer)
    running = {
        name: Contender(name, model, folder, "native", options.kokeshi) for name in names
    }
    try:
        agree(running, peer, agreement.probe("fixture", batch), agreement.FIXTURE_LIMITS)
    finally:
        for contender in running.values():
            contender.stop()


def timed(running, peers, batch, rounds):
    """The seconds of every pass of `peers` and of ours, which take turns."""
    cosines = {peer: agree(running, peer, batch) for peer in peers}
    names = list(dict.fromkeys(c for peer in peers for c in (PEERS[peer], peer)))
    contenders = {
        name: {"program": running[name].program, "device": running[name].device, "seconds": []}
        for name in names
    }
    for _ in range(rounds):
        for name in names:
            time.sleep(PAUSE_SECONDS)
            contenders[name]["seconds"] += turn(running[name], batch)
    for peer, cosine in cosines.items():
        contenders[peer]["cosine"] = cosine
    lengths = [len(text["ids"]) for text in batch["texts"]]
    print(f"{batch['name']} timed", file=sys.stderr)
    return {
        "name": batch["name"],
        "tokens": sum(lengths),
        "padded_tokens": max(lengths) * len(lengths),
        "contenders": contenders,
    }


def turn(contender, batch):
    """Seconds of passes one after the other. The first one finds cold caches: it counts only where
    it is so long that they do not matter."""
    first, _ = contender.run(batch)
    if first > TURN_SECONDS:
        return [first]
    seconds = []
    while sum(seconds) < TURN_SECONDS and len(seconds) < MAX_PASSES:
        seconds.append(contender.run(batch)[0])
    return seconds


def replace(rows, row):
    """Puts `row` in the place of its like, so that all its numbers come from one interleaved run."""
    key = lambda row: (row["model"], row["isa"], row["name"])
    for n, other in enumerate(rows):
        if key(other) == key(row):
            rows[n] = row
            return
    rows.append(row)


if __name__ == "__main__":
    main()
