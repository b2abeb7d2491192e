"""Ray, Spark and Daft, where they are installed: a local cluster, a lost worker, a lost executor."""

import json
import os
import shutil
import signal
import sys
import threading
import time

import numpy as np
import pytest
from conftest import TINY

import kokeshi
from kokeshi import tables

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def rows(tmp_path):
    """Eight Parquet files of rows with ids."""
    (tmp_path / "in").mkdir()
    for file in range(8):
        ids = list(range(200 * file, 200 * file + 200))
        table = pa.table({"id": ids, "text": [f"Row {n} of many, and then some" for n in ids]})
        parquet.write_table(table, tmp_path / f"in/{file}.parquet")
    return tmp_path


def one_thread():
    return kokeshi.Model(str(TINY), precision="f32", threads=1, device="cpu")


def expected(model):
    return model.encode([f"Row {n} of many, and then some" for n in range(1600)])


def complete(table, model):
    """Whether a table has each row once, with its vector."""
    table = table.sort_by("id")
    assert table["id"].to_pylist() == list(range(1600))
    return np.array_equal(np.array(table["embedding"].to_pylist(), dtype=np.float32), expected(model))


class TestRay:
    @pytest.fixture(scope="class")
    def cluster(self):
        """A head node and two others, each a process of its own."""
        pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        import ray

        head = {"num_cpus": 0, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        # One for an actor that embeds, and one for reading.
        nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster, nodes
        ray.shutdown()
        cluster.shutdown()

    def test_map_batches(self, cluster, rows, tiny):
        import ray

        embedder = kokeshi.Embedder("text", model=one_thread())
        data = ray.data.read_parquet(str(rows / "in")).map_batches(
            embedder.__class__,
            fn_constructor_args=("text",),
            fn_constructor_kwargs={"model": one_thread()},
            concurrency=2,
            batch_format="pyarrow",
            batch_size=256,
        )
        assert complete(pa.concat_tables(ray.get(data.to_arrow_refs())), tiny)

    def test_a_lost_worker_and_a_lost_node_lose_nothing(self, cluster, rows, tiny):
        from kokeshi.ray import embed

        whole, nodes = cluster
        lost = []

        def attack():
            """Kills a worker that embeds, and later a node."""
            deadline = time.monotonic() + 60
            while not lost and time.monotonic() < deadline:
                for process in os.listdir("/proc"):
                    name = _name(process)
                    if name.startswith("ray::_run"):
                        os.kill(int(process), signal.SIGKILL)
                        lost.append(process)
                        break
                time.sleep(0.02)
            whole.remove_node(nodes[1])
            lost.append("node")

        attacker = threading.Thread(target=attack)
        attacker.start()
        job = {"model": one_thread(), "num_cpus": 1, "shard_bytes": 1}
        summary = embed(rows / "in/*.parquet", rows / "out", **job)
        attacker.join()
        assert len(lost) == 2, lost
        assert summary.vectors + 200 * summary.before == 1600
        files = sorted((rows / "out").glob("*.parquet"))
        assert complete(pa.concat_tables(parquet.read_table(file) for file in files), tiny)
        # Nothing is left to do.
        again = tables.embed(rows / "in/*.parquet", rows / "out", model=one_thread(), shard_bytes=1)
        assert (again.files, again.before) == (0, 8)


def _name(process):
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            return file.read().decode(errors="replace")
    except (OSError, ValueError):
        return ""


class TestSpark:
    @pytest.fixture(scope="class")
    def session(self):
        """A local cluster of two executors with a core each."""
        pytest.importorskip("pyspark")
        if shutil.which("java") is None:
            pytest.skip("Spark needs Java")
        from pyspark.sql import SparkSession

        # The executors' Python has the package too.
        os.environ["PYSPARK_PYTHON"] = sys.executable
        builder = SparkSession.builder.master("local-cluster[2,1,1024]").appName("kokeshi")
        builder = builder.config("spark.python.worker.reuse", "true")
        builder = builder.config("spark.ui.enabled", "false")
        # An executor that is lost is replaced as often as a test needs it.
        builder = builder.config("spark.deploy.maxExecutorRetries", "-1")
        session = builder.getOrCreate()
        yield session
        session.stop()

    def frame(self, session, rows):
        return session.read.parquet(str(rows / "in")).repartition(8)

    def test_a_column_of_vectors(self, session, rows, tiny):
        from kokeshi.spark import embed

        frame = embed(self.frame(session, rows), "text", model=one_thread())
        frame.write.parquet(str(rows / "out"))
        assert complete(parquet.read_table(rows / "out"), tiny)
        with pytest.raises(ValueError, match="has a column 'embedding' already"):
            embed(frame, "text")

    def test_a_lost_executor_loses_nothing(self, session, rows, tiny):
        from kokeshi.spark import embed

        killed = []

        def attack():
            deadline = time.monotonic() + 60
            while not killed and time.monotonic() < deadline:
                for process in os.listdir("/proc"):
                    if "CoarseGrainedExecutorBackend" in _name(process):
                        time.sleep(0.5)
                        os.kill(int(process), signal.SIGKILL)
                        killed.append(process)
                        break
                time.sleep(0.02)

        attacker = threading.Thread(target=attack)
        attacker.start()
        frame = embed(self.frame(session, rows), "text", model=one_thread())
        frame.write.parquet(str(rows / "out"))
        attacker.join()
        assert killed
        assert complete(parquet.read_table(rows / "out"), tiny)


def test_daft(rows, tiny):
    daft = pytest.importorskip("daft")
    embedder = kokeshi.Embedder("text", model=one_thread())

    @daft.udf(return_dtype=daft.DataType.list(daft.DataType.float32()))
    class Embed:
        def __init__(self):
            self.embedder = embedder

        def __call__(self, texts):
            batch = self.embedder({"text": np.array(texts.to_pylist(), dtype=object)})
            return list(batch["embedding"])

    frame = daft.read_parquet(str(rows / "in/*.parquet"))
    frame = frame.with_column("embedding", Embed(daft.col("text")))
    assert complete(frame.to_arrow(), tiny)


def test_a_job_is_small_enough_to_send(tmp_path):
    import pickle

    job = tables.Job(["in/*.parquet"], str(tmp_path / "out"), model=one_thread(), keep=["a"])
    assert len(pickle.dumps(job)) < 1500
    again = pickle.loads(pickle.dumps(job))
    assert json.dumps(again.inputs) == json.dumps(job.inputs) and repr(again) == repr(job)
