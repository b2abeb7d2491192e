"""jina-haystack: one component for documents and one for queries, each with a task."""

import pytest
from conftest import TEXTS, embed, same_bits
from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.embedders.jina import JinaDocumentEmbedder, JinaTextEmbedder

KEY = Secret.from_token("none")


def test_documents_and_queries(server):
    url = f"{server.v1}/embeddings"
    documents = JinaDocumentEmbedder(api_key=KEY, task="retrieval.passage", base_url=url)
    made = documents.run([Document(content=text) for text in TEXTS])
    found = [document.embedding for document in made["documents"]]
    same_bits(found, embed("--task", "retrieval.passage"))
    assert made["meta"]["model"] == "jina-embeddings-v3"
    assert made["meta"]["usage"]["prompt_tokens"] == made["meta"]["usage"]["total_tokens"] > 0
    queries = JinaTextEmbedder(api_key=KEY, task="retrieval.query", base_url=url)
    found = [queries.run(text)["embedding"] for text in TEXTS]
    same_bits(found, embed("--task", "retrieval.query"))


def test_late_chunking_and_dimensions(server):
    url = f"{server.v1}/embeddings"
    documents = JinaDocumentEmbedder(api_key=KEY, late_chunking=True, dimensions=64, base_url=url)
    made = documents.run([Document(content=text) for text in TEXTS])
    found = [document.embedding for document in made["documents"]]
    same_bits(found, embed("--late-chunking", "--dimensions", "64"))


def test_refusals(server, locked):
    queries = JinaTextEmbedder(api_key=KEY, model="nobody", base_url=f"{server.v1}/embeddings")
    with pytest.raises(RuntimeError) as refusal:
        queries.run("x")
    body = {"model": "nobody", "input": ["x"]}
    assert str(refusal.value) == server.message("/v1/embeddings", body)
    queries = JinaTextEmbedder(api_key=KEY, base_url=f"{locked.v1}/embeddings")
    with pytest.raises(RuntimeError, match="unknown API key"):
        queries.run("x")
