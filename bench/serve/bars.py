"""Measures the bars of `kokeshi serve`, one command per bar.

Prints each figure next to its bar, and exits with status 1 if one is missed. README.md explains
what is measured and how.
"""

import argparse
import asyncio
import resource
import sys
from pathlib import Path

import report
from attacks import ATTACKS, attacks
from hostile import hostile
from overload import overload
from program import ROOT
from search import search
from short import short
from soak import soak
from steady import steady
from stop import stop
from storm import storm_bar
from throughput import overhead

# For each bar: the function that measures it, and its default duration in seconds.
BARS = {
    "overhead": (overhead, 0),
    "steady": (steady, 300),
    "overload": (overload, 30),
    "short": (short, 40),
    "hostile": (hostile, 0),
    "stop": (stop, 3),
    "search": (search, 30),
    "storm": (storm_bar, 0),
    "attacks": (attacks, 10),
    "soak": (soak, 7200),
}


def main():
    options = arguments()
    # Overload opens thousands of connections.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    measure, seconds = BARS[options.bar]
    options.seconds = seconds if options.seconds is None else options.seconds
    rows = asyncio.run(measure(options))
    report.show(options.bar, rows)
    if options.write:
        report.keep(options.bar, rows, " ".join(["bars.py", *sys.argv[1:]]))
    sys.exit(any(row.held is False for row in rows))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bar", choices=list(BARS))
    parser.add_argument("--seconds", type=float, help="duration, if the bar has one")
    parser.add_argument("--texts", type=int, default=400, help="number of different texts")
    parser.add_argument("--chunks", type=int, default=100_000, help="of `search`")
    parser.add_argument("--rounds", type=int, default=7, help="of `overhead`")
    parser.add_argument("--requests", type=int, default=10_000, help="of `hostile`")
    parser.add_argument("--seed", type=int, default=1, help="of `hostile`")
    parser.add_argument("--only", type=int, help="of `hostile`: send only this request, and print it")
    parser.add_argument("--attack", action="append", choices=list(ATTACKS),
                        help="of `attacks`: only this one; repeatable")
    parser.add_argument("--rest", type=float, default=60,
                        help="of `attacks`: seconds after an attack until memory is read")
    parser.add_argument("--model", type=Path, help="of `short`: a checkpoint folder, instead of a "
                        "synthetic one of the released shape")
    parser.add_argument(
        "--serve", action="append", default=[], metavar="OPTION",
        help="an option for the server, as --serve=--queue-tokens=65536; of `overload` and `storm`",
    )
    parser.add_argument(
        "--program", type=Path, default=ROOT / "target/release/kokeshi", help="default: %(default)s"
    )
    parser.add_argument("--write", action="store_true", help="write the result to RESULTS.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
