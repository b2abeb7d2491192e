"""Attacks by clients that ask for much, or read nothing: how long a short query of another key waits
meanwhile, whether the probes answer, and how much memory the server still has a while after."""

import asyncio
import contextlib
import hashlib
import json
import random
import socket
import time

import texts
from client import Client, Ended
from load import PATH, milliseconds, percentile
from program import Processor, Server
from report import Row
from steady import mebibytes

MIB = 1 << 20
ALONE = 100
# How much later than alone a query may be answered, in seconds.
DELAY = 0.150
# Maximum time for an answer of `/live`.
LIVE = 0.150
PAUSE_SECONDS = 0.02
# What of an attack's memory may be left after the rest.
KEPT = 100 * MIB
CONNECTIONS = 128

# The key of queries, one without limits, one with few tokens, and one of slow clients.
KEYS = {"victim": "", "rich": "", "poor": "tokens_per_minute = 100", "slow": ""}
SERVE = ("--classifiers", "classifiers", "--max-connections", str(CONNECTIONS),
         "--write-timeout", "3", "--api-key-file", "keys.toml")


def authorization(name):
    return f"Authorization: Bearer secret-{name}"


def key_file():
    entry = '[[key]]\nname = "{}"\nsha256 = "{}"\n{}\n'
    digest = lambda name: hashlib.sha256(f"secret-{name}".encode()).hexdigest()  # noqa: E731
    return "".join(entry.format(name, digest(name), limits) for name, limits in KEYS.items())


class Attackers:
    """Connections of the attackers, and the statuses that they were answered with."""

    def __init__(self, server):
        self.server = server
        self.client = Client(server.address)
        self.statuses = []

    async def post(self, key, path, fields):
        body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        try:
            answer = await self.client.post(path, body, (authorization(key),))
            self.statuses.append(str(answer.status))
            return answer
        except Ended as ended:
            self.statuses.append(str(ended)[:40])
        return None

    async def repeat(self, key, path, fields):
        body = json.dumps(fields).encode()
        while True:
            await self.post(key, path, body)
            await asyncio.sleep(0.01)


