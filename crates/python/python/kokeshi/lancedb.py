"""LanceDB: the embedding function ``kokeshi``."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from lancedb.embeddings import TextEmbeddingFunction, register

from kokeshi.model import Model


@register("kokeshi")
class KokeshiEmbeddings(TextEmbeddingFunction):
    """Sources with the task of passages, queries with that of queries, if the model has them."""

    name: str = "starter"
    device: str | None = None
    threads: int | None = None
    precision: str | None = None
    truncate_dim: int | None = None

    @cached_property
    def _model(self) -> Model:
        return Model(
            self.name,
            device=self.device,
            threads=self.threads,
            precision=self.precision,
            truncate_dim=self.truncate_dim,
        )

    def ndims(self) -> int:
        return self._model.get_sentence_embedding_dimension()

    def generate_embeddings(self, texts: Any, *_: Any, **__: Any) -> list[Any]:
        return list(self._model.encode_document(list(texts), show_progress_bar=False))

    def compute_query_embeddings(self, query: str, *_: Any, **__: Any) -> list[Any]:
        return [self._model.encode_query(query, show_progress_bar=False)]
