"""The program under test: started on a free port, watched, stopped."""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# A model of a few milliseconds per pass, under the bundled model's name, for bars that compare answers
# and do not measure times.
TINY = ("--model", f"starter={ROOT / 'fixtures/v3-tiny/original'}")

TICKS = os.sysconf("SC_CLK_TCK")


class Processor:
    """The processor time of the server, of this process, and of others, which distort a figure."""

    def __init__(self, server):
        self.server = server
        self.start = self.now()

    def now(self):
        # user, nice, system; irq, softirq, steal.
        fields = [int(field) for field in Path("/proc/stat").read_text().split()[1:9]]
        busy = (sum(fields[:3]) + sum(fields[5:])) / TICKS
        return time.perf_counter(), self.server.seconds(), time.process_time(), busy

    def cores(self):
        """The cores in use, as the text of a row."""
        wall, server, ours, busy = (b - a for a, b in zip(self.start, self.now()))
        others = max(0.0, busy - server - ours)
        shares = (("server", server), ("load generator", ours), ("others", others))
        return ", ".join(f"{name} {seconds / wall:.2f}" for name, seconds in shares) + " cores"


class Server:
    """`kokeshi serve` with `arguments`. As a context manager, it is killed at the end."""

    def __init__(self, program, *arguments, files=None, before=None):
        """`files`: name → text of files in its working folder; `before` is called with the program
        and that folder before the start."""
        self.folder = tempfile.TemporaryDirectory()
        for name, text in (files or {}).items():
            (Path(self.folder.name) / name).write_text(text)
        if before:
            before(program, self.folder.name)
        command = [program, "serve", "--port", "0", "--log-format", "json", *arguments]
        self.process = subprocess.Popen(
            command, cwd=self.folder.name, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, errors="replace",
        )
        self.lines = []
        self.address = self.wait_for_address()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def wait_for_address(self):
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"listening on http://([\w.:\[\]]+)", line)
            if found:
                return found[1]
        raise SystemExit("the server did not start:\n" + "".join(self.lines))

    def read(self):
        self.lines.extend(self.process.stderr)

    def log(self):
        """The lines of its log so far; all of them once it has ended."""
        if self.process.poll() is not None:
            self.reader.join()
        return list(self.lines)

    def answered(self):
        """Request id → status of every request in the log."""
        entries = (json.loads(line) for line in self.log() if line.startswith("{"))
        return {e["request_id"]: e["status"] for e in entries if e.get("message") == "request"}

    def resident(self):
        """The resident memory of the process in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])

    def descriptors(self):
        """The number of open files, sockets included."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def seconds(self):
        """Processor time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds):
        """The exit status; `None` if the process does not end in time."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        return self.process.poll()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()
