"""The public texts of the recipe: repositories, commits and licences, and how each is read."""

import html
import io
import json
import random
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from training.languages import DENSE, language
from training.repositories import Repository

Texts = list[tuple[str, str]]
"""Pairs of a language and a text."""


@dataclass(frozen=True)
class Item:
    """Texts that belong together: a sentence with its translations, a passage of several sentences
    with its translations, or a question followed by the passage that answers it."""

    kind: str
    texts: Texts
    # Sources that give documents in several cuts say themselves what is held out of all fits.
    held_out: bool | None = None


@dataclass(frozen=True)
class Source:
    """A repository at a commit, and the function that reads its items."""

    key: str
    repository: str
    commit: str
    licence: str
    read: Callable[[Repository, random.Random], Iterator[Item]]


def sentence(*texts: tuple[str, str]) -> Item:
    """A sentence with its translations."""
    return Item("sentence", list(texts))


# The share of NTREX's lines, from the end, that no fit sees.
NTREX_HELD_OUT = 0.1


def ntrex(repository: Repository, rng: random.Random) -> Iterator[Item]:
    """News in 128 languages, line by line, and in passages of 2 to 16 lines of one article."""
    lines = _ntrex_lines(repository)
    documents = repository.read("DOCUMENT_IDS.tsv").decode().split("\n")
    total = len(lines["en"])
    first_held = int(total * (1 - NTREX_HELD_OUT))
    for i in range(total):
        yield Item("sentence", [(lang, text[i]) for lang, text in lines.items()], i >= first_held)
    start = 0
    while start < total:
        end, longest = start + 1, rng.choice((3, 5, 8, 12, 16))
        while end < total and end - start < longest and documents[end] == documents[start]:
            end += 1
        if end - start > 1:
            texts = [
                (lang, ("" if lang in DENSE else " ").join(text[start:end]))
                for lang, text in lines.items()
            ]
            yield Item("passage", texts, end > first_held)
        start = end


def _ntrex_lines(repository: Repository) -> dict[str, list[str]]:
    """The lines of each language. A further variety of a language keeps its own code."""
    paths = [path for path in repository.paths() if path.startswith("NTREX-128/")]
    contents = {
        path.split(".", 1)[1].removesuffix(".txt"): text.decode().split("\n")
        for path, text in repository.read_all(paths)
    }
    english = contents.pop("eng")
    while not english[-1]:
        english.pop()
    lines = {"en": english}
    # Plain codes come before those with a script or region.
    for code in sorted(contents, key=lambda code: ("-" in code, code)):
        if language(code) != "en":
            name = language(code) if language(code) not in lines else code
            lines.setdefault(name, contents[code])
    return {lang: text for lang, text in lines.items() if len(text) >= len(english)}


def tico19(repository: Repository, _: random.Random) -> Iterator[Item]:
    """Sentences about health, English with up to 35 translations."""
    translations: dict[str, dict[str, str]] = defaultdict(dict)
    paths = [path for path in repository.paths() if re.match(r"data/TM/all\.en-[\w-]+\.tmx", path)]
    for path, contents in repository.read_all(paths):
        lang = language(path.split("all.en-")[1].split(".")[0])
        if path.endswith(".zip"):
            archive = zipfile.ZipFile(io.BytesIO(contents))
            contents = archive.read(archive.namelist()[0])
        for unit in re.findall(r"<tu[ >].*?</tu>", contents.decode("utf8", "replace"), re.S):
            segments = re.findall(r"<seg>(.*?)</seg>", unit, re.S)
            if len(segments) == 2:
                translations[html.unescape(segments[0])][lang] = html.unescape(segments[1])
    for english, others in translations.items():
        yield sentence(("en", english), *others.items())


def tatoeba(lang: str, archive: str) -> Callable[[Repository, random.Random], Iterator[Item]]:
    """A reader of an export of Tatoeba: English sentences with a translation, 40,000 of them."""

    def read(repository: Repository, rng: random.Random) -> Iterator[Item]:
        files = zipfile.ZipFile(io.BytesIO(repository.read(archive)))
        name = next(n for n in files.namelist() if n.endswith(".txt") and "about" not in n)
        rows = [line.split("\t") for line in files.read(name).decode().split("\n")]
        rows = [row for row in rows if len(row) >= 2]
        rng.shuffle(rows)
        for row in rows[:40_000]:
            yield sentence(("en", row[0]), (lang, row[1]))

    return read


