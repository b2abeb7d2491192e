"""Writes rows.parquet, as pyarrow does: python rows.py."""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

table = pa.table({
    "key": pa.array([7, 9, 8], pa.int64()),
    "body": ["One.", "Three, of another document.", "Two."],
    "book": ["a", "b", "a"],
    "embedding": pa.array([[0.5, -1.0], [0.25, 3.0], [2.0, 0.0]], pa.list_(pa.float32())),
    "year": pa.array([1789, None, 1948], pa.int16()),
})
pq.write_table(table, pathlib.Path(__file__).with_name("rows.parquet"), compression="zstd")
