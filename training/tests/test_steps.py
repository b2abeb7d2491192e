"""The steps after the conversion: polish, order, export, evaluate; and the command line."""

import dataclasses
import json
import random

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from training import __main__ as command_line
from training import (
    convert,
    evaluate,
    export,
    order,
    packing,
    polish,
    prepare,
    student,
    teacher,
    vocabulary,
)
from training.draws import draw, held_out
from training.network import agreement, encode
from training.tests import toy


@pytest.fixture(scope="module")
def model():
    return toy.teacher()


@pytest.fixture(scope="module")
def tokenizer(model):
    return vocabulary.build(model.pieces, model.scores)


@pytest.fixture(scope="module")
def texts():
    return toy.texts(800)


@pytest.fixture(scope="module")
def converted(model, tokenizer, texts, tmp_path_factory):
    settings = convert.Settings(
        tokens=3000, longest=40, pairs=2, kernel_tokens=1000, kernel_lengths=(12, 40)
    )
    drawn = draw(texts, tokenizer, settings.tokens, settings.longest, seed=1)
    progress = tmp_path_factory.mktemp("convert") / "progress.pt"
    return convert.convert(model, [text.tokens for text in drawn], settings, progress)


SETTINGS = polish.Settings(layers=2, steps=50, step_tokens=600, learning_rate=2e-3, longest=40)


def test_polishing_approaches_the_teacher_on_texts_it_has_not_seen(
    model, tokenizer, texts, converted
):
    drawn, held = draw(texts, tokenizer, 6000, 40, seed=3), held_out(texts, tokenizer)
    polished = polish.polish(model, converted, drawn, held, SETTINGS)
    rng = random.Random(9)
    new = [
        tokenizer.encode("query: " + toy.sentence(rng, rng.randrange(3, 12))).ids
        for _ in range(100)
    ]
    before, after = (
        agreement(model.forward, other.forward, new, "cpu") for other in (converted, polished)
    )
    assert after > before + 0.003
    assert polished.layers[0] is converted.layers[0]


def test_polishing_that_does_harm_is_undone(model, tokenizer, texts, converted):
    drawn, held = draw(texts, tokenizer, 600, 40, seed=3), held_out(texts, tokenizer)
    harmful = dataclasses.replace(SETTINGS, learning_rate=10.0, steps=3)
    assert polish.polish(model, converted, drawn, held, harmful) is converted


def test_the_loss_is_zero_at_the_teachers_vectors_and_ignores_a_shift():
    vectors = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    mean = vectors.mean(0).expand(5, 8)
    shift = torch.ones(8)
    example = polish.Example(vectors, None, vectors, mean, mean + shift)
    assert polish.loss(example, vectors + shift, polish.Settings()).item() < 1e-5
    assert polish.loss(example, vectors, polish.Settings()).item() > 0.1


def test_an_order_changes_neither_cosines_nor_anything_else(converted, tokenizer):
    rng = random.Random(2)
    tokens = [tokenizer.encode(toy.sentence(rng, 6)).ids for _ in range(10)]
    dimensions = torch.randperm(32, generator=torch.Generator().manual_seed(1)).tolist()
    expected = encode(converted.forward, tokens, "cpu")[:, dimensions]
    found = encode(order.reordered(converted, dimensions).forward, tokens, "cpu")
    assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_mean_is_taken_out_of_every_vector(converted, tokenizer):
    rng = random.Random(2)
    tokens = [tokenizer.encode(toy.sentence(rng, 6)).ids for _ in range(10)]
    vectors = encode(converted.forward, tokens, "cpu")
    centred = order.without_mean(converted, vectors.mean(0))
    found = encode(centred.forward, tokens, "cpu")
    assert_close(found, vectors - vectors.mean(0), atol=1e-5, rtol=1e-4)


def test_the_greedy_order_finds_the_dimensions_that_carry_the_cosine():
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(200, 16, generator=generator) * 0.05
    base[:, [11, 3, 7]] = torch.randn(200, 3, generator=generator) * torch.tensor([3.0, 2.0, 1.0])
    pairs = order.Pairs(base[:100], base[100:])
    assert order.greedy_order([pairs], 3) == [11, 3, 7]


def test_wrong_partners_are_near_and_never_a_text_itself():
    vectors = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    alone = order.with_negatives(vectors, vectors, generator)
    assert not (alone.a == alone.b).all(1).any()
    other = order.with_negatives(vectors, vectors.clone(), generator)
    assert (other.a == other.b).all(1).sum() >= 30


def test_a_whole_recipe_keeps_its_vectors_in_the_exported_file(
    model, tokenizer, texts, converted, tmp_path
):
    ordered = order.order(converted, tokenizer, texts, "cpu")
    vocabulary.save(tokenizer, tmp_path / "tokenizer.json")
    export.export(ordered, tmp_path / "tokenizer.json", tmp_path / "model")
    loaded, read, instructions = export.load(tmp_path / "model")
    rng = random.Random(5)
    sentences = ["query: " + toy.sentence(rng, 8) for _ in range(50)]
    tokens = [tokenizer.encode(sentence).ids for sentence in sentences]
    assert [read.encode(sentence).ids for sentence in sentences] == tokens
    assert instructions["retrieval.passage"] == "passage: "
    cosines = F.cosine_similarity(
        encode(ordered.forward, tokens, "cpu"), encode(loaded.forward, tokens, "cpu")
    )
    assert cosines.mean() > 0.98
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors", "modules.json", "1_Pooling"} <= files


