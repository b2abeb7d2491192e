import dataclasses
import random

import pytest
import torch
from torch.testing import assert_close

from training import convert, draws, student, vocabulary
from training.convert import Settings
from training.heads import Moments, Queries, rebased, slow_first
from training.kernels import Example, Kernels
from training.network import agreement, batches, encode, split_heads
from training.ridge import Ridge
from training.tests import toy

SETTINGS = Settings(tokens=6000, longest=40, pairs=2, kernel_tokens=1500, kernel_lengths=(12, 40))


@pytest.fixture(scope="module")
def sequences():
    model = toy.teacher()
    tokenizer = vocabulary.build(model.pieces, model.scores)
    drawn = draws.draw(toy.texts(800), tokenizer, SETTINGS.tokens, SETTINGS.longest, seed=1)
    return [text.tokens for text in drawn]


def test_a_conversion_is_closer_than_the_teachers_weights_with_rotary_positions(
    sequences, tmp_path
):
    model = toy.teacher()
    with torch.no_grad():
        converted = convert.convert(model, sequences, SETTINGS, tmp_path / "progress.pt")
        naive = convert.start(model, sequences, SETTINGS)
        naive.layers = model.layers
        rng = random.Random(7)
        tokenizer = vocabulary.build(model.pieces, model.scores)
        new = [tokenizer.encode("query: " + toy.sentence(rng, 8)).ids for _ in range(100)]
        fitted, unfitted = (
            agreement(model.forward, other.forward, new, "cpu") for other in (converted, naive)
        )
    assert fitted > 0.97 > unfitted


def test_an_interrupted_conversion_continues_to_the_same_weights(sequences, tmp_path, monkeypatch):
    model = toy.teacher()
    whole = convert.convert(model, sequences, SETTINGS, tmp_path / "whole.pt")
    progress = tmp_path / "progress.pt"
    first = dataclasses.replace(model, layers=model.layers[:1])
    convert.convert(first, sequences, SETTINGS, progress)
    fitted = []
    original = convert.LayerFit.run
    monkeypatch.setattr(
        convert.LayerFit, "run", lambda fit: fitted.append(fit.layer) or original(fit)
    )
    continued = convert.convert(model, sequences, SETTINGS, progress)
    assert fitted == model.layers[1:]
    for name, tensor in whole.tensors().items():
        assert_close(continued.tensors()[name], tensor, msg=name)


