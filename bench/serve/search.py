"""Searches of a collection over HTTP: how many per second, and their latencies at half of that."""

import json
import random
import shutil
import subprocess
import time

import texts
from load import Load, latencies, milliseconds, percentile
from program import ROOT, Processor, Server
from report import Row

CLIENTS = 32
PASSES = 5
QUERIES = 400
"""Words of a chunk and of a query."""
CHUNK_WORDS = (6, 12)
QUERY_WORDS = (3, 8)
BAR_RATE = 300
BAR_SECONDS = 0.050


async def search(options):
    store = collection(options.program, options.chunks)
    with Server(options.program, "--store", str(store), "--collection", "default") as server:
        chance = random.Random(2)
        queries = [texts.sentence(chance, chance.randint(*QUERY_WORDS)) for _ in range(QUERIES)]
        load = Load(server.address, queries, path="/v1/search", body=body)
        await load.learn()
        start = time.perf_counter()
        samples = await load.closed(CLIENTS, PASSES)
        rate = len(samples) / (time.perf_counter() - start)
        processor = Processor(server)
        half = await load.open(BAR_RATE / 2, options.seconds)
        cores = processor.cores()
        slow = percentile(latencies(half), 0.99)
        faults = [s.error or s.status for s in samples + half if s.status != 200 or s.error]
        resident = server.resident() / 2**20
    for fault in faults[:5]:
        print(f"fault: {fault}")
    return [
        Row("collection", f"{options.chunks} chunks, {store.stat().st_size / 2**20:.0f} MiB"),
        Row("errors", str(len(faults)), "0", not faults),
        Row("searches", f"{rate:.0f} per second ({CLIENTS} clients, closed loop)",
            f"≥ {BAR_RATE} per second", rate >= BAR_RATE),
        Row(f"at {BAR_RATE // 2} per second", milliseconds(latencies(half)),
            f"p99 ≤ {1e3 * BAR_SECONDS:.0f} ms", slow <= BAR_SECONDS),
        Row("processor", cores),
        Row("resident memory", f"{resident:.0f} MiB"),
    ]


def body(text):
    """A search without best sentences, which would measure the model."""
    return json.dumps({"query": text, "best_sentences": False}, ensure_ascii=False).encode()


def collection(program, chunks):
    """The store of a collection with one chunk per row, written once."""
    folder = ROOT / "target" / f"search-{chunks}"
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        chance = random.Random(1)
        with (partial / "rows.jsonl").open("w") as rows:
            for number in range(chunks):
                text = texts.sentence(chance, chance.randint(*CHUNK_WORDS))
                rows.write(json.dumps({"text": f"{number} {text}", "part": number % 10}) + "\n")
        command = [program, "index", "rows.jsonl", "--store", "index.db", "--late-chunking", "false"]
        subprocess.run(command, cwd=partial, check=True)
        partial.rename(folder)
    return folder / "index.db"
