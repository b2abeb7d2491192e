"""Checks that two programs compute the same vectors."""

import sys

import numpy

# Lowest accepted cosine of the vectors, and of the vectors minus their mean over the texts. The second is
# the stricter test: with random weights, the vectors of two different texts have a cosine of 0.99.
LIMITS = {
    "torch-bf16": (0.999, 0.99),
    "torch-f32": (0.99999, 0.9999),
    "onnx-f32": (0.99999, 0.9999),
    "onnx-f32-beside-bf16": (0.999, 0.99),
    "onnx-int8": (0.99, 0.5),
}
# Limits for the fixture, in f32. Random weights of the size that training starts from leave attention
# almost uniform, so that a wrong rotation goes unnoticed in bf16. The weights of the fixture are larger:
# with them the tanh form of GELU, the smallest error that was tried, changes the cosine by 5e-8, rounding
# by 1e-13 (and the centred cosine by up to 5e-12).
FIXTURE_LIMITS = (1 - 1e-8, 1 - 1e-8)


def probe(name, batch):
    """Texts of many lengths from `batch`, which reveal errors of padding, masks and sorting."""
    texts = [
        {"ids": text["ids"][: 5 + 17 * n], "task": text["task"]}
        for n, text in enumerate(batch["texts"])
    ]
    return {"name": name, "texts": texts}


def check(what, ours, theirs, limits):
    """Returns the lowest cosine of two lists of vectors. Exits if it is below its limit."""
    ours, theirs = numpy.array(ours), numpy.array(theirs)
    plain = lowest_cosine(ours, theirs)
    measured = [("cosine", plain, limits[0])]
    if len(ours) > 1:
        centre = ours.mean(0)
        centred = lowest_cosine(ours - centre, theirs - centre)
        measured.append(("centred cosine", centred, limits[1]))
    for measure, value, limit in measured:
        if not value >= limit:
            sys.exit(f"{what}: vectors differ from kokeshi's: {measure} 1 - {1 - value:.1e}; the limit is {limit}")
    text = ", ".join(f"{measure} 1 - {1 - value:.1e}" for measure, value, _ in measured)
    print(f"  {what}: {text}", file=sys.stderr)
    return plain


def lowest_cosine(a, b):
    lengths = numpy.linalg.norm(a, axis=1) * numpy.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / lengths).min())
