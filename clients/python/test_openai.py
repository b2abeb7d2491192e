"""openai: requests base64 by default, and decodes it to floats."""

import openai
import pytest
from conftest import TEXTS, embed, printed, same_bits


@pytest.fixture
def client(server):
    return openai.OpenAI(base_url=server.v1, api_key="none", max_retries=0)


def vectors(answer):
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return [item.embedding for item in answer.data]


def test_the_default_is_base64_and_floats_are_the_same(client):
    answer = client.embeddings.create(model="starter", input=list(TEXTS))
    same_bits(vectors(answer), embed())
    assert answer.model == "starter"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    floats = client.embeddings.create(model="starter", input=TEXTS, encoding_format="float")
    same_bits(vectors(floats), embed())


def test_explicit_base64_is_not_decoded(client):
    answer = client.embeddings.create(model="starter", input=TEXTS, encoding_format="base64")
    assert vectors(answer) == printed("--embedding-type", "base64")


@pytest.mark.parametrize("task", ["retrieval.query", "retrieval.passage"])
def test_a_task_in_the_body_the_model_and_the_base_url(client, server, task):
    wanted = embed("--task", task)
    body = client.embeddings.create(model="starter", input=TEXTS, extra_body={"task": task})
    same_bits(vectors(body), wanted)
    model = client.embeddings.create(model=f"starter:{task}", input=TEXTS)
    same_bits(vectors(model), wanted)
    other = client.with_options(base_url=f"{server.root}/task/{task}/v1")
    same_bits(vectors(other.embeddings.create(model="starter", input=TEXTS)), wanted)


def test_dimensions_and_a_user(client):
    answer = client.embeddings.create(model="starter", input=TEXTS, dimensions=64, user="me")
    same_bits(vectors(answer), embed("--dimensions", "64"))


def test_late_chunking(client):
    extra = {"late_chunking": True, "task": "retrieval.passage"}
    answer = client.embeddings.create(model="starter", input=TEXTS, extra_body=extra)
    same_bits(vectors(answer), embed("--late-chunking", "--task", "retrieval.passage"))


def test_the_list_of_models(client):
    assert {model.id for model in client.models.list()} == {"starter", "jina-embeddings-v3"}
    assert client.models.retrieve("jinaai/starter").id == "starter"


def test_an_unknown_model(client, server):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.embeddings.create(model="nobody", input="x")
    body = {"model": "nobody", "input": "x"}
    assert refusal.value.body["message"] == server.message("/v1/embeddings", body)
    assert refusal.value.code == "INPUT_MODEL_NOT_FOUND"
    assert refusal.value.request_id


def test_an_invalid_value_names_its_field(client):
    with pytest.raises(openai.UnprocessableEntityError) as refusal:
        client.embeddings.create(model="starter", input="x", dimensions=100_000)
    assert refusal.value.param == "dimensions"
    assert "100000" in str(refusal.value)


def test_a_text_over_the_limit(client):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.embeddings.create(model="starter", input=["x", "word " * 9000])
    assert refusal.value.code == "INPUT_TOO_LONG"
    assert "text 1" in str(refusal.value) and "8192" in str(refusal.value)


def test_keys(locked):
    with pytest.raises(openai.AuthenticationError) as refusal:
        openai.OpenAI(base_url=locked.v1, api_key="wrong").models.list()
    assert refusal.value.code == "AUTH_INVALID_API_KEY"
    client = openai.OpenAI(base_url=locked.v1, api_key="secret")
    same_bits(vectors(client.embeddings.create(model="starter", input=TEXTS)), embed())
