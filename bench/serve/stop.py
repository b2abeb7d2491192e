"""TERM under load: every accepted request is answered, and others are refused."""

import asyncio
import time

import texts
from load import Load
from program import TINY, Server
from report import Row

CLIENTS = 64
LONGEST_STOP = 35
# Longer texts have too many tokens in the small vocabulary of the tiny model.
LONGEST_TEXT = 6_000


async def stop(options):
    with Server(options.program, *TINY) as server:
        chosen = [text[:LONGEST_TEXT] for text in texts.mixed(options.texts, seed=1)]
        load = Load(server.address, chosen)
        await load.learn()
        # A client stops once it is refused, or finds no server.
        has_stopped = lambda sample: sample.status != 200  # noqa: E731
        clients = asyncio.create_task(load.closed(CLIENTS, 1000, has_stopped))
        await asyncio.sleep(options.seconds)
        server.terminate()
        signalled = time.perf_counter()
        samples = await clients
        status = await asyncio.to_thread(server.wait, LONGEST_STOP)
        stopped = time.perf_counter() - signalled
        logged = server.answered()
    answered = {s.request_id: s.status for s in samples if s.status and not s.error}
    lost = [s for s in samples if s.sent < signalled and s.request_id not in answered]
    unheard = [i for i in logged if i.startswith("load-") and i not in answered]
    at_signal = [s for s in samples if s.sent < signalled <= s.done]
    last = max((s.done for s in at_signal), default=signalled)
    refused = [s for s in samples if s.status == 503]
    others = {s.status for s in samples} - {0, 200, 503}
    with_retry_after = sum(s.retry_after is not None for s in refused)
    late = [s for s in samples if s.sent >= signalled and not s.status]
    for sample in lost[:5]:
        print(f"lost: {sample}")
    return [
        Row("requests", f"{len(samples)}, of which {len(at_signal)} were under way at the signal"),
        Row("sent before the signal and not answered", str(len(lost)), "0", not lost),
        Row("in the server's log and not answered", str(len(unheard)), "0", not unheard),
        Row("sent after it", f"{sum(s.sent >= signalled for s in samples)}: {len(refused)} were "
                             f"refused with 503, {with_retry_after} of them with Retry-After; "
                             f"{len(late)} found no server", "nothing else",
            with_retry_after == len(refused) and not others),
        Row("the last answer", f"{last - signalled:.2f} s after the signal"),
        Row("the server ended", f"after {stopped:.2f} s with status {status}", "0", status == 0),
    ]
