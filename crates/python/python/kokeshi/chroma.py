"""Chroma: ``kokeshi.chroma.KokeshiEmbeddingFunction``."""

from __future__ import annotations

from typing import Any

import numpy as np
from chromadb import Documents, EmbeddingFunction, Embeddings
from chromadb.utils.embedding_functions import register_embedding_function

from kokeshi.model import Model


@register_embedding_function
class KokeshiEmbeddingFunction(EmbeddingFunction[Documents]):
    """Documents with the task of passages, queries with that of queries, if the model has them."""

    def __init__(self, model: str = "starter", **settings: Any) -> None:
        self._given = {"model": model, **settings}
        self._model = Model(model, **settings)

    def __call__(self, input: Documents) -> Embeddings:
        return _rows(self._model.encode_document(list(input), show_progress_bar=False))

    def embed_query(self, input: Documents) -> Embeddings:
        return _rows(self._model.encode_query(list(input), show_progress_bar=False))

    @staticmethod
    def name() -> str:
        return "kokeshi"

    def default_space(self) -> str:
        return "cosine"

    def supported_spaces(self) -> list[str]:
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        return dict(self._given)

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> KokeshiEmbeddingFunction:
        return KokeshiEmbeddingFunction(**config)

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        if old_config.get("model") != new_config.get("model"):
            raise ValueError("the model of a collection cannot be changed: its vectors would not fit")


def _rows(vectors: np.ndarray) -> Any:
    return list(vectors)
