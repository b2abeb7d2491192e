"""Late chunking against each chunk alone, and hybrid against dense, on retrieval sets."""

import json
import shutil
import subprocess

from report import Row


def quality(options):
    """The figures, which have no bar."""
    sets = [*options.sets, *(answers(folder, options.work) for folder in options.answers)]
    if not sets:
        raise SystemExit("`quality` needs retrieval sets: --sets FOLDER… or --answers FOLDER…")
    rows = []
    for chunking in ("structure:256", "sentences"):
        command = [options.program, "eval", "--json", "--chunk", chunking, *sets]
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


def answers(folder, work):
    """Writes documents, and questions about them, as a set in the layout of BEIR: only the document with
    the answer is relevant."""
    to = work / folder.name
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    shutil.copy(folder / "documents.jsonl", to / "corpus.jsonl")
    shutil.copy(folder / "questions.jsonl", to / "queries.jsonl")
    questions = [json.loads(line) for line in (to / "queries.jsonl").open()]
    with (to / "qrels.tsv").open("w") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        file.writelines(f"{question['_id']}\t{question['doc']}\t1\n" for question in questions)
    return to


def title(way):
    late = "late chunking" if way["late_chunking"] else "each chunk alone"
    return f"{late}, {'hybrid' if way['hybrid'] else 'dense'}"


def figures(way):
    return f"nDCG@10 {way['ndcg_10']:.4f}, recall@10 {way['recall_10']:.4f}"
