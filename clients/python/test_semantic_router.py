"""semantic-router: its Jina encoder uses the openai client."""

import pytest
from conftest import TEXTS, embed, same_bits
from semantic_router import IndexedRouter, Route
from semantic_router.encoders import JinaEncoder


def test_tasks(server):
    encoder = JinaEncoder(api_key="none", base_url=server.v1)
    assert encoder.name == "jina-embeddings-v3"
    same_bits(encoder(list(TEXTS)), embed())
    for task in ("retrieval.query", "retrieval.passage"):
        wanted = embed("--task", task)
        same_bits(encoder(list(TEXTS), extra_body={"task": task}), wanted)
        named = JinaEncoder(name=f"starter:{task}", api_key="none", base_url=server.v1)
        same_bits(named.encode_documents(list(TEXTS)), wanted)


def test_a_route(server):
    encoder = JinaEncoder(name="starter:text-matching", api_key="none", base_url=server.v1)
    routes = [
        Route(name="force", utterances=["May the force be with you."]),
        Route(name="tax", utterances=["The tax return is due in May."]),
    ]
    router = IndexedRouter(encoder=encoder, routes=routes)
    assert router("When is the tax return due?").name == "tax"


def test_refusals(server, locked):
    with pytest.raises(ValueError) as refusal:
        JinaEncoder(name="nobody", api_key="none", base_url=server.v1)(["x"])
    body = {"model": "nobody", "input": ["x"]}
    assert server.message("/v1/embeddings", body) in str(refusal.value)
    with pytest.raises(ValueError, match="unknown API key"):
        JinaEncoder(name="starter", api_key="wrong", base_url=locked.v1)(["x"])
