"""Surprisal is the loss, token by token."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from data.batches import Split, take_examples, validation_windows
from data.errors import InputError
from data.tokenizers import CharTokenizer
from engine.inspect import prediction
from engine.inspect.surprise import (
    KindCost,
    Surprise,
    by_kind,
    by_position,
    difference,
    kind_of,
    surprise,
    surprises,
)
from engine.model import LanguageModel
from tests.engine.conftest import MakeTrainer

TEXT = "The 3 fishes,\nred."
NAN = math.nan


def measured(tokens: list[str], bits: list[float]) -> Surprise:
    ids = np.arange(len(tokens))
    array = np.array([NAN, *bits], dtype=np.float32)
    return Surprise(ids, tuple(tokens), array, ids, array, sum(map(len, tokens[1:])))


@pytest.fixture
def model(make_trainer: MakeTrainer) -> LanguageModel:
    return make_trainer(model__block_size=32).model


def test_figures_of_each_token_are_those_of_the_prediction_before_it(
    model: LanguageModel, tokenizer: CharTokenizer
) -> None:
    ids = tokenizer.encode("These are words")
    seen = surprise(model, ids, tokenizer)
    probs = model.eval()(torch.tensor(ids)[None])[0].softmax(-1).detach()
    assert "".join(seen.tokens) == "These are words"
    assert np.isnan(seen.bits[0]) and np.isnan(seen.entropy[0]) and seen.rank[0] == 0
    for at in range(1, len(ids)):
        before, chance = probs[at - 1], probs[at - 1, int(ids[at])]
        assert seen.bits[at] == pytest.approx(-math.log2(chance), abs=1e-4)
        assert seen.rank[at] == (before > chance).sum() + 1
        assert seen.entropy[at] == pytest.approx(-(before * before.log2()).sum().item(), abs=1e-4)


def test_the_mean_over_the_validation_split_is_the_loss_of_an_evaluation(
    make_trainer: MakeTrainer, split: Split, tokenizer: CharTokenizer
) -> None:
    trainer = make_trainer()
    for _ in range(5):
        trainer.train_step()
    offsets = validation_windows(len(split.val), 8)
    x, y = take_examples(split.val, offsets, 8)
    windows = np.concatenate([x, y[:, -1:]], axis=1)  # (n, T + 1)
    mean = np.mean([one.mean_bits for one in surprises(trainer.model, windows, tokenizer)])
    evaluation = trainer.evaluate(whole=True)
    assert evaluation.windows == len(windows)
    assert mean * math.log(2) == pytest.approx(evaluation.loss, abs=1e-5)


def test_a_large_vocabulary_is_measured_in_parts(
    model: LanguageModel, tokenizer: CharTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tokenizer.encode("These are words")
    whole = surprise(model, ids, tokenizer)
    monkeypatch.setattr(prediction, "LOGITS_AT_ONCE", 4 * tokenizer.vocab_size)
    parts = surprise(model, ids, tokenizer)
    np.testing.assert_allclose(parts.bits, whole.bits, atol=1e-5)
    np.testing.assert_array_equal(parts.rank, whole.rank)


def test_a_single_token_has_no_figure_and_no_text_is_refused(
    model: LanguageModel, tokenizer: CharTokenizer
) -> None:
    seen = surprise(model, tokenizer.encode("T"), tokenizer)
    assert math.isnan(seen.mean_bits) and math.isnan(seen.bits_per_character)
    assert seen.worst() == []
    with pytest.raises(InputError, match="at least one character"):
        surprise(model, [], tokenizer)


def test_weights_that_are_no_numbers_give_figures_that_are_none(
    model: LanguageModel, tokenizer: CharTokenizer
) -> None:
    torch.nn.init.constant_(next(model.parameters()), NAN)
    seen = surprise(model, tokenizer.encode("These"), tokenizer)
    assert np.isnan(seen.bits).all() and math.isnan(seen.mean_bits)
    assert all(math.isnan(one.mean_bits) for one in by_kind([seen]))


def test_the_worst_tokens_come_first_and_means_are_over_all_but_the_first() -> None:
    seen = measured(["a", "b", "cd", "e"], [1.0, 5.0, 3.0])
    assert seen.worst(2) == [2, 3]
    assert seen.mean_bits == 3.0
    assert seen.bits_per_character == 9 / 4


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("e", "lower case"),
        ("R", "capital"),
        (" Rome", "capital"),  # of BPE: the space belongs to the word
        (" ", "space"),
        ("  ", "space"),
        ("\t", "space"),
        ("7", "digit"),
        ("\n", "line end"),
        (",", "punctuation"),
        ("漢", "lower case"),
        ("\x00", "other"),
        ("", "other"),
        ("<E2>", "other"),  # bytes that are no whole character
        ("<E2><80>", "other"),
        (" <C3>", "other"),
        ("<E2", "punctuation"),
        ("<3>", "punctuation"),
    ],
)
def test_a_token_is_of_the_kind_of_its_first_character(token: str, kind: str) -> None:
    assert kind_of(token) == kind


def test_the_dearest_kind_comes_first_with_its_share() -> None:
    costs = by_kind([measured(["x", "a", "b", "R"], [1, 2, 5]), measured(["x", " "], [2])])
    assert costs == [
        KindCost("capital", 1, 5.0, 0.5),
        KindCost("lower case", 2, 1.5, 0.3),
        KindCost("space", 1, 2.0, 0.2),
    ]


def test_positions_are_means_over_the_texts_that_reach_them() -> None:
    places = by_position([measured(["a", "b", "c"], [2, 4]), measured(["a", "b"], [4])])
    np.testing.assert_array_equal(places, np.array([NAN, 3, 4], dtype=np.float32))


def test_what_was_learned_is_below_zero_where_the_tokens_are_the_same() -> None:
    before, after = measured(["a", "b", "c"], [2, 4]), measured(["a", "b", "c"], [1, 5])
    np.testing.assert_array_equal(difference(before, after), np.array([NAN, -1, 1], np.float32))
    with pytest.raises(InputError, match=r"only bits per character compare: 3\.00 and 2\.00"):
        difference(before, measured(["a", "bc"], [4.0]))
    with pytest.raises(InputError, match="the two texts differ"):
        difference(before, measured(["a"], []))
