"""Seeded texts of mixed lengths: queries, passages and documents, in several languages."""

import json
import random
from dataclasses import dataclass

WORDS = (
    "the river carries light past every old bridge while people talk about weather prices and "
    "trains der Fluss trägt das Licht an jeder alten Brücke vorbei während Menschen über Wetter "
    "Preise und Züge reden le fleuve emporte la lumière sous chaque vieux pont pendant que les "
    "gens parlent du temps des prix et des trains el río lleva la luz bajo cada puente viejo "
    "mientras la gente habla del tiempo de los precios y de los trenes 河流 带着 光 经过 每一座 "
    "老 桥 人们 谈论 天气 价格 和 火车 3.14 2026 e-mail API naïve coöperate"
).split()


@dataclass(frozen=True)
class Kind:
    name: str
    share: float
    shortest: int
    longest: int


# Shares of all requests; lengths in words, uniformly distributed.
MIX = (
    Kind("query", 0.55, 3, 14),
    Kind("passage", 0.40, 40, 300),
    Kind("document", 0.05, 600, 3500),
)


def mixed(count, seed):
    """`count` texts with the shares of `MIX`, shuffled with `seed`."""
    chance = random.Random(seed)
    texts = []
    for kind in MIX:
        for _ in range(round(kind.share * count)):
            texts.append(sentence(chance, chance.randint(kind.shortest, kind.longest)))
    chance.shuffle(texts)
    return texts


def sentence(chance, words):
    return " ".join(chance.choices(WORDS, k=words))


def body(text, **fields):
    """A request of `/v1/embeddings`, as bytes."""
    return json.dumps({"input": text, **fields}, ensure_ascii=False).encode()
