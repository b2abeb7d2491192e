"""Haystack: components that embed texts and documents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from kokeshi.model import Model


class _Component:
    def __init__(self, model: str = "starter", **settings: Any) -> None:
        self._given = {"model": model, **settings}
        self._model = Model(model, **settings)

    def warm_up(self) -> None:
        """Loads the model before the first run."""
        self._model.load()

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(self, **self._given)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        return default_from_dict(cls, data)


@component
class KokeshiTextEmbedder(_Component):
    """A query's vector."""

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        return {"embedding": self._model.encode_query(text, show_progress_bar=False).tolist()}


@component
class KokeshiDocumentEmbedder(_Component):
    """Documents with their vectors."""

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        texts = [document.content or "" for document in documents]
        vectors = self._model.encode_document(texts, show_progress_bar=False).tolist()
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [replace(document, embedding=vector) for document, vector in pairs]}
