"""`evaluate`: the figures of the model card, on fixed random shares of public evaluation sets."""

import argparse
import functools
import random
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from training import export, teacher, vocabulary
from training.draws import tokenize
from training.export import INSTRUCTIONS
from training.network import encode
from training.prepare import json_lines

STS_LANGUAGES = "en ja pl de fr ru es nl zh it pt".split()
STS_PAIRS = 600
TATOEBA_LANGUAGES = "tel swh tha deu fin ara jpn hin cmn".split()
XQUAD_LANGUAGES = "en zh es ar".split()
XQUAD_QUESTIONS = 400
BANKING_PER_CLASS, BANKING_TEST = 10, 600
DIMENSIONS = (384, 256, 128, 64, 32)
LONGEST = 512

Embed = Callable[[list[str], str], Tensor]
"""Texts and a task to unnormalized vectors, `[texts, hidden]`."""


def embedder(model: str, device: str) -> Embed:
    """The vectors of a folder in the form of `export`, or of the teacher with its own prefixes."""
    if model == "teacher":
        network = teacher.load(teacher.package_file()).to(device)
        tokenizer = vocabulary.build(network.pieces, network.scores)
        instructions = INSTRUCTIONS
    else:
        student, tokenizer, instructions = export.load(Path(model))
        network = student.to(device)

    @functools.cache
    def embed(texts: tuple[str, ...], task: str) -> Tensor:
        prefix = instructions[task]
        sequences = [tokenize(tokenizer, prefix + text, LONGEST) for text in texts]
        return encode(network.forward, sequences, device)

    return lambda texts, task: embed(tuple(texts), task)


def rows(path: Path) -> list[dict]:
    """The objects of a file of JSON lines."""
    return json_lines(path.read_text(encoding="utf8"))


def present(paths: dict[str, Path]) -> dict[str, Path]:
    """The paths that exist; names the others.

    Raises:
        FileNotFoundError: none exists.
    """
    missing = [str(path) for path in paths.values() if not path.exists()]
    if len(missing) == len(paths):
        raise FileNotFoundError(f"none of these evaluation sets is there: {', '.join(missing)}")
    if missing:
        print(f"left out, not there: {', '.join(missing)}", file=sys.stderr)
    return {name: path for name, path in paths.items() if path.exists()}


def share(items: list, count: int) -> list:
    """All items, or a random share of them that is the same for every model."""
    return items if len(items) <= count else random.Random(0).sample(items, count)


def unit(vectors: Tensor, dimensions: int) -> Tensor:
    """The first dimensions, normalized."""
    return F.normalize(vectors[:, :dimensions], dim=1)


