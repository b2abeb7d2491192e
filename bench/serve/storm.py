"""Huge texts of several clients, beside a short query of another one: how long the query waits, and
how much memory the server still has a minute after."""

import asyncio
import json
import random
import time

import texts
from client import Client, Ended
from load import PATH, milliseconds, percentile
from program import Server
from report import Row
from short import queries
from steady import mebibytes

MIB = 1 << 20
ALONE = 30
# Short requests that are sent before, so that buffers and threads that every server needs are there.
WARM_UP = 200
# How much later than alone a query may be answered, in seconds.
DELAY = 0.150
# Seconds after the storm, and what may be left of it.
REST_SECONDS = 60
KEPT = 100 * MIB


def storm():
    """Name, path and body of each request. Each text is truncated to 8192 tokens, so that they take
    nine passes of that length, which is most of the time; a text that is split takes none."""
    prose = texts.sentence(random.Random(3), MIB // 6)[:MIB]
    truncated = {"truncate": True}
    return (
        ("8 MiB of one letter", PATH, {"input": "a" * 8 * MIB, **truncated}),
        ("8 MiB of prose", PATH, {"input": prose * 8, **truncated}),
        ("8 MiB without spaces", PATH, {"input": "河流带着光" * (8 * MIB // 15), **truncated}),
        ("3 texts of 1 MiB", PATH, {"input": [prose] * 3, **truncated}),
        ("refused: 8 MiB", PATH, {"input": prose * 8}),
        ("/v1/segment of 8 MiB", "/v1/segment", {"content": prose * 8}),
        ("/v1/classify of 8 MiB", "/v1/classify",
         {"input": [prose * 8], "labels": ["water", "trains"]}),
        ("/embed of 8 MiB", "/embed", {"inputs": ["b" * 4 * MIB, prose * 4], **truncated}),
    )


async def storm_bar(options):
    with Server(options.program, *options.serve) as server:
        client = Client(server.address)
        body = texts.body("hi")
        right = (await client.post(PATH, body)).body
        await queries(client, body, right, lambda seconds: len(seconds) >= ALONE)
        for text in texts.mixed(WARM_UP, 5):
            await client.post(PATH, texts.body(text, truncate=True))
        alone = await queries(client, body, right, lambda seconds: len(seconds) >= ALONE)
        # The buffers of the largest pass are kept as well.
        await client.post(PATH, texts.body("a " * 9000, truncate=True))
        before = server.resident()
        peak = [before]
        watcher = asyncio.create_task(watch(server, peak))
        # Another address: without keys, each address has its own share.
        other = Client(server.address, "127.0.0.2")
        start = time.perf_counter()
        tasks = [asyncio.create_task(send(other, *one)) for one in storm()]
        ends = asyncio.gather(*tasks)
        behind = await queries(client, body, right, lambda _: ends.done())
        rows = [Row(name, f"{status} after {seconds:.2f} s") for name, status, seconds in await ends]
        took = time.perf_counter() - start
        other.close()
        await asyncio.sleep(REST_SECONDS)
        watcher.cancel()
        kept = server.resident() - before
    slow, quick = percentile(behind, 0.95), percentile(alone, 0.95)
    return rows + [
        Row("the storm", f"{len(rows)} requests at once, {took:.1f} s"),
        Row("query alone", f"{milliseconds(alone)} ({len(alone)})"),
        Row("query beside the storm", f"{milliseconds(behind)} ({len(behind)})"),
        Row("p95 beside the storm", f"{1e3 * slow:.1f} ms",
            f"≤ {1e3 * DELAY:.0f} ms + {1e3 * quick:.1f} ms", slow <= quick + DELAY),
        Row("resident memory", f"{mebibytes(before)} before, {mebibytes(max(peak))} at most"),
        Row(f"kept {REST_SECONDS} s after", mebibytes(kept), f"≤ {mebibytes(KEPT)}", kept <= KEPT),
    ]


async def send(client, name, path, fields):
    start = time.perf_counter()
    try:
        answer = await client.post(path, json.dumps(fields, ensure_ascii=False).encode())
        status = str(answer.status)
    except Ended as error:
        status = str(error)
    return name, status, time.perf_counter() - start


async def watch(server, peak):
    while True:
        await asyncio.sleep(0.05)
        peak.append(server.resident())
