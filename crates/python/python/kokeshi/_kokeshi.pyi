from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

VERSION: str

Range = tuple[int, int]
# Bytes, characters and tokens.
Offsets = tuple[Range, Range, Range]

class TextOptions(TypedDict):
    task: str | None
    instruction: bool
    dimensions: int | None
    normalized: bool
    truncate: bool
    max_tokens: int | None
    window: int | None

class ColumnNames(TypedDict):
    text: str | None
    id: str | None
    document: str | None
    keep: list[str] | None
    vector: str

def main(arguments: list[str], program: list[str]) -> int: ...
def matching(patterns: list[str]) -> list[str]: ...
def texts_of(object: Any) -> list[str | None]: ...

class ArrowVectors:
    def __init__(self, vectors: NDArray[np.float32]) -> None: ...
    def __len__(self) -> int: ...
    def __arrow_c_array__(self, requested_schema: Any = None) -> tuple[Any, Any]: ...

class Engine:
    def __init__(
        self,
        name: str,
        *,
        revision: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        precision: str | None = None,
        local_files_only: bool = False,
    ) -> None: ...
    def load(self) -> None: ...
    def unload(self) -> None: ...
    def info(self) -> dict[str, Any]: ...
    def revision(self) -> str: ...
    def encode(
        self,
        texts: list[str],
        options: TextOptions,
        progress: Callable[[int, int], object] | None = None,
    ) -> tuple[NDArray[np.float32], int, list[tuple[int, int]]]: ...
    def encode_late(
        self,
        text: str,
        options: TextOptions,
        *,
        chunks: list[Range] | None = None,
        chunking: str | None = None,
    ) -> tuple[NDArray[np.float32], list[Offsets]]: ...
    def encode_parts(self, parts: list[str], options: TextOptions) -> NDArray[np.float32]: ...
    def chunk(self, text: str, how: str) -> list[Offsets]: ...
    def token_ids(self, texts: list[str], options: TextOptions) -> list[list[int]]: ...
    def count_tokens(self, texts: list[str]) -> list[int]: ...

class CollectionFile:
    def __init__(
        self,
        engine: Engine,
        store: str,
        name: str,
        *,
        dimensions: int | None = None,
        chunking: str | None = None,
        late: bool | None = None,
        storage: str | None = None,
    ) -> None: ...
    def add(
        self,
        ids: list[str],
        texts: list[str],
        metadata: list[str],
        progress: Callable[[int], object] | None = None,
    ) -> list[tuple[str, int]]: ...
    def search(
        self,
        query: str,
        *,
        limit: int,
        conditions: list[str],
        paths: list[str],
        hybrid: bool,
        exact: bool,
    ) -> str: ...
    def remove(self, ids: list[str]) -> int: ...
    def count(self) -> tuple[int, int]: ...

class TableJob:
    def __init__(
        self,
        engine: Engine,
        output: str,
        columns: ColumnNames,
        options: TextOptions,
        *,
        vector_type: str = "f32",
        chunking: str | None = None,
        late: bool = False,
        has_text: bool = True,
        shard_bytes: int | None = None,
    ) -> None: ...
    def plan(self, patterns: list[str]) -> tuple[list[str], int]: ...
    def run(
        self, shard: str, progress: Callable[[int, int, int], object] | None = None
    ) -> tuple[str, str | None]: ...
