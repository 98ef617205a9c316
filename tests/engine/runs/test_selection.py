"""The language of filters: the same in the app and in ``gpt-tui runs --filter``."""

from __future__ import annotations

import time
from typing import Any

import pytest

from data.errors import InputError
from engine.config.presets import preset_config
from engine.runs.fields import differing_keys, short_name
from engine.runs.selection import FILTER_EXAMPLE, matches, parse_filter, sort_runs
from engine.runs.summary import RunSummary

HOUR = 3600.0


def a_run(name: str = "first", settings: dict[str, Any] | None = None, **facts: Any) -> RunSummary:
    config = preset_config("tiny").replace({"optim.learning_rate": 0.00158489} | (settings or {}))
    return RunSummary(f"/runs/{name}", name, **{"state": "finished", "config": config, **facts})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # figures
        ("best<2", True),
        ("best>=2", False),
        ("best=1.9", True),
        ("best!=1.9", False),
        ("steps>999 steps<=1k", True),
        ("params>100k", False),
        ("tokens>0.3M", True),
        ("best:1.5..2", True),
        ("best:..1.5", False),
        ("best:1.5..", True),
        ("-best<2", False),
        # what is not known compares with nothing
        ("val<99", False),
        ("-val<99", True),
        # times
        ("time>1m", True),
        ("time<60", False),
        ("age<2d", True),
        ("age>3h", False),
        # settings, by any of their names
        ("lr>1e-3", True),
        ("learning_rate>2e-3", False),
        ("optim.learning_rate<.01", True),
        ("lr=0.00158", True),  # as the table shows it
        ("lr=0.0016", False),
        ("seed=1337", True),
        ("seed=1338", False),
        ("layers:2 batch>1", True),
        ("clip=off", False),
        ("optimizer:adam", True),
        ("optimizer=adam", False),
        ("optimizer!=muon", True),
        ("qk_norm=off", True),
        ("qk_norm!=off", False),
        # words and alternatives
        ('note:"too short" tag:good', True),
        ('note:"too good"', False),
        ("preset=tin", False),
        ("PRESET=Tiny", True),
        ("best<1 | preset:tiny", True),
        ("best<1|lr>1|name:second", False),
        ("|", True),
        ("tag:", True),
        ("http://x", False),
    ],
)
def test_a_filter_compares_words_figures_and_settings(text: str, found: bool) -> None:
    run = a_run(
        preset="tiny",
        best_val_loss=1.9,
        step=1000,
        parameters=99_800,
        tokens=384_000,
        train_seconds=61.5,
        tags=("good",),
        note="warm-up was too short",
        created=time.time() - HOUR,
    )
    assert matches(run, text) is found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lrr>1", "runs have no 'lrr': did you mean lr?"),
        ("stat:finished", "did you mean state?"),
        ("zzz=1", "runs have no 'zzz': there are name, state"),
        ("best<abc", "best is compared with a number, not 'abc': best<2"),
        ("age<3x", "age is compared with a time in s, m, h or d, not '3x': age<2d"),
        ("lr>", "lr> needs a value: lr>0.001"),
        ("state>3", "state is text, which > cannot compare: state:3"),
        ("qk_norm=maybe", "qk_norm is on or off: qk_norm:on"),
        ("tag:good best<", "best< needs a value: best<2"),
    ],
)
def test_a_term_that_makes_no_sense_is_told_with_one_that_does(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_filter(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_example_is_a_filter() -> None:
    assert len(parse_filter(FILTER_EXAMPLE).alternatives) == 2


def test_what_has_no_settings_is_found_by_none_of_them() -> None:
    damaged = RunSummary("/runs/bad", "bad", "damaged")
    assert not matches(damaged, "lr>0")
    assert not matches(damaged, "optimizer!=muon")
    assert matches(damaged, "state:damaged")


def test_runs_are_sorted_by_any_setting() -> None:
    runs = [a_run(str(rate), {"optim.learning_rate": rate}) for rate in (0.01, 0.001, 0.1)]
    runs.append(RunSummary("/runs/bad", "bad", "damaged"))
    for by in ("lr", "learning_rate", "optim.learning_rate"):
        assert [run.name for run in sort_runs(runs, by)] == ["0.001", "0.01", "0.1", "bad"]
    assert [run.name for run in sort_runs(runs, "lr", descending=True)][-1] == "bad"
    with pytest.raises(InputError, match="did you mean 'learning_rate'"):
        sort_runs(runs, "learning_rat")


def test_the_settings_that_differ_are_found_among_all() -> None:
    runs = [a_run("a"), a_run("b", {"train.seed": 2}), a_run("c", {"model.n_layer": 3})]
    assert differing_keys(runs) == ["model.n_layer", "train.seed"]
    assert [short_name(key) for key in differing_keys(runs)] == ["layers", "seed"]
    assert differing_keys(runs[:1]) == differing_keys([]) == []
