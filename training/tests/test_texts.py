"""Repositories, sources, cleaning and draws."""

import io
import json
import random
import subprocess
import zipfile
from collections import Counter

import pytest

from training import prepare, repositories, sources, teacher, vocabulary
from training.draws import draw, held_out, tokenize
from training.languages import language
from training.prepare import Collector, Exclusions
from training.repositories import RepositoryError, open_repository
from training.sources import Item, sentence
from training.tests import toy


def committed(folder, files):
    """A repository with these files; its commit."""

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    folder.mkdir(parents=True)
    git("init", "--quiet")
    for path, contents in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    git("add", ".")
    git("commit", "--quiet", "-m", "files")
    return git("rev-parse", "HEAD")


def items(tmp_path, source, files):
    commit = committed(tmp_path / "mirror" / "owner+name", files)
    repository = open_repository("owner/name", commit, tmp_path / "cache", tmp_path / "mirror")
    return list(source(repository, random.Random(0)))


def test_a_mirror_serves_files_at_the_commit_and_not_later_ones(tmp_path):
    folder = tmp_path / "mirror" / "owner" / "name"
    commit = committed(folder, {"a/ä.txt": "one", "b.txt": b"\x00\n\xff"})
    (folder / "b.txt").write_text("changed")
    subprocess.run(["git", "-C", str(folder), "commit", "-qam", "more", "--author=a <a@b>"],
                   env={"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"},
                   check=True)  # fmt: skip
    repository = open_repository("owner/name", commit, tmp_path, tmp_path / "mirror")
    assert repository.paths() == ["a/ä.txt", "b.txt"]
    assert list(repository.read_all(["b.txt", "a/ä.txt"])) == [
        ("b.txt", b"\x00\n\xff"),
        ("a/ä.txt", b"one"),
    ]
    with pytest.raises(RepositoryError, match=r"no file c\.txt"):
        repository.read("c.txt")


def test_what_a_mirror_lacks_is_named(tmp_path):
    committed(tmp_path / "mirror" / "owner+name", {"a": "b"})
    with pytest.raises(RepositoryError, match="lacks the commit"):
        open_repository("owner/name", "0" * 40, tmp_path, tmp_path / "mirror")
    with pytest.raises(RepositoryError, match="no clone of other/name"):
        open_repository("other/name", "0" * 40, tmp_path, tmp_path / "mirror")


def test_without_a_mirror_a_commit_is_fetched_once(tmp_path, monkeypatch):
    remote = tmp_path / "remote" / "owner" / "name.git"
    commit = committed(remote, {"a": "b"})
    monkeypatch.setattr(repositories, "HOST", f"file://{tmp_path}/remote")
    cache = tmp_path / "cache"
    assert open_repository("owner/name", commit, cache).read("a") == b"b"
    monkeypatch.setattr(repositories, "HOST", "file:///nowhere")
    assert open_repository("owner/name", commit, cache).read("a") == b"b"
    with pytest.raises(RepositoryError, match="git fetch"):
        open_repository("owner/name", "1" * 40, cache)


def test_every_source_is_pinned_to_a_commit_and_names_its_licence():
    assert len({source.key for source in sources.SOURCES}) == len(sources.SOURCES)
    for source in sources.SOURCES:
        assert len(source.commit) == 40 and int(source.commit, 16)
        assert source.licence


