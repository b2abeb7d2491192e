"""cohere: `input_type` is the task."""

import cohere
import pytest
from conftest import TEXTS, embed, printed, same_bits

TASKS = {
    "search_query": "retrieval.query",
    "search_document": "retrieval.passage",
    "classification": "classification",
    "clustering": "separation",
}


@pytest.mark.parametrize("input_type", TASKS)
def test_tasks(server, input_type):
    wanted = embed("--task", TASKS[input_type])
    new = cohere.ClientV2("none", base_url=server.root)
    answer = new.embed(
        model="starter", texts=TEXTS, input_type=input_type, embedding_types=["float"]
    )
    same_bits(answer.embeddings.float_, wanted)
    assert answer.texts == list(TEXTS) and answer.meta.billed_units.input_tokens > 0
    old = cohere.Client("none", base_url=server.root)
    answer = old.embed(model="starter", texts=TEXTS, input_type=input_type)
    same_bits(answer.embeddings, wanted)


def test_number_formats_and_dimensions(server):
    client = cohere.ClientV2("none", base_url=server.root)
    kinds = ["float", "binary", "ubinary", "base64"]
    answer = client.embed(
        model="starter",
        texts=TEXTS,
        input_type="search_query",
        embedding_types=kinds,
        output_dimension=64,
    )
    options = ("--task", "retrieval.query", "--dimensions", "64")
    same_bits(answer.embeddings.float_, embed(*options))
    for kind in kinds[1:]:
        assert getattr(answer.embeddings, kind) == printed(*options, "--embedding-type", kind)


def test_refusals(server, locked):
    client = cohere.ClientV2("none", base_url=server.root)
    with pytest.raises(cohere.BadRequestError) as refusal:
        client.embed(model="nobody", texts=["x"], input_type="search_query", embedding_types=["float"])
    body = {"model": "nobody", "texts": ["x"]}
    assert refusal.value.body["message"] == server.message("/v2/embed", body)
    with pytest.raises(cohere.UnprocessableEntityError) as refusal:
        client.embed(model="starter", texts=["x"], input_type="search_query", embedding_types=["int8"])
    assert "`int8`" in refusal.value.body["message"]
    with pytest.raises(cohere.UnauthorizedError) as refusal:
        wrong = cohere.ClientV2("wrong", base_url=locked.root)
        wrong.embed(model="starter", texts=["x"], input_type="search_query", embedding_types=["float"])
    assert refusal.value.body["message"] == "unknown API key"
