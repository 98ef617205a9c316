"""The model of any moment of a run, without a trace of the look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import InputError
from engine.checkpoint import store
from engine.inspect.moments import load_moment, read_excerpts
from engine.runs import text as texts
from engine.runs.known_text import TextMissing
from tests.engine.conftest import MakeConfig, Rig, assert_same_bits, weights
from tests.engine.run_folders import forget_prepared_texts


def silent(message: str) -> None:
    raise AssertionError(message)


def test_each_moment_has_its_own_weights_and_looking_draws_no_random_numbers(
    run: Path, rig: Rig
) -> None:
    state = torch.get_rng_state()
    moments = {w: load_moment(run, w, silent) for w in ("untrained", "3", "6", "latest", "best")}
    assert torch.equal(torch.get_rng_state(), state)
    assert [moments[which].step for which in ("untrained", "3", "6", "latest")] == [0, 3, 6, 9]
    assert all(not one.model.training and one.model.tokenizer for one in moments.values())
    heads = {one.model.get_parameter("head.weight").sum().item() for one in moments.values()}
    assert len(heads) >= 4
    session = rig.open(run, running=False)
    assert_same_bits(weights(moments["latest"].model), weights(session.trainer.model))


def test_untrained_weights_are_those_that_the_run_began_with(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(), running=False)
    began = weights(session.trainer.model)
    run = rig.close(session)  # no checkpoint has the tokenizer: it is made of the text
    assert_same_bits(weights(load_moment(run, "untrained", silent).model), began)


def test_a_checkpoint_has_the_tokenizer_so_that_the_text_is_not_read(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "load_corpus", silent)
    monkeypatch.setattr(store, "read_tensors", silent)
    assert load_moment(run, "untrained", silent).step == 0


def test_of_a_step_without_weights_the_nearest_is_named(run: Path) -> None:
    told = "no checkpoint '5': it has best, latest and steps 3, 6, 9, of which 6 is the nearest"
    with pytest.raises(InputError, match=told):
        load_moment(run, "5", silent)


def test_excerpts_are_the_contexts_of_an_evaluation(run: Path) -> None:
    excerpts = read_excerpts(run)
    count = (len(excerpts.val) - 1) // 8
    first, second, last = excerpts.at(0), excerpts.at(1), excerpts.at(-1)
    assert second.dtype.name == "int64"
    np.testing.assert_array_equal(second, excerpts.val[8:16])
    np.testing.assert_array_equal(last, excerpts.val[8 * (count - 1) : 8 * count])
    np.testing.assert_array_equal(excerpts.at(count), first)


def test_a_text_that_is_gone_has_no_excerpts(
    rig: Rig, make_config: MakeConfig, tmp_path: Path
) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("one fish, two fish\n" * 20)
    run = rig.close(rig.new(make_config(data__corpus=str(text)), running=False))
    text.unlink()
    forget_prepared_texts()
    with pytest.raises(TextMissing):
        read_excerpts(run)