def tanaka(repository: Repository, _: random.Random) -> Iterator[Item]:
    """Everyday sentences in English and Japanese, with their tokenization undone."""
    english = repository.read("train.en").decode().split("\n")
    japanese = repository.read("train.ja").decode().split("\n")
    for en, ja in zip(english, japanese, strict=True):
        if en:
            yield sentence(("en", _joined_english(en)), ("ja", ja.replace(" ", "")))


def _joined_english(text: str) -> str:
    """`i can 't tell .` as `I can't tell.`"""
    text = re.sub(r"(\w) ?' ?(t|s|m|re|ve|ll|d)\b", r"\1'\2", text)
    text = re.sub(r" ([.,!?;:])", r"\1", text)
    text = re.sub(r"\bi\b", "I", text)
    return text[:1].upper() + text[1:]


def opensubtitles(repository: Repository, _: random.Random) -> Iterator[Item]:
    """The 4,000 most common sentences of subtitles in each of 60 languages."""
    suffix = "_top_sentences.csv"
    paths = [p for p in repository.paths() if p.startswith("bld/top_sentences/")]
    for path, contents in repository.read_all([p for p in paths if p.endswith(suffix)]):
        code = path.split("/")[-1].removesuffix(suffix)
        if code.startswith("ze_"):  # Subtitles with two languages in each line.
            continue
        for line in contents.decode("utf8", "replace").split("\n")[1:4000]:
            text = line.rsplit(",", 1)[0].strip('"')
            if len(text) > 8:
                yield sentence((language(code), text))


def tldr(repository: Repository, _: random.Random) -> Iterator[Item]:
    """Descriptions of commands with their translations, by position in the page."""
    paths = [path for path in repository.paths() if re.match(r"pages(\.\w+)?/.*\.md$", path)]
    pages = {path: text.decode("utf8", "replace") for path, text in repository.read_all(paths)}
    translations: dict[str, dict[str, str]] = defaultdict(dict)
    for path, page in pages.items():
        match = re.match(r"pages\.(\w+)/(.*)$", path)
        english = match and pages.get("pages/" + match[2])
        if not english:
            continue
        for marker in "> ", "- ":
            originals, others = _tldr_lines(english, marker), _tldr_lines(page, marker)
            if len(originals) == len(others):
                for original, other in zip(originals, others, strict=True):
                    translations[original][language(match[1])] = other
    for english, others in translations.items():
        yield sentence(("en", english), *others.items())


def _tldr_lines(page: str, marker: str) -> list[str]:
    page = re.sub(r"\[(\w)\]", r"\1", page).replace("`", "")
    lines = [line for line in page.split("\n") if line.startswith(marker) and "http" not in line]
    return [line.removeprefix(marker).strip().rstrip(":：") for line in lines]


DIALOGUE_FILES = 36


def schema_guided_dialogue(repository: Repository, rng: random.Random) -> Iterator[Item]:
    """English dialogues: single turns, and whole dialogues as passages."""
    paths = [path for path in repository.paths() if path.startswith("train/dialogues_")]
    for _, contents in repository.read_all(paths[:DIALOGUE_FILES]):
        for dialogue in json.loads(contents):
            turns = [turn["utterance"] for turn in dialogue["turns"]]
            for turn in turns:
                if len(turn) > 25 and rng.random() < 0.12:
                    yield sentence(("en", turn))
            if rng.random() < 0.15:
                yield Item("passage", [("en", " ".join(turns))])


def wiki_split(repository: Repository, rng: random.Random) -> Iterator[Item]:
    """Sentences of the English Wikipedia: one long sentence, or the two it was split into."""
    for path in "tune.tsv", "validation.tsv", "test.tsv":
        for line in repository.read(path).decode().split("\n"):
            columns = line.split("\t")
            if len(columns) == 2:
                text = rng.choice(columns).replace(" <::::> ", " ").replace("''", '"')
                text = re.sub(r" ([.,;:!?)]|'s|n't)", r"\1", text).replace("( ", "(")
                yield sentence(("en", text))


def open_trivia(repository: Repository, _: random.Random) -> Iterator[Item]:
    """English trivia questions."""
    paths = [path for path in repository.paths() if path.startswith("categories/")]
    for _, contents in repository.read_all(paths):
        text = contents.decode("utf8", "replace")
        for question in re.findall(r"^#Q (.*?)\n\^ ", text, re.S | re.M):
            if len(question) > 20:
                yield sentence(("en", question))


def clinc(repository: Repository, _: random.Random) -> Iterator[Item]:
    """Requests to an assistant, in English."""
    for rows in json.loads(repository.read("data/data_full.json")).values():
        for text, label in rows:
            if label != "oos":
                yield sentence(("en", text))


