"""`order`: the mean vector out of the last bias, and the dimensions that matter most in front.

Cosines of the first 32, 64, 128 or 256 elements then serve in place of cosines of all (Matryoshka).
"""

import argparse
import dataclasses
import random
from collections import defaultdict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from training import prepare, student
from training.draws import FREQUENT, PASSAGE, QUERY, tokenize
from training.network import Layer, encode
from training.prepare import Text
from training.student import Student

TRANSLATIONS = 700
QUESTIONS = 250
LONGEST = 220
# Dimensions that are chosen one by one; the others follow by variance.
GREEDY = 256
# Wrong partners of each vector: the nearest, and a random one.
NEAREST = 4
SEED = 4
# Sources whose sentences have translations.
PARALLEL = frozenset(
    ["ntrex", "tico19", "tanaka", *(f"tatoeba_{language}" for language in ("de", "fr", "es", "zh"))]
)


@dataclass
class Pairs:
    """Pairs of vectors whose cosine the first dimensions should keep, `[pairs, hidden]` each."""

    a: Tensor
    b: Tensor


def translations(texts: list[Text], rng: random.Random) -> list[tuple[str, str]]:
    """English sentences with a translation into a frequent language: half of them news."""
    groups: dict[int, dict[str, Text]] = defaultdict(dict)
    for text in texts:
        if text.kind == "sentence" and not text.held_out and text.source in PARALLEL:
            groups[text.group][text.language] = text
    pools: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    for group in rng.sample(list(groups.values()), len(groups)):
        others = [language for language in group if language in FREQUENT and language != "en"]
        if "en" in group and others:
            english, other = group["en"], group[rng.choice(others)]
            pools[english.source == "ntrex"].append((english.text, other.text))
    return [pair for pool in pools.values() for pair in pool[: TRANSLATIONS // 2]]


def questions(texts: list[Text], rng: random.Random) -> list[tuple[str, str]]:
    """Questions with their passages, as many of each source."""
    rows = [text for text in texts if text.kind == "question" and not text.held_out]
    by_source: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for question, passage in zip(rows[::2], rows[1::2], strict=True):
        by_source[question.source].append((question.text, passage.text))
    share = QUESTIONS // max(1, len(by_source))
    return [pair for pool in by_source.values() for pair in rng.sample(pool, min(share, len(pool)))]


def with_negatives(a: Tensor, b: Tensor, generator: torch.Generator) -> Pairs:
    """Each row of `a` with its nearest rows of `b`, its own, and a random one. If both are the same
    tensor, no row is paired with itself."""
    cosines = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    if a is b:
        cosines.fill_diagonal_(-9)
    rows = torch.arange(len(a))
    nearest = cosines.topk(min(NEAREST, len(b) - 1), dim=1).indices
    chance = torch.randint(len(b), (len(a),), generator=generator)
    columns = torch.cat([nearest, chance[:, None], *([] if a is b else [rows[:, None]])], dim=1)
    left = rows[:, None].expand_as(columns).flatten()
    right = columns.flatten()
    kept = left != right if a is b else torch.ones_like(left, dtype=torch.bool)
    return Pairs(a[left[kept]], b[right[kept]])


def greedy_order(groups: list[Pairs], count: int) -> list[int]:
    """The first `count` dimensions: each is the one that, with those before it, gives cosines that
    correlate best with the full ones, on average over the groups."""
    products = torch.cat([pairs.a * pairs.b for pairs in groups])
    squares_a = torch.cat([pairs.a**2 for pairs in groups])
    squares_b = torch.cat([pairs.b**2 for pairs in groups])
    sizes = [len(pairs.a) for pairs in groups]
    targets = _cosines(products.sum(1), squares_a.sum(1), squares_b.sum(1)).split(sizes)
    left, chosen = list(range(products.shape[1])), []
    sums = [torch.zeros(len(products), 1) for _ in range(3)]
    while left and len(chosen) < count:
        columns = [products[:, left], squares_a[:, left], squares_b[:, left]]
        candidates = [total + column for total, column in zip(sums, columns, strict=True)]
        cosines = _cosines(*candidates).split(sizes)
        scores = sum(_correlations(c, t) for c, t in zip(cosines, targets, strict=True))
        best = int(scores.argmax())
        chosen.append(left.pop(best))
        sums = [candidate[:, best : best + 1] for candidate in candidates]
    return chosen


def _cosines(products: Tensor, squares_a: Tensor, squares_b: Tensor) -> Tensor:
    return products / (squares_a * squares_b + 1e-12).sqrt()


def _correlations(columns: Tensor, target: Tensor) -> Tensor:
    """The correlation of each column of `[rows, columns]` with a target `[rows]`."""
    columns, target = columns - columns.mean(0), target - target.mean()
    return target @ columns / (target.norm() * columns.norm(dim=0) + 1e-9)


def reordered(model: Student, order: list[int]) -> Student:
    """The same student with the elements of its hidden states in this order."""

    def layer(old: Layer) -> Layer:
        rows = ["out", "out_bias", "norm1", "norm1_bias", "fc2", "fc2_bias", "norm2", "norm2_bias"]
        moved = {name: getattr(old, name)[order] for name in rows}
        return dataclasses.replace(old, qkv=old.qkv[:, order], fc1=old.fc1[:, order], **moved)

    return dataclasses.replace(
        model,
        words=model.words[:, order],
        token_type=model.token_type[order],
        norm=model.norm[order],
        norm_bias=model.norm_bias[order],
        layers=[layer(old) for old in model.layers],
    )


def without_mean(model: Student, mean: Tensor) -> Student:
    """The same student with a vector, `[hidden]`, taken out of all its pooled vectors."""
    last = model.layers[-1]
    last = dataclasses.replace(last, norm2_bias=last.norm2_bias - mean.to(last.norm2_bias.device))
    return dataclasses.replace(model, layers=[*model.layers[:-1], last])


def order(model: Student, tokenizer: Tokenizer, texts: list[Text], device: str) -> Student:
    """The student, centred and in the best order of dimensions for these texts."""
    rng = random.Random(SEED)

    def vectors(prefix: str, rows: list[str]) -> Tensor:
        sequences = [tokenize(tokenizer, prefix + row, LONGEST) for row in rows]
        return encode(model.forward, sequences, device)

    english, foreign = zip(*translations(texts, rng), strict=True)
    asked, passages = zip(*questions(texts, rng), strict=True)
    x, y, q = (vectors(QUERY, rows) for rows in (english, foreign, asked))
    p = vectors(PASSAGE, passages)
    queries = torch.cat([x, y, q])
    mean = queries.mean(0)
    x, y, q, p = (rows - mean for rows in (x, y, q, p))
    generator = torch.Generator().manual_seed(SEED)
    groups = [with_negatives(a, b, generator) for a, b in ((x, y), (q, p), (x, x))]
    first = greedy_order(groups, GREEDY)
    variance = F.normalize(queries - mean, dim=1).var(0)
    rest = [d for d in variance.argsort(descending=True).tolist() if d not in first]
    print(f"ordered by {len(x)} translations and {len(q)} questions")
    return reordered(without_mean(model, mean), first + rest)


def run(arguments: argparse.Namespace) -> None:
    """`order`."""
    work, device = arguments.work, arguments.device
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    texts = prepare.read(work / "texts.jsonl.gz")
    model = student.load(work / "polished.safetensors").to(device)
    order(model, tokenizer, texts, device).save(work / "ordered.safetensors")
