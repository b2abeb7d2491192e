"""Times kokeshi, PyTorch and ONNX Runtime over the same token ids and weights.

README.md describes what is compared. Vectors are compared first; then kokeshi and a peer take turns.
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
from contender import ISAS, PEERS, Ended, Pair, can_run

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = {"v3": "v3-tiny/original", "v2-base": "v2-tiny/std_wordpiece"}
# Duration of a turn; at least one pass runs.
TURN_SECONDS = 0.5
MAX_PASSES = 50
# The threads of a program keep spinning for a while after a pass.
PAUSE_SECONDS = 0.2


def main():
    options = arguments()
    results = read(options.results)
    if options.rounds > 0:
        for model in options.models:
            for peer in options.peers:
                if can_run(peer, model, options.isa):
                    measure(model, peer, options, results)
    print(table.tables(results["cells"]))
    if options.write:
        options.write.write_text(table.document(results))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(table.ROWS), default=["v3"])
    parser.add_argument("--rows", nargs="+", help="names of batches; default: the rows of the table")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--isa", choices=list(ISAS), default="native")
    parser.add_argument(
        "--rounds", type=int, default=5, help="turns of each program; 0 only prints and writes"
    )
    parser.add_argument(
        "--results", type=Path, default=ROOT / "bench/results.json",
        help="file whose cells are replaced by the new results",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write all results as Markdown")
    parser.add_argument("--kokeshi", type=Path, default=ROOT / "target/release/kokeshi")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "target/peers", help="checkpoints and exported networks"
    )
    return parser.parse_args()


def read(path):
    """Earlier results, which must come from this machine."""
    here = machine.describe()
    if not path.exists():
        return {"machine": here, "cells": []}
    results = json.loads(path.read_text())
    if results["machine"] != here:
        sys.exit(f"{path} has results of another machine; use another file with --results")
    return results


def measure(model, peer, options, results):
    """Measures the cells of `peer` for all rows and writes each when it is complete."""
    agree_on_fixture(model, peer, options)
    folder = checkpoint(model, options)
    batches = print_batches(options.kokeshi, folder)
    pair = Pair(peer, model, folder, options.isa, options.kokeshi)
    try:
        agree(pair, agreement.probe("probe", batches["8×128"]), agreement.LIMITS[peer])
        for name in options.rows or table.ROWS[model]:
            if name not in batches:
                sys.exit(f"unknown row `{name}`; the rows are {', '.join(batches)}")
            batch = batches[name]
            if not can_run(peer, model, options.isa, batch):
                print(f"  {name} is left out: {peer} cannot run it", file=sys.stderr)
                continue
            cell = {"model": model, "isa": options.isa, "row": name, "peer": peer}
            cell |= {"commit": machine.commit(ROOT), **timed(pair, batch, options.rounds)}
            replace(results["cells"], cell)
            options.results.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
            print(f"  {name}: {table.text(cell)}", file=sys.stderr)
    finally:
        pair.stop()


def checkpoint(model, options):
    """The folder of a checkpoint of random weights, which the first call creates."""
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


def agree_on_fixture(model, peer, options):
    """Compares the vectors, in f32, of a checkpoint that our tests check against published results."""
    peer = peer.split("-")[0] + "-f32"
    folder = options.work / f"{model}-fixture"
    shutil.copytree(ROOT / "fixtures" / FIXTURES[model], folder, dirs_exist_ok=True)
    batches = print_batches(options.kokeshi, folder)
    rows = (batches.get(name) for name in ["32 ragged, mixed tasks", "32 ragged"])
    batch = next(batch for batch in rows if batch and can_run(peer, model, "native", batch))
    pair = Pair(peer, model, folder, "native", options.kokeshi)
    try:
        agree(pair, agreement.probe("fixture", batch), agreement.FIXTURE_LIMITS)
    finally:
        pair.stop()


def agree(pair, batch, limits):
    """Runs `batch` on both, which warms them up. Returns the lowest cosine of their vectors."""
    ours, theirs = (contender.run(batch)[1] for contender in pair.both)
    return agreement.check(f"{pair.peer.name}, {batch['name']}", ours, theirs, limits)


def timed(pair, batch, rounds):
    """The seconds of every pass of both programs, which take turns: A B A B."""
    lengths = [len(text["ids"]) for text in batch["texts"]]
    cell = {"tokens": sum(lengths), "padded_tokens": max(lengths) * len(lengths)}
    seconds = {"ours": [], "theirs": []}
    try:
        cell["cosine"] = agree(pair, batch, agreement.LIMITS[pair.peer.name])
        for _ in range(rounds):
            for contender, passes in zip(pair.both, seconds.values()):
                time.sleep(PAUSE_SECONDS)
                passes += turn(contender, batch)
    except Ended as ended:
        # Linux ends a program with this status when memory runs out.
        if ended.contender is not pair.peer or ended.status != -9:
            raise
        pair.restart_peer()
        return cell | {"failure": "killed: out of memory", **pair.described()}
    return cell | {side: of | {"seconds": seconds[side]} for side, of in pair.described().items()}


def turn(contender, batch):
    """The seconds of consecutive passes. The first pass has cold caches: it counts only if it is so
    long that they do not matter."""
    first, _ = contender.run(batch)
    if first > TURN_SECONDS:
        return [first]
    seconds = []
    while sum(seconds) < TURN_SECONDS and len(seconds) < MAX_PASSES:
        seconds.append(contender.run(batch)[0])
    return seconds


def replace(cells, cell):
    """Replaces the cell with the same names, or appends `cell`."""
    names = ["model", "isa", "row", "peer"]
    for n, other in enumerate(cells):
        if all(other[name] == cell[name] for name in names):
            cells[n] = cell
            return
    cells.append(cell)


if __name__ == "__main__":
    try:
        main()
    except Ended as ended:
        sys.exit(f"{ended}; its output is above")
