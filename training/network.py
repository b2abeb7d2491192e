"""What the teacher and the student have in common: an encoder's weights, attention, pooling."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# The largest batches: tokens, and tokens times their number in a sequence, for attention.
BATCH_TOKENS = 3_000
BATCH_CELLS = 480_000


@dataclass(frozen=True)
class Shape:
    """The sizes of an encoder. `positions` is 0 where positions are rotary."""

    hidden: int
    layers: int
    heads: int
    ffn_hidden: int
    vocabulary: int
    positions: int
    eps: float

    @property
    def head_dim(self) -> int:
        """Elements of a query or key of one head."""
        return self.hidden // self.heads


@dataclass
class Layer:
    """The weights of one encoder layer, `[outputs, inputs]`, and its biases; qkv, out, fc1 and fc2
    in order of use. A LayerNorm follows each of the two sums."""

    qkv: Tensor
    qkv_bias: Tensor
    out: Tensor
    out_bias: Tensor
    norm1: Tensor
    norm1_bias: Tensor
    fc1: Tensor
    fc1_bias: Tensor
    fc2: Tensor
    fc2_bias: Tensor
    norm2: Tensor
    norm2_bias: Tensor


T = TypeVar("T")

Forward = Callable[[Tensor, Tensor | None], Tensor]
"""Token ids and a mask, `[batch, tokens]`, to the last states, `[batch, tokens, hidden]`."""


def moved(weights: T, device: str) -> T:
    """A dataclass with its tensors on a device."""
    tensors = {k: v.to(device) for k, v in vars(weights).items() if isinstance(v, Tensor)}
    return dataclasses.replace(weights, **tensors)


def split_heads(states: Tensor, parts: int, heads: int) -> Tensor:
    """`[batch, tokens, parts · hidden]` as `[parts, batch, heads, tokens, head_dim]`."""
    batch, tokens, _ = states.shape
    return states.view(batch, tokens, parts, heads, -1).permute(2, 0, 3, 1, 4)


def merge_heads(states: Tensor) -> Tensor:
    """`[batch, heads, tokens, head_dim]` as `[batch, tokens, hidden]`."""
    return states.transpose(1, 2).flatten(2)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention over the tokens at which `mask` `[batch, tokens]` is true."""
    visible = None if mask is None else mask[:, None, None, :]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible)


def layer_norm(states: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm over the last dimension."""
    return F.layer_norm(states, weight.shape, weight, bias, eps)


def batches(lengths: list[int], slack: float = 1.05) -> list[list[int]]:
    """Indices of sequences grouped by length, shortest first. The longest of a batch is at most
    `slack` times as long as the shortest; a batch has at most `BATCH_TOKENS` tokens, unless it is
    one sequence."""
    groups: list[list[int]] = []
    for index in np.argsort(lengths, kind="stable").tolist():
        length = lengths[index]
        largest = min(BATCH_TOKENS, BATCH_CELLS // length)
        group = groups[-1] if groups else []
        if group and length <= slack * lengths[group[0]] and (len(group) + 1) * length <= largest:
            group.append(index)
        else:
            groups.append([index])
    return groups


def padded(sequences: list[list[int]], device: str) -> tuple[Tensor, Tensor | None]:
    """Token ids `[batch, tokens]` and where they are tokens; no mask if nothing is padded."""
    longest = max(map(len, sequences))
    tokens = torch.ones(len(sequences), longest, dtype=torch.long)
    mask = torch.zeros(len(sequences), longest, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        tokens[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = True
    return tokens.to(device), None if mask.all() else mask.to(device)


def mean_pooled(states: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over the tokens of each sequence, `[batch, hidden]`."""
    if mask is None:
        return states.mean(1)
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


@torch.no_grad()
def encode(forward: Forward, sequences: list[list[int]], device: str) -> Tensor:
    """Mean-pooled last states of sequences, `[sequences, hidden]`, on the CPU and not
    normalized."""
    pooled: list[Tensor] = [torch.empty(0)] * len(sequences)
    for indices in batches([len(sequence) for sequence in sequences]):
        tokens, mask = padded([sequences[i] for i in indices], device)
        for i, vector in zip(indices, mean_pooled(forward(tokens, mask), mask).cpu(), strict=True):
            pooled[i] = vector
    return torch.stack(pooled)


def agreement(a: Forward, b: Forward, sequences: list[list[int]], device: str) -> float:
    """The mean cosine of two models' vectors of sequences, each minus the model's mean vector."""
    x, y = (encode(forward, sequences, device) for forward in (a, b))
    return float(F.cosine_similarity(x - x.mean(0), y - y.mean(0), dim=1).mean())
