"""Models: texts to vectors."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from kokeshi._kokeshi import ArrowVectors, Engine, texts_of

if TYPE_CHECKING:
    from kokeshi._kokeshi import TextOptions

# Types of vectors, as sentence-transformers calls them.
PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")
QUERY, PASSAGE = "retrieval.query", "retrieval.passage"


class TruncationWarning(UserWarning):
    """Texts were over the model's limit, and their vectors lack their ends."""


@dataclass(frozen=True)
class Chunk:
    """Where a chunk is in its text: half-open ranges."""

    text: str
    bytes: tuple[int, int]
    chars: tuple[int, int]
    tokens: tuple[int, int]


@dataclass(frozen=True)
class LateVectors:
    """The chunks of a document, and a vector for each, ``[chunks, dimensions]``."""

    vectors: NDArray[np.float32]
    chunks: list[Chunk]


class Model:
    """A model by its name. It is loaded on first use, and once in a process for each configuration.

    name: ``starter`` (in the package), a known name such as ``jina-embeddings-v3``, a hub id
        ``owner/name``, or a folder. A model that is not on this machine is downloaded.
    device: ``cpu``, ``cuda``, ``cuda:N``, ``auto`` or ``reference``.
    threads: number of threads; by default one for each core.
    precision: of the arithmetic: ``f32``, ``bf16``, ``f16`` or ``int8``.
    truncate_dim: number of leading dimensions to keep (Matryoshka).
    revision: a commit or branch on the hub.
    local_files_only: never download.
    """

    def __init__(
        self,
        name: str = "starter",
        *,
        device: str | None = None,
        threads: int | None = None,
        precision: str | None = None,
        truncate_dim: int | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        self.name = name
        self.truncate_dim = truncate_dim
        self._settings = {
            "device": device,
            "threads": threads,
            "precision": precision,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        self._engine = Engine(name, **self._settings)

    @classmethod
    def from_pretrained(cls, name: str = "starter", **settings: Any) -> Model:
        """The same as ``Model(name, …)``."""
        return cls(name, **settings)

    def __repr__(self) -> str:
        given = {key: value for key, value in self._settings.items() if value}
        if self.truncate_dim is not None:
            given["truncate_dim"] = self.truncate_dim
        return f"Model({', '.join([repr(self.name), *(f'{k}={v!r}' for k, v in given.items())])})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _model, (self.name, {**self._settings, "truncate_dim": self.truncate_dim})

    def load(self) -> Model:
        """Loads the model now, instead of on first use."""
        self._engine.load()
        return self

    @property
    def tasks(self) -> dict[str, str]:
        """The model's tasks, each with the instruction that it puts before a text."""
        return self._engine.info()["tasks"]

    @property
    def max_seq_length(self) -> int:
        """Maximum number of tokens of a text, special tokens and instruction included."""
        return self._engine.info()["max_tokens"]

    @property
    def device(self) -> str:
        """The device that the model runs on, and its precision."""
        return self._engine.info()["device"]

    def get_sentence_embedding_dimension(self) -> int:
        """Elements of a vector."""
        return self.truncate_dim or self._engine.info()["dimensions"]

    def _options(self, task: str | None, **other: Any) -> TextOptions:
        dimensions = other.pop("truncate_dim", None)
        options: TextOptions = {
            "task": task,
            "instruction": True,
            "dimensions": self.truncate_dim if dimensions is None else dimensions,
            "normalized": True,
            "truncate": True,
            "max_tokens": None,
            "window": None,
        }
        options.update(other)  # type: ignore[typeddict-item]
        return options

    def _known(self, task: str) -> str | None:
        return task if task in self.tasks else None

    def encode(
        self,
        inputs: str | Sequence[str],
        *,
        task: str | None = None,
        prompt_name: str | None = None,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = True,
        precision: str = "float32",
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        instruction: bool = True,
        truncate: bool = True,
        **unsupported: Any,
    ) -> NDArray[Any] | list[NDArray[Any]]:
        """A vector for each text, ``[texts, dimensions]``; ``[dimensions]`` for a single text.

        task: a task of the model, such as ``retrieval.query``; ``prompt_name`` means the same.
        truncate_dim: number of leading dimensions to keep, before vectors are scaled to unit length.
        precision: ``float32``; ``int8`` or ``uint8``, calibrated on these vectors as
            sentence-transformers does; ``binary`` or ``ubinary``, packed signs.
        batch_size: accepted for compatibility. Batches are made by the number of tokens.
        show_progress_bar: by default on a terminal.
        convert_to_numpy: ``False`` returns a list of arrays.
        instruction: whether the task puts its instruction before each text.
        truncate: ``False`` makes a text over the limit an error; ``True`` cuts it, with a warning.
        """
        if unsupported:
            raise TypeError(f"encode does not support {', '.join(sorted(unsupported))}")
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
        if task is not None and prompt_name is not None and task != prompt_name:
            raise ValueError(f"task {task!r} and prompt_name {prompt_name!r} differ")
        is_single = isinstance(inputs, str)
        texts = _texts([inputs] if is_single else inputs)
        options = self._options(
            task or prompt_name,
            truncate_dim=truncate_dim,
            normalized=normalize_embeddings,
            instruction=instruction,
            truncate=truncate,
        )
        with _Bar(len(texts), show_progress_bar) as bar:
            vectors, _, truncated = self._engine.encode(texts, options, bar.add)
        _warn(truncated, self)
        vectors = quantize(vectors, precision)
        if is_single:
            return vectors[0]
        return vectors if convert_to_numpy else list(vectors)

    def encode_query(self, inputs: str | Sequence[str], **options: Any) -> Any:
        """As :meth:`encode`, with the task of queries, if the model has it."""
        return self.encode(inputs, **{"task": self._known(QUERY), **options})

    def encode_document(self, inputs: str | Sequence[str], **options: Any) -> Any:
        """As :meth:`encode`, with the task of passages, if the model has it."""
        return self.encode(inputs, **{"task": self._known(PASSAGE), **options})

    def similarity(self, a: Any, b: Any) -> NDArray[np.float32]:
        """The cosine of each vector of ``a`` with each of ``b``, ``[a, b]``."""
        a, b = (np.atleast_2d(np.asarray(one, dtype=np.float32)) for one in (a, b))
        return _unit(a) @ _unit(b).T

    def encode_late(
        self,
        document: str | Sequence[str],
        chunks: Sequence[str] | Sequence[tuple[int, int]] | None = None,
        *,
        chunking: str | None = None,
        task: str | None = None,
        truncate_dim: int | None = None,
        window: int | None = None,
    ) -> LateVectors:
        """A vector for each chunk, pooled from one pass over the whole document (late chunking).

        document: the text, or its parts, which are joined by spaces.
        chunks: ranges of characters, or texts in the order in which they occur in the document.
        chunking: how to cut instead: ``sentences``, ``tokens:256``, ``paragraphs``, ``semantic:512``.
        window: tokens in a window of a long document.
        """
        options = self._options(task, truncate_dim=truncate_dim, window=window)
        if not isinstance(document, str):
            if chunks is not None or chunking is not None:
                raise ValueError("a document of parts has these as its chunks")
            return self._late_parts(_texts(document), options)
        if chunks is None and chunking is None:
            chunking = "sentences"
        ranges = None if chunks is None else _ranges(document, chunks)
        vectors, offsets = self._engine.encode_late(
            document, options, chunks=ranges, chunking=chunking
        )
        return LateVectors(vectors, [_chunk(document, one) for one in offsets])

    def _late_parts(self, parts: list[str], options: TextOptions) -> LateVectors:
        vectors = self._engine.encode_parts(parts, options)
        chunks, byte, char = [], 0, 0
        for part in parts:
            size = len(part.encode())
            chunks.append(Chunk(part, (byte, byte + size), (char, char + len(part)), (0, 0)))
            byte, char = byte + size + 1, char + len(part) + 1
        return LateVectors(vectors, chunks)

    def chunk(self, text: str, how: str = "sentences") -> list[Chunk]:
        """The chunks of a text."""
        return [_chunk(text, one) for one in self._engine.chunk(text, how)]

    @overload
    def tokenize(self, texts: str, *, task: str | None = None) -> list[int]: ...
    @overload
    def tokenize(self, texts: Sequence[str], *, task: str | None = None) -> list[list[int]]: ...
    def tokenize(self, texts: Any, *, task: str | None = None) -> Any:
        """The ids of a text's tokens, special tokens and the task's instruction included."""
        is_single = isinstance(texts, str)
        ids = self._engine.token_ids(_texts([texts] if is_single else texts), self._options(task))
        return ids[0] if is_single else ids

    def count_tokens(self, texts: str | Sequence[str]) -> int | list[int]:
        """The number of a text's own tokens, without special tokens and instruction."""
        is_single = isinstance(texts, str)
        counts = self._engine.count_tokens(_texts([texts] if is_single else texts))
        return counts[0] if is_single else counts

    def encode_arrow(self, texts: Any, **options: Any) -> ArrowVectors:
        """As :meth:`encode`, from and to Arrow arrays, by the PyCapsule interface.

        texts: an object with ``__arrow_c_array__``, of pyarrow, polars, arro3 and others, without
            nulls. The result has the same method: ``pyarrow.array(model.encode_arrow(texts))``.
        """
        values = texts_of(texts)
        if None in values:
            raise ValueError(f"text {values.index(None)} is null")
        vectors = self.encode(values, **options)
        if vectors.dtype != np.float32:
            raise ValueError("encode_arrow returns float32")
        return ArrowVectors(np.ascontiguousarray(vectors))

    def embed(self, documents: Iterable[str], batch_size: int = 256, **options: Any) -> Iterator[NDArray[np.float32]]:
        """The vectors of ``documents``, one by one, as fastembed."""
        yield from self._embed(documents, batch_size, options)

    def passage_embed(self, texts: Iterable[str], batch_size: int = 256, **options: Any) -> Iterator[NDArray[np.float32]]:
        """As :meth:`embed`, with the task of passages."""
        yield from self._embed(texts, batch_size, {"task": self._known(PASSAGE), **options})

    def query_embed(self, query: str | Iterable[str], batch_size: int = 256, **options: Any) -> Iterator[NDArray[np.float32]]:
        """As :meth:`embed`, with the task of queries."""
        queries = [query] if isinstance(query, str) else query
        yield from self._embed(queries, batch_size, {"task": self._known(QUERY), **options})

    def _embed(self, texts: Iterable[str], batch_size: int, options: dict[str, Any]) -> Iterator[NDArray[np.float32]]:
        if isinstance(texts, str):
            texts = [texts]
        block: list[str] = []
        for text in texts:
            block.append(text)
            if len(block) >= batch_size:
                yield from self.encode(block, show_progress_bar=False, **options)
                block = []
        if block:
            yield from self.encode(block, show_progress_bar=False, **options)


def _model(name: str, settings: dict[str, Any]) -> Model:
    return Model(name, **settings)


def quantize(vectors: NDArray[np.float32], precision: str) -> NDArray[Any]:
    """Vectors in a type of sentence-transformers, with its formulas."""
    if precision == "float32":
        return vectors
    if precision in ("binary", "ubinary"):
        bits = np.packbits(vectors > 0, axis=1)
        return bits if precision == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)
    if len(vectors) == 0:
        return vectors.astype(precision)
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    steps = (high - low) / 255
    scaled = (vectors - low) / np.where(steps > 0, steps, 1)
    return scaled.astype(np.uint8) if precision == "uint8" else (scaled - 128).astype(np.int8)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _texts(texts: Iterable[Any]) -> list[str]:
    listed = list(texts)
    for index, text in enumerate(listed):
        if not isinstance(text, str):
            raise TypeError(f"text {index} is of type {type(text).__name__}, not str")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"text {index} has half of a surrogate pair") from None
    return listed


