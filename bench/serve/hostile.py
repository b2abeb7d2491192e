"""Hostile requests: the server answers each, does not fail, and keeps running."""

import asyncio
import collections
import json
import time

import texts
from hostile_requests import attack
from client import Client, Ended, take_answer
from load import PATH, milliseconds
from program import TINY, Server
from report import Row

AT_ONCE = 32
# The number of hostile requests between two good ones, which must be answered as without load.
GOOD_EVERY = 20
# Maximum time until the queue is empty, in tenths of a second.
TENTHS = 50
# The address of good requests: unlike that of the hostile ones, it has a free share of the queue.
GOOD_FROM = "127.0.0.2"
# An answer may wait for the tokens before it: 262,144 in a full queue, behind shorter requests that
# keep both cores busy. The duration depends on the machine and is not a fault; a missing answer is.
PATIENCE_SECONDS = 180
# Short timeouts, so that slow clients are refused soon.
SERVE = ("--max-body", "1MiB", "--header-timeout", "1", "--body-timeout", "1",
         "--classifiers", "classifiers")


async def hostile(options):
    with Server(options.program, *TINY, *SERVE) as server:
        run = Run(server.address, options.seed)
        await run.learn()
        if options.only is not None:
            await run.show(options.only)
        start = time.perf_counter()
        numbers = iter(range(options.requests) if options.only is None else [])
        await asyncio.gather(*(run.send_all(numbers) for _ in range(AT_ONCE)))
        took = time.perf_counter() - start
        ready = await run.client.get("/ready")
        await run.good()
        left = await run.left()
        alive = server.process.poll() is None
        server.terminate()
        status = await asyncio.to_thread(server.wait, 40)
        log = server.log()
    panics = [line for line in log if "panicked" in line]
    for line in panics[:3]:
        print(line.rstrip())
    for number, what in run.faults[:10]:
        print(f"request {number}: {what}")
    statuses = collections.Counter(run.statuses)
    listed = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
    honest = sum(status == 503 for status in run.statuses)
    return [
        Row("hostile requests", f"{sum(run.kinds.values())} in {took:.0f} s, seed {options.seed}, "
                                f"{AT_ONCE} concurrently"),
        Row("kinds", ", ".join(f"{count} {kind}" for kind, count in run.kinds.most_common())),
        Row("answers", f"{listed}, {run.silent} without one (not HTTP, or the client had gone)"),
        Row("5xx but 503", str(sum(s >= 500 for s in run.statuses) - honest), "0",
            not any(s >= 500 and s != 503 for s in run.statuses)),
        Row("faults: unanswered, or an invalid answer", str(len(run.faults)), "0",
            not run.faults),
        Row("good requests between them", f"{len(run.times)} correct, {milliseconds(run.times)}"),
        Row("the slowest answer to a hostile one", f"{run.slowest:.1f} s"),
        Row("panics in the log", str(len(panics)), "0", not panics),
        Row("requests and tokens left in the queue", f"{left:.0f}", "0", left == 0),
        Row("/ready afterwards", str(ready.status), "200", ready.status == 200 and alive),
        Row("TERM afterwards", f"status {status}", "0", status == 0),
    ]


class Run:
    def __init__(self, address, seed):
        self.client = Client(address, source=GOOD_FROM)
        self.seed = seed
        self.kinds = collections.Counter()
        self.statuses, self.faults, self.times = [], [], []
        self.silent = 0
        self.slowest = 0.0
        self.body = texts.body(["a good text", "and another"])
        self.right = b""

    async def learn(self):
        answer = await self.client.post(PATH, self.body)
        if answer.status != 200:
            raise SystemExit(f"the server fails: {answer.body[:300]}")
        self.right = answer.body

    async def good(self):
        start = time.perf_counter()
        try:
            answer = await self.client.post(PATH, self.body)
        except Ended as ended:
            self.faults.append((-1, f"a good request: {ended}"))
            return
        if answer.body != self.right:
            self.faults.append((-1, f"a good request got {answer.status} {answer.body[:300]}"))
        self.times.append(time.perf_counter() - start)

    async def left(self):
        """Requests and tokens that stay in the queue: those of clients that have gone must not. A
        request counts until its worker notices that it was answered, which may be a moment later."""
        for _ in range(TENTHS):
            left = await self.held()
            if left == 0:
                break
            await asyncio.sleep(0.1)
        return left

    async def held(self):
        text = (await self.client.get("/metrics")).body.decode()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith(("kokeshi_queue_tokens{", "kokeshi_queue_requests{"))
        )

    async def send_all(self, numbers):
        for number in numbers:
            await self.send(number)
            if number % GOOD_EVERY == 0:
                await self.good()

    async def send(self, number):
        one = attack(self.seed, number)
        self.kinds[one.kind] += 1
        try:
            start = time.perf_counter()
            answer = await asyncio.wait_for(self.exchange(one), PATIENCE_SECONDS)
            self.slowest = max(self.slowest, time.perf_counter() - start)
        except TimeoutError:
            self.faults.append((number, f"{one.kind}: no answer within {PATIENCE_SECONDS} s"))
            return
        if answer is None:
            self.silent += 1
            if not one.silence:
                self.faults.append((number, f"{one.kind}: no answer"))
            return
        self.statuses.append(answer.status)
        fault = fault_of(one, answer)
        if fault:
            self.faults.append((number, f"{one.kind}: {fault}: {answer.status} "
                                        f"{answer.body[:300]}"))

    async def exchange(self, one):
        """Sends an attack; the answer, or `None` if the connection ended without one."""
        reader, writer = await asyncio.open_connection(self.client.host, self.client.port)
        received = bytearray()
        try:
            for index, part in enumerate(one.parts):
                if index:
                    await asyncio.sleep(one.pause)
                writer.write(part)
            if one.leaves:
                return None
            while True:
                part = await reader.read(1 << 16)
                received += part
                # 1xx comes before the answer.
                while answer := take_answer(received, without_body=one.head):
                    if answer.status >= 200:
                        return answer
                if not part:
                    return None
        except ConnectionError:
            return None
        finally:
            writer.transport.abort()

    async def show(self, number):
        one = attack(self.seed, number)
        print(one.kind, [part[:2000] for part in one.parts])
        answer = await self.exchange(one)
        print(answer and (answer.headers, answer.body[:2000]))


def fault_of(one, answer):
    """The fault of an answer, if it has one."""
    if answer.status >= 500 and answer.status != 503:
        return "the server failed"
    if answer.status in (429, 503) and answer.header(b"retry-after") is None:
        return "no Retry-After"
    if one.expected and answer.status not in one.expected:
        return f"expected {one.expected}"
    # The HTTP library refuses invalid HTTP without a body.
    if answer.status >= 400 and answer.body:
        try:
            body = json.loads(answer.body)
        except ValueError:
            return "not JSON"
        if not any(body.get(name) for name in ("detail", "error", "message")):
            return "no message"
    return None
