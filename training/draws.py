"""Random draws of texts for the fits, balanced over languages, with the teacher's prefixes."""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tokenizers import Tokenizer

from training.languages import XLM_R
from training.prepare import Text

# What multilingual-e5 was trained with.
QUERY, PASSAGE, BARE = "query: ", "passage: ", ""

# Two thirds of the texts are in these languages (English three times as often as any other).
FREQUENT = (
    "en en en de fr es ru zh ja ko ar hi tr it pt vi id th fi pl nl el he fa sv hu ro uk bn ta te "
    "sw"
).split()
SHARE_FREQUENT = 0.66
SHARE_PASSAGES = 0.036
# Languages with fewer sentences than this are left out.
FEWEST = 300
# Descriptions of commands are all alike: three tenths of them, in these languages.
TLDR_LANGUAGES = frozenset(["en", "de", "zh", "ja", "es", "fr"])
TLDR_SHARE = 0.3
SENTENCE_PREFIXES = [QUERY] * 12 + [PASSAGE] * 3 + [BARE] * 4
PASSAGE_PREFIXES = [PASSAGE] * 5 + [QUERY, BARE]
LONGEST_HELD_OUT = 500


@dataclass(frozen=True)
class Draw:
    """A text, the prefix in front of it, and its token ids, with special tokens."""

    prefix: str
    text: str
    tokens: list[int]


def tokenize(tokenizer: Tokenizer, text: str, longest: int) -> list[int]:
    """Token ids with <s> and </s>, at most `longest` of them; the last one stays </s>."""
    ids = tokenizer.encode(text).ids
    return ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]]


def draw(
    texts: list[Text], tokenizer: Tokenizer, tokens: int, longest: int, seed: int
) -> list[Draw]:
    """Different texts of the fit until they have `tokens` tokens together.

    Raises:
        ValueError: there are too few texts.
    """
    rng = random.Random(seed)
    draws: dict[tuple[str, str], Draw] = {}
    total = tries = 0
    choices = _choices(texts, rng)
    while total < tokens:
        tries += 1
        if tries > 100 * len(texts):
            raise ValueError(f"{len(texts)} texts have too few tokens for a draw of {tokens}")
        prefix, text = next(choices)
        if (prefix, text) not in draws:
            ids = tokenize(tokenizer, prefix + text, longest)
            draws[prefix, text] = Draw(prefix, text, ids)
            total += len(ids)
    return list(draws.values())


def _choices(texts: list[Text], rng: random.Random) -> Iterator[tuple[str, str]]:
    """Endless prefixes and texts."""
    sentences, passages = defaultdict(list), defaultdict(list)
    for text in texts:
        if text.held_out or text.language not in XLM_R:
            continue
        if text.kind == "passage":
            passages[text.language].append(text.text)
        elif text.kind == "sentence" and not _is_thinned(text, rng):
            sentences[text.language].append(text.text)
    common = [lang for lang, rows in sentences.items() if len(rows) > FEWEST] or list(sentences)
    while True:
        if passages and rng.random() < SHARE_PASSAGES:
            yield rng.choice(PASSAGE_PREFIXES), _one(passages, list(passages), rng)
        else:
            yield rng.choice(SENTENCE_PREFIXES), _one(sentences, common, rng)


def _one(by_language: dict[str, list[str]], others: list[str], rng: random.Random) -> str:
    language = rng.choice(FREQUENT if rng.random() < SHARE_FREQUENT else others)
    return rng.choice(by_language.get(language) or by_language[rng.choice(others)])


def _is_thinned(text: Text, rng: random.Random) -> bool:
    if text.source != "tldr":
        return False
    return text.language not in TLDR_LANGUAGES or rng.random() >= TLDR_SHARE


def held_out(texts: list[Text], tokenizer: Tokenizer) -> list[list[int]]:
    """The tokens of up to 252 held-out texts with "query: ": 200 sentences of news in 20 languages,
    12 passages in four and 40 everyday sentences."""
    rng = random.Random(2)
    rows = [text for text in texts if text.held_out]
    news = "en de fr es ru zh ja ar hi te fi sw tr vi th he el ko ta pl".split()
    pools = [
        *(
            [t for t in rows if (t.source, t.kind, t.language) == ("ntrex", "sentence", lang)]
            for lang in news
        ),
        *(
            [t for t in rows if (t.kind, t.language) == ("passage", lang)]
            for lang in ("en", "de", "zh", "ar")
        ),
        [t for t in rows if t.source.startswith(("tatoeba", "tanaka"))],
    ]
    sizes = [10] * len(news) + [3] * 4 + [40]
    picked = [
        text.text
        for pool, size in zip(pools, sizes, strict=True)
        for text in rng.sample(pool, min(size, len(pool)))
    ]
    return [tokenize(tokenizer, QUERY + text, LONGEST_HELD_OUT) for text in picked]
