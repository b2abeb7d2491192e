"""The program's tests of killed processes, two writers at once, and a full disk."""

import subprocess

from program import ROOT
from report import Row

TESTS = {
    "fifty_kills_lose_and_duplicate_nothing": "50 kills at random moments",
    "two_writers_at_once_write_everything_once": "two writers at once",
    "a_full_disk_is_reported_and_loses_nothing": "a full disk",
}


def durable(_options):
    command = ["cargo", "test", "--quiet", "--package", "kokeshi-cli", "--test", "cli", "--",
               "--nocapture", "--exact", *(f"durable::{name}" for name in TESTS)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    ran = f"test result: ok. {len(TESTS)} passed" in done.stdout
    if not ran:
        print(done.stdout)
    skipped = [line for line in done.stdout.splitlines() if line.startswith("skipped")]
    skips = f"; {'; '.join(skipped)}" if skipped else ""
    found = "no chunk lost or duplicated" if ran else "see above"
    return [Row(", ".join(TESTS.values()), found + skips, "none lost or duplicated", ran)]
