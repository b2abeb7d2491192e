"""Load: clients that wait for their answers (closed loop), or requests at a rate that does not
depend on the server (open loop), and a sample of each request."""

import asyncio
import itertools
import json
import random
import time
from dataclasses import dataclass

import texts
from client import Client, Ended

PATH = "/v1/embeddings"


@dataclass(slots=True)
class Sample:
    """A request and its result. Times are from `time.perf_counter`."""

    text: int
    request_id: str
    due: float
    sent: float
    done: float = 0.0
    """0 until the request has ended."""
    status: int = 0
    """0 without an answer; `error` says why."""
    error: str = ""
    tokens: int = 0
    """Tokens of a correct answer."""
    retry_after: str | None = None


class Load:
    """Texts, the correct answer to each, and a server to send them to."""

    def __init__(self, address, chosen, seed=1, path=PATH, body=texts.body):
        """`body` makes the body of a request to `path` from a text."""
        self.client = Client(address)
        self.texts = chosen
        self.seed = seed
        self.path = path
        self.bodies = [body(text) for text in chosen]
        self.right = [None] * len(chosen)
        self.tokens = [0] * len(chosen)
        self.numbers = itertools.count()

    async def learn(self):
        """Sends every text once, without load: under load each answer must have the same bytes."""
        for index, body in enumerate(self.bodies):
            answer = await self.client.post(self.path, body)
            if answer.status != 200:
                raise SystemExit(f"text {index}: {answer.status} {answer.body[:300]}")
            self.right[index] = answer.body
            self.tokens[index] = json.loads(answer.body)["usage"]["total_tokens"]

    def mean_tokens(self):
        return sum(self.tokens) / len(self.tokens)

    async def ask(self, index, due):
        """Sends a text and returns the sample."""
        request_id = f"load-{next(self.numbers)}"
        headers = (f"X-Request-Id: {request_id}",)
        request = self.client.request("POST", self.path, self.bodies[index], headers)
        sample = Sample(index, request_id, due, time.perf_counter())
        try:
            answer = await self.client.send(request)
        except Ended as ended:
            sample.error = str(ended)
        else:
            sample.status = answer.status
            if answer.status != 200:
                sample.retry_after = answer.header(b"retry-after")
            elif answer.body == self.right[index]:
                sample.tokens = self.tokens[index]
            else:
                sample.error = "the answer differs from the one without load"
        sample.done = time.perf_counter()
        return sample

    async def closed(self, clients, passes, stop=lambda sample: False):
        """Returns the samples of `clients` that send again as soon as they are answered, until every
        text was sent `passes` times. A client stops after a sample for which `stop` is true."""
        order = iter(list(range(len(self.texts))) * passes)
        samples = []

        async def one():
            for index in order:
                sample = await self.ask(index, time.perf_counter())
                samples.append(sample)
                if stop(sample):
                    break

        await asyncio.gather(*(one() for _ in range(clients)))
        return samples

    async def open(self, rate, seconds, patience=60):
        """Returns the samples of requests at `rate` per second (a Poisson process) for `seconds`.
        Afterwards the unanswered ones have `patience` more seconds."""
        chance = random.Random(self.seed)
        order = itertools.cycle(range(len(self.texts)))
        start = due = time.perf_counter()
        tasks, samples = set(), []

        def ended(task):
            tasks.discard(task)
            samples.append(task.result())

        while (due := due + chance.expovariate(rate)) < start + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self.ask(next(order), due))
            tasks.add(task)
            task.add_done_callback(ended)
        if tasks:
            _, waiting = await asyncio.wait(tasks, timeout=patience)
            if waiting:
                raise SystemExit(f"{len(waiting)} requests were not answered in {patience} s")
        await asyncio.sleep(0)
        return samples


def percentile(values, share):
    """The value that a `share` of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def latencies(samples):
    """Seconds from the moment when each was due to its answer, so that a late sender hides nothing."""
    return [sample.done - sample.due for sample in samples]


def in_window(samples, start, end):
    return [sample for sample in samples if start <= sample.done < end]


def throughput(samples, start, end):
    """Tokens per second of the correct answers in a window."""
    return sum(sample.tokens for sample in in_window(samples, start, end)) / (end - start)


def milliseconds(values):
    """p50, p95, p99 and the maximum, as text."""
    parts = [f"{name} {1e3 * percentile(values, share):.1f}" for name, share in
             (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))]
    return ", ".join(parts) + " ms"
