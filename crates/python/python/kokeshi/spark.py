"""Spark: a column of vectors by ``mapInArrow``, with the model once in each Python worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow
from pyspark.sql import DataFrame
from pyspark.sql.types import ArrayType, FloatType, StructField, StructType

from kokeshi.embedder import Embedder


def embed(df: DataFrame, column: str, output: str = "embedding", **settings: Any) -> DataFrame:
    """``df`` with the column ``output``, an array of floats.

    settings: those of :class:`kokeshi.Embedder`. Give the model as many threads as a task has cores
    (``threads=1`` with ``spark.task.cpus`` of 1), and leave ``spark.python.worker.reuse`` on.
    """
    if output in df.columns:
        raise ValueError(f"the data frame has a column {output!r} already")
    embedder = Embedder(column, output, **settings)
    vectors = StructField(output, ArrayType(FloatType(), containsNull=False), nullable=True)
    schema = StructType([*df.schema.fields, vectors])

    def run(batches: Iterator[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        for batch in batches:
            yield _with_lists(embedder(batch))

    return df.mapInArrow(run, schema)


def _with_lists(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    """The last column as lists of any size: Spark has no others."""
    item = pyarrow.field("element", pyarrow.float32(), nullable=False)
    column = batch.column(batch.num_columns - 1).cast(pyarrow.list_(item))
    arrays = [*batch.columns[:-1], column]
    return pyarrow.RecordBatch.from_arrays(arrays, names=batch.schema.names)
