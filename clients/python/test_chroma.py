"""chromadb's Jina function: the only client here that embeds queries and documents with one object."""

import pytest
from chromadb.utils.embedding_functions import JinaEmbeddingFunction
from conftest import TEXTS, embed, same_bits

def function(server, **options):
    made = JinaEmbeddingFunction(api_key="none", **{"model_name": "jina-embeddings-v3", **options})
    made._api_url = f"{server.v1}/embeddings"
    return made


def test_documents_and_queries(server):
    made = function(
        server,
        task="retrieval.passage",
        query_config={"task": "retrieval.query"},
        late_chunking=False,
        truncate=True,
        dimensions=128,
        normalized=True,
        embedding_type="float",
    )
    size = ("--dimensions", "128")
    same_bits(made(list(TEXTS)), embed("--task", "retrieval.passage", *size))
    same_bits(made.embed_query(list(TEXTS)), embed("--task", "retrieval.query", *size))


def test_a_collection(server):
    """The nearest neighbour in a Chroma collection, embedded with the function."""
    import chromadb

    settings = chromadb.config.Settings(anonymized_telemetry=False)
    store = chromadb.EphemeralClient(settings)
    made = function(server, task="retrieval.passage", query_config={"task": "retrieval.query"})
    collection = store.create_collection("texts", embedding_function=made)
    collection.add(ids=["0", "1", "2"], documents=list(TEXTS))
    stored = collection.get(include=["embeddings"])["embeddings"]
    same_bits(stored, embed("--task", "retrieval.passage"))
    assert collection.query(query_texts=[TEXTS[1]], n_results=1)["ids"] == [["1"]]


def test_refusals(server, locked):
    with pytest.raises(RuntimeError) as refusal:
        function(server, model_name="nobody")(["x"])
    body = {"model": "nobody", "input": ["x"]}
    assert server.message("/v1/embeddings", body) in str(refusal.value)
    with pytest.raises(RuntimeError, match="unknown API key"):
        function(locked)(["x"])
