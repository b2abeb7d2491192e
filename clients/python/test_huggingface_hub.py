"""huggingface_hub: its client of inference servers posts to the root, as to TEI."""

import numpy
import pytest
from conftest import TEXTS, embed, same_bits
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

LONG = "word " * 9000


def client(server, token=None):
    return InferenceClient(model=server.root, token=token)


def test_a_text_and_a_list(server):
    same_bits(client(server).feature_extraction(list(TEXTS)), embed())
    same_bits(client(server).feature_extraction(TEXTS[0]), embed(texts=TEXTS[:1]))
    same_bits(InferenceClient(model=f"{server.root}/embed").feature_extraction(list(TEXTS)), embed())


@pytest.mark.parametrize("task", ["retrieval.query", "retrieval.passage"])
def test_tasks(server, task):
    vectors = client(server).feature_extraction(list(TEXTS), prompt_name=task)
    same_bits(vectors, embed("--task", task))


def test_normalize(server):
    raw = client(server).feature_extraction(list(TEXTS), normalize=False)
    same_bits(raw, embed("--normalized", "false"))
    lengths = numpy.linalg.norm(client(server).feature_extraction(list(TEXTS), normalize=True), axis=1)
    assert numpy.allclose(lengths, 1, atol=1e-6)


def test_truncate(server):
    with pytest.raises(HfHubHTTPError) as refusal:
        client(server).feature_extraction(LONG, truncate=False)
    assert refusal.value.response.status_code == 400
    assert "8192" in refusal.value.response.json()["error"]
    right = client(server).feature_extraction(LONG, truncate=True)
    same_bits(right, embed("--truncate", texts=(LONG,)))
    named = client(server).feature_extraction(LONG, truncate=True, truncation_direction="right")
    same_bits(named, right)


def test_truncation_on_the_left_keeps_the_end(server):
    marked = "first " + LONG + "lighthouse"
    left = client(server).feature_extraction(marked, truncate=True, truncation_direction="left")
    same = client(server).feature_extraction(
        "second " + LONG + "lighthouse", truncate=True, truncation_direction="left"
    )
    same_bits(left, same)
    other = client(server).feature_extraction(marked, truncate=True)
    assert not numpy.array_equal(left, other)


def test_dimensions(server):
    same_bits(client(server).feature_extraction(list(TEXTS), dimensions=64), embed("--dimensions", "64"))


def test_keys(locked):
    with pytest.raises(HfHubHTTPError) as refusal:
        client(locked).feature_extraction("x")
    assert refusal.value.response.status_code == 401
    same_bits(client(locked, "secret").feature_extraction(list(TEXTS)), embed())
