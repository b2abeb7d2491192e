"""Lines with copies and near duplicates, the same in every run, of words of the bundled model's
tokenizer."""

import json
import random

from program import ROOT

TOKENIZER = ROOT / "crates/starter/model/tokenizer.json"
WORDS, WORDS_OF_A_LINE = 8000, 8
# Shares of all lines.
COPIES, EDITS = 0.05, 0.15


def vocabulary():
    pieces = json.loads(TOKENIZER.read_text())["model"]["vocab"]
    words = [piece[1:] for piece, _ in pieces if piece.startswith("▁")]
    return [word for word in words if len(word) > 3 and word.isalpha()][:WORDS]


def drawn(count, seed):
    """`count` lines, and the number of copies of earlier ones among them."""
    chance, words, lines, copies = random.Random(seed), vocabulary(), [], 0
    for _ in range(count):
        kind = chance.random()
        if lines and kind < COPIES:
            lines.append(chance.choice(lines))
            copies += 1
        elif lines and kind < COPIES + EDITS:
            lines.append(edited(chance, chance.choice(lines), words))
        else:
            lines.append(" ".join(chance.choices(words, k=WORDS_OF_A_LINE)))
    return lines, copies


def edited(chance, line, words):
    """`line` with a word removed or replaced, two words swapped, or a full stop added."""
    parts = line.split(" ")
    at = chance.randrange(len(parts))
    match chance.randrange(4):
        case 0 if len(parts) > 2:
            del parts[at]
        case 1:
            parts[at] = chance.choice(words)
        case 2:
            parts[0], parts[at] = parts[at], parts[0]
        case _:
            return line + "."
    return " ".join(parts)