def prose(size):
    return texts.sentence(random.Random(3), size // 5)[:size]


def examples(count, labels):
    return [{"text": f"text {n}", "label": f"label {n % labels}"} for n in range(count)]


async def trainings(attackers):
    """Trainings as large as they may be, one that is larger, and some whose clients hang up."""
    large = {"input": examples(2048, 8), "num_iters": 1000}
    larger = {"input": examples(2000, 2000), "num_iters": 1000}
    tasks = [attackers.post("rich", "/v1/train", large) for _ in range(2)]
    tasks.append(attackers.post("rich", "/v1/train", larger))
    for _ in range(4):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(attackers.post("rich", "/v1/train", large), 0.5)
    await asyncio.gather(*tasks)


async def readers(attackers):
    """Connections without a key that ask for large answers and read nothing."""
    host, port = attackers.client.host, attackers.client.port
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500
    sockets = []
    loop = asyncio.get_running_loop()
    try:
        while True:
            while len(sockets) < 4 * CONNECTIONS:
                one = socket.socket()
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                one.setblocking(False)
                await loop.sock_connect(one, (host, port))
                with contextlib.suppress(OSError):
                    one.send(ask)
                sockets.append(one)
                await asyncio.sleep(0.002)
            # Those that the server has closed come again.
            await asyncio.sleep(0.5)
            for one in sockets[: CONNECTIONS]:
                one.close()
            del sockets[: CONNECTIONS]
    finally:
        for one in sockets:
            one.close()


async def tokenizing(attackers):
    """Texts that take long to tokenize, from a key with few tokens and from one without limits."""
    content = prose(15 * MIB)
    segments = [attackers.post("poor", "/v1/segment", {"content": content}) for _ in range(4)]
    letters = {"input": "a" * 6_000_000, "truncate": True}
    others = [
        attackers.post("rich", PATH, letters),
        attackers.post("rich", "/v1/segment", {"content": "a" * 15 * MIB}),
        attackers.post("rich", "/v1/segment", {"content": content, "max_chunk_length": 1}),
        attackers.post("rich", PATH, {"input": [content], "late_chunking": True}),
    ]
    await asyncio.gather(*segments, *others)


async def token_ids(attackers):
    """Bodies of 30 MB that consist of token ids, or of empty lists."""
    ids = b'{"input":[' + b",".join([b"15339"] * (5 * MIB)) + b"]}"
    lists = b'{"input":[' + b",".join([b"[]"] * (10 * MIB)) + b"]}"
    few = {"input": [[15339] * 1000] * 900, "truncate": True}
    await asyncio.gather(
        attackers.post("rich", PATH, ids), attackers.post("rich", PATH, lists),
        attackers.post("rich", PATH, few),
    )


async def answers(attackers):
    """Answers of many megabytes: long labels, all pairs, many vectors."""
    labels = [f"{n} " + "x" * 1000 for n in range(512)]
    await asyncio.gather(
        attackers.post("rich", "/v1/classify", {"input": ["a"] * 512, "labels": labels}),
        attackers.post("rich", "/v1/classify", {"input": ["a"] * 512, "labels": list(map(str, range(512)))}),
        attackers.post("rich", "/v1/similarity", {"input": ["a"] * 512}),
        *(attackers.post("rich", PATH, {"input": ["a"] * 2048}) for _ in range(8)),
    )


async def slow_bodies(attackers):
    """Bodies of 30 MB that never end."""
    head = attackers.client.request("POST", PATH, b"", (authorization("slow"),))
    head = head.replace(b"Content-Length: 0", b"Content-Length: 30000000")
    writers = []
    try:
        for _ in range(64):
            _, writer = await asyncio.open_connection(attackers.client.host, attackers.client.port)
            writer.write(head + b'{"input":"' + b"x" * MIB)
            writers.append(writer)
        await asyncio.sleep(3600)
    finally:
        for writer in writers:
            writer.transport.abort()


async def probes(attackers):
    """`/ready` and the documents, without a key and without pause."""

    async def one(path):
        while True:
            try:
                answer = await attackers.client.get(path)
                attackers.statuses.append(str(answer.status))
            except Ended as ended:
                attackers.statuses.append(str(ended)[:40])
                await asyncio.sleep(0.05)

    await asyncio.gather(*(one(path) for path in ("/ready", "/openapi.json", "/docs") * 4))


# The attacks, and whether each ends by itself.
ATTACKS = {
    "trainings": (trainings, True),
    "readers": (readers, False),
    "tokenizing": (tokenizing, True),
    "token ids": (token_ids, True),
    "answers": (answers, True),
    "slow bodies": (slow_bodies, False),
    "probes": (probes, False),
}


async def attacks(options):
    chosen = {name: ATTACKS[name] for name in options.attack or ATTACKS}
    rows = []
    for name, (attack, ends) in chosen.items():
        rows += await measure(options, name, attack, ends)
    return rows + await browsers(options)


async def measure(options, name, attack, ends):
    """The rows of one attack, on a server of its own."""
    with Server(options.program, *SERVE, files={"keys.toml": key_file()}) as server:
        victim = Victim(server)
        await victim.warm_up()
        alone = await victim.ask(lambda seconds: len(seconds) >= ALONE)
        before = server.resident()
        peak = [before]
        watcher = asyncio.create_task(watch(server, peak))
        attackers = Attackers(server)
        started, processor = time.perf_counter(), Processor(server)
        task = asyncio.create_task(attack(attackers))
        least = started + options.seconds
        live = asyncio.create_task(victim.live(options.seconds))
        # A little head start: the attack is under way when it is measured.
        await asyncio.sleep(0.3)
        limit = started + (120 if ends else options.seconds)

        def done(_):
            now = time.perf_counter()
            return now >= limit or (now >= least and task.done())

        behind = await victim.ask(done)
        took, ended = time.perf_counter() - started, task.done()
        cores = processor.cores()
        task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(result, Exception) and not isinstance(result, asyncio.CancelledError):
            raise result
        attackers.client.close()
        silent = await live
        await asyncio.sleep(options.rest)
        watcher.cancel()
        kept = server.resident() - before
        panics = sum("panicked" in line for line in server.log())
    slow, quick = percentile(behind, 0.95), percentile(alone, 0.95)
    statuses = ", ".join(sorted(set(attackers.statuses))) or "none"
    return [
        Row(f"{name}: {attack.__doc__.split('.')[0]}",
            f"{took:.1f} s{'' if ended or not ends else ', not done'}; answers {statuses}"),
        Row(f"{name}: processor time meanwhile", cores),
        Row(f"{name}: query alone", f"{milliseconds(alone)} ({len(alone)})"),
        Row(f"{name}: query meanwhile", f"{milliseconds(behind)} ({len(behind)})"),
        Row(f"{name}: p95", f"{1e3 * slow:.1f} ms",
            f"≤ {1e3 * DELAY:.0f} ms + {1e3 * quick:.1f} ms", slow <= quick + DELAY),
        Row(f"{name}: /live", milliseconds(silent), f"p95 ≤ {1e3 * LIVE:.0f} ms",
            percentile(silent, 0.95) <= LIVE),
        Row(f"{name}: kept {options.rest:.0f} s after",
            f"{mebibytes(kept)}; at most {mebibytes(max(peak) - before)} meanwhile",
            f"≤ {mebibytes(KEPT)}", kept <= KEPT and not panics),
    ]


class Victim:
    """Short queries of another key, each on a connection of its own."""

    def __init__(self, server):
        self.server = server
        # 16 tokens, with the special ones.
        self.body = texts.body("the keeper of the lighthouse wrote a short note to the harbour")
        self.right = b""

    async def query(self):
        client = Client(self.server.address)
        request = client.request("POST", PATH, self.body, (authorization("victim"),))
        try:
            return await client.send(request)
        finally:
            client.close()

    async def warm_up(self):
        self.right = (await self.query()).body
        client = Client(self.server.address)
        for text in [*texts.mixed(200, 5), "a " * 9000]:
            await client.post(PATH, texts.body(text, truncate=True), (authorization("victim"),))
        client.close()

    async def ask(self, done):
        """The latencies in seconds of queries that are sent one after the other."""
        seconds = []
        while not done(seconds):
            await asyncio.sleep(PAUSE_SECONDS)
            start = time.perf_counter()
            answer = await self.query()
            seconds.append(time.perf_counter() - start)
            if answer.body != self.right:
                raise SystemExit(f"a wrong answer: {answer.status} {answer.body[:300]}")
        return seconds

    async def live(self, duration):
        """The latencies of `/live`, without a key."""
        seconds, end = [], time.perf_counter() + duration
        while time.perf_counter() < end:
            client = Client(self.server.address)
            start = time.perf_counter()
            # Connections without a key make room for others.
            with contextlib.suppress(Ended):
                await client.get("/live")
                seconds.append(time.perf_counter() - start)
            client.close()
            await asyncio.sleep(0.1)
        return seconds or [float("inf")]


async def watch(server, peak):
    while True:
        await asyncio.sleep(0.05)
        peak.append(server.resident())


async def browsers(options):
    """What foreign web pages get from a server without keys."""
    expected = {
        ("Host: evil.example",): 403,
        ("Host: localhost", "Origin: https://evil.example"): 403,
        ("Host: localhost", "Origin: null"): 403,
        ("Host: localhost", "Content-Type: text/plain"): 415,
        ("Host: localhost", "Content-Type: application/x-www-form-urlencoded"): 415,
        ("Host: localhost", "Content-Type: multipart/form-data; boundary=x"): 415,
        ("Host: localhost", "Content-Type: application/json"): 200,
    }
    got = {}
    with Server(options.program) as server:
        client = Client(server.address)
        body = texts.body("hi")
        for headers in expected:
            lines = [f"POST {PATH} HTTP/1.1", *headers, f"Content-Length: {len(body)}"]
            answer = await client.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            got[headers] = answer.status
        client.close()
    wrong = [f"{headers}: {got[headers]}" for headers in expected if got[headers] != expected[headers]]
    return [Row("requests of foreign pages", "; ".join(wrong) or f"{len(got)} as expected",
                "refused", not wrong)]

