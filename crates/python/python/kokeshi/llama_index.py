"""LlamaIndex: ``kokeshi.llama_index.KokeshiEmbedding``."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import PrivateAttr

from kokeshi.model import Model


class KokeshiEmbedding(BaseEmbedding):
    """Texts with the task of passages, queries with that of queries, if the model has them.

    settings: those of :class:`kokeshi.Model`.
    """

    _model: Model = PrivateAttr()

    def __init__(self, model_name: str = "starter", embed_batch_size: int = 256, **settings: Any) -> None:
        super().__init__(model_name=model_name, embed_batch_size=embed_batch_size)
        self._model = Model(model_name, **settings)

    @classmethod
    def class_name(cls) -> str:
        return "KokeshiEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._model.encode_query(query, show_progress_bar=False).tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._model.encode_document(texts, show_progress_bar=False).tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)
