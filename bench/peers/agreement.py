"""Whether two programs compute the same vectors."""

import sys

import numpy

# Lowest cosine that passes, and lowest cosine of what is left of the vectors without what the texts
# have in common. The second tells more: with random weights, the vectors of two different texts
# have a cosine of 0.99.
LIMITS = {
    "torch-bf16": (0.999, 0.99),
    "torch-f32": (0.99999, 0.9999),
    "onnx-f32": (0.99999, 0.9999),
    "onnx-f32-beside-bf16": (0.999, 0.99),
    "onnx-int8": (0.99, 0.5),
}
# On the fixture, in f32. Random weights of the size that training starts from leave attention all but
# uniform, so that they forgive a wrong rotation in bf16. The weights of the fixture are larger: there the
# tanh form of GELU, the smallest mistake that was tried, moves the cosine by 5e-8, rounding by 1e-13 (and
# the centred cosine by up to 5e-12).
FIXTURE_LIMITS = (1 - 1e-8, 1 - 1e-8)


def probe(name, batch):
    """Texts of many lengths out of `batch`: what padding, masks and sorting can do to them shows."""
    texts = [
        {"ids": text["ids"][: 5 + 17 * n], "task": text["task"]}
        for n, text in enumerate(batch["texts"])
    ]
    return {"name": name, "texts": texts}


def check(what, ours, theirs, limits):
    """The lowest cosine of two lists of vectors. Ends the program if it is below its limit."""
    ours, theirs = numpy.array(ours), numpy.array(theirs)
    plain = lowest_cosine(ours, theirs)
    found = [("cosine", plain, limits[0])]
    if len(ours) > 1:
        centre = ours.mean(0)
        centred = lowest_cosine(ours - centre, theirs - centre)
        found.append(("centred cosine", centred, limits[1]))
    for measure, value, limit in found:
        if not value >= limit:
            sys.exit(f"{what}: vectors differ from ours: {measure} 1 - {1 - value:.1e}, at least {limit}")
    text = ", ".join(f"{measure} 1 - {1 - value:.1e}" for measure, value, _ in found)
    print(f"  {what}: {text}", file=sys.stderr)
    return plain


def lowest_cosine(a, b):
    lengths = numpy.linalg.norm(a, axis=1) * numpy.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / lengths).min())