def test_ntrex_pairs_lines_and_holds_the_last_tenth_out(tmp_path):
    english = [f"Line number {i}." for i in range(20)]
    files = {
        "DOCUMENT_IDS.tsv": "\n".join(f"d{i // 5}" for i in range(20)) + "\n",
        "NTREX-128/newstest2019-src.eng.txt": "\n".join(english) + "\n",
        "NTREX-128/newstest2019-ref.deu.txt": "\n".join(f"Zeile {i}." for i in range(20)) + "\n",
        "NTREX-128/newstest2019-ref.eng-GB.txt": "\n".join(english) + "\n",
        "NTREX-128/newstest2019-ref.fra-CA.txt": "\n".join(f"Ligne {i}" for i in range(20)) + "\n",
        "NTREX-128/newstest2019-ref.fra.txt": "\n".join(f"Ligne {i}." for i in range(20)) + "\n",
    }
    found = items(tmp_path, sources.ntrex, files)
    lines = [item for item in found if item.kind == "sentence"]
    assert [item.held_out for item in lines] == [False] * 18 + [True] * 2
    assert dict(lines[3].texts) == {
        "en": "Line number 3.",
        "de": "Zeile 3.",
        "fr": "Ligne 3.",
        "fra-CA": "Ligne 3",
    }
    passages = [item for item in found if item.kind == "passage"]
    for passage in passages:
        numbers = [int(word.rstrip(".")) for word in passage.texts[0][1].split()[2::3]]
        assert len({number // 5 for number in numbers}) == 1
        assert passage.held_out == (max(numbers) >= 18)
    assert passages


def zipped(name, text):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(name, text)
    return archive.getvalue()


def test_tico_joins_the_translations_of_a_sentence(tmp_path):
    def memory(text):
        unit = (
            f"<tu tuid='1'><tuv><seg>Wash &amp; dry.</seg></tuv><tuv><seg>{text}</seg></tuv></tu>"
        )
        return zipped("x.tmx", f"<tmx><body>{unit}</body></tmx>")

    files = {
        "data/TM/all.en-es-LA.tmx.zip": memory("Lavar."),
        "data/TM/all.en-fr.tmx.zip": memory("Laver."),
        "data/TM/all.ar-fr.tmx.zip": memory("no"),
    }
    (item,) = items(tmp_path, sources.tico19, files)
    assert item.texts == [("en", "Wash & dry."), ("es", "Lavar."), ("fr", "Laver.")]


def test_tatoeba_reads_the_pairs_of_an_archive(tmp_path):
    files = {"deu-eng.zip": zipped("deu.txt", "Go.\tGeh.\nHi.\tHallo!\textra\n")}
    found = items(tmp_path, sources.tatoeba("de", "deu-eng.zip"), files)
    assert sorted(item.texts for item in found) == [
        [("en", "Go."), ("de", "Geh.")],
        [("en", "Hi."), ("de", "Hallo!")],
    ]


def test_tanaka_is_joined_again(tmp_path):
    files = {"train.en": "i can 't tell who 'll come .\n", "train.ja": "誰 が 来 る ？\n"}
    found = items(tmp_path, sources.tanaka, files)
    assert [item.texts for item in found] == [
        [("en", "I can't tell who'll come."), ("ja", "誰が来る？")]
    ]


def test_tldr_pairs_descriptions_by_position(tmp_path):
    files = {
        "pages/common/tar.md": "# tar\n\n> Archiving.\n> http://a\n\n- E[x]tract:\n\n`a`\n",
        "pages.de/common/tar.md": "# tar\n\n> Archivieren.\n\n- Entpacken:\n",
        "pages.fr/common/tar.md": "# tar\n\n- Extraire :\n\n- Plus :\n",
    }
    found = {item.texts[0][1]: item.texts[1:] for item in items(tmp_path, sources.tldr, files)}
    assert found == {"Archiving.": [("de", "Archivieren.")], "Extract": [("de", "Entpacken")]}


def test_the_other_sources_are_read(tmp_path):
    squad = {"data": [{"paragraphs": [{"context": "P.", "qas": [{"question": "Q?"}]}]}]}
    dialogue = [{"turns": [{"utterance": f"A rather long utterance {i}"}]} for i in range(400)]
    files = {
        "bld/top_sentences/de_top_sentences.csv": "sentence,count\nNa, komm schon.,9\nJa.,8\n",
        "bld/top_sentences/ze_zh_top_sentences.csv": "sentence,count\n这是一个很长的句子吧,9\n",
        "categories/animals": "\n#Q Which of these animals sleeps?\n^ Sloth\n\n#Q Short?\n^ a\n",
        "data/data_full.json": json.dumps({"train": [["Book it", "a"], ["What", "oos"]]}),
        "squad.json": json.dumps(squad),
        "tune.tsv": "One .\tOne . <::::> Two .\n",
        "validation.tsv": "",
        "test.tsv": "",
        "train/dialogues_001.json": json.dumps(dialogue),
    }
    commit = committed(tmp_path / "mirror/o+n", files)
    repository = open_repository("o/n", commit, tmp_path, tmp_path / "mirror")

    def texts(source):
        return [(item.kind, item.texts) for item in source(repository, random.Random(0))]

    assert texts(sources.opensubtitles) == [("sentence", [("de", "Na, komm schon.")])]
    assert texts(sources.open_trivia) == [("sentence", [("en", "Which of these animals sleeps?")])]
    assert texts(sources.clinc) == [("sentence", [("en", "Book it")])]
    assert texts(sources.wiki_split)[0][1][0][1] in ("One.", "One. Two.")
    kinds = Counter(kind for kind, _ in texts(sources.schema_guided_dialogue))
    assert 0 < kinds["sentence"] < 60 and 0 < kinds["passage"] < 80
    assert texts(sources.squad("ja", "squad")) == [
        ("passage", [("ja", "P.")]),
        ("sentence", [("ja", "Q?")]),
        ("question", [("ja", "Q?"), ("ja", "P.")]),
    ]


def test_texts_of_evaluation_sets_are_left_out(tmp_path):
    row = {"nested": ["The Cat sat. It purred loudly!", "one\u2028two"]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n")
    exclusions = Exclusions()
    exclusions.add_files(tmp_path)
    collector = Collector(exclusions)
    for text in ("one two", "the cat  sat", "IT PURRED LOUDLY", "The cat sat. It purred loudly"):
        assert collector.rows("s", sentence(("en", text))) == []
    passage = "Something else comes first here. " * 6 + "It purred loudly!"
    assert collector.rows("s", Item("passage", [("en", passage)]))  # 15 letters: too short a match
    exclusions.add("A long sentence of the evaluation set.")
    passage = passage + " A long sentence of the evaluation set."
    assert collector.rows("s", Item("passage", [("en", passage)])) == []
    assert collector.excluded == {"s": 5}
    assert collector.rows("s", sentence(("en", "A dog sat")))


def test_an_exclusion_without_files_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="nothing would be excluded"):
        Exclusions().add_files(tmp_path)


def test_a_text_is_kept_once_but_english_stays_with_new_translations():
    collector = Collector(Exclusions())
    first = collector.rows("s", sentence(("en", "A dog."), ("de", "Ein Hund.")))
    again = collector.rows("s", sentence(("en", "a dog"), ("de", "ein hund")))
    more = collector.rows("s", sentence(("en", "A dog."), ("de", "Ein Hund."), ("fr", "Un chien.")))
    assert [text.language for text in first] == ["en", "de"]
    assert again == []
    assert [text.language for text in more] == ["en", "fr"]
    assert len({text.group for text in [*first, *more]}) == 2


def test_control_characters_and_lengths_are_cleaned():
    collector = Collector(Exclusions())
    rows = collector.rows("s", sentence(("en", "a\x00b \n c"), ("de", "x" * 501), ("fr", "123")))
    assert [row.text for row in rows] == ["a b c"]


def test_one_group_in_fifty_is_held_out():
    collector = Collector(Exclusions())
    rows = [collector.rows("s", sentence(("en", f"text {i}")))[0] for i in range(5000)]
    assert 60 < sum(row.held_out for row in rows) < 140


def test_rows_survive_writing(tmp_path):
    rows = toy.texts(20)
    counts = prepare.write(tmp_path / "t.jsonl.gz", rows)
    assert prepare.read(tmp_path / "t.jsonl.gz") == rows
    assert sum(counts.values()) == len(rows)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("deu", "de"), ("aze-Latn", "az"), ("zh_TW", "zh"), ("pt-BR", "pt"), ("yue", "yue")],
)
def test_codes_lose_script_and_region(code, expected):
    assert language(code) == expected


