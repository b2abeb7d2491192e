"""`data`: reads the sources, cleans and deduplicates their texts, and leaves out evaluation
texts."""

import argparse
import gzip
import hashlib
import json
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.languages import DENSE
from training.repositories import open_repository
from training.sources import SOURCES, Item

LONGEST_SENTENCE = 500
PASSAGE_LENGTHS = range(200, 2601)
# One in so many groups of texts is held out where the source does not decide.
HELD_OUT_OF = 50


@dataclass(frozen=True)
class Text:
    """One text. Texts of one group are translations of one another, or a question and its passage
    (in this order)."""

    group: int
    kind: str
    language: str
    source: str
    text: str
    held_out: bool


class Exclusions:
    """The texts and sentences of evaluation sets, in normalized form."""

    def __init__(self) -> None:
        """Nothing is excluded yet."""
        self._keys: set[str] = set()

    def add(self, text: str) -> None:
        """Excludes a text and each of its sentences of at least six letters and digits."""
        self._keys.add(normalized(text))
        self._keys.update(k for part in sentences(text) if len(k := normalized(part)) >= 6)

    def add_files(self, path: Path) -> None:
        """Excludes every string in a file of JSON or JSON lines, or in all such files of a folder.

        Raises:
            ValueError: there is no such file.
        """
        files = [path] if path.is_file() else sorted(path.rglob("*.json*"))
        if not files:
            raise ValueError(f"{path} has no JSON file; nothing would be excluded")
        for file in files:
            contents = file.read_text(encoding="utf8")
            values = json_lines(contents) if file.suffix == ".jsonl" else [json.loads(contents)]
            for text in _strings(values):
                self.add(text)

    def has(self, text: str) -> bool:
        """Whether this very text is excluded."""
        return normalized(text) in self._keys

    def has_sentence(self, text: str) -> bool:
        """Whether the text or a sentence of it with more than 20 letters and digits is excluded."""
        parts = (normalized(part) for part in sentences(text))
        return self.has(text) or any(len(part) > 20 and part in self._keys for part in parts)


def normalized(text: str) -> str:
    """NFKC, lower case, letters and digits only."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return "".join(c for c in folded if c.isalnum())


def sentences(text: str) -> list[str]:
    """A plain cut at the marks that end sentences."""
    return re.split(r"(?<=[.!?。！？])\s*", text)


def cleaned(text: str) -> str:
    """The text without control characters and with single spaces."""
    text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
    return re.sub(r"\s+", " ", text).strip()


def json_lines(contents: str) -> list[Any]:
    """The values of JSON lines. Texts may contain other ends of lines than the line feed."""
    return [json.loads(line) for line in contents.split("\n") if line]


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401 (any JSON value)
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


class Collector:
    """Turns items into rows, without what is excluded or was seen before."""

    def __init__(self, exclusions: Exclusions) -> None:
        """No row yet."""
        self._exclusions = exclusions
        self._seen: set[tuple[str, str]] = set()
        self._groups = 0
        self.excluded: Counter[str] = Counter()

    def rows(self, source: str, item: Item) -> list[Text]:
        """The rows of an item; none if nothing of it is new and usable."""
        texts = [(language, cleaned(text)) for language, text in item.texts]
        usable = [pair for pair in texts if self._is_usable(source, item.kind, *pair)]
        if item.kind == "question":
            usable = usable if len(usable) == len(texts) else []
        else:
            new = [pair for pair in usable if self._key(*pair) not in self._seen]
            # English stays with new translations: it is what they are paired with.
            usable = [pair for pair in usable if pair in new or pair[0] == "en"] if new else []
            self._seen.update(self._key(*pair) for pair in usable)
        if not usable:
            return []
        self._groups += 1
        held = item.held_out if item.held_out is not None else _is_held_out(source, usable[0][1])
        return [Text(self._groups, item.kind, lang, source, text, held) for lang, text in usable]

    @staticmethod
    def _key(language: str, text: str) -> tuple[str, str]:
        return language, normalized(text)

    def _is_usable(self, source: str, kind: str, language: str, text: str) -> bool:
        if kind == "passage":
            fits = len(text) * (2.5 if language in DENSE else 1) >= PASSAGE_LENGTHS[0]
            fits = fits and len(text) <= PASSAGE_LENGTHS[-1]
            excluded = self._exclusions.has_sentence
        else:
            fits = (
                0 < len(text) <= (LONGEST_SENTENCE if kind == "sentence" else PASSAGE_LENGTHS[-1])
            )
            fits = fits and any(c.isalpha() for c in text)
            excluded = self._exclusions.has
        if fits and excluded(text):
            self.excluded[source] += 1
            return False
        return fits


def _is_held_out(source: str, text: str) -> bool:
    digest = hashlib.sha256(f"{source} {text}".encode()).digest()
    return int.from_bytes(digest[:4]) % HELD_OUT_OF == 0


def write(path: Path, rows: Iterable[Text]) -> Counter[tuple[str, str]]:
    """Writes rows as JSON lines, and returns how many there are by source and kind."""
    counts: Counter[tuple[str, str]] = Counter()
    partial = path.with_suffix(".partial")
    with gzip.open(partial, "wt", encoding="utf8", compresslevel=4) as file:
        for row in rows:
            counts[row.source, row.kind] += 1
            file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
    partial.rename(path)
    return counts


def read(path: Path) -> list[Text]:
    """The rows that `write` wrote."""
    with gzip.open(path, "rt", encoding="utf8") as file:
        return [Text(**json.loads(line)) for line in file]


def prepare(exclude: list[Path], cache: Path, mirror: Path | None, out: Path) -> None:
    """Writes the texts of all sources to `out`, and prints their counts."""
    exclusions = Exclusions()
    for path in exclude:
        exclusions.add_files(path)
    collector = Collector(exclusions)

    def rows() -> Iterator[Text]:
        for source in SOURCES:
            repository = open_repository(source.repository, source.commit, cache, mirror)
            for item in source.read(repository, random.Random(source.key)):
                yield from collector.rows(source.key, item)
            print(f"read {source.key} of {source.repository}", flush=True)

    out.parent.mkdir(parents=True, exist_ok=True)
    for (source, kind), count in write(out, rows()).items():
        print(f"{source:14} {kind:9} {count:8}")
    print("texts of evaluation sets left out:", dict(collector.excluded))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `data`."""
    parser.add_argument(
        "--exclude",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="Evaluation sets, files or folders of JSON or JSON lines, whose texts are left out",
    )
    parser.add_argument(
        "--mirror",
        type=Path,
        metavar="FOLDER",
        help="Folder of clones (OWNER+NAME or OWNER/NAME) to read in place of GitHub",
    )


def run(arguments: argparse.Namespace) -> None:
    """`data`."""
    work = arguments.work
    prepare(arguments.exclude, work / "repositories", arguments.mirror, work / "texts.jsonl.gz")