def spearman(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation of two `[values]`; equal values share their mean rank."""
    return float(torch.corrcoef(torch.stack([_ranks(a), _ranks(b)]))[0, 1])


def _ranks(values: Tensor) -> Tensor:
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts - 1) / 2)[inverse]


def sts(embed: Embed, sets: Path) -> dict[int, dict[str, float]]:
    """Spearman · 100 of cosines with scores, by dimensions and language."""
    scores: dict[int, dict[str, float]] = defaultdict(dict)
    files = {language: sets / "sts" / f"stsb-{language}.jsonl" for language in STS_LANGUAGES}
    for language, file in present(files).items():
        pairs = share(rows(file), STS_PAIRS)
        a, b = (
            embed([pair[side] for pair in pairs], "text-matching")
            for side in ("sentence1", "sentence2")
        )
        truth = torch.tensor([pair["score"] for pair in pairs], dtype=torch.float64)
        for d in DIMENSIONS:
            scores[d][language] = 100 * spearman((unit(a, d) * unit(b, d)).sum(1), truth)
    return scores


def tatoeba(embed: Embed, sets: Path) -> dict[int, dict[str, float]]:
    """Accuracy · 100 of the nearest English sentence, by dimensions and language."""
    scores: dict[int, dict[str, float]] = defaultdict(dict)
    folder = sets / "bitext" / "tatoeba"
    files = {language: folder / f"{language}.jsonl" for language in TATOEBA_LANGUAGES}
    for language, file in present(files).items():
        pairs = rows(file)
        english = [pair["sentence2"] for pair in pairs]
        a = embed([pair["sentence1"] for pair in pairs], "text-matching")
        b = embed(english, "text-matching")
        for d in DIMENSIONS:
            nearest = (unit(a, d) @ unit(b, d).T).argmax(1).tolist()
            right = sum(english[j] == english[i] for i, j in enumerate(nearest))
            scores[d][language] = 100 * right / len(pairs)
    return scores


def xquad(embed: Embed, sets: Path) -> dict[int, dict[str, float]]:
    """Share · 100 of questions whose passage is the nearest (`en`), or among the ten nearest
    (`en@10`), of all passages in the language; `zh-en`: of the passages in English."""
    scores: dict[int, dict[str, float]] = defaultdict(dict)
    english = None
    folders = {language: sets / "retrieval" / f"xquad-{language}" for language in XQUAD_LANGUAGES}
    for language, folder in present(folders).items():
        corpus = rows(folder / "corpus.jsonl")
        index = {passage["_id"]: i for i, passage in enumerate(corpus)}
        lines = (folder / "qrels.tsv").read_text().splitlines()
        answers = dict(line.split("\t")[:2] for line in lines if not line.startswith("query-id"))
        queries = [query for query in rows(folder / "queries.jsonl") if query["_id"] in answers]
        kept = set(share(sorted(query["_id"] for query in queries), XQUAD_QUESTIONS))
        queries = [query for query in queries if query["_id"] in kept]
        truth = torch.tensor([index[answers[query["_id"]]] for query in queries])
        q = embed([query["text"] for query in queries], "retrieval.query")
        p = embed([passage["text"] for passage in corpus], "retrieval.passage")
        for d in DIMENSIONS:
            scores[d] |= _recalls(language, unit(q, d), unit(p, d), truth)
            if english is not None:
                scores[d] |= _recalls(f"{language}-en", unit(q, d), unit(english, d), truth)
        if language == "en":
            english = p
    return scores


def _recalls(name: str, q: Tensor, p: Tensor, truth: Tensor) -> dict[str, float]:
    nearest = (q @ p.T).topk(10, dim=1).indices == truth[:, None]
    return {
        name: 100 * float(nearest[:, 0].float().mean()),
        f"{name}@10": 100 * float(nearest.any(1).float().mean()),
    }


def banking(embed: Embed, sets: Path) -> dict[int, dict[str, float]]:
    """Accuracy · 100 of a logistic regression on ten texts of each of 77 classes."""
    folder = sets / "classification"
    classes: dict[str, list[str]] = defaultdict(list)
    for row in rows(folder / "banking77-train.jsonl"):
        classes[row["label"]].append(row["text"])
    rng, labels = random.Random(0), sorted(classes)
    samples = [
        (text, i)
        for i, label in enumerate(labels)
        for text in rng.sample(classes[label], BANKING_PER_CLASS)
    ]
    test = rng.sample(rows(folder / "banking77-test.jsonl"), BANKING_TEST)
    d = max(DIMENSIONS)
    x = unit(embed([text for text, _ in samples], "classification"), d)
    z = unit(embed([row["text"] for row in test], "classification"), d)
    weight, bias = logistic_regression(x, torch.tensor([i for _, i in samples]), len(labels))
    predicted = (z @ weight.T + bias).argmax(1).tolist()
    right = sum(labels[i] == row["label"] for i, row in zip(predicted, test, strict=True))
    return {d: {"en": 100 * right / len(test)}}


def logistic_regression(x: Tensor, classes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Weight `[count, hidden]` and bias of vectors `[rows, hidden]`, with a small L2 penalty."""
    weight = torch.zeros(count, x.shape[1], requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight.T + bias, classes) + 1e-4 * (weight**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def table(name: str, scores: dict[int, dict[str, float]]) -> None:
    """Prints all figures with all dimensions, then the means with fewer."""
    full = scores[max(scores)]
    print(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in full.items()))
    plain = [key for key in full if "@" not in key and "-" not in key]
    means = {d: sum(values[key] for key in plain) / len(plain) for d, values in scores.items()}
    print(f"{name}, mean of {len(plain)}, by dimensions: ", end="")
    print(", ".join(f"{d}: {mean:.2f}" for d, mean in means.items()), flush=True)


PARTS = {"STS-B": sts, "Tatoeba": tatoeba, "XQuAD": xquad, "Banking77": banking}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `evaluate`."""
    parser.add_argument(
        "model", nargs="?", help="Folder of a model, or `teacher`; default: what `export` wrote"
    )
    parser.add_argument(
        "--sets", type=Path, required=True, metavar="FOLDER", help="Folder of evaluation sets"
    )
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="What to measure"
    )


def run(arguments: argparse.Namespace) -> None:
    """`evaluate`."""
    model = arguments.model or str(arguments.work / "model")
    embed = embedder(model, arguments.device)
    for name in arguments.parts:
        table(name, PARTS[name](embed, arguments.sets))
