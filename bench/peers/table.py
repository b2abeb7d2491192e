"""Results as Markdown."""

from statistics import median

from contender import ISAS, PEERS

TITLES = {
    "torch-bf16": "PyTorch bf16",
    "torch-f32": "PyTorch f32",
    "onnx-f32": "ONNX Runtime f32",
    "onnx-f32-beside-bf16": "ONNX Runtime f32 (kokeshi bf16)",
    "onnx-int8": "ONNX Runtime int8",
}
# The rows of each model's table; results may have more.
ROWS = {
    "v3": ["1×16", "1×128", "8×128", "32 ragged", "4×512", "1×2048", "1×8192"],
    "v2-base": ["8×128", "1×8192"],
}
MODELS = {"v3": "jina-embeddings-v3", "v2-base": "jina-embeddings-v2-base-en"}
LEVELS = {
    "native": "all instructions of the processor",
    "avx512_bf16": "both sides limited to AVX-512 with BF16 dot products",
    "avx2": "both sides limited to AVX2",
}


def tables(cells):
    """All of `cells`, one table for each model and level of instructions."""
    parts = []
    for model in MODELS:
        for isa in ISAS:
            chosen = [cell for cell in cells if (cell["model"], cell["isa"]) == (model, isa)]
            if chosen:
                parts.append(f"### {MODELS[model]}, {LEVELS[isa]}\n\n{table(chosen)}")
    return "\n".join(parts)


def table(cells):
    peers = [peer for peer in PEERS if any(cell["peer"] == peer for cell in cells)]
    found = {(cell["row"], cell["peer"]): cell for cell in cells}
    heads = ["batch", "tokens", "padded", *(TITLES[peer] for peer in peers)]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for name in in_order(cells):
        row = [found.get((name, peer)) for peer in peers]
        tokens = next([str(c["tokens"]), str(c["padded_tokens"])] for c in row if c)
        lines.append([name, *tokens, *(text(cell) if cell else "–" for cell in row)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def in_order(cells):
    """The names of the rows, those of `ROWS` first."""
    names = dict.fromkeys(cell["row"] for cell in cells)
    usual = [name for name in ROWS["v3"] if name in names]
    return usual + [name for name in names if name not in usual]


def text(cell):
    """`2.00× (50 / 25 ms)`: their time over ours, and both."""
    if "failure" in cell:
        return cell["failure"]
    theirs, ours = (median(cell[side]["seconds"]) * 1e3 for side in ["theirs", "ours"])
    return f"**{theirs / ours:.2f}×** ({milliseconds(theirs)} / {milliseconds(ours)} ms)"


def milliseconds(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def document(results):
    """The whole of `RESULTS.md`."""
    machine, cells = results["machine"], results["cells"]
    programs, levels = set(), set()
    for cell in cells:
        for side in ["ours", "theirs"]:
            threads = cell[side]["device"]["threads"]
            programs.add(f"{cell[side]['program']} ({threads} threads)")
        levels.add(f"{cell['isa']}: {cell['ours']['device']['simd_level']}")
    commits = {cell["commit"] for cell in cells}
    return f"""# Results

Written by `bench/peers/compare.py --write` from `bench/results.json`, which has the time of every
pass; [bench/peers](peers/README.md) describes what is compared and how. A cell is the peer's time over
kokeshi's (above 1, kokeshi is faster), followed by both medians. Kokeshi runs in the precision of the peer
unless the column names another. A dash: not measured.

| | |
|---|---|
| processor | {machine['processor']} ({machine['family']}) |
| instruction sets | {', '.join(machine['instructions'])} |
| cores, memory | {machine['cores']}, {machine['memory_gib']} GiB |
| system | {machine['system']} |
| programs | {', '.join(sorted(programs))} |
| commit of kokeshi | {', '.join(sorted(commits))} |
| levels of kokeshi | {', '.join(sorted(levels))} |

{tables(cells)}"""

