"""``gpt-tui fork``: a run from any step of another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import engine.session.rewind
from engine.runs.curves import read_parent
from engine.runs.database import RunDatabase
from engine.runs.summary import read_summary
from engine.session.outlet import now_and_then
from tests.cli.conftest import Cli


def test_a_run_is_forked_at_a_step_and_trained_on(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    quick_train("--name", "a", "--set", "train.max_steps=12")
    done = cli("fork", "a", "--at", "7", "--set", "optim.learning_rate=1e-3", "--name", "b")
    assert done.code == 0
    assert "run b: a as it was at step 7" in done.out
    assert "gpt-tui train --resume b" in done.out
    assert cli("train", "--resume", "b").code == 0
    child, parent = read_summary(runs_dir / "b"), read_summary(runs_dir / "a")
    assert (child.step, parent.step) == (12, 12)
    assert child.val_loss != parent.val_loss


def test_without_a_step_it_is_the_latest_and_json_tells_all(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    quick_train("--name", "a", "--set", "train.max_steps=4")
    done = cli("fork", "a", "--set", "train.max_steps=9", "--json")
    told = json.loads(done.out)
    assert told == {
        "run": "a-fork-1",
        "path": str((runs_dir / "a-fork-1").resolve()),
        "parent": "a",
        "step": 4,
    }


def test_going_back_a_long_way_is_told_in_a_few_lines(
    quick_train: Cli, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_step = 1 / 16  # seconds, exactly
    times = (a_step * number for number in range(60))
    monkeypatch.setattr(
        engine.session.rewind,
        "now_and_then",
        lambda report: now_and_then(report, lambda: next(times)),
    )
    seldom = ("--set", "eval.interval=1000", "--set", "checkpoint.interval=1000")
    quick_train("--name", "a", "--set", "train.max_steps=60", *seldom)
    told = cli("fork", "a", "--at", "59").err.splitlines()
    assert [line for line in told if "going back" in line] == [
        f"going back: step {step} of 59" for step in (0, 16, 32, 48)
    ]


def test_a_fork_is_listed_with_its_parameters_before_it_is_trained(
    quick_train: Cli, cli: Cli
) -> None:
    quick_train("--name", "a")
    cli("fork", "a", "--at", "3", "--name", "b")
    parent, child = cli("runs", "--json").json
    assert child["parameters"] == parent["parameters"] > 0
    assert (child["state"], child["steps"]) == ("stopped", 3)
    assert child["sparkline"] == parent["sparkline"][: len(child["sparkline"])] != []


def test_bad_wishes_get_a_sentence_and_make_nothing(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    quick_train("--name", "a", "--set", "train.max_steps=4")
    for options, why in (
        (("--at", "5"), "has steps 0 to 4, and not 5"),
        (("--at", "2", "--set", "model.n_layer=7"), "model.n_layer cannot change in a fork"),
        (("--set", "optim.learning_rate=2e-3"), "begin at step 4 and end at step 4"),
        (("--at", "4"), "begin at step 4 and end at step 4"),
        (("--at", "3", "--set", "train.max_steps=2"), "begin at step 3 and end at step 2"),
        (("--set", "optim.lr=2"), "there is no setting 'optim.lr'"),
        (("--at", "2", "--name", "a"), "there is already a run 'a'"),
        (("--at", "soon"), "it must be a whole number, not 'soon'"),
    ):
        done = cli("fork", "a", *options)
        assert done.code == 2 and why in done.err, (options, done.err)
        assert "going back" not in done.err  # refused before the training, not after it
    assert "there is no run 'x'" in cli("fork", "x").err
    assert [path.name for path in runs_dir.iterdir()] == ["a"]


def test_a_run_whose_database_is_gone_is_refused_with_a_sentence(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    quick_train("--name", "a", "--set", "train.max_steps=4")
    RunDatabase(runs_dir / "fresh.db").close()
    (runs_dir / "fresh.db").replace(runs_dir / "a" / "run.db")
    done = cli("fork", "a", "--at", "2")
    assert done.code == 2 and "its content is gone" in done.err


def test_a_step_that_a_fork_inherited_is_sought_in_its_parent_by_its_present_name(
    quick_train: Cli, cli: Cli
) -> None:
    quick_train("--name", "a", "--set", "train.max_steps=12")
    assert cli("fork", "a", "--at", "7", "--name", "b").code == 0
    assert cli("runs", "rename", "a", "mother").code == 0
    done = cli("fork", "b", "--at", "5")
    assert done.code == 2
    assert "step 5 is of the run that 'b' was forked from at step 7, mother: take it" in done.err
    assert cli("runs", "rm", "mother").code == 0
    assert "a (not here any more)" in cli("fork", "b", "--at", "5").err


def test_a_fork_of_a_linked_run_goes_beside_the_link(
    quick_train: Cli, cli: Cli, runs_dir: Path, tmp_path: Path
) -> None:
    quick_train("--name", "theirs", "--runs-dir", tmp_path / "elsewhere")
    longer = ("--set", "train.max_steps=9")
    runs_dir.mkdir()
    (runs_dir / "linked").symlink_to(tmp_path / "elsewhere/theirs")
    made = cli("fork", "linked", *longer, "--json").json["path"]
    assert made == str(runs_dir / "theirs-fork-1")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["theirs"]
    assert "forked from  theirs at step 6" in cli("runs", "show", "theirs-fork-1").out
    parent = read_parent(Path(made))
    assert parent and parent.path == runs_dir / "linked"
    assert "there is already a run 'linked'" in cli("fork", "linked", "--name", "linked").problem