def test_four_bits_are_packed_as_documented_and_close():
    weight = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    weight[2, :32] = 0
    packed, scales = packing.to_int4(weight)
    assert packed.shape == (5, 8) and scales.shape == (5, 2)
    values = packing.from_int4(packed, scales)
    assert (values - weight).norm() / weight.norm() < 0.09
    assert values[2, :32].abs().max() < 1e-3
    word, scale = packed[1, 3].item() & 0xFFFFFFFF, scales[1, 0].item()
    for i in range(8):
        assert values[1, 24 + i].item() == pytest.approx(((word >> 4 * i & 15) - 8) * scale)


def test_values_of_four_bits_survive_a_second_packing():
    weight = torch.randn(9, 96, generator=torch.Generator().manual_seed(0))
    once = packing.from_int4(*packing.to_int4(weight))
    assert_close(packing.from_int4(*packing.to_int4(once)), once, atol=2e-3, rtol=0)


def test_eight_bits_are_within_half_a_step():
    weight = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    codes, scale = packing.to_int8(weight)
    assert ((packing.from_int8(codes, scale) - weight).abs() <= scale[:, None] / 2 + 1e-7).all()


def test_spearman_gives_equal_values_their_mean_rank():
    a = torch.tensor([1.0, 2.0, 2.0, 3.0])
    assert evaluate._ranks(a).tolist() == [1, 2.5, 2.5, 4]
    assert evaluate.spearman(a, 10 * a**3) == pytest.approx(1)
    # scipy.stats.spearmanr([1, 2, 2, 3], [4, 1, 3, 2])
    other = torch.tensor([4.0, 1.0, 3.0, 2.0])
    assert evaluate.spearman(a, other) == pytest.approx(-0.6324555)


def test_a_regression_separates_classes():
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(3).repeat_interleave(20, 0)
    x = F.normalize(centres + 0.1 * torch.randn(60, 3, generator=generator), dim=1)
    classes = torch.arange(3).repeat_interleave(20)
    weight, bias = evaluate.logistic_regression(x, classes, 3)
    assert ((x @ weight.T + bias).argmax(1) == classes).all()


def test_evaluation_sets_are_scored(tmp_path, monkeypatch, capsys):
    """Vectors that are perfect get full marks, and random ones do not."""

    def write(path, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    generator = torch.Generator().manual_seed(0)
    known = {}

    def embed(texts, task):
        assert task in export.INSTRUCTIONS
        keys = [text.split()[-1] for text in texts]
        for key in keys:
            known.setdefault(key, torch.randn(384, generator=generator))
        return torch.stack([known[key] for key in keys])

    pairs = [{"sentence1": f"a {i}", "sentence2": f"b {i % 4}", "score": i == i % 4}
             for i in range(8)]  # fmt: skip
    for name in ("STS_LANGUAGES", "TATOEBA_LANGUAGES", "XQUAD_LANGUAGES"):
        monkeypatch.setattr(evaluate, name, ["en", "zh", "xx"])
    for language in ("en", "zh"):
        write(tmp_path / f"sts/stsb-{language}.jsonl", pairs)
        write(tmp_path / f"bitext/tatoeba/{language}.jsonl", pairs[:4])
        folder = tmp_path / f"retrieval/xquad-{language}"
        write(folder / "corpus.jsonl", [{"_id": f"p{i}", "text": f"p {i}"} for i in range(20)])
        write(folder / "queries.jsonl", [{"_id": f"q{i}", "text": f"q {i}"} for i in range(9)])
        lines = ["query-id\tcorpus-id\tscore", *(f"q{i}\tp{i}\t1" for i in range(8)), "q8\tp3\t1"]
        (folder / "qrels.tsv").write_text("\n".join(lines) + "\n")
    assert evaluate.sts(embed, tmp_path)[384]["zh"] > 80
    assert evaluate.tatoeba(embed, tmp_path)[384] == {"en": 100, "zh": 100}
    recalls = evaluate.xquad(embed, tmp_path)[384]
    assert recalls["en"] == recalls["zh-en"] == pytest.approx(100 * 8 / 9)
    assert "xquad-xx" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"stsb-en\.jsonl"):
        evaluate.sts(embed, tmp_path / "empty")


def test_every_step_is_a_command():
    parser = command_line.parser()
    for name in ("vocabulary", "convert", "polish", "order", "export"):
        arguments = parser.parse_args(["--device", "cuda", name])
        assert callable(arguments.run) and arguments.device == "cuda"
    assert parser.parse_args(["evaluate", "teacher", "--sets", "eval"]).model == "teacher"
    assert parser.parse_args(["data", "--exclude", "eval"]).mirror is None


def test_commands_continue_from_each_others_files(
    model, tokenizer, texts, converted, tmp_path, monkeypatch
):
    vocabulary.save(tokenizer, tmp_path / "tokenizer.json")
    prepare.write(tmp_path / "texts.jsonl.gz", texts)
    monkeypatch.setattr(teacher, "load", lambda path: model)
    small = convert.Settings(tokens=2000, longest=40, pairs=2, kernel_tokens=900,
                             kernel_lengths=(12, 40))  # fmt: skip
    monkeypatch.setattr(convert, "Settings", lambda: small)
    monkeypatch.setattr(polish, "Settings", lambda: dataclasses.replace(SETTINGS, steps=5))
    for step in ("convert", "polish", "order", "export"):
        arguments = command_line.parser().parse_args(
            ["--work", str(tmp_path), "--teacher", "toy", step]
        )
        arguments.run(arguments)
    loaded, _, _ = export.load(tmp_path / "model")
    ordered = student.load(tmp_path / "ordered.safetensors")
    assert loaded.shape == ordered.shape
    assert not (tmp_path / "convert.progress.pt").exists()
