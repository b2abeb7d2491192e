"""ollama: its API has no task, so the model's name or the base URL contains one."""

import ollama
import pytest
from conftest import TEXTS, embed, same_bits


def test_texts(server):
    client = ollama.Client(host=server.root)
    answer = client.embed(model="starter", input=TEXTS)
    same_bits(answer.embeddings, embed())
    assert answer.model == "starter" and answer.prompt_eval_count > 0 and answer.total_duration > 0
    same_bits([client.embed(model="starter", input=TEXTS[0]).embeddings[0]], embed(texts=TEXTS[:1]))
    same_bits([client.embeddings("starter", text).embedding for text in TEXTS], embed())
    short = client.embed(model="starter", input=TEXTS, dimensions=64)
    same_bits(short.embeddings, embed("--dimensions", "64"))


@pytest.mark.parametrize("task", ["retrieval.query", "retrieval.passage"])
def test_tasks(server, task):
    wanted = embed("--task", task)
    client = ollama.Client(host=f"{server.root}/task/{task}")
    same_bits(client.embed(model="starter", input=TEXTS).embeddings, wanted)
    client = ollama.Client(host=server.root)
    same_bits(client.embed(model=f"starter:{task}", input=TEXTS).embeddings, wanted)


def test_requests_before_embedding(server):
    client = ollama.Client(host=server.root)
    names = {"starter:latest", "jina-embeddings-v3:latest"}
    assert {model.model for model in client.list().models} == names
    assert {model.model for model in client.ps().models} <= names
    assert client.show("starter").capabilities == ["embedding"]
    same_bits(client.embed(model="starter:latest", input=TEXTS).embeddings, embed())


def test_refusals(server, locked):
    client = ollama.Client(host=server.root)
    with pytest.raises(ollama.ResponseError) as refusal:
        client.embed(model="nobody", input="x")
    assert refusal.value.error == server.message("/api/embed", {"model": "nobody", "input": "x"})
    # Users of the client check this before they pull a model.
    assert refusal.value.status_code == 404
    with pytest.raises(ollama.ResponseError) as refusal:
        client.embed(model="starter", input="word " * 9000, truncate=False)
    assert refusal.value.status_code == 400 and "8192" in refusal.value.error
    with pytest.raises(ollama.ResponseError) as refusal:
        ollama.Client(host=locked.root).embed(model="starter", input="x")
    assert refusal.value.status_code == 401
    client = ollama.Client(host=locked.root, headers={"Authorization": "Bearer secret"})
    same_bits(client.embed(model="starter", input=TEXTS).embeddings, embed())
