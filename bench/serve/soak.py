"""Hours of mixed clients: whether memory, descriptors, threads and latencies stay as they are."""

import asyncio
import json
import math
import random
import statistics
import subprocess
import time

import texts
from client import Client, Ended
from hostile_requests import attack
from load import PATH, milliseconds, percentile
from program import Server
from report import Row
from steady import mebibytes

SAMPLE_SECONDS = 1.0
# Parts of each half of the run; each gives one point of a line.
PARTS = 12
MIB = 1 << 20
# Growth of resident memory in the second half.
GROWTH = 1 * MIB
# Change of the 99th percentile of short queries over the second half.
DRIFT = 0.10
CLIENTS = 6
# Student's t for 95 % and PARTS − 2 degrees of freedom.
STUDENT = 2.228

SERVE = ("--model", "starter", "--model", "second=starter", "--classifiers", "classifiers",
         "--max-body", "1MiB", "--header-timeout", "5", "--body-timeout", "2",
         "--store", "index.db", "--collection", "docs")


async def soak(options):
    files = {f"note-{n}.md": f"# Note {n}\n\n{text}\n" for n, text in
             enumerate(texts.mixed(20, 9))}
    with Server(options.program, *SERVE, files=files, before=index) as server:
        clients = Clients(server)
        await clients.learn()
        samples = []
        sampler = asyncio.create_task(sample(server, samples))
        end = time.perf_counter() + options.seconds
        await asyncio.gather(
            clients.queries(end), clients.searches(options.program, end),
            *(clients.mixed(end, number) for number in range(CLIENTS)),
        )
        sampler.cancel()
        clients.close()
        panics = sum("panicked" in line for line in server.log())
    return rows(options, clients, samples, panics)


def index(program, folder):
    command = [program, "index", "--store", "index.db", "--collection", "docs", "."]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


class Clients:
    """All clients, and what they got."""

    def __init__(self, server):
        self.server = server
        self.client = Client(server.address)
        self.body = texts.body("how do I charge it")
        self.right = b""
        self.latencies = []
        self.answers = {}
        self.faults = []
        self.texts = texts.mixed(400, 1)

    async def learn(self):
        self.right = (await self.client.post(PATH, self.body)).body

    def close(self):
        self.client.close()

    async def queries(self, end):
        """Short queries, whose latencies are measured."""
        while time.perf_counter() < end:
            start = time.perf_counter()
            answer = await self.client.post(PATH, self.body)
            self.latencies.append((start, time.perf_counter() - start))
            if answer.body != self.right:
                self.faults.append(f"a query: {answer.status} {answer.body[:200]}")
            await asyncio.sleep(0.1)

    async def searches(self, program, end):
        """`kokeshi search` in the store that the server follows."""
        command = [str(program), "search", "--store", "index.db", "--collection", "docs", "--json",
                   "the lighthouse"]
        while time.perf_counter() < end:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=self.server.folder.name, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            status = await process.wait()
            self.count("search", f"status {status}")
            if status not in (0, 1):
                self.faults.append(f"search: status {status}")
            await asyncio.sleep(10)

    async def mixed(self, end, number):
        chance = random.Random(number)
        client = Client(self.server.address)
        while time.perf_counter() < end:
            kind = chance.choices(KINDS, [weight for _, weight in KINDS])[0][0]
            try:
                await kind(self, client, chance)
            except Ended as ended:
                self.faults.append(f"{kind.__name__}: {ended}")
            await asyncio.sleep(chance.expovariate(4))
        client.close()

    def count(self, kind, status):
        self.answers[(kind, status)] = self.answers.get((kind, status), 0) + 1

    async def send(self, client, kind, path, fields, expected=(200, 429)):
        answer = await client.post(path, json.dumps(fields).encode())
        self.count(kind, answer.status)
        if answer.status not in expected:
            self.faults.append(f"{kind}: {answer.status} {answer.body[:200]}")


async def dialects(clients, client, chance):
    text = chance.choice(clients.texts)
    model = chance.choice(("starter", "second", "docs"))
    path, fields = chance.choice((
        (PATH, {"input": [text, text[:100]], "model": model}),
        (PATH, {"input": text, "model": model, "embedding_type": ["base64", "ubinary"]}),
        ("/embed", {"inputs": [text]}),
        ("/embed_all", {"inputs": text[:2000]}),
        ("/api/embed", {"model": model, "input": [text]}),
        ("/api/embeddings", {"model": model, "prompt": text}),
        ("/v2/embed", {"texts": [text], "model": model, "input_type": "search_query"}),
        ("/v1/embed", {"texts": [text]}),
        ("/v1/classify", {"input": [text], "labels": ["water", "trains"]}),
        ("/v1/segment", {"content": text * 20}),
        ("/v1/similarity", {"input": [text, "a note"], "query": "a harbour"}),
        (PATH, {"input": [[15339, 1917], [1917]]}),
    ))
    await clients.send(client, "dialects", path, fields)


