"""The results of bars, and the table of all results."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

from program import ROOT

sys.path.insert(0, str(ROOT / "bench" / "peers"))
import machine  # noqa: E402


@dataclass(frozen=True)
class Table:
    """The results of a `bars.py`: results.json and RESULTS.md in a folder of `bench`."""

    folder: str
    title: str
    order: tuple[str, ...]

    @property
    def results(self):
        return ROOT / "bench" / self.folder / "results.json"


SERVER = Table(
    "serve",
    "The server under load",
    ("overhead", "steady", "overload", "short", "hostile", "stop", "search", "storm", "attacks", "soak"),
)


@dataclass
class Row:
    """A row: what was measured, the bar, and whether it is held (`None`: there is no bar)."""

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


def commit(table):
    """The last commit of the measured files, with `-dirty` if they differ from it."""
    paths = ["--", "crates", "Cargo.lock", f"bench/{table.folder}/*.py"]
    git = lambda *what: subprocess.run(  # noqa: E731
        ["git", *what, *paths], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    return git("log", "-1", "--abbrev=12", "--format=%h") + "-dirty" * bool(
        git("status", "--porcelain")
    )


def keep(name, rows, command, table=SERVER):
    """Adds the rows of a bar to results.json, and writes the table of all results."""
    file = table.results
    results = json.loads(file.read_text()) if file.exists() else {}
    results[name] = {
        "command": command,
        "commit": commit(table),
        "machine": machine.describe(),
        "rows": [asdict(row) for row in rows],
    }
    results = {known: results[known] for known in table.order if known in results}
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    file.with_name("RESULTS.md").write_text(document(table, results))


def document(table, results):
    lines = [
        f"# {table.title}",
        "",
        f"Written by `bench/{table.folder}/bars.py --write`; `README.md` explains how each bar is measured.",
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
