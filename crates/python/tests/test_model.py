"""Models: what `encode` and its relatives return."""

import json
import pickle
import threading
import warnings

import numpy as np
import pytest
from conftest import TINY, program

import kokeshi

TEXTS = ["The keeper wrote a note.", "Wann kommt mein Paket?", "", "灯台守は毎晩書いた。"]


def test_vectors_are_those_of_the_program_bit_for_bit(model, tmp_path):
    lines = [*(f"Text {n} of many, {'long ' * (n % 50)}" for n in range(600)), *TEXTS]
    (tmp_path / "texts.txt").write_text("\n".join(lines) + "\n")
    run = program(
        "embed", "--input", tmp_path / "texts.txt", "--input-format", "lines", "-o",
        tmp_path / "out.npy", "--precision", "f32",
    )
    assert run.returncode == 0, run.stderr
    vectors = model.encode(lines)
    assert vectors.dtype == np.float32 and vectors.shape == (604, 384)
    assert np.array_equal(vectors, np.load(tmp_path / "out.npy"))


def test_one_text_is_one_vector_and_none_are_none(model):
    assert model.encode("a text").shape == (384,)
    assert model.encode([]).shape == (0, 384)
    assert isinstance(model.encode(["a", "b"], convert_to_numpy=False), list)
    assert np.array_equal(model.encode("a text"), model.encode(["a text"])[0])


def test_tasks_and_dimensions(tiny):
    plain, query = tiny.encode("a text"), tiny.encode("a text", task="retrieval.query")
    assert not np.allclose(plain, query)
    assert np.array_equal(query, tiny.encode_query("a text"))
    assert np.array_equal(query, tiny.encode("a text", prompt_name="retrieval.query"))
    passage = tiny.encode("a text", task="retrieval.passage")
    assert np.array_equal(passage, tiny.encode_document("a text"))
    cut = tiny.encode("a text", truncate_dim=16)
    assert cut.shape == (16,) and np.isclose(np.linalg.norm(cut), 1)
    assert np.allclose(cut, plain[:16] / np.linalg.norm(plain[:16]), atol=1e-6)
    raw = tiny.encode("a text", normalize_embeddings=False)
    assert np.allclose(raw / np.linalg.norm(raw), plain, atol=1e-6)
    narrow = kokeshi.Model(str(TINY), precision="f32", truncate_dim=16)
    assert np.array_equal(narrow.encode("a text"), cut)
    assert narrow.get_sentence_embedding_dimension() == 16
    assert tiny.get_sentence_embedding_dimension() == 64
    assert tiny.tasks["retrieval.query"].startswith("Represent the query")
    assert tiny.max_seq_length == 8192


def test_types_are_those_of_sentence_transformers(model):
    vectors = model.encode(TEXTS)
    bits = np.packbits(vectors > 0, axis=1)
    assert np.array_equal(model.encode(TEXTS, precision="ubinary"), bits)
    signed = (bits.astype(int) - 128).astype(np.int8)
    assert np.array_equal(model.encode(TEXTS, precision="binary"), signed)
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    scaled = (vectors - low) / ((high - low) / 255)
    unsigned = model.encode(TEXTS, precision="uint8")
    assert unsigned.dtype == np.uint8 and np.array_equal(unsigned, scaled.astype(np.uint8))
    assert model.encode(TEXTS, precision="int8").dtype == np.int8
    assert model.encode("one", precision="ubinary").shape == (48,)


