"""An embedder that is a value: what Ray, Daft, Spark and others send to their workers."""

from __future__ import annotations

from typing import Any

import numpy as np

from kokeshi.model import Model


class Embedder:
    """Adds a column of vectors to tables and batches.

    column: the column of texts.
    output: the column of vectors, ``float32`` lists of fixed size.
    model: a model's name, or a :class:`kokeshi.Model`.
    settings: of :class:`kokeshi.Model`, if ``model`` is a name.
    task, truncate_dim, normalize_embeddings, truncate: as in :meth:`kokeshi.Model.encode`.

    It pickles its configuration only; each process that calls it loads the model once. Called with a
    table or batch, it gives one of the same kind back: a dictionary of arrays (Ray's default), a
    ``pyarrow`` table or record batch, a pandas or polars data frame. Null texts have null vectors.
    """

    def __init__(
        self,
        column: str,
        output: str = "embedding",
        *,
        model: str | Model = "starter",
        task: str | None = None,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = True,
        truncate: bool = True,
        **settings: Any,
    ) -> None:
        if isinstance(model, Model) and settings:
            raise TypeError(f"a Model has its own {', '.join(sorted(settings))}")
        self.column = column
        self.output = output
        self.model = model if isinstance(model, Model) else Model(model, **settings)
        self.options = {
            "task": task,
            "truncate_dim": truncate_dim,
            "normalize_embeddings": normalize_embeddings,
            "truncate": truncate,
        }

    def __repr__(self) -> str:
        given = {key: value for key, value in self.options.items() if value not in (None, True)}
        options = "".join(f", {key}={value!r}" for key, value in given.items())
        return f"Embedder({self.column!r}, {self.output!r}, model={self.model!r}{options})"

    def __call__(self, batch: Any) -> Any:
        if isinstance(batch, dict):
            vectors = self._vectors(list(batch[self.column]))
            return {**batch, self.output: _filled(vectors)}
        kind = type(batch).__module__.partition(".")[0]
        if kind == "pyarrow":
            return self._to_pyarrow(batch)
        if kind == "pandas":
            vectors = self._vectors(batch[self.column].tolist())
            return batch.assign(**{self.output: vectors})
        if kind == "polars":
            import polars

            vectors = self._vectors(batch[self.column].to_list())
            vectors = [None if vector is None else vector.tolist() for vector in vectors]
            dtype = polars.Array(polars.Float32, self.dimensions)
            return batch.with_columns(polars.Series(self.output, vectors, dtype=dtype))
        raise TypeError(f"cannot embed a batch of type {type(batch).__name__}")

    @property
    def dimensions(self) -> int:
        """Elements of a vector."""
        return self.options["truncate_dim"] or self.model.get_sentence_embedding_dimension()

    def _vectors(self, texts: list[Any]) -> list[Any]:
        """A vector for each text, ``None`` for null."""
        present = [index for index, text in enumerate(texts) if not _is_null(text)]
        vectors = self.model.encode(
            [str(texts[index]) for index in present], show_progress_bar=False, **self.options
        )
        all_vectors: list[Any] = [None] * len(texts)
        for index, vector in zip(present, vectors, strict=True):
            all_vectors[index] = vector
        return all_vectors

    def _to_pyarrow(self, batch: Any) -> Any:
        import pyarrow

        vectors = self._vectors(batch.column(self.column).to_pylist())
        width = self.dimensions
        missing = [vector is None for vector in vectors]
        flat = np.concatenate(
            [np.zeros(width, np.float32) if one is None else one for one in vectors]
            or [np.zeros(0, np.float32)]
        )
        mask = pyarrow.array(missing, pyarrow.bool_()) if any(missing) else None
        list_type = pyarrow.list_(pyarrow.float32(), width)
        column = pyarrow.FixedSizeListArray.from_arrays(flat, type=list_type, mask=mask)
        field = pyarrow.field(self.output, list_type)
        if self.output in batch.schema.names:
            return batch.set_column(batch.schema.get_field_index(self.output), field, column)
        if isinstance(batch, pyarrow.RecordBatch):
            schema = batch.schema.append(field)
            return pyarrow.RecordBatch.from_arrays([*batch.columns, column], schema=schema)
        return batch.append_column(field, column)


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _filled(vectors: list[Any]) -> Any:
    """An array ``[rows, dimensions]``, or one of objects if a vector is missing."""
    if all(vector is not None for vector in vectors) and vectors:
        return np.stack(vectors)
    array = np.empty(len(vectors), dtype=object)
    array[:] = vectors
    return array