def test_progress_on_other_texts_is_refused(sequences, tmp_path):
    model = toy.teacher()
    progress = tmp_path / "progress.pt"
    convert.convert(model, sequences, SETTINGS, progress)
    with pytest.raises(ValueError, match="other texts"):
        convert.convert(model, sequences[: len(sequences) // 2], SETTINGS, progress)


def test_a_student_that_was_saved_loads(sequences, tmp_path):
    model = toy.teacher()
    converted = convert.convert(model, sequences, SETTINGS, tmp_path / "progress.pt")
    converted.save(tmp_path / "student.safetensors")
    loaded = student.load(tmp_path / "student.safetensors")
    assert loaded.shape == converted.shape
    expected = encode(converted.forward, sequences[:20], "cpu")
    assert torch.equal(encode(loaded.forward, sequences[:20], "cpu"), expected)


def test_a_ridge_without_strength_recovers_a_linear_map_and_its_bias():
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(3, 5, generator=generator), torch.randn(3, generator=generator)
    ridge = Ridge(5, 3, "cpu")
    for _ in range(4):
        x = torch.randn(2, 10, 5, generator=generator) + 3
        ridge.add(x, x @ weight.T + bias)
    found = ridge.solve(torch.zeros(3, 5), 0.0)
    assert_close(found[0], weight, atol=1e-4, rtol=1e-4)
    assert_close(found[1], bias, atol=1e-3, rtol=1e-3)


def test_a_strong_ridge_stays_at_its_prior():
    generator = torch.Generator().manual_seed(0)
    ridge = Ridge(5, 3, "cpu")
    ridge.add(torch.randn(50, 5, generator=generator), torch.randn(50, 3, generator=generator))
    prior = torch.randn(3, 5, generator=generator)
    assert_close(ridge.solve(prior, 1e9)[0], prior)


def queries(seed: int) -> Queries:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 2, 8, 16, generator=generator)
    return Queries(weight, torch.randn(2, 2, 8, generator=generator))


def test_rebasing_keeps_the_attention_and_orders_the_directions():
    original, states = queries(0), torch.randn(6, 9, 16, generator=torch.Generator().manual_seed(1))
    moments = Moments(2, 8, "cpu")
    moments.add(*original(states))
    new = rebased(original, moments)

    def weights(parts: Queries) -> torch.Tensor:
        q, k = parts(states)
        return torch.softmax(q @ k.mT, dim=-1)

    assert_close(weights(new), weights(original), atol=1e-4, rtol=1e-3)
    assert new(states)[1].mean((0, 2)).abs().max() < 1e-4
    after = Moments(2, 8, "cpu")
    after.add(*new(states))
    strengths = after.queries.diagonal(dim1=1, dim2=2)[:, torch.argsort(slow_first(8))]
    assert (strengths[:, :-1] >= strengths[:, 1:] - 1e-3).all()
    assert slow_first(8).tolist() == [6, 4, 2, 0, 7, 5, 3, 1]


def test_kernels_recover_positions_that_depend_on_query_and_key():
    """Kernels that are planted in a teacher's fast pairs are found."""
    full = queries(3)
    full.weight *= 0.2
    generator = torch.Generator().manual_seed(4)
    planted = full.without_pairs(2)
    # Kernels are functions of the directions of content, so the planted ones are mixed from these.
    mixing = torch.randn(2, 2, 2, 2, 8, generator=generator) * 0.4
    weight = torch.einsum("xhcpd,xhdi->xhcpi", mixing, full.weight)
    planted.pairs_of(planted.weight)[:, :, :, :2] = weight
    planted.pairs_of(planted.bias)[0, :, :, :2] = torch.randn(2, 2, 2, generator=generator)
    planted.pairs_of(planted.bias)[1, :, 0, :2] = 1
    examples = []
    for _ in range(40):
        states = torch.randn(4, 20, 16, generator=generator)
        examples.append(Example(states, student.rotate(planted(states), 100.0)))
    kernels = Kernels(full, 2, 100.0, 1e-6, examples)
    states = examples[0].states

    def attention(parts: Queries) -> torch.Tensor:
        q, k = student.rotate(parts(states), 100.0)
        return torch.softmax(q @ k.mT * 8**-0.5, dim=-1)

    target = attention(planted)
    error = (attention(kernels.queries()) - target).norm()
    without = (attention(full.without_pairs(2)) - target).norm()
    assert kernels.explained > 0.95
    assert error < 0.2 * without


def test_rotation_depends_on_the_distance_only():
    q, k = torch.randn(2, 1, 1, 8, generator=torch.Generator().manual_seed(0)).expand(2, 1, 12, 8)
    logits = student.rotate(q, 100.0) @ student.rotate(k, 100.0).mT
    for offset in range(-5, 6):
        diagonal = logits.diagonal(offset, 1, 2)
        assert_close(diagonal, diagonal[:, :1].expand_as(diagonal))


def test_heads_are_split_in_the_order_of_the_published_checkpoint():
    states = torch.arange(12.0).view(1, 1, 12)
    assert split_heads(states, 3, 2)[1, 0, 1, 0].tolist() == [6, 7]


def test_batches_hold_every_sequence_once_and_nearly_equal_lengths():
    rng = random.Random(0)
    lengths = [rng.randrange(1, 600) for _ in range(500)]
    groups = batches(lengths)
    assert sorted(index for group in groups for index in group) == list(range(500))
    for group in groups:
        sizes = [lengths[index] for index in group]
        assert max(sizes) <= 1.05 * min(sizes)
        assert len(group) == 1 or len(group) * max(sizes) <= 3000
