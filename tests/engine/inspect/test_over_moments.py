"""What a text cost at each kept moment of a run: equal to looking at each by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.inspect.moments import load_moment
from engine.inspect.over_moments import Known, OverMoments, over_moments
from engine.inspect.prediction import predict
from engine.inspect.surprise import kind_of, surprise, token_texts
from engine.runs.checkpoint_names import list_snapshots


def test_each_moment_costs_what_it_costs_by_itself(run: Path) -> None:
    latest = load_moment(run, "latest", pytest.fail)
    tokenizer = latest.model.tokenizer
    assert tokenizer
    ids = np.arange(8) % latest.model.vocab_size
    known: Known = {}
    found = list(over_moments(run, latest.model, 9, ids, tokenizer, known))
    shares, (*_, last) = zip(*found, strict=True)
    assert shares == (0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1)
    assert last.steps == (0, 3, 6, 9)
    kinds = [kind_of(one) for one in token_texts(tokenizer, range(latest.model.vocab_size))]
    for row, which in enumerate(("untrained", "3", "6", "9")):
        model = load_moment(run, which, pytest.fail).model
        np.testing.assert_allclose(last.token[row], surprise(model, ids, tokenizer).bits, rtol=1e-5)
        probabilities = np.exp(predict(model, ids).log_probs)
        for at in range(1, 8):
            alike = [one == kinds[ids[at]] for one in kinds]
            bits = -np.log2(probabilities[at - 1][alike].sum())
            assert last.kind[row, at] == pytest.approx(bits, abs=1e-5)
    again = list(over_moments(run, latest.model, 9, ids, tokenizer, known))
    assert len(again) == 1  # nothing is measured twice


def test_a_moment_that_is_gone_is_left_out(run: Path) -> None:
    latest = load_moment(run, "latest", pytest.fail)
    assert latest.model.tokenizer
    found = over_moments(run, latest.model, 9, [0, 1, 2], latest.model.tokenizer, {})
    next(found)
    shutil.rmtree(list_snapshots(run)[1])  # the retention rules take it meanwhile
    *_, (_, last) = found
    assert last.steps == (0, 3, 9)


@pytest.mark.parametrize(
    ("bits", "step"),
    [([5, 2, 0.5, 0.2], 200), ([5, 0.5, 2, 0.2], 300), ([0.1] * 4, 0), ([5, 0.1, 0.1, 2], None)],
)
def test_a_token_is_learned_from_where_it_stays_cheap(bits: list[float], step: int | None) -> None:
    costs = np.array(bits, np.float32)[:, None]
    one = OverMoments((0, 100, 200, 300), costs, costs + 9)
    assert one.learned_at(0) == step and one.learned_at(0, of_kind=True) is None
