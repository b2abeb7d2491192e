"""Overhead: the server's tokens a second beside the library's own batch call over the same texts."""

import json
import statistics
import struct
import subprocess
import tempfile
import time

import texts
from load import Load
from program import ROOT, Server
from report import Row

CLIENTS = 64
BAR = 0.85


class Library:
    """The engine's example `embed_batch`, loaded and waiting."""

    def __init__(self, chosen):
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(chosen, file)
        command = [ROOT / "target/release/examples/embed_batch", "starter", file.name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


async def overhead(options):
    chosen = texts.mixed(options.texts, seed=1)
    library = Library(chosen)
    with Server(options.program) as server:
        load = Load(server.address, chosen)
        await load.learn()
        check(load, library.ask("vectors"))
        ours, theirs, generator = [], [], []
        for _ in range(options.rounds):
            answer = library.ask("time")
            theirs.append(answer["tokens"] / answer["seconds"])
            cpu, start = time.process_time(), time.perf_counter()
            ours.append(await all_texts(load, passes=1))
            generator.append((time.process_time() - cpu) / (time.perf_counter() - start))
    library.close()
    ratios = [a / b for a, b in zip(ours, theirs)]
    ratio = statistics.median(ratios)
    return [
        Row("texts", f"{options.texts}, {load.mean_tokens():.0f} tokens in the mean, one a request"),
        Row("vectors", "bit for bit those of the library", "equal", True),
        Row("library, one call", f"{statistics.median(theirs):.0f} tokens/s"),
        Row(f"server, {CLIENTS} clients", f"{statistics.median(ours):.0f} tokens/s"),
        Row("processor time of the load generator", f"{statistics.median(generator):.2f} cores"),
        Row(
            "server / library",
            f"{ratio:.3f} (rounds {', '.join(f'{r:.3f}' for r in ratios)})",
            f"≥ {BAR}",
            ratio >= BAR,
        ),
    ]


def check(load, vectors):
    """The server's floats are the library's: shortest decimals give their bits back."""
    for index, (body, wanted) in enumerate(zip(load.right, vectors, strict=True)):
        got = json.loads(body)["data"][0]["embedding"]
        if bits(got) != bits(wanted):
            raise SystemExit(f"text {index}: the server's vector is not the library's")


def bits(numbers):
    return struct.pack(f"{len(numbers)}f", *numbers)


async def all_texts(load, passes):
    """Tokens a second at full load: every text so many times, until the last answer. The same work as
    a batch call, which a stretch of time would not be: short texts overtake long ones."""
    start = time.perf_counter()
    samples = await load.closed(CLIENTS, passes)
    seconds = time.perf_counter() - start
    faults = [s.error or s.status for s in samples if s.status != 200 or s.error]
    if faults:
        raise SystemExit(f"{len(faults)} faults, the first: {faults[0]}")
    return sum(sample.tokens for sample in samples) / seconds


async def capacity(load):
    """Tokens and requests a second at full load."""
    tokens = await all_texts(load, passes=3)
    return tokens, tokens / load.mean_tokens()
