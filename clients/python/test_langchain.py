"""langchain-openai, and the Jina embeddings of langchain-community."""

import importlib.util
import os
import pathlib

import langchain_community.embeddings.jina as community
import openai
import pytest
from conftest import TEXTS, embed, same_bits
from langchain_openai import OpenAIEmbeddings

QUERY = TEXTS[:1]


def test_openai_with_texts(server):
    """A task in the base URL: one object for documents and one for queries."""
    for task in ("retrieval.passage", "retrieval.query"):
        embeddings = OpenAIEmbeddings(
            base_url=f"{server.root}/task/{task}/v1",
            model="starter",
            api_key="none",
            check_embedding_ctx_length=False,
        )
        same_bits(embeddings.embed_documents(list(TEXTS)), embed("--task", task))
        same_bits([embeddings.embed_query(QUERY[0])], embed("--task", task, texts=QUERY))


def test_openai_with_token_ids(server, monkeypatch):
    """Its default: cl100k ids. tiktoken would download the vocabulary, but finds it in a folder of
    litellm."""
    package = pathlib.Path(importlib.util.find_spec("litellm").origin).parent
    folder = package / "litellm_core_utils/tokenizers"
    assert "9b5ad71b2ce5302211f9c61530b329a4922fc6a4" in os.listdir(folder)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
    embeddings = OpenAIEmbeddings(base_url=server.v1, model="starter", api_key="none")
    same_bits(embeddings.embed_documents(list(TEXTS)), embed())


def test_openai_refusals(server, locked):
    embeddings = OpenAIEmbeddings(
        base_url=server.v1, model="nobody", api_key="none", check_embedding_ctx_length=False
    )
    with pytest.raises(openai.BadRequestError) as refusal:
        embeddings.embed_query("x")
    body = {"model": "nobody", "input": ["x"]}
    assert server.message("/v1/embeddings", body) in str(refusal.value)
    embeddings = OpenAIEmbeddings(
        base_url=locked.v1, model="starter", api_key="wrong", check_embedding_ctx_length=False
    )
    with pytest.raises(openai.AuthenticationError):
        embeddings.embed_query("x")


@pytest.fixture
def jina(server, monkeypatch):
    """The client's URL is a constant of the module."""
    monkeypatch.setattr(community, "JINA_API_URL", f"{server.v1}/embeddings")

    def embeddings(model):
        return community.JinaEmbeddings(jina_api_key="none", model_name=model)

    return embeddings


def test_community(jina):
    same_bits(jina("jina-embeddings-v3").embed_documents(list(TEXTS)), embed())
    same_bits([jina("starter").embed_query(QUERY[0])], embed(texts=QUERY))
    passages = jina("starter:retrieval.passage").embed_documents(list(TEXTS))
    same_bits(passages, embed("--task", "retrieval.passage"))


def test_community_refusals(jina, server, locked, monkeypatch):
    with pytest.raises(RuntimeError) as refusal:
        jina("nobody").embed_query("x")
    body = {"model": "nobody", "input": ["x"]}
    assert str(refusal.value) == server.message("/v1/embeddings", body)
    monkeypatch.setattr(community, "JINA_API_URL", f"{locked.v1}/embeddings")
    with pytest.raises(RuntimeError, match="unknown API key"):
        jina("starter").embed_query("x")
