"""Files of rows to files of vectors: the batch contract that no engine needs.

A job is a value. Its shards are strings, which any process can run in any order; a finished shard has
a manifest next to the output, and is not run again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kokeshi._kokeshi import TableJob
from kokeshi.model import Model

if TYPE_CHECKING:
    from kokeshi._kokeshi import ColumnNames

State = Literal["now", "before", "elsewhere"]


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard.

    state: ``now`` if it was embedded, ``before`` if it was finished, ``elsewhere`` if another process
        works on it.
    manifest: what was read and written; ``None`` for ``elsewhere``.
    """

    state: State
    manifest: dict[str, Any] | None


@dataclass(frozen=True)
class Summary:
    """What a job did."""

    files: int = 0
    before: int = 0
    elsewhere: int = 0
    vectors: int = 0
    tokens: int = 0
    failed: int = 0

    def plus(self, result: ShardResult) -> Summary:
        """This, and a shard more."""
        if result.manifest is None:
            return _replaced(self, elsewhere=self.elsewhere + 1)
        failed = self.failed + result.manifest["failed"]
        if result.state == "before":
            return _replaced(self, before=self.before + 1, failed=failed)
        return _replaced(
            self,
            files=self.files + 1,
            vectors=self.vectors + result.manifest["vectors"],
            tokens=self.tokens + result.manifest["tokens"],
            failed=failed,
        )


def _replaced(summary: Summary, **values: int) -> Summary:
    return Summary(**{**vars(summary), **values})


@dataclass(frozen=True)
class Job:
    """Files of rows, and how their texts become vectors.

    inputs: files and globs of Parquet, JSONL, CSV and TSV files.
    output: the folder of Parquet files.
    text, id, document: names of columns; by default the usual ones, and no documents.
    keep: columns to write with the vectors, or ``"all"``.
    chunking: how to cut texts; a row for each chunk.
    late: pool the chunks of a text, or the rows of a document, from one pass.
    vector_type: ``f32``, ``f16``, ``int8`` (with a column of scales), ``binary`` or ``ubinary``.
    """

    inputs: Sequence[str]
    output: str
    model: Model = field(default_factory=Model)
    text: str | None = None
    id: str | None = None
    document: str | None = None
    keep: Sequence[str] | Literal["all"] = ()
    vector: str = "embedding"
    vector_type: str = "f32"
    task: str | None = None
    normalize_embeddings: bool = True
    truncate: bool = False
    window: int | None = None
    chunking: str | None = None
    late: bool = False
    chunk_text: bool = True
    shard_bytes: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_made"}

    def _native(self) -> TableJob:
        """The job of this process, made once: it remembers what it found out about large files."""
        if "_made" not in vars(self):
            vars(self)["_made"] = self._make()
        return vars(self)["_made"]

    def _make(self) -> TableJob:
        columns: ColumnNames = {
            "text": self.text,
            "id": self.id,
            "document": self.document,
            "keep": None if self.keep == "all" else list(self.keep),
            "vector": self.vector,
        }
        options = self.model._options(
            self.task,
            normalized=self.normalize_embeddings,
            truncate=self.truncate,
            window=self.window,
        )
        return TableJob(
            self.model._engine,
            str(self.output),
            columns,
            options,
            vector_type=self.vector_type,
            chunking=self.chunking,
            late=self.late,
            has_text=self.chunk_text,
            shard_bytes=self.shard_bytes,
        )

    def plan(self) -> list[str]:
        """The shards, once the output folder is ready for them."""
        shards, _ = self._native().plan([str(pattern) for pattern in self.inputs])
        return shards

    def run(
        self, shard: str, progress: Callable[[int, int, int], object] | None = None
    ) -> ShardResult:
        """Embeds a shard, unless it is finished."""
        state, manifest = self._native().run(shard, progress)
        return ShardResult(state, None if manifest is None else json.loads(manifest))  # type: ignore[arg-type]


def embed(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    shard: tuple[int, int] | None = None,
    progress: Callable[[int, int, int], object] | None = None,
    **options: Any,
) -> Summary:
    """Runs a whole job in this process, or with ``shard=(i, n)`` every nth shard, from the ith.

    options: those of :class:`Job`.
    """
    job = Job(_patterns(inputs), str(output), **options)
    summary = Summary()
    for one in chosen(job.plan(), shard):
        summary = summary.plus(job.run(one, progress))
    return summary


def chosen(shards: Sequence[str], shard: tuple[int, int] | None) -> Sequence[str]:
    """The shards of process ``i`` of ``n``, which counts from 1."""
    if shard is None:
        return shards
    number, count = shard
    if not 1 <= number <= count:
        raise ValueError(f"shard {shard} is not a number of {count}, from 1")
    return shards[number - 1 :: count]


def _patterns(inputs: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    return (str(inputs),) if isinstance(inputs, (str, Path)) else tuple(map(str, inputs))
