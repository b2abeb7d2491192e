"""LangChain: ``kokeshi.langchain.KokeshiEmbeddings``."""

from __future__ import annotations

from typing import Any

from langchain_core.embeddings import Embeddings

from kokeshi.model import Model


class KokeshiEmbeddings(Embeddings):
    """Documents with the task of passages, queries with that of queries, if the model has them.

    settings: those of :class:`kokeshi.Model`.
    """

    def __init__(self, model: str | Model = "starter", **settings: Any) -> None:
        self.model = model if isinstance(model, Model) else Model(model, **settings)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.model.encode_document(texts, show_progress_bar=False).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.model.encode_query(text, show_progress_bar=False).tolist()
