"""Measures the bars of `kokeshi index`, `search` and `dedupe`, one command per bar.

Prints each figure next to its bar, and exits with status 1 if one is missed. README.md explains
what is measured and how.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "serve"))

import report  # noqa: E402
from duplicates import dedupe, million  # noqa: E402
from durable import durable  # noqa: E402
from indexing import throughput, unchanged  # noqa: E402
from program import ROOT  # noqa: E402
from quality import quality  # noqa: E402
from scan import even, int8, near, scan, text  # noqa: E402

BARS = {
    "scan": scan,
    "int8": int8,
    "even": even,
    "near": near,
    "text": text,
    "throughput": throughput,
    "unchanged": unchanged,
    "durable": durable,
    "quality": quality,
    "dedupe": dedupe,
    "million": million,
}
TABLE = report.Table("search", "Index, search and dedupe", tuple(BARS))


def main():
    options = arguments()
    rows = BARS[options.bar](options)
    report.show(options.bar, rows)
    if options.write:
        # Only the names of data sets: where they are does not matter.
        words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
        report.keep(options.bar, rows, " ".join(["bars.py", *words]), TABLE)
    sys.exit(any(row.held is False for row in rows))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bar", choices=list(BARS))
    parser.add_argument("--rows", type=int, default=1_000_000, help="of `scan`, `int8`, `even`, `near`")
    parser.add_argument("--dimensions", type=int, default=1024, help="of `near`")
    parser.add_argument("--texts", type=int, default=2000, help="of `throughput`")
    parser.add_argument("--files", type=int, default=20_000, help="of `unchanged`")
    parser.add_argument("--lines", type=int, default=100_000, help="of `dedupe`")
    parser.add_argument("--rounds", type=int, default=3, help="of `throughput`, `unchanged`")
    parser.add_argument(
        "--sets", type=Path, nargs="+", default=[], metavar="FOLDER",
        help="of `quality`: retrieval sets in the layout of BEIR",
    )
    parser.add_argument(
        "--answers", type=Path, nargs="+", default=[], metavar="FOLDER",
        help="of `quality`: long texts, `documents.jsonl` (`_id`, `text`), and `questions.jsonl` "
        "(`_id`, `text`, `doc`: the document that answers it)",
    )
    parser.add_argument(
        "--sentences", type=Path, nargs="+", default=[], metavar="FILE",
        help="of `text`: JSON lines with pairs of sentences, `sentence1` and `sentence2`",
    )
    parser.add_argument("--work", type=Path, default=ROOT / "target/search", help="default: %(default)s")
    parser.add_argument("--keep", action="store_true", help="do not remove the large stores in --work")
    parser.add_argument(
        "--program", type=Path, default=ROOT / "target/release/kokeshi", help="default: %(default)s"
    )
    parser.add_argument("--write", action="store_true", help="write the result to RESULTS.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