def _ranges(document: str, chunks: Sequence[Any]) -> list[tuple[int, int]]:
    """The ranges of chunks, which may be given as texts."""
    ranges, at = [], 0
    for index, chunk in enumerate(chunks):
        if not isinstance(chunk, str):
            start, end = chunk
            ranges.append((int(start), int(end)))
            continue
        start = document.find(chunk, at)
        if start < 0:
            raise ValueError(f"chunk {index} does not occur in the document after chunk {index - 1}")
        at = start + len(chunk)
        ranges.append((start, at))
    return ranges


def _chunk(text: str, offsets: Any) -> Chunk:
    in_bytes, chars, tokens = offsets
    return Chunk(text[chars[0] : chars[1]], in_bytes, chars, tokens)


def _warn(truncated: list[tuple[int, int]], model: Model) -> None:
    if not truncated:
        return
    first, tokens = truncated[0]
    others = f", and {len(truncated) - 1} more" if len(truncated) > 1 else ""
    warnings.warn(
        f"text {first} has {tokens} tokens{others}: over {model.name}'s limit of "
        f"{model.max_seq_length}, so the vector lacks the end of the text; truncate=False makes this "
        "an error, and encode_late has no limit",
        TruncationWarning,
        stacklevel=3,
    )


class _Bar:
    """Progress on a terminal, by tqdm if it is installed."""

    def __init__(self, total: int, wanted: bool | None) -> None:
        self.bar: Any = None
        if wanted or (wanted is None and total > 1000 and sys.stderr.isatty()):
            try:
                from tqdm.auto import tqdm
            except ImportError:
                if wanted:
                    warnings.warn("show_progress_bar needs the package tqdm", stacklevel=3)
            else:
                self.bar = tqdm(total=total, unit="text")

    def __enter__(self) -> _Bar:
        return self

    def add(self, texts: int, tokens: int) -> None:
        if self.bar is not None:
            self.bar.update(texts)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
