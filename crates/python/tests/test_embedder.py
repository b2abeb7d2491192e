"""The embedder that engines send to their workers, with every kind of batch."""

import pickle

import numpy as np
import pytest

import kokeshi

TEXTS = ["one text", "another", None, "a third"]


@pytest.fixture(scope="module")
def embedder(model):
    return kokeshi.Embedder("text", "vector", model=model, truncate_dim=64)


@pytest.fixture(scope="module")
def expected(model):
    vectors = iter(model.encode([text for text in TEXTS if text], truncate_dim=64))
    return [None if text is None else next(vectors) for text in TEXTS]


def same(found, expected):
    return all(
        a is None and b is None or np.array_equal(np.asarray(a, np.float32), b)
        for a, b in zip(found, expected, strict=True)
    )


def test_it_pickles_its_configuration_only(embedder):
    data = pickle.dumps(embedder)
    assert len(data) < 600
    assert repr(pickle.loads(data)) == repr(embedder)
    assert "Embedder('text', 'vector', model=Model('starter', precision='f32')" in repr(embedder)


def test_dictionaries_of_arrays(embedder, expected):
    batch = embedder({"text": np.array(TEXTS, dtype=object), "n": np.arange(4)})
    assert same(batch["vector"], expected) and batch["n"].tolist() == [0, 1, 2, 3]
    whole = embedder({"text": np.array(["a", "b"])})
    assert whole["vector"].shape == (2, 64) and whole["vector"].dtype == np.float32
    assert len(embedder({"text": np.array([], dtype=object)})["vector"]) == 0


def test_pyarrow(embedder, expected):
    pa = pytest.importorskip("pyarrow")
    batch = pa.RecordBatch.from_pydict({"text": TEXTS, "n": [0, 1, 2, 3]})
    for table in [batch, pa.Table.from_batches([batch])]:
        found = embedder(table)
        assert type(found) is type(table) and found.schema.names == ["text", "n", "vector"]
        assert found.schema.field("vector").type == pa.list_(pa.float32(), 64)
        assert same(found.column("vector").to_pylist(), expected)
        # A second call replaces the column.
        assert embedder(found).schema.names == ["text", "n", "vector"]
    assert embedder(batch.slice(0, 0)).num_rows == 0


def test_pandas(embedder, expected):
    pd = pytest.importorskip("pandas")
    found = embedder(pd.DataFrame({"text": TEXTS, "n": range(4)}, index=[7, 8, 9, 10]))
    assert same(found["vector"].tolist(), expected) and found.index.tolist() == [7, 8, 9, 10]


def test_polars(embedder, expected):
    pl = pytest.importorskip("polars")
    found = embedder(pl.DataFrame({"text": TEXTS}))
    assert found.schema["vector"] == pl.Array(pl.Float32, 64)
    assert same(found["vector"].to_list(), expected)


def test_other_batches_are_refused(embedder):
    with pytest.raises(TypeError, match="cannot embed a batch of type list"):
        embedder(["a"])
    with pytest.raises(TypeError, match="a Model has its own threads"):
        kokeshi.Embedder("text", model=kokeshi.Model(), threads=1)
