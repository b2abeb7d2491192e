"""llama-index-embeddings-jinaai: calls the encoding `encoding_type`, and has one task for all texts."""

import asyncio

import numpy
import pytest
from conftest import TEXTS, embed, printed, same_bits
from llama_index.embeddings.jinaai import JinaEmbedding


def embedding(server, **options):
    made = JinaEmbedding(api_key="none", **options)
    made._api.api_url = f"{server.v1}/embeddings"
    return made


@pytest.mark.parametrize("task", [None, "retrieval.query", "retrieval.passage"])
def test_tasks(server, task):
    made = embedding(server, task=task)
    wanted = embed("--task", task) if task else embed()
    same_bits(made.get_text_embedding_batch(list(TEXTS)), wanted)
    same_bits([made.get_query_embedding(text) for text in TEXTS], wanted)
    same_bits(asyncio.run(made.aget_text_embedding_batch(list(TEXTS))), wanted)


def test_late_chunking_and_dimensions(server):
    made = embedding(server, task="retrieval.passage", late_chunking=True, dimensions=64)
    wanted = embed("--task", "retrieval.passage", "--late-chunking", "--dimensions", "64")
    same_bits(made.get_text_embedding_batch(list(TEXTS)), wanted)


def test_bits(server):
    """The client unpacks both types; `ubinary` of the program packs the same bits."""
    bits = numpy.unpackbits(numpy.array(printed("--embedding-type", "ubinary"), dtype="uint8"), axis=1)
    for queries in ("binary", "ubinary"):
        made = embedding(server, encoding_queries=queries, encoding_documents=queries)
        assert made.get_text_embedding_batch(list(TEXTS)) == bits.tolist()
        assert made.get_query_embedding(TEXTS[0]) == bits[0].tolist()


def test_refusals(server, locked):
    with pytest.raises(RuntimeError) as refusal:
        embedding(server, model="nobody").get_query_embedding("x")
    body = {"model": "nobody", "input": ["x"]}
    assert str(refusal.value) == server.message("/v1/embeddings", body)
    with pytest.raises(RuntimeError, match="unknown API key"):
        embedding(locked).get_query_embedding("x")
