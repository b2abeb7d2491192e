"""Batches of texts as padded tensors, as in sentence-transformers."""

from dataclasses import dataclass

import torch


@dataclass
class Padded:
    """Texts sorted by length, longest first, each padded to the longest.

    ids:    [texts, length], int64
    mask:   [texts, length], True at tokens
    tasks:  for each text the name of its task, or None
    order:  the index in the batch of each sorted text
    """

    ids: torch.Tensor
    mask: torch.Tensor
    tasks: list
    order: list

    @classmethod
    def of(cls, texts):
        """`texts`: dictionaries with `ids` and `task`."""
        order = sorted(range(len(texts)), key=lambda n: -len(texts[n]["ids"]))
        length = len(texts[order[0]]["ids"])
        ids = torch.zeros(len(texts), length, dtype=torch.int64)
        mask = torch.zeros(len(texts), length, dtype=torch.bool)
        for row, n in enumerate(order):
            tokens = texts[n]["ids"]
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = True
        return cls(ids, mask, [texts[n]["task"] for n in order], order)

    def in_order(self, vectors):
        """`vectors`, [texts, hidden], as lists in the original order of the texts."""
        back = [None] * len(self.order)
        for row, n in enumerate(self.order):
            back[n] = vectors[row].tolist()
        return back


def mean(states, mask):
    """Mean of the states at tokens, in f32: [texts, length, hidden] -> [texts, hidden]."""
    weights = mask.unsqueeze(-1).float()
    return (states.float() * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
