"""`convert`: the teacher's weights in the student's architecture, layer by layer, in closed
form."""

import argparse
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from training import draws, prepare, teacher
from training.heads import Moments, Queries, rebased
from training.kernels import Example, Kernels
from training.network import Layer, agreement, batches, layer_norm, split_heads
from training.ridge import Ridge
from training.student import EPS, Student
from training.teacher import Teacher, Trace
from training.vocabulary import BOS, EOS


@dataclass(frozen=True)
class Settings:
    """What was chosen on held-out texts, never on an evaluation set."""

    tokens: int = 250_000
    longest: int = 500
    rope_theta: float = 1e7
    # Rotary pairs that express positions.
    pairs: int = 5
    # Strengths of the ridges: of q, k, v and fc1; of the two sums; of the kernels.
    ridge_inner: float = 0.002
    ridge_sums: float = 0.01
    ridge_kernels: float = 0.01
    # Tokens on which kernels are fitted: in short texts, and half as many in long ones.
    kernel_tokens: int = 12_000
    kernel_lengths: tuple[int, int] = (160, 440)
    seed: int = 5


@dataclass
class Batch:
    """Texts of one length, without padding, and both models' states, `[batch, tokens, hidden]`."""

    tokens: Tensor
    teacher: Tensor
    student: Tensor
    fits_kernels: bool = False


def start(model: Teacher, sequences: list[list[int]], settings: Settings) -> Student:
    """A student with the teacher's embeddings and no layer. The mean of the positions in
    `sequences`, but for the first four (those of <s> and the prefix), is part of every
    embedding."""
    device = str(model.words.device)
    counts = torch.zeros(model.shape.positions)
    for sequence in sequences:
        counts[4 : len(sequence)] += 1
    position = (counts / counts.sum()).to(device) @ model.positions
    words = model.words.clone()
    # <s> is always first: its row has the first position in place of the mean.
    words[BOS] += model.positions[0] - position
    shape = dataclasses.replace(model.shape, positions=0, eps=EPS)
    embeddings = words, model.token_type + position, model.norm, model.norm_bias
    return Student(shape, settings.rope_theta, *embeddings, [])


