"""Three times what the server can do: refusals come at once, and the work goes on."""

import time

import texts
from load import Load, in_window, milliseconds, throughput
from program import Processor, Server
from report import Row
from throughput import capacity

TIMES = 3
REFUSED_WITHIN = 0.050
GOODPUT = 0.9


async def overload(options):
    with Server(options.program, *options.serve) as server:
        load = Load(server.address, texts.mixed(options.texts, seed=1))
        await load.learn()
        tokens, requests = await capacity(load)
        processor, start = Processor(server), time.perf_counter()
        samples = await load.open(TIMES * requests, options.seconds)
        cores = processor.cores()
        again = await load.client.post("/v1/embeddings", load.bodies[0])
    refused = [sample for sample in samples if sample.status == 429]
    good = [sample for sample in samples if sample.status == 200 and not sample.error]
    others = [s.error or s.status for s in samples if s.status not in (200, 429) or s.error]
    for fault in others[:5]:
        print(f"fault: {fault}")
    if not refused:
        raise SystemExit("nothing was refused: the queue did not fill")
    # From the first refusal, when the queue is full, to the last request that was sent.
    full = min(sample.done for sample in refused)
    goodput = throughput(samples, full, start + options.seconds)
    # The queue holds more long texts than were sent, since short ones overtake them: only with the
    # last answer is the work that of the texts that were measured before.
    whole = sum(sample.tokens for sample in good) / (max(s.done for s in good) - start)
    times = [sample.done - sample.sent for sample in refused]
    told = sum(sample.retry_after is not None for sample in refused)
    offered = sum(load.tokens[sample.text] for sample in samples) / options.seconds
    return [
        Row("capacity", f"{tokens:.0f} tokens/s, {requests:.0f} requests/s (closed loop)"),
        Row("load", f"{len(samples)} requests in {options.seconds:.0f} s, {offered:.0f} tokens/s, "
                    f"{offered / tokens:.1f} times the capacity"),
        Row("answers", f"{len(good)} good, {len(refused)} refused with 429"),
        Row("others", str(len(others)), "0", not others),
        Row("refused within", milliseconds(times), f"all ≤ {1e3 * REFUSED_WITHIN:.0f} ms",
            max(times) <= REFUSED_WITHIN),
        Row("refusals with Retry-After", f"{told} of {len(refused)}", "all", told == len(refused)),
        Row("goodput", f"{goodput:.0f} tokens/s, {goodput / tokens:.3f} of capacity, from the first "
                       f"refusal after {full - start:.1f} s to the last request",
            f"≥ {GOODPUT}", goodput >= GOODPUT * tokens),
        Row("goodput to the last answer", f"{whole:.0f} tokens/s, {whole / tokens:.3f} of capacity",
            f"≥ {GOODPUT}", whole >= GOODPUT * tokens),
        Row("accepted requests", milliseconds([s.done - s.due for s in in_window(
            good, full, start + options.seconds)])),
        Row("processor", cores),
        Row("afterwards", f"{again.status}", "200", again.status == 200),
    ]
