"""Whether two programs compute the same vectors."""

import sys

import numpy

# Lowest cosine that passes, and lowest cosine of what is left of the vectors without what the texts
# have in common. The second tells more: with random weights, the vectors of two different texts
# have a cosine of 0.99.
LIMITS = {
    "torch-bf16": (0.999, 0.95),
    "torch-f32": (0.99999, 0.9999),
    "onnx-f32": (0.99999, 0.9999),
    "onnx-int8": (0.99, 0.5),
}


def probe(batch):
    """Texts of many lengths out of `batch`: what padding, masks and sorting can do to them shows."""
    texts = [
        {"ids": text["ids"][: 5 + 17 * n], "task": text["task"]}
        for n, text in enumerate(batch["texts"])
    ]
    return {"name": "probe", "texts": texts}


def check(peer, row, ours, theirs):
    """The lowest cosine of two lists of vectors. Ends the program if it is below the limit."""
    ours, theirs = numpy.array(ours), numpy.array(theirs)
    plain = lowest_cosine(ours, theirs)
    limit, centred_limit = LIMITS[peer]
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
        print(f"  {peer}, {row}: cosine {plain:.6f}, centred {centred:.6f}", file=sys.stderr)
    return plain


def lowest_cosine(a, b):
    lengths = numpy.linalg.norm(a, axis=1) * numpy.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / lengths).min())
