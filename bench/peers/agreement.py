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
    "onnx-int8": (0.99, 0.5),
}
# On the fixture, in f32. Random weights of the size that training starts from leave attention all but
# uniform, so that they forgive a wrong rotation in bf16. The weights of the fixture are larger: the tanh
# form of GELU, the smallest mistake that was tried, is off by 1e-6 there, rounding by 1e-12.
FIXTURE_LIMITS = (1 - 1e-8, 1 - 1e-8)


def probe(name, batch):
    """Texts of many lengths out of `batch`: what padding, masks and sorting can do to them shows."""
    texts = [
        {"ids": text["ids"][: 5 + 17 * n], "task": text["task"]}
        for n, text in enumerate(batch["texts"])
    ]
    return {"name": name, "texts": texts}


def check(peer, row, ours, theirs, limits):
    """The lowest cosine of two lists of vectors. Ends the program if it is below its limit."""
    ours, theirs = numpy.array(ours), numpy.array(theirs)
    plain = lowest_cosine(ours, theirs)
    limit, centred_limit = limits
    if not plain >= limit:
        sys.exit(f"{peer}, {row}: a cosine of {plain:.6f} with our vectors, below {limit}")
    if len(ours) > 1:
        centre = ours.mean(0)
        centred = lowest_cosine(ours - centre, theirs - centre)
        if not centred >= centred_limit:
            sys.exit(
                f"{peer}, {row}: without their mean, a cosine of {centred:.6f} with our vectors, "
                f"below {centred_limit}"
            )
        print(f"  {peer}, {row}: cosine 1 - {1 - plain:.1e}, centred 1 - {1 - centred:.1e}", file=sys.stderr)
    return plain


def lowest_cosine(a, b):
    lengths = numpy.linalg.norm(a, axis=1) * numpy.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / lengths).min())