def make_batches(
    model: Teacher, student: Student, sequences: list[list[int]], settings: Settings
) -> list[Batch]:
    """Batches of nearly equal length, cut to their shortest sequence. Some are chosen for
    kernels."""
    result = []
    for indices in batches([len(sequence) for sequence in sequences], slack=1.04):
        shortest = min(len(sequences[i]) for i in indices)
        rows = [[*sequences[i][: shortest - 1], EOS] for i in indices]
        tokens = torch.tensor(rows, device=model.words.device)
        result.append(Batch(tokens, model.embed(tokens), student.embed(tokens)))
    order = torch.randperm(len(result), generator=torch.Generator().manual_seed(settings.seed))
    short, long = settings.kernel_lengths
    left = {short: settings.kernel_tokens, long: settings.kernel_tokens // 2}
    for batch in (result[i] for i in order.tolist()):
        length = batch.tokens.shape[1]
        group = short if length <= short else long
        if length <= long and left[group] > 0:
            batch.fits_kernels = True
            left[group] -= batch.tokens.numel()
    return result


class LayerFit:
    """The fit of one layer of the student, from the teacher's layer and both models' states."""

    def __init__(
        self, model: Teacher, student: Student, layer: Layer, texts: list[Batch], settings: Settings
    ) -> None:
        """Nothing is fitted yet."""
        self.teacher, self.student, self.layer = model, student, layer
        self.texts, self.settings = texts, settings
        self.shape, self.device = model.shape, str(model.words.device)
        self.explained = 0.0

    def run(self) -> Layer:
        """Fits the layer, and replaces the states of all batches by those after it."""
        new = dataclasses.replace(self.layer)
        hidden, ffn_hidden = self.shape.hidden, self.shape.ffn_hidden
        inner, sums = self.settings.ridge_inner, self.settings.ridge_sums
        traces, qkv = self._trace()
        new.qkv, new.qkv_bias = qkv.solve(self.layer.qkv, inner)
        self._place_positions(new, traces)

        attended = [self.student.attended(new, batch.student) for batch in self.texts]
        out = Ridge(hidden, hidden, self.device)
        for batch, trace, x in zip(self.texts, traces, attended, strict=True):
            out.add(x, trace.sum1 - batch.student)
        new.out, new.out_bias = out.solve(self.layer.out, sums)

        fc1 = Ridge(hidden, ffn_hidden, self.device)
        middle = []
        for batch, trace, x in zip(self.texts, traces, attended, strict=True):
            states = batch.student + F.linear(x, new.out, new.out_bias)
            middle.append(layer_norm(states, new.norm1, new.norm1_bias, EPS))
            fc1.add(middle[-1], trace.inner.float())
        new.fc1, new.fc1_bias = fc1.solve(self.layer.fc1, inner)

        fc2 = Ridge(ffn_hidden, hidden, self.device)
        for trace, x in zip(traces, middle, strict=True):
            fc2.add(F.gelu(F.linear(x, new.fc1, new.fc1_bias)), trace.sum2 - x)
        new.fc2, new.fc2_bias = fc2.solve(self.layer.fc2, sums)
        self._advance(new, traces, middle)
        return new

    def _trace(self) -> tuple[list[Trace], Ridge]:
        """The teacher's layer on all batches, and the fit of its q, k and v to the student's
        inputs."""
        ridge = Ridge(self.shape.hidden, 3 * self.shape.hidden, self.device)
        traces = []
        for batch in self.texts:
            trace = self.teacher.trace(self.layer, batch.teacher)
            ridge.add(batch.student, trace.qkv)
            # A quarter of a million tokens fill the memory otherwise.
            trace.inner = trace.inner.half()
            if not batch.fits_kernels:
                trace.qkv = torch.empty(0)
            traces.append(trace)
        return traces, ridge

    def _place_positions(self, new: Layer, traces: list[Trace]) -> None:
        """Changes the basis of queries and keys, and puts kernels on the fastest pairs."""
        shape, settings = self.shape, self.settings
        sizes = (2, shape.heads, shape.head_dim)
        width = 2 * shape.hidden
        original = Queries(
            new.qkv[:width].view(*sizes, shape.hidden), new.qkv_bias[:width].view(sizes)
        )
        moments = Moments(shape.heads, shape.head_dim, self.device)
        for batch in self.texts:
            moments.add(*original(batch.student))
        examples = [
            Example(batch.student, split_heads(trace.qkv, 3, shape.heads)[:2])
            for batch, trace in zip(self.texts, traces, strict=True)
            if batch.fits_kernels
        ]
        full = rebased(original, moments)
        theta = settings.rope_theta
        kernels = Kernels(full, settings.pairs, theta, settings.ridge_kernels, examples)
        queries = kernels.queries()
        new.qkv = torch.cat([queries.weight.flatten(0, 2), new.qkv[width:]])
        new.qkv_bias = torch.cat([queries.bias.flatten(), new.qkv_bias[width:]])
        self.explained = kernels.explained

    def _advance(self, new: Layer, traces: list[Trace], middle: list[Tensor]) -> None:
        for batch, trace, x in zip(self.texts, traces, middle, strict=True):
            activated = F.gelu(F.linear(x, new.fc1, new.fc1_bias))
            states = x + F.linear(activated, new.fc2, new.fc2_bias)
            batch.student = layer_norm(states, new.norm2, new.norm2_bias, EPS)
            batch.teacher = trace.states


def unexplained(texts: list[Batch]) -> float:
    """The squared difference of the student's states, over the variance of the teacher's."""
    difference = sum(float(((b.student - b.teacher) ** 2).sum()) for b in texts)
    variance = sum(float(((b.teacher - b.teacher.mean((0, 1))) ** 2).sum()) for b in texts)
    return difference / variance


@torch.no_grad()
def convert(
    model: Teacher, sequences: list[list[int]], settings: Settings, progress: Path
) -> Student:
    """The student of token sequences. After each layer, the state is written to `progress`, from
    which an interrupted conversion continues."""
    student = start(model, sequences, settings)
    texts = make_batches(model, student, sequences, settings)
    if progress.exists():
        _restore(progress, student, texts)
    began = time.monotonic()
    for i, layer in enumerate(model.layers[len(student.layers) :], len(student.layers)):
        fit = LayerFit(model, student, layer, texts, settings)
        student.layers.append(fit.run())
        _store(progress, student, texts)
        print(
            f"layer {i}: kernels explain {fit.explained:.3f} of the positions, "
            f"{unexplained(texts):.4f} of the states is unexplained, "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )
    return student


def _store(progress: Path, student: Student, texts: list[Batch]) -> None:
    states = [(batch.teacher.cpu(), batch.student.cpu()) for batch in texts]
    layers = [vars(layer) for layer in student.layers]
    partial = progress.with_suffix(".partial")
    torch.save({"layers": layers, "states": states}, partial)
    partial.rename(progress)


def _restore(progress: Path, student: Student, texts: list[Batch]) -> None:
    device = str(student.words.device)
    stored = torch.load(progress, map_location=device)
    student.layers = [Layer(**layer) for layer in stored["layers"]]
    if [len(teacher) for teacher, _ in stored["states"]] != [len(batch.tokens) for batch in texts]:
        raise ValueError(f"{progress} is of other texts; remove it to start again")
    for batch, (teacher_states, student_states) in zip(texts, stored["states"], strict=True):
        batch.teacher, batch.student = teacher_states, student_states
    print(f"continues after layer {len(student.layers) - 1} of {progress}", flush=True)


def run(arguments: argparse.Namespace) -> None:
    """`convert`."""
    work, settings = arguments.work, Settings()
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    texts = prepare.read(work / "texts.jsonl.gz")
    drawn = draws.draw(texts, tokenizer, settings.tokens, settings.longest, settings.seed)
    held_out = draws.held_out(texts, tokenizer)
    del texts
    print(f"{len(drawn)} texts, {sum(len(text.tokens) for text in drawn)} tokens", flush=True)
    model = teacher.load(arguments.teacher or teacher.package_file()).to(arguments.device)
    progress = work / "convert.progress.pt"
    student = convert(model, [text.tokens for text in drawn], settings, progress)
    cosine = agreement(model.forward, student.forward, held_out, arguments.device)
    print(f"centred cosine to the teacher on {len(held_out)} held-out texts: {cosine:.4f}")
    student.save(work / "converted.safetensors")
    progress.unlink()
