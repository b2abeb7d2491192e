"""Open-loop load below capacity: no errors, latencies, and constant memory."""

import asyncio
import statistics

import texts
from load import Load, latencies, milliseconds
from program import Processor, Server
from report import Row
from throughput import capacity

SHARE = 0.7
EVERY_SECONDS = 0.5
"""The interval for reading memory. The means over two tenths of the run are compared: the one
after the warm-up and the last."""
WARM_UP_TENTHS = 2
GROWTH = 0.02


async def steady(options):
    with Server(options.program) as server:
        load = Load(server.address, texts.mixed(options.texts, seed=1))
        await load.learn()
        tokens, requests = await capacity(load)
        memory = []
        watch = asyncio.create_task(watched(server, memory))
        processor = Processor(server)
        samples = await load.open(SHARE * requests, options.seconds)
        cores = processor.cores()
        watch.cancel()
    first, last = tenths(memory)[WARM_UP_TENTHS], tenths(memory)[-1]
    faults = [s.error or s.status for s in samples if s.status != 200 or s.error]
    for fault in faults[:5]:
        print(f"fault: {fault}")
    growth = last / first - 1
    rate = sum(sample.tokens for sample in samples) / options.seconds
    late = max(sample.sent - sample.due for sample in samples)
    rows = [
        Row("capacity", f"{tokens:.0f} tokens/s, {requests:.0f} requests/s (closed loop)"),
        Row("load", f"{len(samples)} requests in {options.seconds:.0f} s, {rate:.0f} tokens/s, "
                    f"{rate / tokens:.2f} of capacity"),
        Row("errors", str(len(faults)), "0", not faults),
        Row("all", milliseconds(latencies(samples))),
    ]
    for kind, chosen in by_length(load, samples):
        rows.append(Row(kind, milliseconds(latencies(chosen))))
    return rows + [
        Row("processor", f"{cores}; the generator was at most {1e3 * late:.0f} ms late"),
        Row("resident memory over time", ", ".join(mebibytes(one) for one in tenths(memory))),
        Row("growth of memory", f"{mebibytes(first)} after warm-up, {mebibytes(last)} at the end: "
                          f"{growth:+.2%}", f"< {GROWTH:.0%}", growth < GROWTH),
    ]


async def watched(server, memory):
    while True:
        memory.append(server.resident())
        await asyncio.sleep(EVERY_SECONDS)


def tenths(memory):
    """The mean of each tenth of the run."""
    edges = [round(part * len(memory) / 10) for part in range(11)]
    return [statistics.mean(memory[a:b]) for a, b in zip(edges, edges[1:])]


def mebibytes(size):
    return f"{size / 2**20:.1f} MiB"


def by_length(load, samples):
    """Samples by the queue's lanes: how long a request takes depends on its own length first."""
    for name, low, high in (("up to 128 tokens", 0, 128), ("129 to 2048 tokens", 128, 2048),
                            ("more", 2048, 1 << 30)):
        chosen = [sample for sample in samples if low < load.tokens[sample.text] <= high]
        if chosen:
            yield f"{name} ({len(chosen)})", chosen
