"""A toy teacher of three layers, made by seed, and texts for it."""

import random

import torch

from training.network import Layer, Shape
from training.prepare import Text
from training.teacher import Teacher
from training.vocabulary import SPECIAL

WORDS = "sun moon star cloud rain wind snow river lake sea hill rock sand tree leaf bird".split()
# Prefixes are words of the vocabulary, as in the real one.
PIECES = [*SPECIAL, "▁", *"abcdefghijklmnopqrstuvwxyz:.", "▁query", "▁passage"]
PIECES += ["▁" + word for word in WORDS] + ["<mask>"]
SHAPE = Shape(32, 3, 2, 64, len(PIECES), 64, 1e-12)


def teacher(seed: int = 0) -> Teacher:
    generator = torch.Generator().manual_seed(seed)

    def normal(*sizes: int, scale: float) -> torch.Tensor:
        return scale * torch.randn(*sizes, generator=generator)

    hidden, ffn_hidden = SHAPE.hidden, SHAPE.ffn_hidden
    ones, zeros = torch.ones(hidden), torch.zeros(hidden)

    # Positions as training gives them: smooth, so that attention depends on distances.
    angles = torch.arange(SHAPE.positions)[:, None] / 12.0 ** (torch.arange(4) / 4)
    waves = torch.cat([angles.cos(), angles.sin()], dim=1)
    positions = waves @ normal(8, hidden, scale=0.25)

    def layer() -> Layer:
        # Trained queries and keys have few strong directions.
        qkv = normal(3 * hidden, hidden, scale=0.3)
        qkv[: 2 * hidden] *= 0.75 ** (torch.arange(2 * hidden) % SHAPE.head_dim)[:, None]
        out, fc1 = normal(hidden, hidden, scale=0.1), normal(ffn_hidden, hidden, scale=0.15)
        fc2 = normal(hidden, ffn_hidden, scale=0.1)
        biases = (normal(size, scale=0.1) for size in (3 * hidden, hidden, ffn_hidden, hidden))
        b_qkv, b_out, b_fc1, b_fc2 = biases
        return Layer(
            *(qkv, b_qkv, out, b_out, ones.clone(), zeros.clone()),
            *(fc1, b_fc1, fc2, b_fc2, ones.clone(), zeros.clone()),
        )

    scores = [0.0] * 4 + [-8.0] * (len(PIECES) - 4 - len(WORDS) - 3)
    scores += [-3.0] * (len(WORDS) + 2) + [0.0]
    return Teacher(
        SHAPE,
        PIECES,
        scores,
        normal(len(PIECES), hidden, scale=1.0),
        positions,
        normal(hidden, scale=0.1),
        ones,
        zeros,
        [layer() for _ in range(SHAPE.layers)],
    )


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def texts(count: int, seed: int = 0) -> list[Text]:
    """Sentences in two languages, of which every tenth pair is held out, and questions."""
    rng = random.Random(seed)
    rows = []
    for group in range(count):
        english = sentence(rng, rng.randrange(3, 12))
        other = " ".join(reversed(english.split()))
        held = group % 10 == 9
        rows += [Text(group, "sentence", "en", "ntrex", english, held)]
        rows += [Text(group, "sentence", "de", "ntrex", other, held)]
        if group % 4 == 0:
            passage = f"{english} {sentence(rng, 12)}"
            question = Text(count + group, "question", "ja", "jaquad", english, held)
            rows += [question, Text(count + group, "question", "ja", "jaquad", passage, held)]
            rows.append(Text(2 * count + group, "passage", "en", "ntrex", passage, held))
    return rows
