"""Search over many vectors: random ones, compared with sqlite-vec, and the bundled model's of text."""

import json
import os
import shutil
import statistics
import subprocess
import time

from program import ROOT
from report import Row

WIDTH = 1024
EXACT_MS, LISTED_MS, FIRST_MS = 150, 25, 1500
RECALL, RATIO = 0.99, 10
NEAR_RECALL = 0.95
# Number of sentences of `text` whose translations are the queries.
QUERIES = 100


def scan(options):
    """Exact search, a short list of bits, and sqlite-vec."""
    return drawn(options, "topics", "bits", peer=True)


def int8(options):
    """A short list of int8 codes of a quarter of the dimensions."""
    return drawn(options, "topics", f"int8:{WIDTH // 4}", peer=False)


def even(options):
    """A short list of bits over unrelated vectors. No bar for recall: no model produces such vectors."""
    return drawn(options, "even", "bits", peer=False, recall_bar=False)


def near(options):
    """The ANN index, compared with a short list of bits and the exact scan."""
    rows, width = options.rows, options.dimensions
    result = measurement(options, "topics", "bits", width)("peer=no", "near=yes")
    if not options.keep:
        shutil.rmtree(options.work)
    index, listed, exact = result["near"], result["short_list"], result["exact"]
    recall = index["recall_10"]
    return [
        Row("rows", f"{rows:,} × {width}, f16, topics; {result['bytes'] / 2**30:.2f} GiB"),
        Row("build of the index", f"{index['build_s']:.0f} s, {index['bytes'] / 2**30:.2f} GiB"),
        Row("ANN index, first after a start", f"{index['times']['first_ms']:.1f} ms"),
        Row("ANN index, warm", f"{index['times']['median_ms']:.2f} ms"),
        Row("recall@10 against exact", f"{recall:.4f}", f"≥ {NEAR_RECALL}", recall >= NEAR_RECALL),
        Row(
            "recall@10 that the build reports",
            f"{index['own_recall_10']:.4f}, with {index['own_queries']} stored vectors as queries",
        ),
        Row("short list of bits, first after a start", f"{listed['first_ms']:.1f} ms"),
        Row("short list of bits, warm", f"{listed['median_ms']:.2f} ms"),
        Row("recall@10 of the short list", f"{result['recall_10']:.4f}"),
        Row("exact, first after a start", f"{exact['first_ms']:.1f} ms"),
        Row("exact, warm", f"{exact['median_ms']:.2f} ms"),
    ]


def measurement(options, data, codes, width):
    """A function that runs the measurement with additional settings."""
    settings = {"rows": options.rows, "dimensions": width, "data": data, "codes": codes}
    command = [
        ROOT / "target/release/examples/search_speed", options.work,
        *(f"{name}={value}" for name, value in settings.items()),
    ]

    def run(*more):
        done = subprocess.run([*command, *more], stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    return run


def drawn(options, data, codes, peer, recall_bar=True):
    run = measurement(options, data, codes, WIDTH)
    result = run("peer=yes" if peer else "peer=no")
    if peer:
        forget(options.work)
        cold = run("peer=no")["exact"]["first_ms"]
    if not options.keep:
        shutil.rmtree(options.work)
    exact, listed = result["exact"], result["short_list"]
    rows = [Row("rows", f"{options.rows:,} × {WIDTH}, f16, {data}; {result['bytes'] / 2**30:.2f} GiB")]
    if peer:
        first = exact["first_ms"]
        rows += [
            bar("exact, first after a start, file in the system's cache", first, FIRST_MS),
            Row("exact, first after a start, file on disk only", f"{cold:.0f} ms"),
            Row("exact, second, which loads the rows into memory", f"{exact['second_ms']:.0f} ms"),
            bar("exact, warm", exact["median_ms"], EXACT_MS),
        ]
    recall = result["recall_10"]
    rows += [
        bar(f"short list of {codes}, first after a start", listed["first_ms"], FIRST_MS),
        bar(f"short list of {codes}, warm", listed["median_ms"], LISTED_MS),
        Row(
            "recall@10 against exact", f"{recall:.4f}",
            *((f"≥ {RECALL}", recall >= RECALL) if recall_bar else ()),
        ),
    ]
    if peer:
        theirs = result["sqlite_vec"]
        ratio = theirs["median_ms"] / exact["median_ms"]
        rows += [
            Row("sqlite-vec, f32, exact, warm", f"{theirs['median_ms']:.0f} ms"),
            Row("rows that both find", f"{theirs['same_rows']:.4f}", "≥ 0.99", theirs["same_rows"] >= 0.99),
            Row("sqlite-vec / exact", f"{ratio:.1f}", f"≥ {RATIO}", ratio >= RATIO),
        ]
    return rows


def forget(folder):
    """Removes the files of `folder` from the system's cache."""
    for file in folder.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def bar(what, milliseconds, limit):
    return Row(what, f"{milliseconds:.1f} ms", f"≤ {limit} ms", milliseconds <= limit)


def text(options):
    """A short list of bits over sentences of many languages; queries are their translations."""
    if not options.sentences:
        raise SystemExit("`text` needs sentences: --sentences FILE…")
    pairs = [json.loads(line) for file in options.sentences for line in file.open()]
    folder = options.work / "text"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    unique = list({pair["sentence1"]: None for pair in pairs} | {p["sentence2"]: None for p in pairs})
    with (folder / "sentences.jsonl").open("w") as file:
        file.writelines(json.dumps(sentence) + "\n" for sentence in unique)
    subprocess.run(
        [options.program, "index", folder, "--shortlist", "bits"], check=True,
        stderr=subprocess.DEVNULL,
    )
    found, times = [], []
    for pair in pairs[:: max(1, len(pairs) // QUERIES)][:QUERIES]:
        def hits(*how, query=pair["sentence1"]):
            command = [options.program, "search", query, folder, "--json", *how]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            return {hit["lines"][0] for hit in json.loads(done.stdout)["hits"]}

        exact = hits("--exact")
        start = time.perf_counter()
        listed = hits()
        times.append(time.perf_counter() - start)
        found.append(len(exact & listed) / len(exact))
    shutil.rmtree(folder)
    recall = statistics.mean(found)
    return [
        Row("vectors", f"{len(unique):,} sentences, bundled model, 256 dimensions, f16"),
        Row("queries", f"{len(found)}, translations of stored sentences"),
        Row("recall@10 of a short list of bits against exact", f"{recall:.4f}",
            f"≥ {RECALL}", recall >= RECALL),
        Row("`kokeshi search`, the whole process", f"{1000 * statistics.median(times):.0f} ms"),
    ]
