"""The thin classes for frameworks, with the frameworks themselves where they are installed."""

import numpy as np
import pytest

TEXTS = ["The lamp is too dark.", "Delivery takes three days."]


def test_langchain(model):
    pytest.importorskip("langchain_core")
    from langchain_core.vectorstores import InMemoryVectorStore

    from kokeshi.langchain import KokeshiEmbeddings

    embeddings = KokeshiEmbeddings(model)
    store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
    found = store.similarity_search("I need a brighter light", k=1)
    assert found[0].page_content == TEXTS[0]
    assert np.allclose(embeddings.embed_query("lamp"), model.encode_query("lamp"))


def test_llama_index(model):
    pytest.importorskip("llama_index.core")
    from llama_index.core import Document, VectorStoreIndex

    from kokeshi.llama_index import KokeshiEmbedding

    embedding = KokeshiEmbedding("starter", precision="f32")
    assert np.allclose(embedding.get_query_embedding("lamp"), model.encode_query("lamp"))
    documents = [Document(text=text) for text in TEXTS]
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    found = index.as_retriever(similarity_top_k=1).retrieve("I need a brighter light")
    assert found[0].text == TEXTS[0]


def test_haystack(model):
    pytest.importorskip("haystack")
    from haystack import Document, Pipeline
    from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    from kokeshi.haystack import KokeshiDocumentEmbedder, KokeshiTextEmbedder

    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    embedder = KokeshiDocumentEmbedder("starter", precision="f32")
    store.write_documents(embedder.run([Document(content=text) for text in TEXTS])["documents"])
    pipeline = Pipeline()
    pipeline.add_component("embedder", KokeshiTextEmbedder("starter", precision="f32"))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    found = pipeline.run({"embedder": {"text": "I need a brighter light"}})
    assert found["retriever"]["documents"][0].content == TEXTS[0]
    assert KokeshiTextEmbedder.from_dict(KokeshiTextEmbedder().to_dict())


def test_chroma(model, tmp_path):
    chromadb = pytest.importorskip("chromadb")
    from kokeshi.chroma import KokeshiEmbeddingFunction

    client = chromadb.PersistentClient(str(tmp_path))
    function = KokeshiEmbeddingFunction("starter", precision="f32")
    collection = client.create_collection("notes", embedding_function=function)
    collection.add(ids=["a", "b"], documents=TEXTS)
    assert collection.query(query_texts=["I need a brighter light"], n_results=1)["ids"] == [["a"]]
    # Another client finds the function by its name.
    again = chromadb.PersistentClient(str(tmp_path)).get_collection("notes")
    assert again.query(query_texts=["parcel"], n_results=1)["ids"] == [["b"]]


def test_lancedb(model, tmp_path):
    lancedb = pytest.importorskip("lancedb")
    from lancedb.embeddings import get_registry
    from lancedb.pydantic import LanceModel, Vector

    import kokeshi.lancedb

    assert kokeshi.lancedb
    function = get_registry().get("kokeshi").create(name="starter", precision="f32")

    class Note(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()

    table = lancedb.connect(tmp_path).create_table("notes", schema=Note)
    table.add([{"text": text} for text in TEXTS])
    found = table.search("I need a brighter light").limit(1).to_pydantic(Note)
    assert found[0].text == TEXTS[0]
