"""Three times the capacity: refusals come at once, and accepted requests are not affected."""

import asyncio
import time

import texts
from client import Client, Ended
from load import Load, in_window, milliseconds, throughput
from program import Processor, Server
from report import Row
from throughput import capacity

TIMES = 3
REFUSED_WITHIN = 0.050
GOODPUT = 0.9
PROBE_SECONDS = 0.5


async def overload(options):
    with Server(options.program, *options.serve) as server:
        load = Load(server.address, texts.mixed(options.texts, seed=1))
        await load.learn()
        before, requests = await capacity(load)
        probes = []
        prober = asyncio.create_task(probe(server.address, probes))
        processor, start = Processor(server), time.perf_counter()
        samples = await load.open(TIMES * requests, options.seconds)
        cores = processor.cores()
        prober.cancel()
        # The speed of the machine changes by a few percent from minute to minute.
        after, _ = await capacity(load)
    offered = sum(load.tokens[sample.text] for sample in samples) / options.seconds
    return [
        Row("capacity", f"{before:.0f} tokens/s before, {after:.0f} after (closed loop)"),
        Row("load", f"{len(samples)} requests in {options.seconds:.0f} s, {offered:.0f} tokens/s, "
                    f"{offered / before:.1f} times the capacity"),
        *answers(samples, start, start + options.seconds, (before + after) / 2),
        Row("/ready meanwhile", f"{len(probes)} probes, {milliseconds([s for _, s in probes])}",
            "all 200", all(status == 200 for status, _ in probes)),
        Row("processor", cores),
    ]


async def probe(address, probes):
    """Probes like an orchestrator, and records statuses and seconds. A probe that was refused or
    delayed would make the orchestrator end a server that is only busy."""
    client = Client(address)
    while True:
        start = time.perf_counter()
        try:
            status = (await client.get("/ready")).status
        except Ended:
            status = 0
        probes.append((status, time.perf_counter() - start))
        await asyncio.sleep(PROBE_SECONDS)


def answers(samples, start, end, capacity):
    """The rows on requests that were sent between `start` and `end`."""
    refused = [sample for sample in samples if sample.status == 429]
    good = [sample for sample in samples if sample.status == 200 and not sample.error]
    others = [s.error or s.status for s in samples if s.status not in (200, 429) or s.error]
    for fault in others[:5]:
        print(f"fault: {fault}")
    if not refused:
        raise SystemExit("no request was refused: the queue was never full")
    # From the first refusal, when the queue is full, to the last request that was sent.
    full = min(sample.done for sample in refused)
    goodput = throughput(samples, full, end)
    # Short texts overtake long ones, so the queue has a larger share of long texts than was sent:
    # only up to the last answer is the work comparable with the capacity.
    whole = sum(sample.tokens for sample in good) / (max(s.done for s in good) - start)
    times = [sample.done - sample.sent for sample in refused]
    with_retry_after = sum(sample.retry_after is not None for sample in refused)
    return [
        Row("answers", f"{len(good)} good, {len(refused)} refused with 429"),
        Row("others", str(len(others)), "0", not others),
        Row("refused within", milliseconds(times), f"all ≤ {1e3 * REFUSED_WITHIN:.0f} ms",
            max(times) <= REFUSED_WITHIN),
        Row("refusals with Retry-After", f"{with_retry_after} of {len(refused)}", "all",
            with_retry_after == len(refused)),
        Row("goodput", f"{goodput:.0f} tokens/s, {goodput / capacity:.3f} of capacity, from the "
                       f"first refusal after {full - start:.1f} s to the last request",
            f"≥ {GOODPUT}", goodput >= GOODPUT * capacity),
        Row("goodput to the last answer", f"{whole:.0f} tokens/s, {whole / capacity:.3f} of capacity",
            f"≥ {GOODPUT}", whole >= GOODPUT * capacity),
        Row("accepted requests", milliseconds([s.done - s.due for s in in_window(good, full, end)])),
    ]