def squad(lang: str, *prefixes: str) -> Callable[[Repository, random.Random], Iterator[Item]]:
    """A reader of passages with questions, in the form of SQuAD, from paths with these prefixes."""

    def read(repository: Repository, _: random.Random) -> Iterator[Item]:
        paths = [path for path in repository.paths() if path.startswith(prefixes)]
        for _, contents in repository.read_all(paths):
            for article in json.loads(contents)["data"]:
                for paragraph in article["paragraphs"]:
                    passage = paragraph["context"]
                    yield Item("passage", [(lang, passage)])
                    for question in paragraph["qas"]:
                        text = question["question"]
                        yield sentence((lang, text))
                        yield Item("question", [(lang, text), (lang, passage)])

    return read


TATOEBA = "CC BY 2.0 FR (Tatoeba by way of manythings.org); the repository states nothing itself"

SOURCES = [
    Source(
        "ntrex",
        "MicrosoftTranslator/NTREX",
        "8561f6a622db9edad1217683e5c83daefd8bb2bf",
        "CC BY-SA 4.0",
        ntrex,
    ),
    Source(
        "tico19",
        "tico-19/tico-19.github.io",
        "d97615f9cffa28ec7de571e00fbd513e5a1c7fc7",
        "CC0 1.0",
        tico19,
    ),
    Source(
        "tatoeba_de",
        "jhamburg/dats6450_nlp",
        "fc38d83c4353d753fb9b34d98e945cbc5fab2811",
        TATOEBA,
        tatoeba("de", "deu-eng.zip"),
    ),
    Source(
        "tatoeba_fr",
        "genimind/seq2seq",
        "4f3f8eb0adde54fcc8b89394336b002e7961244c",
        TATOEBA,
        tatoeba("fr", "fra-eng.zip"),
    ),
    Source(
        "tatoeba_es",
        "Ah-Hnin/lstm",
        "56455904560376415f3aa7b6c975319726aa0489",
        TATOEBA,
        tatoeba("es", "spa-eng.zip"),
    ),
    Source(
        "tatoeba_zh",
        "tongsun99/nlp-task",
        "dfd704d26d35b027116faac9d36d5d22915eff9b",
        TATOEBA,
        tatoeba("zh", "cmn-eng.zip"),
    ),
    Source(
        "tanaka",
        "odashi/small_parallel_enja",
        "312408a11c5fbcbc09443bebb18121f7efdcd61e",
        "CC BY (Tanaka corpus, Tatoeba)",
        tanaka,
    ),
    Source(
        "opensubtitles",
        "orgtre/top-open-subtitles-sentences",
        "861f4267cdbb36f4cca4ddfdb2221f1c75bf485b",
        "none named: lists made of OpenSubtitles2018 (OPUS); the code that made them is CC BY 3.0",
        opensubtitles,
    ),
    Source(
        "tldr",
        "tldr-pages/tldr",
        "08e345f42639f67d99282813247ac670dc6e87cb",
        "CC BY 4.0",
        tldr,
    ),
    Source(
        "dialogues",
        "google-research-datasets/dstc8-schema-guided-dialogue",
        "e852981ae34990f4358979625854259302feaa78",
        "CC BY-SA 4.0",
        schema_guided_dialogue,
    ),
    Source(
        "wiki_split",
        "google-research-datasets/wiki-split",
        "80f5bddf42d1a68201b7b107ee4b8d86d82e9fde",
        "CC BY-SA 4.0",
        wiki_split,
    ),
    Source(
        "trivia",
        "uberspot/OpenTriviaQA",
        "dd31530bfbb19f9505b160b89c9df4b1127e3c70",
        "CC BY-SA 4.0",
        open_trivia,
    ),
    Source(
        "clinc",
        "clinc/oos-eval",
        "828f8093932c8fe6ca7936c3d2e52903b1c523de",
        "CC BY 3.0",
        clinc,
    ),
    Source(
        "jaquad",
        "SkelterLabsInc/JaQuAD",
        "23f5d72cc273c49b35e2d9efe0f51757aa1770bd",
        "CC BY-SA 3.0",
        squad("ja", "data/train/"),
    ),
    Source(
        "cmrc2018",
        "ymcui/cmrc2018",
        "c0eb1b6ba219847457e6af3180da722bbeb656af",
        "CC BY-SA 4.0",
        squad("zh", "squad-style-data/cmrc2018_dev", "squad-style-data/cmrc2018_trial"),
    ),
    Source(
        "arcd",
        "husseinmozannar/SOQAL",
        "1229d34aa2b7a0b9a2e4858c9268e68f45d7e3c4",
        "MIT",
        squad("ar", "data/arcd-train.json"),
    ),
]
