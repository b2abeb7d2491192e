"""Three times what the server can do: refusals come at once, and the work goes on."""

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
        # The machine's speed changes by some percent from minute to minute.
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
    """Asks as an orchestrator does, and notes statuses and seconds: one that is refused or waits would
    have the server ended because it is busy."""
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
    """Rows on what came of requests that were sent between `start` and `end`."""
    refused = [sample for sample in samples if sample.status == 429]
    good = [sample for sample in samples if sample.status == 200 and not sample.error]
    others = [s.error or s.status for s in samples if s.status not in (200, 429) or s.error]
    for fault in others[:5]:
        print(f"fault: {fault}")
    if not refused:
        raise SystemExit("nothing was refused: the queue did not fill")
    # From the first refusal, when the queue is full, to the last request that was sent.
    full = min(sample.done for sample in refused)
    goodput = throughput(samples, full, end)
    # The queue holds more long texts than were sent, since short ones overtake them: only with the
    # last answer is the work that of the texts that were measured before.
    whole = sum(sample.tokens for sample in good) / (max(s.done for s in good) - start)
    times = [sample.done - sample.sent for sample in refused]
    told = sum(sample.retry_after is not None for sample in refused)
    return [
        Row("answers", f"{len(good)} good, {len(refused)} refused with 429"),
        Row("others", str(len(others)), "0", not others),
        Row("refused within", milliseconds(times), f"all ≤ {1e3 * REFUSED_WITHIN:.0f} ms",
            max(times) <= REFUSED_WITHIN),
        Row("refusals with Retry-After", f"{told} of {len(refused)}", "all", told == len(refused)),
        Row("goodput", f"{goodput:.0f} tokens/s, {goodput / capacity:.3f} of capacity, from the "
                       f"first refusal after {full - start:.1f} s to the last request",
            f"≥ {GOODPUT}", goodput >= GOODPUT * capacity),
        Row("goodput to the last answer", f"{whole:.0f} tokens/s, {whole / capacity:.3f} of capacity",
            f"≥ {GOODPUT}", whole >= GOODPUT * capacity),
        Row("accepted requests", milliseconds([s.done - s.due for s in in_window(good, full, end)])),
    ]
