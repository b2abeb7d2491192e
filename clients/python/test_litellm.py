"""litellm, as its proxy and many frameworks use it: the providers Jina and OpenAI."""

import os

# Otherwise it downloads a table of prices when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import pytest
from conftest import TEXTS, embed, same_bits


def vectors(answer):
    return [item["embedding"] for item in answer.data]


@pytest.mark.parametrize("task", ["retrieval.query", "retrieval.passage"])
def test_jina(server, task):
    answer = litellm.embedding(
        "jina_ai/jina-embeddings-v3",
        input=list(TEXTS),
        api_base=server.v1,
        api_key="none",
        dimensions=64,
        task=task,
    )
    same_bits(vectors(answer), embed("--task", task, "--dimensions", "64"))
    assert answer.usage.prompt_tokens > 0


def test_openai(server):
    """The OpenAI provider, with a task in the model's name."""
    answer = litellm.embedding(
        "openai/starter:retrieval.query", input=list(TEXTS), api_base=server.v1, api_key="none"
    )
    same_bits(vectors(answer), embed("--task", "retrieval.query"))


def test_refusals(server, locked):
    message = server.message("/v1/embeddings", {"model": "nobody", "input": ["x"]})
    for model in ("jina_ai/nobody", "openai/nobody"):
        with pytest.raises(litellm.BadRequestError) as refusal:
            litellm.embedding(model, input=["x"], api_base=server.v1, api_key="none")
        assert message in str(refusal.value)
    with pytest.raises(litellm.AuthenticationError, match="unknown API key"):
        litellm.embedding("jina_ai/starter", input=["x"], api_base=locked.v1, api_key="wrong")
