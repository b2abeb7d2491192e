"""What a bar was measured to be, and the table of all."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from program import ROOT

sys.path.insert(0, str(ROOT / "bench" / "peers"))
import machine  # noqa: E402

RESULTS = Path(__file__).with_name("results.json")
ORDER = ("overhead", "steady", "overload", "short", "hostile", "stop")


@dataclass
class Row:
    """A bar's row: what was measured, the bar, and whether it is held (`None`: no bar)."""

    what: str
    measured: str
    bar: str = ""
    held: bool | None = None

    def line(self):
        verdict = {True: "held", False: "MISSED", None: ""}[self.held]
        return f"| {self.what} | {self.measured} | {self.bar} | {verdict} |"


def show(name, rows):
    print(f"\n{name}")
    for row in rows:
        verdict = {True: "held", False: "MISSED", None: ""}[row.held]
        bar = f"  (bar: {row.bar}: {verdict})" if row.bar else ""
        print(f"  {row.what}: {row.measured}{bar}", flush=True)


def commit():
    """The last commit of what was measured; `-dirty` where files differ from it."""
    paths = ["--", "crates", "Cargo.lock", "bench/serve/*.py"]
    git = lambda *what: subprocess.run(  # noqa: E731
        ["git", *what, *paths], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    return git("log", "-1", "--abbrev=12", "--format=%h") + "-dirty" * bool(
        git("status", "--porcelain")
    )


def keep(name, rows, command):
    """Puts a bar's rows into results.json, and writes the table of all that are there."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[name] = {
        "command": command,
        "commit": commit(),
        "machine": machine.describe(),
        "rows": [asdict(row) for row in rows],
    }
    results = {known: results[known] for known in ORDER if known in results}
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    RESULTS.with_name("RESULTS.md").write_text(document(results))


def document(results):
    lines = [
        "# The server under load",
        "",
        "Written by `bench/serve/bars.py --write`; `README.md` says how each bar is measured.",
    ]
    for name, result in results.items():
        m = result["machine"]
        lines += [
            "",
            f"## {name}",
            "",
            f"`{result['command']}`, commit {result['commit']}, {m['processor']} ({m['family']}; "
            f"{' '.join(m['instructions'])}), {m['cores']} cores, {m['memory_gib']} GiB, "
            f"{m['system']}",
            "",
            "| what | measured | bar | |",
            "|---|---|---|---|",
            *(Row(**row).line() for row in result["rows"]),
        ]
    return "\n".join(lines) + "\n"
