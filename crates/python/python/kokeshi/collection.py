"""Collections: texts with vectors in a file or a server, searched by meaning and by words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kokeshi._kokeshi import CollectionFile
from kokeshi.model import Model, _texts


@dataclass(frozen=True)
class Hit:
    """A chunk that was found.

    id: of its text, or the path of its file.
    score: what hits are ordered by: the cosine, or in a hybrid search the sum of reciprocal ranks.
    cosine: ``None`` if a hybrid search found it by its words only.
    chunk: its number in its text, from 0; ``bytes``: where it is there.
    lines, page: where it is in its file, if that has any.
    """

    id: str
    score: float
    cosine: float | None
    text: str
    chunk: int
    bytes: tuple[int, int]
    lines: tuple[int, int] | None
    page: int | None
    metadata: dict[str, Any]


class Collection:
    """A collection of texts in ``store``: a file such as ``notes.db``, or the address of a server.

    name: of the collection; each has its own model.
    model: a model's name or a :class:`kokeshi.Model`: that of the collection, if it exists.
    dimensions, chunking, late_chunking, storage: of a new collection, as ``kokeshi index`` has them.

    Files and folders are indexed by :meth:`index`, other texts by :meth:`add`. Each change is durable
    when its call returns.
    """

    def __init__(
        self,
        store: str | Path,
        name: str = "default",
        *,
        model: str | Model = "starter",
        dimensions: int | None = None,
        chunking: str | None = None,
        late_chunking: bool | None = None,
        storage: str | None = None,
    ) -> None:
        self.store = str(store)
        self.name = name
        self.model = model if isinstance(model, Model) else Model(model)
        self._file = CollectionFile(
            self.model._engine,
            self.store,
            name,
            dimensions=dimensions,
            chunking=chunking,
            late=late_chunking,
            storage=storage,
        )

    def __repr__(self) -> str:
        return f"Collection({self.store!r}, {self.name!r}, model={self.model!r})"

    def __len__(self) -> int:
        """The number of documents."""
        return self._file.count()[0]

    def add(
        self,
        texts: Sequence[str],
        ids: Sequence[str],
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> dict[str, int]:
        """Adds texts, or replaces those of the same ids. Equal ones are left alone.

        Returns how many were ``written`` and ``unchanged``, and how many are ``blank``.
        """
        texts, ids = _texts(texts), [str(one) for one in ids]
        fields = [{}] * len(texts) if metadata is None else list(metadata)
        if not len(texts) == len(ids) == len(fields):
            raise ValueError(f"{len(texts)} texts, {len(ids)} ids and {len(fields)} metadata differ")
        return dict(self._file.add(ids, texts, [json.dumps(dict(one)) for one in fields]))

    def search(
        self,
        query: str,
        limit: int = 10,
        *,
        where: str | Sequence[str] = (),
        paths: str | Sequence[str] = (),
        hybrid: bool = False,
        exact: bool = False,
    ) -> list[Hit]:
        """The chunks that are closest to ``query``, best first.

        where: conditions on metadata that all hold, such as ``lang=de`` or ``year>=1900``.
        paths: globs of ids or paths, with a leading ``!`` excluded.
        hybrid: also search by words (BM25), and fuse both rankings.
        exact: scan all vectors, even if there are codes or an approximate index.
        """
        if not query.strip():
            raise ValueError("the query is empty")
        hits = self._file.search(
            query,
            limit=limit,
            conditions=[where] if isinstance(where, str) else list(where),
            paths=[paths] if isinstance(paths, str) else list(paths),
            hybrid=hybrid,
            exact=exact,
        )
        return [_hit(one) for one in json.loads(hits)]

    def remove(self, ids: str | Sequence[str]) -> int:
        """Removes texts by their ids, and returns how many there were."""
        return self._file.remove([ids] if isinstance(ids, str) else list(ids))

    def index(self, *paths: str | Path) -> str:
        """Indexes files and folders, or brings them up to date, as ``kokeshi index``.

        Returns what the program said. Its exit status 3, some files could not be read, is not an
        error.
        """
        command = [sys.executable, "-m", "kokeshi", "index", *map(str, paths)]
        command += ["--store", self.store, "--collection", self.name]
        if not len(self):
            command += ["--model", self.model.name]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode not in (0, 3):
            raise OSError(run.stderr.strip())
        return run.stderr.strip()


def _hit(found: dict[str, Any]) -> Hit:
    pair = lambda value: None if value is None else tuple(value)  # noqa: E731
    return Hit(**{**found, "bytes": pair(found["bytes"]), "lines": pair(found["lines"])})
