"""Results as Markdown."""

from statistics import median

from contender import ISAS, PEERS

TITLES = {
    "torch-bf16": "PyTorch bf16",
    "torch-f32": "PyTorch f32",
    "onnx-f32": "ONNX Runtime f32",
    "onnx-int8": "ONNX Runtime int8",
}
MODELS = {"v3": "jina-embeddings-v3", "v2-base": "jina-embeddings-v2-base-en"}
LEVELS = {
    "native": "all instructions of the processor",
    "avx512_bf16": "both sides kept to AVX-512 with BF16 dot products",
    "avx2": "both sides kept to AVX2",
}


def tables(rows):
    """All of `rows`, one table for each model and level of instructions."""
    parts = []
    for model in MODELS:
        for isa in ISAS:
            chosen = [row for row in rows if (row["model"], row["isa"]) == (model, isa)]
            if chosen:
                parts.append(f"### {MODELS[model]}, {LEVELS[isa]}\n\n{table(chosen)}")
    return "\n".join(parts)


def table(rows):
    peers = [peer for peer in PEERS if any(peer in row["contenders"] for row in rows)]
    heads = ["batch", "tokens", *(TITLES[peer] for peer in peers)]
    lines = [heads, ["---", "---:", *("---:" for _ in peers)]]
    for row in rows:
        cells = [cell(row, peer) for peer in peers]
        lines.append([row["name"], str(row["tokens"]), *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(row, peer):
    """`2.00× (50 / 25 ms)`: their time over ours, and both."""
    contenders = row["contenders"]
    if peer not in contenders:
        return "–"
    theirs, ours = (median(contenders[name]["seconds"]) * 1e3 for name in (peer, PEERS[peer]))
    return f"**{theirs / ours:.2f}×** ({milliseconds(theirs)} / {milliseconds(ours)} ms)"


def milliseconds(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def document(results):
    """The whole of `RESULTS.md`."""
    machine = results["machine"]
    programs = sorted(
        {
            f"{contender['program']} ({contender['device']['threads']} threads)"
            for row in results["rows"]
            for contender in row["contenders"].values()
        }
    )
    commits = sorted({row["commit"] for row in results["rows"]})
    return f"""# Results

Written by `bench/peers/compare.py --write` from `bench/results.json`, which holds the time of every
pass; [bench/peers](peers/README.md) says what is compared and how. A cell is the time of the peer over
ours (above 1, kokeshi is faster), then both medians. The column of int8 stands beside kokeshi in bf16,
each other column beside kokeshi in the same precision. A dash: not measured.

| | |
|---|---|
| processor | {machine['processor']} ({machine['family']}) |
| instruction sets | {', '.join(machine['instructions'])} |
| cores, memory | {machine['cores']}, {machine['memory_gib']} GiB |
| system | {machine['system']} |
| programs | {', '.join(programs)} |
| commit of kokeshi | {', '.join(commits)} |
| levels of kokeshi | {', '.join(levels(results['rows']))} |

{tables(results['rows'])}"""


def levels(rows):
    """Which instructions ours used in each kind of table."""
    return sorted(
        {
            f"{row['isa']}: {contender['device']['simd_level']}"
            for row in rows
            for name, contender in row["contenders"].items()
            if name.startswith("kokeshi")
        }
    )
