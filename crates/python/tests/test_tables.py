"""Files of rows: the batch contract from Python."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from conftest import TINY

from kokeshi import tables

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def rows(tmp_path):
    """Twelve files of rows with ids."""
    (tmp_path / "in").mkdir()
    for file in range(12):
        lines = [{"id": 100 * file + row, "text": f"Row {row} of {file}"} for row in range(100)]
        content = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"in/{file:02}.jsonl").write_text(content)
    return tmp_path


def read(folder):
    table = pyarrow.concat_tables(
        parquet.read_table(path) for path in sorted(folder.glob("*.parquet"))
    )
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    return table["id"].to_pylist(), vectors


def test_a_job_embeds_every_row_once(rows, tiny):
    summary = tables.embed(rows / "in/*.jsonl", rows / "out", model=tiny)
    assert (summary.files, summary.vectors, summary.failed) == (12, 1200, 0)
    ids, vectors = read(rows / "out")
    assert ids == list(range(1200))
    texts = [f"Row {row} of {file}" for file in range(12) for row in range(100)]
    assert np.array_equal(vectors, tiny.encode(texts))
    again = tables.embed(rows / "in/*.jsonl", rows / "out", model=tiny)
    assert (again.files, again.before, again.vectors) == (0, 12, 0)
    with pytest.raises(ValueError, match="has vectors with task null, not"):
        tables.embed(rows / "in/*.jsonl", rows / "out", model=tiny, task="separation")


def test_processes_share_a_job(rows, tiny):
    for number in (1, 2, 3):
        tables.embed(rows / "in/*.jsonl", rows / "out", model=tiny, shard=(number, 3))
    assert read(rows / "out")[0] == list(range(1200))
    with pytest.raises(ValueError, match="is not a number of 3"):
        tables.embed(rows / "in/*.jsonl", rows / "out", model=tiny, shard=(4, 3))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file matches"):
        tables.embed(tmp_path / "*.parquet", tmp_path / "out")


def test_kills_lose_and_double_nothing(rows, tiny):
    code = textwrap.dedent(f"""
        import kokeshi
        from kokeshi import tables
        model = kokeshi.Model({str(TINY)!r}, precision="f32", threads=1)
        tables.embed({str(rows / "in/*.jsonl")!r}, {str(rows / "out")!r}, model=model)
    """)

    def start():
        return subprocess.Popen([sys.executable, "-c", code])

    whole = time.monotonic()
    assert start().wait(timeout=120) == 0
    whole = time.monotonic() - whole
    expected = read(rows / "out")
    for path in (rows / "out").rglob("*.parquet"):
        path.unlink()
    generator = random.Random(1)
    for _ in range(5):
        child = start()
        time.sleep(generator.uniform(0.2, whole))
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=60)
    assert start().wait(timeout=120) == 0
    ids, vectors = read(rows / "out")
    assert ids == expected[0] and np.array_equal(vectors, expected[1])


def test_an_interrupt_leaves_no_part(rows, tiny):
    job = tables.Job([str(rows / "in/*.jsonl")], str(rows / "out"), model=tiny)
    shard = job.plan()[0]

    def interrupt(*_):
        raise KeyboardInterrupt

    big = [{"id": row, "text": f"Row {row}" * 20} for row in range(20_000)]
    (rows / "in/00.jsonl").write_text("".join(json.dumps(line) + "\n" for line in big))
    shard = job.plan()[0]
    with pytest.raises(KeyboardInterrupt):
        job.run(shard, interrupt)
    assert not list((rows / "out").glob("*.parquet"))
    assert not list((rows / "out/_kokeshi").glob("*.partial"))
    assert os.listdir(rows / "out") == ["_kokeshi"]
