"""Advice and early ends where there is no screen: what to type is said in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.protocol import Advised
from tests.cli.conftest import Cli, train_command
from tui.text.notices import format_advice

CHANGES = {"optim.learning_rate": 3e-4, "optim.min_lr": 1e-5}
OPTIONS = "--set optim.learning_rate=0.0003 --set optim.min_lr=1e-5"


@pytest.fixture
def run(runs_dir: Path) -> Path:
    return runs_dir / "tiny-1"


def test_advice_says_the_command_that_follows_it(run: Path) -> None:
    advice = Advised("plateau", "the loss has stood still", "set learning_rate to 3e-4", CHANGES)
    assert format_advice(advice, run).splitlines() == [
        "advice: the loss has stood still",
        "  to set learning_rate to 3e-4, stop with Ctrl-C, then "
        f"gpt-tui train --resume tiny-1 {OPTIONS}",
    ]


def test_advice_in_the_background_stops_the_run_by_a_command(run: Path) -> None:
    advice = Advised("jump", "the loss jumped", "go back to step 50", CHANGES, 50)
    assert format_advice(advice, run, in_background=True).splitlines() == [
        "advice: the loss jumped",
        f"  to go back to step 50, gpt-tui stop tiny-1, then gpt-tui fork tiny-1 --at 50 {OPTIONS}",
    ]


def test_what_is_no_number_leaves_three_ways_on(run: Path) -> None:
    advice = Advised("non-finite", "the loss is not a number", "go back", CHANGES, 500, pauses=True)
    assert format_advice(advice, run).splitlines() == [
        "gpt-tui: the loss is not a number. To continue",
        f"  from step 500, as a new run:    gpt-tui fork tiny-1 --at 500 {OPTIONS}",
        f"  with a lower learning rate:     gpt-tui train --resume tiny-1 {OPTIONS}",
        "  without this batch:             gpt-tui train --resume tiny-1",
    ]


def test_a_run_that_stops_early_says_so_and_goes_on_with_more_patience(
    cli: Cli, text: Path
) -> None:
    wild = "--set optim.learning_rate=2 --set optim.warmup_steps=0 --set eval.patience=1"
    words = [word for word in train_command(text) if word != "--json"]
    early = "--set train.max_steps=40 --set eval.interval=2"
    answer = cli(*words, *wild.split(), *early.split())
    assert answer.code == 0
    why = "stopped early: no lower validation loss in 1 evaluation (eval.patience)"
    assert answer.err.splitlines().count(why) == 1
    assert "of 40" in answer.out and "step 40 of 40" not in answer.out
    assert "gpt-tui train --resume tiny-1 --set eval.patience=N" in answer.out
    tame = "--set optim.learning_rate=0.001 --set eval.patience=off"
    answer = cli("train", "--resume", "tiny-1", *tame.split())
    assert "step 40 of 40" in answer.out