async def late(clients, client, chance):
    chunks = [chance.choice(clients.texts) for _ in range(chance.randint(2, 40))]
    await clients.send(client, "late chunking", PATH, {"input": chunks, "late_chunking": True})


async def cancelled(clients, _, chance):
    """A client that hangs up before its answer."""
    client = Client(clients.server.address)
    fields = {"input": [chance.choice(clients.texts)] * chance.randint(1, 60)}
    try:
        await asyncio.wait_for(client.post(PATH, json.dumps(fields).encode()), chance.random() / 5)
    except (TimeoutError, Ended):
        pass
    clients.count("cancelled", "")
    client.close()


async def bad(clients, _, chance):
    """A hostile request, whatever the answer."""
    one = attack(7, chance.randrange(1 << 30))
    host, port = clients.server.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for part in one.parts:
            writer.write(part)
            await asyncio.sleep(one.pause)
        if not one.leaves:
            await asyncio.wait_for(reader.read(1 << 16), 20)
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.transport.abort()
    clients.count("bad", "")


async def trained(clients, client, chance):
    """A classifier is trained, used and deleted."""
    pairs = [{"text": chance.choice(clients.texts)[:200], "label": f"l{n % 3}"} for n in range(9)]
    answer = await client.post("/v1/train", json.dumps({"input": pairs, "num_iters": 5}).encode())
    clients.count("training", answer.status)
    if answer.status == 200:
        name = json.loads(answer.body)["classifier_id"]
        fields = {"input": ["a text"], "classifier_id": name}
        await clients.send(client, "training", "/v1/classify", fields)
        await client.send(client.request("DELETE", f"/v1/classifiers/{name}"))


KINDS = [(dialects, 60), (late, 10), (cancelled, 10), (bad, 15), (trained, 5)]


async def sample(server, samples):
    while True:
        samples.append((time.perf_counter(), server.resident(), server.descriptors(),
                        server.threads()))
        await asyncio.sleep(SAMPLE_SECONDS)


def rows(options, clients, samples, panics):
    middle = samples[0][0] + (samples[-1][0] - samples[0][0]) / 2
    second = [one for one in samples if one[0] >= middle]
    latencies = [one for one in clients.latencies if one[0] >= middle]
    counts = {}
    for (kind, _), count in clients.answers.items():
        counts[kind] = counts.get(kind, 0) + count
    for fault in clients.faults[:5]:
        print(f"fault: {fault}")
    memory = slope(points(second, 1, statistics.mean))
    p99 = slope(points(latencies, 1, lambda values: percentile(values, 0.99)))
    seconds = [latency for _, latency in latencies]
    level = percentile(seconds, 0.99)
    drift = [value * options.seconds / 2 / 3600 / level for value in p99]
    result = [
        Row("requests", ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))),
        Row("faults, panics", f"{len(clients.faults)}, {panics}", "0",
            not clients.faults and not panics),
        Row("short queries", f"{milliseconds(seconds)} ({len(seconds)}, second half)"),
        Row("resident memory", f"{mebibytes(samples[0][1])} at first, {mebibytes(second[0][1])} "
                               f"after half, {mebibytes(samples[-1][1])} at the end"),
        Row("resident memory, slope of the second half",
            f"{memory[0] / MIB:+.2f} ± {memory[1] / MIB:.2f} MiB per hour",
            f"≤ {GROWTH / MIB:.0f} MiB per hour", verdict(memory, GROWTH)),
        Row("p99 of short queries, change over the second half",
            f"{drift[0]:+.1%} ± {drift[1]:.1%}", f"≤ {DRIFT:.0%}", verdict(drift, DRIFT)),
    ]
    for name, column in (("descriptors", 2), ("threads", 3)):
        line = slope(points(second, column, statistics.mean))
        result.append(Row(f"{name}, slope of the second half",
                          f"{line[0]:+.2f} ± {line[1]:.2f} per hour; "
                          f"{samples[-1][column]} at the end",
                          "not above 0 for certain", line[0] - line[1] <= 0))
    return result


def verdict(line, bar):
    """Held or missed for certain; `None` where the run was too short to know."""
    value, error = line
    if value + error <= bar:
        return True
    return False if value - error > bar else None


def points(samples, column, value):
    """`PARTS` points: the mean time in hours of a part, and the value of the column in it. Parts
    are long, so that their values hardly depend on each other."""
    edges = [round(part * len(samples) / PARTS) for part in range(PARTS + 1)]
    parts = [samples[a:b] for a, b in zip(edges, edges[1:]) if b > a]
    return [(statistics.mean(one[0] for one in part) / 3600,
             value([one[column] for one in part])) for part in parts]


def slope(points):
    """The slope of a line through the points per hour, and the half width of its 95 % interval."""
    mean_x = statistics.mean(x for x, _ in points)
    mean_y = statistics.mean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    value = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - value * (x - mean_x)) ** 2 for x, y in points)
    return value, STUDENT * math.sqrt(rest / (len(points) - 2) / spread)
