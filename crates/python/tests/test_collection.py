"""Collections: texts and files, searched."""

import pytest
from conftest import program

import kokeshi

TEXTS = ["The lamp in the hall is too dark.", "Delivery takes three days.", "Der Akku ist leer."]
FIELDS = [{"lang": "en", "year": 1999}, {"lang": "en", "year": 2005}, {"lang": "de", "year": 2010}]


@pytest.fixture
def notes(tmp_path, model):
    collection = kokeshi.Collection(tmp_path / "notes.db", model=model)
    summary = collection.add(TEXTS, ["a", "b", "c"], FIELDS)
    assert (summary["written"], summary["unchanged"]) == (3, 0)
    return collection


def test_texts_are_found_by_meaning_words_and_fields(notes):
    best = notes.search("I need a brighter light", 1)[0]
    assert (best.id, best.text, best.metadata) == ("a", TEXTS[0], FIELDS[0])
    assert best.bytes == (0, len(TEXTS[0])) and best.score == best.cosine
    assert [hit.id for hit in notes.search("battery", where="lang=de")] == ["c"]
    assert {hit.id for hit in notes.search("x", where=["lang=en", "year<2000"])} == {"a"}
    assert {hit.id for hit in notes.search("x", paths="!a")} == {"b", "c"}
    assert notes.search("Akku", 1, hybrid=True)[0].id == "c"
    assert len(notes.search("x", 2)) == 2


def test_texts_are_replaced_left_alone_and_removed(notes):
    assert notes.add(TEXTS, ["a", "b", "c"], FIELDS)["unchanged"] == 3
    assert notes.add(["Other."], ["a"])["written"] == 1
    assert len(notes) == 3 and notes.search("other", 1)[0].metadata == {}
    assert notes.remove(["a", "nothing"]) == 1 and len(notes) == 2


def test_the_program_and_the_package_share_collections(notes, tmp_path):
    run = program("search", "brighter light", "--store", tmp_path / "notes.db", "-l")
    assert run.stdout.splitlines()[0] == "a", run.stderr
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.md").write_text("# Ships\n\nThe harbour log lists every boat.")
    files = kokeshi.Collection(tmp_path / "files.db")
    assert "indexed 1 document" in files.index(tmp_path / "files")
    hit = files.search("boats", 1)[0]
    assert hit.id.endswith("files/a.md") and hit.lines == (1, 3)
    with pytest.raises(OSError, match="cannot read"):
        files.index(tmp_path / "missing")


def test_what_is_wrong_is_said(notes, tmp_path, tiny):
    cases = [
        (lambda: notes.search(" "), ValueError, "the query is empty"),
        (lambda: notes.search("a", where="lang"), ValueError, "`lang` is not a condition"),
        (lambda: notes.add(["a"], ["x", "y"]), ValueError, "1 texts, 2 ids"),
        (lambda: kokeshi.Collection(tmp_path / "none.db").search("a"), FileNotFoundError, "none.db"),
        (lambda: kokeshi.Collection(tmp_path / "notes.db", model=tiny).search("a"), ValueError, "weights"),
        (lambda: kokeshi.Collection(tmp_path / "notes.db", "other").search("a"), OSError, "other"),
        (lambda: kokeshi.Collection(tmp_path / "x.db", storage="f8"), ValueError, "`f8` is not"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
    assert len(kokeshi.Collection(tmp_path / "none.db")) == 0
