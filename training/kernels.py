"""Position kernels: what the teacher's positions add to a logit, on the fastest rotary pairs.

Pair p with query (a, b) and key (c, d) adds, at distance t = i - j,

    c (a cos tω - b sin tω) + d (a sin tω + b cos tω)

to a logit. First (a, b) is fitted, affine in the head's query, with the key (1, 0); then (c, d) is
fitted, (1, 0) plus an affine function of the head's key. Both are least squares of the teacher's
logits minus the student's content logits, weighted by the teacher's attention, and free of a
constant per query, which cancels in the softmax."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from training.heads import Queries
from training.student import rotate

# Weight of a key that the teacher does not attend to, before normalization: this over the tokens.
FLOOR = 0.2

Sums = tuple[Tensor, Tensor]
"""The normal equations of the heads: `[heads, features, features]` and `[heads, features]`."""


@dataclass
class Example:
    """What the kernels are fitted to for a batch."""

    # The inputs of the student's layer, [batch, tokens, hidden].
    states: Tensor
    # The teacher's queries and keys, [2, batch, heads, tokens, head_dim].
    teacher: Tensor


@dataclass
class Residual:
    """The logits that the kernels have to explain in a batch, and what they are functions of."""

    # Weights, whose rows sum to 1, and residual logits, [batch, heads, queries, keys].
    weights: Tensor
    logits: Tensor
    # cos tω and sin tω, [queries, keys, pairs]
    cos: Tensor
    sin: Tensor
    # 1 and the standardized queries (or keys), [batch, heads, tokens, 1 + head_dim].
    queries: Tensor
    keys: Tensor


class Kernels:
    """The kernels of one layer."""

    def __init__(
        self, full: Queries, pairs: int, theta: float, ridge: float, examples: list[Example]
    ) -> None:
        """Fits kernels on the `pairs` fastest pairs. `full` has all directions of content."""
        self._full, self._pairs, self._theta, self._ridge = full, pairs, theta, ridge
        self._content = full.without_pairs(pairs)
        raw = torch.cat([full(e.states).transpose(2, 3).flatten(1, 2) for e in examples], dim=1)
        # [2, heads, head_dim]
        self._mean, self._std = raw.mean(1), raw.std(1).clamp_min(1e-4)
        residuals = [self._residual(example) for example in examples]
        total = sum((r.weights * r.logits**2).sum((0, 2, 3)) for r in residuals)
        # (a, -b) as functions of the query, then (c - 1, d) of the key:
        # [heads, 1 + head_dim, 2, pairs].
        self._of_query, by_query = self._fit(residuals, self._query_sums)
        self._of_key, by_key = self._fit(residuals, self._key_sums)
        # The share of the weighted residual logits that is explained, mean over the heads.
        self.explained = float(((by_query + by_key) / total).mean())

    def queries(self) -> Queries:
        """The layer's queries and keys: content on the slow pairs, kernels on the fast ones."""
        result = self._full.without_pairs(self._pairs)
        # Logits are divided by √head_dim. Query and key share a kernel's magnitude.
        root = self._mean.shape[-1] ** 0.5
        balance = (self._of_query.flatten(1, 2).norm(dim=1) * root).sqrt()[:, None, None] + 1e-6
        signs = torch.tensor([1.0, -1.0], device=balance.device)[:, None]
        of_key = self._of_key.clone()
        of_key[:, 0, 0] += 1
        for part, affine in enumerate((self._of_query * signs * root / balance, of_key * balance)):
            slope = affine[:, 1:] / self._std[part][..., None, None]
            offset = self._full.bias[part] - self._mean[part]
            bias = affine[:, 0] + torch.einsum("hdcp,hd->hcp", slope, offset)
            result.pairs_of(result.bias)[part, :, :, : self._pairs] = bias
            weight = torch.einsum("hdcp,hdi->hcpi", slope, self._full.weight[part])
            result.pairs_of(result.weight)[part, :, :, : self._pairs] = weight
        return result

    def _residual(self, example: Example) -> Residual:
        tokens = example.states.shape[1]
        teacher = _logits(*example.teacher)
        weights = torch.softmax(teacher, dim=-1) + FLOOR / tokens
        weights = weights / weights.sum(-1, keepdim=True)
        student = _logits(*rotate(self._content(example.states), self._theta))
        raw = self._full(example.states)
        standard = (raw - self._mean[:, None, :, None]) / self._std[:, None, :, None]
        affine = torch.cat([torch.ones_like(standard[..., :1]), standard], dim=-1)
        exponents = torch.arange(self._pairs, device=raw.device) * 2 / raw.shape[-1]
        positions = torch.arange(tokens, device=raw.device)
        distances = (positions[:, None] - positions)[..., None]
        angles = distances / self._theta**exponents
        logits = _centred(teacher - student, weights)
        return Residual(weights, logits, angles.cos(), angles.sin(), affine[0], affine[1])

    def _fit(
        self, residuals: list[Residual], sums: Callable[[Residual], Sums]
    ) -> tuple[Tensor, Tensor]:
        """Coefficients `[heads, 1 + head_dim, 2, pairs]`, and what they explain, `[heads]`."""
        gram, cross = map(sum, zip(*map(sums, residuals), strict=True))
        diagonal = gram.diagonal(dim1=1, dim2=2)
        mean = diagonal.mean(1, keepdim=True).expand_as(diagonal)
        penalty = self._ridge * torch.diag_embed(diagonal + mean)
        solution = torch.linalg.solve(gram + penalty, cross)
        quadratic = torch.einsum("hf,hfg,hg->h", solution, gram, solution)
        explained = 2 * (solution * cross).sum(1) - quadratic
        return solution.view(len(solution), -1, 2, self._pairs), explained

    def _query_sums(self, r: Residual) -> Sums:
        """The normal equations of (a, -b): features are (cos tω, sin tω) times the query's."""
        waves = torch.cat([r.cos, r.sin], dim=-1)
        products = waves[..., :, None] * waves[..., None, :]
        mean = torch.einsum("bhij,ijf->bhif", r.weights, waves)
        moments = torch.einsum("bhij,ijfg->bhifg", r.weights, products)
        moments -= mean[..., :, None] * mean[..., None, :]
        targets = torch.einsum("bhij,ijf->bhif", r.weights * r.logits, waves)
        return _weighted_gram(r.queries, moments), _cross(r.queries, targets)

    def _key_sums(self, r: Residual) -> Sums:
        """The normal equations of (c - 1, d): features are the two kernels times the key's."""
        a, minus_b = torch.einsum("bhid,hdcp->cbhip", r.queries, self._of_query)[..., None, :]
        along = a * r.cos + minus_b * r.sin
        across = a * r.sin - minus_b * r.cos
        # [batch, heads, queries, keys, 2 · pairs]
        kernels = torch.cat([along, across], dim=-1)
        logits = _centred(r.logits - along.sum(-1), r.weights)
        weighted = r.weights[..., None] * kernels
        moments = torch.einsum("bhijf,bhijg->bhjfg", weighted, kernels)
        means = torch.einsum("bhijf,bhjd->bhidf", weighted, r.keys).flatten(3)
        gram = _weighted_gram(r.keys, moments) - torch.einsum("bhix,bhiy->hxy", means, means)
        targets = torch.einsum("bhij,bhijf->bhjf", r.weights * logits, kernels)
        return gram, _cross(r.keys, targets)


def _logits(queries: Tensor, keys: Tensor) -> Tensor:
    return queries @ keys.mT * queries.shape[-1] ** -0.5


def _centred(logits: Tensor, weights: Tensor) -> Tensor:
    """Logits minus the weighted mean of each query."""
    return logits - (weights * logits).sum(-1, keepdim=True)


def _weighted_gram(affine: Tensor, moments: Tensor) -> Tensor:
    """Σ z zᵀ ⊗ m over tokens, for z `[batch, heads, tokens, d]` and m `[batch, heads, tokens, f,
    f]`: `[heads, d · f, d · f]`."""
    outer = (affine[..., :, None] * affine[..., None, :]).flatten(3)
    gram = torch.einsum("bhnx,bhny->hxy", outer, moments.flatten(3))
    d, f = affine.shape[-1], moments.shape[-1]
    return gram.view(-1, d, d, f, f).transpose(2, 3).reshape(-1, d * f, d * f)


def _cross(affine: Tensor, targets: Tensor) -> Tensor:
    return torch.einsum("bhnd,bhnf->hdf", affine, targets).flatten(1)
