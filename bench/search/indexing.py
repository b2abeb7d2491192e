"""Indexing, compared with the library's batch call over the same texts; its memory; and a run that has
nothing to do."""

import json
import os
import re
import shutil
import statistics
import subprocess
import time

import texts
from report import Row
from throughput import Library

RATIO = 0.85
# Of anonymous memory, if there are four times as many texts.
GROWTH = 1.10
UNCHANGED_S = 3
# Files are an hour old, because the times of new files are not trusted.
HOUR = 3600


def throughput(options):
    """Tokens per second of the whole process `kokeshi index`, which takes turns with the library."""
    chosen = texts.mixed(options.texts, seed=1)
    folder = write(options.work / "texts", chosen)
    library = Library(chosen)
    ours, theirs = [], []
    for _ in range(options.rounds):
        answer = library.ask("time")
        theirs.append(answer["tokens"] / answer["seconds"])
        run = Index(options, folder)
        ours.append(run.tokens / run.seconds)
        run.check(documents=len(chosen))
    library.close()
    many = texts.mixed(4 * options.texts, seed=2)
    long = Index(options, write(options.work / "texts", many))
    long.check(documents=len(many))
    shutil.rmtree(folder)
    ratios = [a / b for a, b in zip(ours, theirs)]
    ratio, growth = statistics.median(ratios), long.anonymous / run.anonymous
    mib = lambda run: f"{run.anonymous / 2**20:.0f} MiB"  # noqa: E731
    return [
        Row("texts", f"{len(chosen)} files, {run.tokens} tokens, {run.chunks} chunks"),
        Row("library, one call", f"{statistics.median(theirs):.0f} tokens/s"),
        Row("`kokeshi index`, the whole process", f"{statistics.median(ours):.0f} tokens/s"),
        Row(
            "index / library", f"{ratio:.3f} (rounds {', '.join(f'{r:.3f}' for r in ratios)})",
            f"≥ {RATIO}", ratio >= RATIO,
        ),
        Row("peak of anonymous memory", mib(run)),
        Row(
            "the same with four times the texts", f"{mib(long)}, {growth:.3f} times",
            f"≤ {GROWTH} times", growth <= GROWTH,
        ),
    ]


def unchanged(options):
    """Seconds of a second run over unchanged files."""
    words = texts.WORDS
    chosen = [" ".join(words[at % 50 :][:8] + [str(at)]) for at in range(options.files)]
    folder = write(options.work / "files", chosen)
    Index(options, folder).check(documents=len(chosen))
    seconds = []
    for _ in range(options.rounds):
        again = Index(options, folder, fresh=False)
        if f"{len(chosen)} unchanged" not in again.said or again.tokens:
            raise SystemExit(f"the second run had something to do: {again.said}")
        seconds.append(again.seconds)
    shutil.rmtree(folder)
    median = statistics.median(seconds)
    return [
        Row("files", f"{len(chosen)}, one text each, in folders of 100"),
        Row("no-change re-index", f"{median:.2f} s", f"≤ {UNCHANGED_S} s", median <= UNCHANGED_S),
    ]


def write(folder, chosen):
    """A file for each text, an hour old."""
    shutil.rmtree(folder, ignore_errors=True)
    then = time.time() - HOUR
    for at, text in enumerate(chosen):
        path = folder / f"{at // 100:04}" / f"{at:06}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (then, then))
    return folder


class Index:
    """A finished run of `kokeshi index FOLDER`, into a new store if it is `fresh`."""

    def __init__(self, options, folder, fresh=True):
        self.program, self.folder = options.program, folder
        if fresh:
            shutil.rmtree(folder / ".kokeshi", ignore_errors=True)
        self.anonymous = 0
        start = time.perf_counter()
        process = subprocess.Popen(
            [options.program, "index", folder], stderr=subprocess.PIPE, text=True
        )
        while process.poll() is None:
            self.anonymous = max(self.anonymous, anonymous(process.pid))
            time.sleep(0.01)
        self.seconds = time.perf_counter() - start
        self.said = process.stderr.read()
        if process.returncode:
            raise SystemExit(f"kokeshi index failed: {self.said}")
        numbers = re.search(r"\((\d+) chunks?, (\d+) tokens?\)", self.said)
        self.chunks, self.tokens = int(numbers[1]), int(numbers[2])

    def check(self, documents):
        """Fails unless the store has all documents and is up to date."""
        file = self.folder / ".kokeshi/index.db"
        command = [self.program, "status", "--json", "--store", file]
        status = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        found = status["collections"][0]
        if (found["documents"], found["files_to_look_at"]) != (documents, 0):
            raise SystemExit(f"expected {documents} documents and no files to look at: {found}")


def anonymous(pid):
    """Bytes of anonymous memory, which belongs to no file; 0 once the process has ended."""
    try:
        status = open(f"/proc/{pid}/status").read()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0
