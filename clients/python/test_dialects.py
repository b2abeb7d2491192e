"""Every dialect and `kokeshi embed` embed a text to the same bits."""

import base64

import numpy
import pytest
from conftest import embed, same_bits

TEXT = "The Force will be with you. Always."
# TEXT as cl100k token ids, as `tiktoken` encodes it.
IDS = [791, 11994, 690, 387, 449, 499, 13, 24119, 13]


def at(*path):
    """Returns a function that reads the value at `path` of an answer."""

    def read(answer):
        for step in path:
            answer = answer[step]
        return answer

    return read


def base64_at(*path):
    """The same for little-endian f32 in base64."""
    return lambda answer: numpy.frombuffer(base64.b64decode(at(*path)(answer)), dtype="<f4")


JINA = at("data", 0, "embedding")
DIALECTS = {
    "Jina": ("/v1/embeddings", {"input": TEXT}, JINA),
    "Jina, a list of objects": ("/v1/embeddings", {"input": [{"text": TEXT}]}, JINA),
    "Jina, base64": (
        "/v1/embeddings",
        {"input": TEXT, "embedding_type": "base64"},
        base64_at("data", 0, "embedding"),
    ),
    "Jina, several types": (
        "/v1/embeddings",
        {"input": TEXT, "embedding_type": ["binary", "float", "base64"]},
        at("data", 0, "embedding", "float"),
    ),
    "Jina, late chunking of one text": ("/v1/embeddings", {"input": [[TEXT]]}, JINA),
    "OpenAI": ("/v1/embeddings", {"input": [TEXT], "encoding_format": "float", "user": "me"}, JINA),
    "OpenAI, base64": (
        "/v1/embeddings",
        {"input": [TEXT], "encoding_format": "base64"},
        base64_at("data", 0, "embedding"),
    ),
    "OpenAI, token ids": ("/v1/embeddings", {"input": [IDS]}, JINA),
    "LlamaIndex": ("/v1/embeddings", {"input": [TEXT], "encoding_type": "float"}, JINA),
    "TEI": ("/embed", {"inputs": TEXT}, at(0)),
    "Ollama": ("/api/embed", {"model": "starter", "input": TEXT}, at("embeddings", 0)),
    "Ollama, older": ("/api/embeddings", {"model": "starter", "prompt": TEXT}, at("embedding")),
    "Cohere": (
        "/v2/embed",
        {"texts": [TEXT], "embedding_types": ["float"]},
        at("embeddings", "float", 0),
    ),
    "Cohere, base64": (
        "/v2/embed",
        {"texts": [TEXT], "embedding_types": ["base64"]},
        base64_at("embeddings", "base64", 0),
    ),
    "Cohere, parts": (
        "/v2/embed",
        {"inputs": [{"content": [{"type": "text", "text": TEXT}]}]},
        at("embeddings", "float", 0),
    ),
    "Cohere, older": ("/v1/embed", {"texts": [TEXT]}, at("embeddings", 0)),
}

# How each dialect marks a query; Ollama cannot.
QUERIES = {
    "Jina": {"task": "retrieval.query"},
    "Jina, base64": {"task": "retrieval.query"},
    "OpenAI": {"model": "starter:retrieval.query"},
    "OpenAI, base64": {"model": "starter:retrieval.query"},
    "OpenAI, token ids": {"model": "starter:retrieval.query"},
    "TEI": {"prompt_name": "retrieval.query"},
    "Ollama": {"model": "starter:retrieval.query"},
    "Ollama, older": {"model": "starter:retrieval.query"},
    "Cohere": {"input_type": "search_query"},
    "Cohere, base64": {"input_type": "search_query"},
    "Cohere, older": {"input_type": "search_query"},
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_task(server, dialect):
    path, body, vector = DIALECTS[dialect]
    status, _, answer = server.post(path, body)
    assert status == 200, answer
    same_bits([vector(answer)], embed(texts=(TEXT,)))


@pytest.mark.parametrize("dialect", QUERIES)
def test_queries(server, dialect):
    path, body, vector = DIALECTS[dialect]
    status, _, answer = server.post(path, {**body, **QUERIES[dialect]})
    assert status == 200, answer
    same_bits([vector(answer)], embed("--task", "retrieval.query", texts=(TEXT,)))
