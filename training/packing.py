"""Weights in eight and four bits, with the names of compressed-tensors."""

import torch
from torch import Tensor

GROUP = 32
# Divisors of a group's largest value that are tried as its scale: the codes are -8 to 7.
DIVISORS = (torch.cat([torch.arange(-10, -6.4, 0.25), torch.arange(6.5, 8.6, 0.25)])).tolist()
# Rows that are quantized at once.
CHUNK = 8192


def to_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Codes `[rows, columns]` and f32 scales `[rows]`: value = code · scale, |code| ≤ 127."""
    scale = weight.abs().amax(1).clamp_min(1e-12) / 127
    return (weight / scale[:, None]).round().to(torch.int8), scale


def from_int8(codes: Tensor, scale: Tensor) -> Tensor:
    """The f32 values of `to_int8`."""
    return codes.float() * scale[:, None]


def to_int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Packed codes, i32 `[rows, columns / 8]`, and f16 scales `[rows, columns / 32]`.

    Value = (code - 8) · scale. Bits 4i to 4i + 3 of a word are the code of column 8 · word + i. The
    scale of a group of 32 columns may be negative; it is the best of a list for the squared error.
    """
    packed, scales = zip(*map(_to_int4, weight.split(CHUNK)), strict=True)
    return torch.cat(packed), torch.cat(scales)


def _to_int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    groups = weight.reshape(-1, GROUP)
    extreme = groups.gather(1, groups.abs().argmax(1, keepdim=True))
    codes = torch.zeros_like(groups)
    scales = torch.ones_like(extreme)
    errors = torch.full_like(extreme, torch.inf)
    for divisor in DIVISORS:
        # What is stored: a group of zeros keeps the smallest scale of f16.
        scale = (extreme / divisor).half().float()
        scale[scale == 0] = torch.finfo(torch.half).smallest_normal
        candidate = (groups / scale).round().clamp(-8, 7)
        error = ((candidate * scale - groups) ** 2).sum(1, keepdim=True)
        better = error < errors
        codes = torch.where(better, candidate, codes)
        scales = torch.where(better, scale, scales)
        errors = torch.where(better, error, errors)
    nibbles = (codes + 8).to(torch.int64).reshape(len(weight), -1, 8)
    words = (nibbles << (4 * torch.arange(8))).sum(-1)
    # From u32 to the i32 of the same bits.
    words = torch.where(words >= 2**31, words - 2**32, words)
    return words.to(torch.int32), scales.half().reshape(len(weight), -1)


def from_int4(packed: Tensor, scales: Tensor) -> Tensor:
    """The f32 values of `to_int4`."""
    nibbles = (packed.to(torch.int64)[..., None] >> (4 * torch.arange(8))) & 15
    codes = nibbles.flatten(1) - 8
    return codes.float() * scales.float().repeat_interleave(GROUP, dim=1)
