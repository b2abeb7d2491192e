"""`polish`: a few steps of descent on the last layers, towards the teacher's pooled vectors."""

import argparse
import dataclasses
import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from training import draws, prepare, student, teacher
from training.draws import Draw
from training.network import Layer, agreement, batches, encode, mean_pooled, padded
from training.student import Student
from training.teacher import Teacher


@dataclass(frozen=True)
class Settings:
    """What was chosen on held-out texts, never on an evaluation set."""

    layers: int = 3
    steps: int = 38
    # Tokens of a step, and of the longest text.
    step_tokens: int = 2_500
    longest: int = 300
    learning_rate: float = 5e-5
    warmup_steps: int = 10
    # Weights of the distance of the vectors, and of their cosines with each other, against the
    # cosine to the teacher's vector.
    distance: float = 3.0
    relations: float = 1.0
    seed: int = 11


@dataclass
class Example:
    """A batch in front of the trained layers, and the teacher's vectors of its texts."""

    # [batch, tokens, hidden] and [batch, tokens]
    states: Tensor
    mask: Tensor | None
    # [batch, hidden]
    target: Tensor
    # Both models' mean vectors over all texts with a text's prefix, [batch, hidden].
    target_mean: Tensor
    mean: Tensor


class LastLayers:
    """The trained layers of a student."""

    def __init__(self, model: Student, count: int) -> None:
        """Copies the last `count` layers, to be trained."""
        self.model, self.first = model, len(model.layers) - count
        self.layers = [
            Layer(**{name: w.clone().requires_grad_() for name, w in vars(layer).items()})
            for layer in model.layers[self.first :]
        ]
        # Vectors are centred: the last bias has no gradient worth following.
        self.layers[-1].norm2_bias.requires_grad_(False)

    def parameters(self) -> list[Tensor]:
        """The tensors that are trained."""
        tensors = [tensor for layer in self.layers for tensor in vars(layer).values()]
        return [tensor for tensor in tensors if tensor.requires_grad]

    @torch.no_grad()
    def before(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """The states in front of the trained layers, `[batch, tokens, hidden]`."""
        head = dataclasses.replace(self.model, layers=self.model.layers[: self.first])
        return head.forward(tokens, mask)

    def vectors(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """Pooled vectors from the states in front of the trained layers, `[batch, hidden]`."""
        for layer in self.layers:
            states = self.model.step(layer, states, mask)
        return mean_pooled(states, mask)

    def student(self) -> Student:
        """The student with the trained layers as they are now."""
        trained = [
            Layer(**{name: w.detach().clone() for name, w in vars(layer).items()})
            for layer in self.layers
        ]
        return dataclasses.replace(self.model, layers=self.model.layers[: self.first] + trained)


def examples(model: Teacher, last: LastLayers, texts: list[Draw]) -> list[Example]:
    """Batches of texts with what both models make of them, in random order but for the lengths."""
    device = str(model.words.device)
    result, prefixes = [], []
    with torch.no_grad():
        for indices in batches([len(text.tokens) for text in texts]):
            sequences = [texts[i].tokens for i in indices]
            tokens, mask = padded(sequences, device)
            states = last.before(tokens, mask)
            target = encode(model.forward, sequences, device).to(device)
            mean = last.vectors(states, mask)
            result.append(Example(states, mask, target, target, mean))
            prefixes.append([texts[i].prefix for i in indices])
    targets = _means_by_prefix([e.target for e in result], prefixes)
    means = _means_by_prefix([e.mean for e in result], prefixes)
    for example, names in zip(result, prefixes, strict=True):
        example.target_mean = torch.stack([targets[name] for name in names])
        example.mean = torch.stack([means[name] for name in names])
    return result


def _means_by_prefix(vectors: list[Tensor], prefixes: list[list[str]]) -> dict[str, Tensor]:
    rows = torch.cat(vectors)
    names = [name for batch in prefixes for name in batch]
    return {
        name: rows[[i for i, other in enumerate(names) if other == name]].mean(0)
        for name in set(names)
    }


def loss(example: Example, vectors: Tensor, settings: Settings) -> Tensor:
    """The sum over the texts of a batch: one minus the cosine to the teacher's vector, both
    centred; their squared distance; and the squared differences of the cosines between the
    texts."""
    centred, target = vectors - example.mean, example.target - example.target_mean
    x, y = F.normalize(centred, dim=1), F.normalize(target, dim=1)
    total = (1 - (x * y).sum(1)).sum()
    scale = example.target_mean.pow(2).sum(1).mean()
    total = total + settings.distance * (centred - target).pow(2).sum() / scale
    if len(x) > 2:
        relations = (x @ x.T - y @ y.T).pow(2).mean()
        total = total + settings.relations * len(x) * relations
    return total


def polish(
    model: Teacher,
    converted: Student,
    texts: list[Draw],
    held_out: list[list[int]],
    settings: Settings,
) -> Student:
    """The student after descent on its last layers, or as it was if that is closer to the teacher
    on held-out texts."""
    device = str(model.words.device)
    last = LastLayers(converted, settings.layers)
    data = examples(model, last, texts)
    before = agreement(model.forward, converted.forward, held_out, device)
    optimizer = torch.optim.AdamW(
        last.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0
    )
    order = _shuffled(data, random.Random(settings.seed))
    for step in range(settings.steps):
        warmup = min(1, (step + 1) / settings.warmup_steps)
        decay = max(0.05, 1 - step / settings.steps)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * warmup * decay
        tokens = 0
        while tokens < settings.step_tokens:
            example = next(order)
            vectors = last.vectors(example.states, example.mask)
            (loss(example, vectors, settings) / 100).backward()
            tokens += example.states.shape[0] * example.states.shape[1]
        torch.nn.utils.clip_grad_norm_(last.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    polished = last.student()
    after = agreement(model.forward, polished.forward, held_out, device)
    print(f"centred cosine on {len(held_out)} held-out texts: {before:.4f}, then {after:.4f}")
    return polished if after > before else converted


def _shuffled(data: list[Example], rng: random.Random) -> Iterator[Example]:
    """All batches in random order, again and again."""
    while True:
        yield from rng.sample(data, len(data))


def run(arguments: argparse.Namespace) -> None:
    """`polish`."""
    work, settings = arguments.work, Settings()
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    texts = prepare.read(work / "texts.jsonl.gz")
    tokens = settings.steps * settings.step_tokens
    drawn = draws.draw(texts, tokenizer, tokens, settings.longest, settings.seed)
    held_out = draws.held_out(texts, tokenizer)
    del texts
    model = teacher.load(arguments.teacher or teacher.package_file()).to(arguments.device)
    converted = student.load(work / "converted.safetensors").to(arguments.device)
    polish(model, converted, drawn, held_out, settings).save(work / "polished.safetensors")
