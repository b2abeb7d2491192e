"""Overhead: tokens per second of the server and of the library's batch call for the same texts."""

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
    """The engine's example `embed_batch`, with the model loaded."""

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
        server_rates, library_rates, generator = [], [], []
        for _ in range(options.rounds):
            answer = library.ask("time")
            library_rates.append(answer["tokens"] / answer["seconds"])
            cpu, start = time.process_time(), time.perf_counter()
            server_rates.append(await all_texts(load, passes=1))
            generator.append((time.process_time() - cpu) / (time.perf_counter() - start))
    library.close()
    ratios = [a / b for a, b in zip(server_rates, library_rates)]
    ratio = statistics.median(ratios)
    return [
        Row("texts", f"{options.texts}, {load.mean_tokens():.0f} tokens on average, one per request"),
        Row("vectors", "identical to those of the library", "equal", True),
        Row("library, one call", f"{statistics.median(library_rates):.0f} tokens/s"),
        Row(f"server, {CLIENTS} clients", f"{statistics.median(server_rates):.0f} tokens/s"),
        Row("processor time of the load generator", f"{statistics.median(generator):.2f} cores"),
        Row(
            "server / library",
            f"{ratio:.3f} (rounds {', '.join(f'{r:.3f}' for r in ratios)})",
            f"≥ {BAR}",
            ratio >= BAR,
        ),
    ]


def check(load, vectors):
    """Checks the server's floats against the library's: shortest decimals preserve all bits."""
    for index, (body, expected) in enumerate(zip(load.right, vectors, strict=True)):
        actual = json.loads(body)["data"][0]["embedding"]
        if bits(actual) != bits(expected):
            raise SystemExit(f"text {index}: the vectors of server and library differ")


def bits(vector):
    return struct.pack(f"{len(vector)}f", *vector)


async def all_texts(load, passes):
    """Tokens per second at full load: sends every text `passes` times and waits for the last answer.
    A fixed duration would not be the same work as a batch call: short texts overtake long ones."""
    start = time.perf_counter()
    samples = await load.closed(CLIENTS, passes)
    seconds = time.perf_counter() - start
    faults = [s.error or s.status for s in samples if s.status != 200 or s.error]
    if faults:
        raise SystemExit(f"{len(faults)} faults, the first: {faults[0]}")
    return sum(sample.tokens for sample in samples) / seconds


async def capacity(load):
    """Tokens and requests per second at full load."""
    tokens = await all_texts(load, passes=3)
    return tokens, tokens / load.mean_tokens()