def test_what_is_wrong_is_said(model, tiny):
    cases = [
        (lambda: model.encode(["a", 3]), TypeError, "text 1 is of type int, not str"),
        (lambda: model.encode(["a", "\ud800"]), ValueError, "text 1 has half of a surrogate pair"),
        (lambda: model.encode("a", task="nonsense"), ValueError, "unknown task `nonsense`"),
        (lambda: model.encode("a", truncate_dim=385), ValueError, "supports 1 to 384"),
        (lambda: model.encode("a", output_value="token_embeddings"), TypeError, "does not support output_value"),
        (lambda: model.encode("a", precision="int4"), ValueError, "'int4' is not one of float32"),
        (lambda: model.encode("a", task="x", prompt_name="y"), ValueError, "differ"),
        (lambda: kokeshi.Model("nobody/nothing", local_files_only=True).load(), FileNotFoundError, "models pull"),
        (lambda: kokeshi.Model("starter", device="tpu").load(), ValueError, "'tpu' is not one of"),
        (lambda: kokeshi.Model("starter", precision="f8").load(), ValueError, "'f8' is not one of"),
        (lambda: tiny.encode_late("abc", [(1, 9)]), ValueError, "not a range of the 3 characters"),
        (lambda: tiny.encode_late("abc", ["d"]), ValueError, "chunk 0 does not occur"),
        (lambda: tiny.encode_late("abc", chunking="words"), ValueError, "is not a chunking"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


def test_truncation_is_never_silent(tiny):
    long = "word " * 9000
    with pytest.warns(kokeshi.TruncationWarning, match="text 1 has .* over .* limit of 8192"):
        vectors = tiny.encode(["short", long])
    assert vectors.shape == (2, 64)
    with pytest.raises(ValueError, match="text 1 has .* tokens"):
        tiny.encode(["short", long], truncate=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny.encode("short")


def test_late_chunking(tiny):
    text = "Berlin is großartig. It has 3.7 million inhabitants. The end."
    late = tiny.encode_late(text, task="retrieval.passage")
    assert [chunk.text for chunk in late.chunks] == text.replace(". ", ".|").split("|")
    for chunk in late.chunks:
        assert text[slice(*chunk.chars)] == chunk.text
        assert text.encode()[slice(*chunk.bytes)].decode() == chunk.text
    by_texts = tiny.encode_late(text, [chunk.text for chunk in late.chunks], task="retrieval.passage")
    by_ranges = tiny.encode_late(text, [chunk.chars for chunk in late.chunks], task="retrieval.passage")
    assert np.array_equal(late.vectors, by_texts.vectors)
    assert np.array_equal(late.vectors, by_ranges.vectors)
    alone = tiny.encode([chunk.text for chunk in late.chunks], task="retrieval.passage")
    assert not np.allclose(late.vectors, alone, atol=1e-3)
    parts = tiny.encode_late(["Berlin is großartig.", "It has parks."])
    assert parts.vectors.shape == (2, 64) and parts.chunks[1].chars == (21, 34)
    run = program(
        "embed", text, "--model", TINY, "--precision", "f32", "--task", "retrieval.passage",
        "--chunk", "sentences", "--late-chunking",
    )
    rows = [json.loads(line)["embedding"] for line in run.stdout.splitlines()]
    assert np.array_equal(np.array(rows, dtype=np.float32), late.vectors)


def test_tokens(tiny):
    ids = tiny.tokenize("a text")
    assert ids[0] == 0 and ids[-1] == 2
    assert tiny.count_tokens("a text") == len(ids) - 2
    assert tiny.count_tokens(["", "a text"]) == [0, len(ids) - 2]
    assert len(tiny.tokenize(["a text"], task="retrieval.query")[0]) > len(ids)


def test_similarity_is_the_cosine(model):
    vectors = model.encode(TEXTS)
    found = model.similarity(vectors, 3 * vectors)
    assert found.shape == (4, 4) and np.allclose(np.diag(found), 1, atol=1e-6)


def test_generators_give_one_vector_after_another(model):
    texts = (f"text {n}" for n in range(10))
    vectors = list(model.embed(texts, batch_size=4))
    assert np.array_equal(np.stack(vectors), model.encode([f"text {n}" for n in range(10)]))
    assert np.array_equal(next(model.query_embed("lamp")), model.encode_query("lamp"))
    assert np.array_equal(next(model.passage_embed(["lamp"])), model.encode_document("lamp"))


def test_a_model_pickles_as_its_configuration(model):
    narrow = kokeshi.Model("starter", precision="f32", truncate_dim=32)
    narrow.encode("a")
    data = pickle.dumps(narrow)
    assert len(data) < 400
    again = pickle.loads(data)
    assert repr(again) == repr(narrow) == "Model('starter', precision='f32', truncate_dim=32)"
    assert np.array_equal(again.encode("a"), narrow.encode("a"))


def test_threads_share_a_model_and_compute_at_once(model):
    expected = model.encode(TEXTS)
    results = [None] * 8

    def work(number):
        results[number] = model.encode(TEXTS)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join(timeout=120) for thread in threads]
    assert all(np.array_equal(result, expected) for result in results)


def test_arrow_arrays_come_and_go(model):
    pyarrow = pytest.importorskip("pyarrow")
    for dtype in [pyarrow.string(), pyarrow.large_string()]:
        vectors = pyarrow.array(model.encode_arrow(pyarrow.array(TEXTS, dtype)))
        assert vectors.type == pyarrow.list_(pyarrow.field("element", pyarrow.float32(), False), 384)
        flat = vectors.flatten().to_numpy().reshape(-1, 384)
        assert np.array_equal(flat, model.encode(TEXTS))
    with pytest.raises(ValueError, match="text 1 is null"):
        model.encode_arrow(pyarrow.array(["a", None]))
    with pytest.raises(TypeError, match="Int64 are not texts"):
        model.encode_arrow(pyarrow.array([1]))
