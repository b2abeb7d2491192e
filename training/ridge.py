"""Ridge regression from running sums, towards a given solution."""

import torch
from torch import Tensor


class Ridge:
    """Fits y ≈ W x + b. Rows are added in batches; only their sums are kept, in f64."""

    def __init__(self, inputs: int, outputs: int, device: str) -> None:
        """No rows yet."""
        zeros = torch.zeros(inputs + 1, inputs + 1 + outputs, dtype=torch.float64, device=device)
        self._inputs, self._rows, self._sums = inputs, 0, zeros

    def add(self, x: Tensor, y: Tensor) -> None:
        """Adds the rows of x `[..., inputs]` and y `[..., outputs]`."""
        x, y = x.flatten(0, -2), y.flatten(0, -2)
        n = self._inputs
        self._rows += len(x)
        self._sums[:n, :n] += x.T @ x
        self._sums[:n, n + 1 :] += x.T @ y
        self._sums[:n, n] += x.sum(0)
        self._sums[n, n + 1 :] += y.sum(0)

    def solve(self, prior: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        """The weight `[outputs, inputs]` and bias `[outputs]` in f32 that minimize the squared
        error plus λ |W - prior|², with λ = `strength` times the mean variance of an input."""
        n = self._inputs
        sums = self._sums / self._rows
        mean_x, mean_y = sums[:n, n], sums[n, n + 1 :]
        covariance = sums[:n, :n] - mean_x[:, None] * mean_x
        cross = sums[:n, n + 1 :] - mean_x[:, None] * mean_y
        penalty = strength * covariance.diagonal().mean()
        regularized = covariance + penalty * torch.eye(
            n, dtype=covariance.dtype, device=sums.device
        )
        weight = torch.linalg.solve(regularized, cross + penalty * prior.double().T).T
        return weight.float(), (mean_y - weight @ mean_x).float()
