"""`kokeshi dedupe` over many lines: time, memory, and what all pairs say of its result."""

import json
import shutil
import subprocess
import time

import lines
from indexing import anonymous
from report import Row

THRESHOLD = 0.9
# Vectors of kept texts are held in half precision: a cosine may be off by so much.
TOLERANCE = 0.001
# All pairs of so many lines are computed in a few seconds.
CHECKED = 20_000
BLOCK = 2000


def dedupe(options):
    """All pairs of 20,000 lines; then `--lines` of them, with and without `--exact`."""
    rows = checked(options)
    fast, exact = Dedupe(options, options.lines), Dedupe(options, options.lines, "--exact")
    rows += told("", fast) + told("with --exact: ", exact)
    # Both leave copies out; of the others, --exact finds all.
    share = fast.answer["near"] / exact.answer["near"]
    return [*rows, Row("near duplicates of --exact that are found without it", f"{share:.4f}")]


def million(options):
    """1,000,000 lines."""
    return told("", Dedupe(options, 1_000_000))


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
        """Every line is kept or left out, in order, and all copies are found."""
        dropped = {text["index"] for group in self.answer["groups"] for text in group["dropped"]}
        wanted = [line for index, line in enumerate(self.lines) if index not in dropped]
        if kept != wanted or len(set(kept)) != len(kept) or self.answer["copies"] < copies:
            raise SystemExit("what was written is not what was kept")


def told(how, run):
    answer, count = run.answer, len(run.lines)
    rows = [
        Row(f"{how}{count:,} lines", f"{run.seconds:.1f} s, {count / run.seconds:,.0f} lines/s"),
        Row(f"{how}most memory that is not of a file", f"{run.memory / 2**20:.0f} MiB"),
        Row(f"{how}result", f"{answer['kept']:,} kept, {answer['copies']:,} copies and "
            f"{answer['near']:,} near duplicates left out"),
    ]
    if answer["recall"] is not None:
        rows.append(Row(f"{how}found, as the program estimates", f"{answer['recall']:.4f}"))
    return rows


def checked(options):
    """The result for `CHECKED` lines beside the cosines of all pairs."""
    try:
        import numpy
    except ImportError:
        raise SystemExit("all pairs are computed with NumPy: python3 -m pip install numpy") from None
    run = Dedupe(options, CHECKED)
    vectors = embedded(options, run.lines, numpy)
    left_out = {
        text["index"]: (group["kept"]["index"], text["cosine"])
        for group in run.answer["groups"] for text in group["dropped"]
    }
    off = far = 0
    for index, (leader, cosine) in left_out.items():
        true = float(vectors[index] @ vectors[leader])
        off += abs(true - cosine) > TOLERANCE
        far += true < THRESHOLD - TOLERANCE or leader in left_out or leader >= index
    kept = vectors[[index for index in range(CHECKED) if index not in left_out]]
    near = 0
    for start in range(0, len(kept), BLOCK):
        cosines = kept[start : start + BLOCK] @ kept.T
        earlier = numpy.tri(len(cosines), len(kept), start - 1, dtype=bool)
        near += int(((cosines >= THRESHOLD + TOLERANCE) & earlier).any(axis=1).sum())
    return [
        *told("", run),
        Row("of these, left out without a kept line before them that is near", str(far), "0", far == 0),
        Row("left out with another cosine than NumPy's", str(off), "0", off == 0),
        Row("kept though near to a kept line before them", str(near), "0", near == 0),
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
