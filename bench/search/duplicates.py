"""`kokeshi dedupe` over many lines: time, memory, and its result compared with all pairs."""

import json
import shutil
import subprocess
import time

import lines
from indexing import anonymous
from report import Row

THRESHOLD = 0.9
# Vectors of kept texts are in half precision, which can change a cosine by this much.
TOLERANCE = 0.001
# For this many lines, all pairs are computed in a few seconds.
CHECKED = 20_000
BLOCK = 2000


def dedupe(options):
    """All pairs of 20,000 lines; then `--lines` of them, with and without `--exact`."""
    rows = checked(options)
    fast, exact = Dedupe(options, options.lines), Dedupe(options, options.lines, "--exact")
    rows += result_rows("", fast) + result_rows("with --exact: ", exact)
    # Both drop all copies; of the near duplicates, only --exact finds all.
    share = fast.answer["near"] / exact.answer["near"]
    what = "share of the near duplicates of --exact that are found without it"
    return [*rows, Row(what, f"{share:.4f}")]


def million(options):
    """1,000,000 lines."""
    return result_rows("", Dedupe(options, 1_000_000))


class Dedupe:
    """A finished run over `count` lines."""

    def __init__(self, options, count, *how):
        folder = options.work / "dedupe"
        folder.mkdir(parents=True, exist_ok=True)
        self.file, answer = folder / "lines.txt", folder / "answer.json"
        self.lines, copies = lines.drawn(count, seed=1)
        self.file.write_text("".join(line + "\n" for line in self.lines))
        command = [options.program, "dedupe", "--json", "--threshold", str(THRESHOLD), *how,
                   "--input-format", "lines", "--input", self.file, "--output", folder / "kept.txt"]
        self.memory = 0
        with answer.open("w") as out:
            start = time.perf_counter()
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
            while process.poll() is None:
                self.memory = max(self.memory, anonymous(process.pid))
                time.sleep(0.02)
            self.seconds = time.perf_counter() - start
        if process.returncode:
            raise SystemExit("kokeshi dedupe failed")
        self.answer = json.loads(answer.read_text())
        kept = (folder / "kept.txt").read_text().splitlines()
        self.check(kept, copies)
        shutil.rmtree(folder)

    def check(self, kept, copies):
        """Fails unless every line is kept, in order, or dropped, and all copies are found."""
        dropped = {text["index"] for group in self.answer["groups"] for text in group["dropped"]}
        wanted = [line for index, line in enumerate(self.lines) if index not in dropped]
        if kept != wanted or len(set(kept)) != len(kept) or self.answer["copies"] < copies:
            raise SystemExit("the file of kept lines does not match the reported result")


def result_rows(how, run):
    answer, count = run.answer, len(run.lines)
    rows = [
        Row(f"{how}{count:,} lines", f"{run.seconds:.1f} s, {count / run.seconds:,.0f} lines/s"),
        Row(f"{how}peak of anonymous memory", f"{run.memory / 2**20:.0f} MiB"),
        Row(f"{how}result", f"{answer['kept']:,} kept, {answer['copies']:,} copies and "
            f"{answer['near']:,} near duplicates dropped"),
    ]
    if answer["recall"] is not None:
        what = f"{how}share of near duplicates found, as the program estimates"
        rows.append(Row(what, f"{answer['recall']:.4f}"))
    return rows


def checked(options):
    """The result for `CHECKED` lines, compared with the cosines of all pairs."""
    try:
        import numpy
    except ImportError:
        raise SystemExit("all pairs are computed with NumPy: python3 -m pip install numpy") from None
    run = Dedupe(options, CHECKED)
    vectors = embedded(options, run.lines, numpy)
    dropped = {
        text["index"]: (group["kept"]["index"], text["cosine"])
        for group in run.answer["groups"] for text in group["dropped"]
    }
    off = far = 0
    for index, (leader, cosine) in dropped.items():
        true = float(vectors[index] @ vectors[leader])
        off += abs(true - cosine) > TOLERANCE
        far += true < THRESHOLD - TOLERANCE or leader in dropped or leader >= index
    kept = vectors[[index for index in range(CHECKED) if index not in dropped]]
    near = 0
    for start in range(0, len(kept), BLOCK):
        cosines = kept[start : start + BLOCK] @ kept.T
        earlier = numpy.tri(len(cosines), len(kept), start - 1, dtype=bool)
        near += int(((cosines >= THRESHOLD + TOLERANCE) & earlier).any(axis=1).sum())
    return [
        *result_rows("", run),
        Row("dropped, but not near an earlier kept line", str(far), "0", far == 0),
        Row("dropped with a cosine other than NumPy's", str(off), "0", off == 0),
        Row("kept, but near an earlier kept line", str(near), "0", near == 0),
    ]


def embedded(options, chosen, numpy):
    folder = options.work / "dedupe"
    folder.mkdir(parents=True)
    file, vectors = folder / "lines.txt", folder / "lines.npy"
    file.write_text("".join(line + "\n" for line in chosen))
    command = [options.program, "embed", "--task", "text-matching", "--input-format", "lines",
               "--input", file, "--output", vectors]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    found = numpy.load(vectors)
    shutil.rmtree(folder)
    return found
