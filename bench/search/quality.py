"""Late chunking against each chunk alone, and hybrid against dense, on retrieval sets."""

import json
import subprocess

from report import Row


def quality(options):
    """No bar: the figures are whatever they are."""
    if not options.sets:
        raise SystemExit("`quality` needs retrieval sets: --sets FOLDER…")
    rows = []
    for chunking in ("structure:256", "sentences"):
        command = [options.program, "eval", "--json", "--chunk", chunking, *options.sets]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        answer = json.loads(done.stdout)
        for found in answer["sets"]:
            rows.append(
                Row(f"**{found['name']}**, chunks by {chunking}",
                    f"{found['documents']} documents, {found['queries']} queries")
            )
            rows += [Row(title(way), figures(way)) for way in found["ways"]]
        if answer["means"]:
            rows.append(Row(f"**mean**, chunks by {chunking}", f"{len(answer['sets'])} sets"))
            rows += [Row(title(way), figures(way)) for way in answer["means"]]
    return rows


def title(way):
    late = "late chunking" if way["late_chunking"] else "each chunk alone"
    return f"{late}, {'hybrid' if way['hybrid'] else 'dense'}"


def figures(way):
    return f"nDCG@10 {way['ndcg_10']:.4f}, recall@10 {way['recall_10']:.4f}"
