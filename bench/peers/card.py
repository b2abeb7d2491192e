"""Times kokeshi and PyTorch on an NVIDIA card, in bf16, over the same token ids and weights.

    python card.py FOLDER [--kokeshi FILE] [--rounds N] [--precision bf16|f16]

PyTorch runs each batch padded to its longest text, and also sorted by length in groups of eight, each
with its default attention and with cuDNN's. The table has the fastest. Vectors are compared first; then
both programs take turns.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import agreement
from contender import Contender
from padding import Padded
from v3_torch import Model

ROOT = Path(__file__).resolve().parents[2]
PART = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kokeshi", type=Path, default=ROOT / "target/release/kokeshi")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", default="bf16")
    options = parser.parse_args()
    common = [options.kokeshi, "bench", "--device", "cuda", "--model", options.folder]
    lines = subprocess.run([*common, "--print-batches"], check=True, stdout=subprocess.PIPE, text=True)
    batches = [json.loads(line) for line in lines.stdout.splitlines()]
    ours = Contender("kokeshi", [*common, "--read-batches", "--precision", options.precision], {})
    network = Model(options.folder, torch.bfloat16).eval().cuda()
    print(f"{ours.device}, PyTorch {torch.__version__}")
    print("| batch | tokens | kokeshi ms | tokens/s | PyTorch padded ms | sorted ms | ratio |")
    print("|---|---|---|---|---|---|---|")
    for batch in batches:
        print(row(batch, ours, network, options.rounds), flush=True)
    ours.stop()


def row(batch, ours, network, rounds):
    texts = batch["texts"]
    _, vectors = ours.run(batch)
    theirs = run(network, [Padded.of(texts)], None)[1]
    # The difference of two long texts of random tokens is smaller than the rounding errors.
    plain, centred = agreement.LIMITS["torch-bf16"]
    limits = (plain, centred if max(len(text["ids"]) for text in texts) <= 512 else -1)
    agreement.check(batch["name"], vectors, theirs.tolist(), limits)
    variants = {("padded", kernel): [Padded.of(texts)] for kernel in (None, SDPBackend.CUDNN_ATTENTION)}
    if len({len(text["ids"]) for text in texts}) > 1:
        ordered = sorted(texts, key=lambda text: -len(text["ids"]))
        parts = [Padded.of(ordered[n : n + PART]) for n in range(0, len(ordered), PART)]
        variants |= {("sorted", kernel): parts for kernel in (None, SDPBackend.CUDNN_ATTENTION)}
    times = {"ours": [], **{variant: [] for variant in variants}}
    for _ in range(rounds):
        times["ours"].append(ours.run(batch)[0])
        for variant, parts in list(variants.items()):
            try:
                times[variant].append(run(network, parts, variant[1])[0])
            except RuntimeError:
                del variants[variant], times[variant]
    medians = {variant: statistics.median(seconds) for variant, seconds in times.items()}
    best = {
        kind: min((s for variant, s in medians.items() if variant[0] == kind), default=None)
        for kind in ("padded", "sorted")
    }
    tokens, mine = sum(len(text["ids"]) for text in texts), medians["ours"]
    ms = lambda seconds: "" if seconds is None else f"{seconds * 1e3:.2f}"
    ratios = ", ".join(f"{s / mine:.2f}" for s in best.values() if s)
    return (
        f"| {batch['name']} | {tokens} | {ms(mine)} | {tokens / mine:.0f} | {ms(best['padded'])} "
        f"| {ms(best['sorted'])} | {ratios} |"
    )


@torch.inference_mode()
def run(network, parts, kernel):
    """The seconds of a pass, and the mean states of the last part in the order of its texts."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for part in parts:
        ids, mask = part.ids.cuda(), part.mask.cuda()
        padded = Padded(ids, mask, part.tasks, part.order)
        if kernel is None:
            vectors = network.embed(padded)
        else:
            with sdpa_kernel([kernel]):
                vectors = network.embed(padded)
        vectors = vectors.cpu()
    seconds = time.perf_counter() - start
    back = torch.empty_like(vectors)
    back[torch.tensor(parts[-1].order)] = vectors
    return seconds, back


main()
