"""The latency of a short query while documents of 8192 tokens run without pause."""

import asyncio
import json
import shutil
import statistics
import subprocess
import time

import texts
from load import PATH, milliseconds, percentile
from client import Client
from program import ROOT, Server
from report import Row

QUERY_TOKENS = 16
DOCUMENT_TOKENS = 8192
ALONE = 30
# Number of documents that are always waiting or running.
DOCUMENTS = 3
PAUSE_SECONDS = 0.1
BAR_SECONDS = 0.400


async def short(options):
    model = options.model or synthetic(options.program)
    with Server(options.program, "--model", str(model)) as server:
        client = Client(server.address)
        query = await sized(client, QUERY_TOKENS)
        document = await sized(client, DOCUMENT_TOKENS)
        right = (await client.post(PATH, query)).body
        alone = await queries(client, query, right, lambda seconds: len(seconds) >= ALONE)
        documents = Documents(Client(server.address), document)
        await asyncio.sleep(1)
        end = time.perf_counter() + options.seconds
        behind = await queries(client, query, right, lambda _: time.perf_counter() >= end)
        await documents.end()
    compute = statistics.median(alone)
    allowed = compute + BAR_SECONDS
    slow = percentile(behind, 0.95)
    return [
        Row("query alone", f"{milliseconds(alone)} ({len(alone)})"),
        Row("query behind documents", f"{milliseconds(behind)} ({len(behind)})"),
        Row("concurrent documents", f"{documents.answered} answered, {DOCUMENTS} always waiting"),
        Row("p95 behind documents", f"{1e3 * slow:.1f} ms",
            f"≤ {1e3 * BAR_SECONDS:.0f} ms + {1e3 * compute:.1f} ms", slow <= allowed),
    ]


def synthetic(program):
    """A checkpoint of the released v3 shape with random weights, written once."""
    folder = ROOT / "target" / "synthetic-v3"
    if not folder.exists():
        partial = folder.with_name("synthetic-v3.partial")
        shutil.rmtree(partial, ignore_errors=True)
        subprocess.run([program, "models", "synthesize", partial], check=True)
        partial.rename(folder)
    return folder


async def sized(client, tokens):
    """The body of a text with a given number of tokens of this model."""
    words = 1
    for _ in range(8):
        body = texts.body(" ".join(["a"] * words), truncate=True)
        answer = await client.post(PATH, body)
        got = json.loads(answer.body)["usage"]["total_tokens"]
        if got == tokens:
            return body
        words += tokens - got
    raise SystemExit(f"no text of {tokens} tokens was found")


async def queries(client, body, right, done):
    """The latencies in seconds of queries that are sent one after the other."""
    seconds = []
    while not done(seconds):
        await asyncio.sleep(PAUSE_SECONDS)
        start = time.perf_counter()
        answer = await client.post(PATH, body)
        seconds.append(time.perf_counter() - start)
        if answer.body != right:
            raise SystemExit(f"a wrong answer: {answer.status} {answer.body[:300]}")
    return seconds


class Documents:
    """Clients that send the same document repeatedly."""

    def __init__(self, client, body):
        self.answered = 0
        self.client, self.body = client, body
        self.tasks = [asyncio.create_task(self.one()) for _ in range(DOCUMENTS)]

    async def one(self):
        while True:
            answer = await self.client.post(PATH, self.body)
            if answer.status != 200:
                raise SystemExit(f"a document was refused: {answer.body[:300]}")
            self.answered += 1

    async def end(self):
        """Fails if a client ended early, which would have been a pause."""
        ended = [task for task in self.tasks if task.done()]
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if ended:
            raise ended[0].exception() or SystemExit("documents ended early")
