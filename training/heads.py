"""What becomes of the queries and keys of a layer: content on slow rotary pairs, positions on fast
ones.

A rotary pair of frequency ω adds |q| |k| cos(φ + dω) to the logit of a query and a key that are d
tokens apart. The teacher's logits barely change with d where they are about content, so a change of
basis puts the strong directions of content on the slow pairs. The fastest pairs give up their
content, the weakest directions, and express what the teacher's absolute positions contribute
(kernels.py)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.network import split_heads


@dataclass
class Queries:
    """The queries and keys of all heads of a layer as functions of its input."""

    # [2, heads, head_dim, hidden] and [2, heads, head_dim]: queries, then keys.
    weight: Tensor
    bias: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """Queries and keys of states `[batch, tokens, hidden]`: `[2, batch, heads, tokens,
        head_dim]`."""
        flat = F.linear(states, self.weight.flatten(0, 2), self.bias.flatten())
        return split_heads(flat, 2, self.weight.shape[1])

    @staticmethod
    def pairs_of(rows: Tensor) -> Tensor:
        """A view of the weight or bias in which the first and second rows of pair p are
        `[part, head, 0, p]` and `[part, head, 1, p]`."""
        return rows.unflatten(2, (2, -1))

    def without_pairs(self, pairs: int) -> "Queries":
        """A copy that is zero in the `pairs` fastest rotary pairs."""
        copy = Queries(self.weight.clone(), self.bias.clone())
        self.pairs_of(copy.weight)[:, :, :, :pairs] = 0
        self.pairs_of(copy.bias)[:, :, :, :pairs] = 0
        return copy


class Moments:
    """Second moments of queries, and of keys around the mean of their text: the mean key of a text
    cancels in the softmax."""

    def __init__(self, heads: int, head_dim: int, device: str) -> None:
        """No tokens yet."""
        shape = (heads, head_dim, head_dim)
        self.tokens = 0
        self.queries = torch.zeros(shape, dtype=torch.float64, device=device)
        self.keys = torch.zeros(shape, dtype=torch.float64, device=device)
        self.key_sum = torch.zeros(shape[:2], dtype=torch.float64, device=device)

    def add(self, queries: Tensor, keys: Tensor) -> None:
        """Adds a batch, `[batch, heads, tokens, head_dim]` each."""
        centred = keys - keys.mean(2, keepdim=True)
        self.tokens += keys.shape[0] * keys.shape[2]
        self.queries += torch.einsum("bhnd,bhne->hde", queries, queries)
        self.keys += torch.einsum("bhnd,bhne->hde", centred, centred)
        self.key_sum += keys.sum((0, 2))


def rebased(original: Queries, moments: Moments) -> Queries:
    """The same products of queries and keys (but for a constant per query) in a basis in which
    queries and keys have equal, diagonal moments: the strongest two directions on the slowest pair,
    and so on.

    With moments Q and K and Q^½ K^½ = U S Vᵀ: q' = S^½ Uᵀ Q^-½ q and k' = S^½ Vᵀ K^-½ (k - mean).
    """
    root_q, inverse_q = _roots(moments.queries / moments.tokens)
    root_k, inverse_k = _roots(moments.keys / moments.tokens)
    u, strengths, vh = torch.linalg.svd(root_q @ root_k)
    order = slow_first(strengths.shape[-1])
    scale = strengths.sqrt()[..., None]
    basis_q = (scale * (u.mT @ inverse_q))[:, order].float()
    basis_k = (scale * (vh @ inverse_k))[:, order].float()
    basis = torch.stack([basis_q, basis_k])
    bias = original.bias.clone()
    bias[1] -= (moments.key_sum / moments.tokens).float()
    return Queries(basis @ original.weight, (basis @ bias[..., None])[..., 0])


def slow_first(head_dim: int) -> Tensor:
    """Which direction, 0 the strongest, each row holds: rows p and p + head_dim / 2 are pair p, and
    pair 0 is the fastest."""
    order = torch.zeros(head_dim, dtype=torch.long)
    half = head_dim // 2
    for rank in range(half):
        order[half - 1 - rank], order[head_dim - 1 - rank] = 2 * rank, 2 * rank + 1
    return order


def _roots(moments: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric square root of positive matrices and its inverse; tiny eigenvalues are
    raised."""
    values, vectors = torch.linalg.eigh(moments)
    roots = values.clamp_min(values.amax(-1, keepdim=True) * 1e-6).sqrt()[:, None]
    return (vectors * roots) @ vectors.mT, (vectors / roots) @ vectors.mT
