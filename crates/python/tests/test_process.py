"""Processes: forks, interrupts, the program."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from conftest import program


def _in_child(model, queue):
    queue.put(model.encode(["in a child", "of a fork"]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_after_threads_have_started_does_not_hang(model):
    expected = model.encode(["in a child", "of a fork"])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=_in_child, args=(model, queue)) for _ in range(2)]
    [child.start() for child in children]
    results = [queue.get(timeout=120) for _ in children]
    [child.join(timeout=60) for child in children]
    assert all(child.exitcode == 0 for child in children)
    assert all(np.array_equal(result, expected) for result in results)
    # The parent goes on as well.
    assert np.array_equal(model.encode(["in a child", "of a fork"]), expected)


def test_an_interrupt_ends_a_long_call():
    code = textwrap.dedent("""
        import kokeshi
        model = kokeshi.Model("starter")
        model.encode("warm")
        print("ready", flush=True)
        model.encode(["a sentence of some words that takes a while"] * 1_000_000)
    """)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout.readline() == b"ready\n"
    time.sleep(2)
    child.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, errors = child.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors and time.monotonic() - start < 20


def test_the_program_is_part_of_the_package(tmp_path):
    assert program("--version").stdout.startswith("kokeshi 0.")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.html").write_text("<p>The lamp in the hall is too dark.")
    (tmp_path / "notes/b.md").write_text("# Ships\n\nThe harbour log lists every boat.")
    # A web page is read by another process of the program.
    index = program("index", "notes", cwd=tmp_path)
    assert index.returncode == 0 and "indexed 2 documents" in index.stderr, index.stderr
    found = program("search", "brighter light", "notes", "-l", cwd=tmp_path)
    assert found.stdout.splitlines()[0] == "notes/a.html"
    assert program("search", "", "notes", cwd=tmp_path).returncode == 4
    assert program("embed", "--no-such-option").returncode == 2
