"""``gpt-tui sweep --stop median``: runs worse than the median end early, and can go on."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from engine.runs.checkpoint_names import list_checkpoints
from engine.sweeps.queue import Queue
from tests.cli.conftest import QUICK, Answer, Cli, Sweep, start_process
from tests.cli.test_signals import wait_for

# the last one barely learns, so that its validation loss is the highest by far
RATES = "optim.learning_rate=1e-2,8e-3,6e-3,1e-6"
STEPS = {"train.max_steps": 12, "eval.interval": 4, "optim.min_lr": 0, "optim.warmup_steps": 0}
STOP = ("--stop", "median")


@pytest.fixture
def options(text: Path) -> list[str]:
    settings = [w for key, value in (QUICK | STEPS).items() for w in ("--set", f"{key}={value}")]
    return ["--preset", "tiny", "--data", str(text), *settings]


def steps(answer: Answer) -> dict[str, int]:
    return {run["name"]: run["steps"] for run in answer.json["runs"]}


def pruned(answer: Answer) -> dict[str, str]:
    return {run["name"]: run["outdone"] for run in answer.json["runs"] if run["outdone"]}


def test_worse_runs_end_early_the_winner_is_the_same_and_each_can_go_on(
    sweep: Sweep, cli: Cli, runs_dir: Path
) -> None:
    whole = sweep(RATES, "--name", "all", "--json")
    assert set(steps(whole).values()) == {12} and not pruned(whole)

    answer = sweep(RATES, "--name", "few", "--json", *STOP)
    assert answer.code == 0
    assert steps(answer) == {"few-1": 12, "few-2": 12, "few-3": 12, "few-4": 4}
    assert {run["state"] for run in answer.json["runs"]} == {"done"}
    best, other = answer.json["runs"][0], whole.json["runs"][0]
    assert best["settings"] == other["settings"]
    assert best["best_val_loss"] == other["best_val_loss"]
    assert [run["rank"] for run in answer.json["runs"]] == [1, 2, 3, 4]

    why = pruned(answer)["few-4"]
    assert why.startswith(
        "stopped at step 4 of 12 by the median stopping rule: best validation loss"
    )
    assert answer.err.splitlines().count(why) == 1
    board = cli("sweep", "few", "--leaderboard").out
    assert board.count("stopped early") == 1
    assert f"few-4: {why}" in board.splitlines()
    assert why in cli("runs", "show", "few-4").out
    assert list_checkpoints(runs_dir / "few-4")[-1].name.endswith("04")

    assert cli("sweep", "--resume", "few", "--json").json == answer.json  # there is nothing to do
    again = cli("train", "--resume", "few-4", "--json")  # the person wants it all the same
    assert (again.code, again.json["steps"], again.json["outdone"]) == (0, 12, "")
    assert not pruned(cli("sweep", "few", "--leaderboard", "--json"))


def test_the_rule_outlives_the_program_and_holds_for_any_other(
    sweep: Sweep, cli: Cli, options: list[str], runs_dir: Path
) -> None:
    process = start_process("sweep", RATES, *STOP, *options)
    assert process.stderr is not None
    wait_for(process.stderr, "step 4/12: val")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert all(entry.rule for entry in Queue(runs_dir).entries())
    assert cli("queue", "run").code == 0
    answer = cli("sweep", "--leaderboard", "--json")
    assert [run["steps"] for run in answer.json["runs"]] == [12, 12, 12, 4]


def test_when_the_rule_begins_can_be_said(sweep: Sweep, runs_dir: Path) -> None:
    begin = ("--stop-after-runs", "1", "--stop-after-steps", "5")
    answer = sweep("optim.learning_rate=1e-2,1e-6", "--json", *STOP, *begin)
    assert [run["steps"] for run in answer.json["runs"]] == [12, 8]
    (rule,) = {entry.rule for entry in Queue(runs_dir).entries()}
    assert rule and (rule.after_runs, rule.after_steps) == (1, 5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stop-after-runs", "3"], "--stop-after-runs goes with --stop median"),
        ([*STOP, "--stop-after-steps", "0"], "--stop-after-steps takes 1 or more, not 0"),
        (["--stop", "mean"], "it cannot be 'mean': did you mean 'median'?"),
        (["--resume", *STOP], "take the name of one sweep"),
    ],
)
def test_bad_input_is_one_sentence_and_queues_nothing(
    cli: Cli, runs_dir: Path, arguments: list[str], words: str
) -> None:
    axes = [] if "--resume" in arguments else [RATES]
    assert words in cli("sweep", *axes, *arguments).problem
    assert Queue(runs_dir).entries() == []


def test_a_rule_that_can_stop_nobody_is_told_beforehand(sweep: Sweep) -> None:
    few = sweep("optim.learning_rate=1e-3,1e-2", "--dry-run", *STOP)
    assert (few.code, few.err.count("the median stopping rule stops no run")) == (0, 1)
    settings: Any = ("--dry-run", *STOP)
    assert "the median stopping rule" not in sweep(RATES, *settings).err