@pytest.fixture(scope="module")
def tokenizer():
    model = toy.teacher()
    return vocabulary.build(model.pieces, model.scores)


def test_draws_are_the_same_for_a_seed_and_free_of_held_out_texts(tokenizer):
    texts = toy.texts(600)
    drawn = draw(texts, tokenizer, 3000, 40, seed=1)
    assert drawn == draw(texts, tokenizer, 3000, 40, seed=1)
    assert drawn != draw(texts, tokenizer, 3000, 40, seed=2)
    assert 3000 <= sum(len(text.tokens) for text in drawn) < 3040
    held = {text.text for text in texts if text.held_out}
    assert held and not any(text.text in held for text in drawn)
    assert {text.prefix for text in drawn} == {"query: ", "passage: ", ""}
    query = tokenizer.encode("query: ").ids[1:-1]
    for tokens in held_out(texts, tokenizer):
        assert tokens[1 : 1 + len(query)] == query


def test_a_draw_from_too_few_texts_is_an_error(tokenizer):
    with pytest.raises(ValueError, match="too few tokens"):
        draw(toy.texts(3), tokenizer, 10_000, 40, seed=1)


def test_a_cut_text_keeps_its_end(tokenizer):
    tokens = tokenize(tokenizer, "sun moon star cloud", 4)
    assert len(tokens) == 4 and tokens[0] == 0 and tokens[-1] == 2


def test_the_tokenizer_has_the_special_tokens_and_normalization_of_xlm_r(tokenizer):
    encoding = tokenizer.encode("ｓｕｎ  moon<mask>")
    assert encoding.tokens == ["<s>", "▁sun", "▁moon", "<mask>", "</s>"]
    with pytest.raises(ValueError, match="do not start with"):
        vocabulary.build(["a", *toy.PIECES], [0.0] * (len(toy.PIECES) + 1))


def test_the_package_contains_the_published_teacher():
    model = teacher.load(teacher.package_file())
    assert (model.shape.hidden, model.shape.layers, model.shape.heads) == (384, 12, 12)
    assert model.pieces[:4] == vocabulary.SPECIAL and model.pieces[-1] == "<mask>"
    assert len(model.pieces) == model.shape.vocabulary == 250_002


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ValueError, match="does not start with E5S1"):
        teacher.load(tmp_path / "x.bin")
