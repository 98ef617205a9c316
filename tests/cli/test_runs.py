from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.runs.database import RunDatabase
from engine.runs.folder import RunLock
from engine.runs.summary import read_summary
from engine.runs.timeline import read_samples
from tests.cli.conftest import Cli, Stream
from tui.commands.runs import HEADER, LEAST, RIGHT
from tui.text.tables import format_table


def test_no_runs_yet(cli: Cli, runs_dir: Path) -> None:
    answer = cli("runs")
    assert answer.code == 0
    assert str(runs_dir) in answer.out
    assert cli("runs", "--json").json == []


def test_runs_are_listed_newest_last(quick_train: Cli, cli: Cli, tmp_path: Path) -> None:
    elsewhere = ("--runs-dir", tmp_path / "elsewhere")
    for name in ("b", "a"):
        quick_train("--name", name, *elsewhere)
    assert [run["name"] for run in cli("runs", "--json", *elsewhere).json] == ["b", "a"]
    lines = cli("runs", *elsewhere).out.splitlines()
    assert lines[0].split()[:4] == ["name", "state", "preset", "parameters"]
    assert lines[2].split()[:5] == ["a", "finished", "tiny", "99.8k", "6/6"]
    assert lines[2].endswith("rhyme.txt")


@pytest.mark.parametrize(
    ("columns", "left_out"),
    [
        (79, set()),
        (78, {"data"}),
        (60, {"data", "parameters"}),
        (50, {"data", "parameters", "preset"}),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns_and_no_broken_lines(
    monkeypatch: pytest.MonkeyPatch, columns: int, left_out: set[str]
) -> None:
    row = ("one", "finished", "tiny", "99.8k", "6/6", "2.242", "0:00", "rhyme.txt", "good")
    everything = format_table(HEADER, [row], RIGHT).splitlines()
    monkeypatch.setenv("COLUMNS", str(columns))
    assert format_table(HEADER, [row], RIGHT, least=LEAST).splitlines() == everything  # in a file
    monkeypatch.setattr("sys.stdout", Stream(terminal=True))
    header, line = format_table(HEADER, [row], RIGHT, least=LEAST).splitlines()
    assert len(header) <= columns and len(line) <= columns
    assert {one for one in HEADER if one not in header} == left_out
    assert header.index("best val") + len("best val") == line.index("2.242") + len("2.242")


def test_states_of_runs_whose_program_is_gone(quick_train: Cli, cli: Cli, runs_dir: Path) -> None:
    facts = quick_train().json
    run = runs_dir / "tiny-1"
    database = RunDatabase(run / "run.db")
    summary = database.meta()["summary"]
    database.set_meta(summary=summary | {"state": "training", "train_loss": float("nan")})
    database.close()
    (interrupted,) = cli("runs", "--json").json
    assert (interrupted["state"], interrupted["live"]) == ("interrupted", False)
    assert interrupted["train_loss"] is None
    assert interrupted["steps"] == facts["steps"]
    lock = RunLock(run)
    (live,) = cli("runs", "--json").json
    lock.release()
    assert (live["state"], live["live"]) == ("training", True)


def test_a_run_that_ended_before_its_first_step(quick_train: Cli, cli: Cli, runs_dir: Path) -> None:
    quick_train()
    (runs_dir / "tiny-1/run.db").unlink()
    shutil.rmtree(runs_dir / "tiny-1/checkpoints")
    (run,) = cli("runs", "--json").json
    assert (run["state"], run["steps"], run["total_steps"]) == ("interrupted", 0, 6)
    assert read_samples(runs_dir / "tiny-1") == []


def test_damaged_runs_do_not_break_the_list(quick_train: Cli, cli: Cli, runs_dir: Path) -> None:
    for name in ("whole", "database", "config"):
        quick_train("--name", name)
    (runs_dir / "database/run.db").write_bytes(b"not a database at all" * 100)
    (runs_dir / "config/config.toml").write_text("[model")
    (runs_dir / "no-run-at-all").mkdir()
    states = {run["name"]: run["state"] for run in cli("runs", "--json").json}
    assert states == {"whole": "finished", "database": "damaged", "config": "damaged"}
    printed = cli("runs").out.splitlines()
    assert max(map(len, printed[:4])) < 100  # the sentences are below the table
    assert any(line.startswith("database: ") and "cannot be read" in line for line in printed)


def test_a_stopped_run_stays_one_file_when_it_is_read(quick_train: Cli, runs_dir: Path) -> None:
    quick_train()
    run = runs_dir / "tiny-1"
    assert read_summary(run).state == "finished"
    steps = [sample["step"] for sample in read_samples(run)]
    assert steps == sorted(steps)
    assert steps[-1] == 6
    assert sorted(path.name for path in run.glob("run.db*")) == ["run.db"]


def test_a_trained_run_shows_its_curve_and_its_copy_goes_on(
    quick_train: Cli, cli: Cli, tmp_path: Path
) -> None:
    facts = quick_train("--name", "first").json
    (listed,) = cli("runs", "--json").json
    assert len(listed["sparkline"]) == facts["steps"] == 6
    assert listed["sparkline"][0] > listed["sparkline"][-1]
    cli("runs", "copy", "first", tmp_path / "second")
    more = ("--set", "train.max_steps=8", "--json")
    assert cli("train", "--resume", tmp_path / "second", *more).json["steps"] == 8
    assert len(cli("runs", "export", tmp_path / "second").out.splitlines()) == 1 + 8
    assert cli("runs", "show", "first", "--json").json["steps"] == 6  # as it was
