"""What is to be typed next works as it stands: the program's name, and where the runs are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from data.errors import InputError
from engine.checkpoint.store import find_checkpoint
from engine.config.schema import Config
from engine.config.setting import Value
from engine.program import program
from engine.protocol import Advised, State
from engine.runs.database import RunDatabase
from engine.runs.folder import create_run, find_run, read_run_config
from engine.runs.transfer import list_trash, restore_run, trash_run
from tests.cli.conftest import Cli
from tui.app import _print_summary
from tui.text.notices import format_advice

Start = Callable[[Path], None]


@pytest.fixture
def started_as(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Start:
    """The program was started from a file that no shell would find by its name."""

    def start(file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o755)
        monkeypatch.setattr(sys, "argv", [str(file)])

    monkeypatch.setenv("PATH", str(tmp_path / "nothing here"))
    monkeypatch.chdir(tmp_path)
    return start


def test_it_is_called_by_its_name_where_the_shell_finds_that(
    started_as: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started_as(tmp_path / "bin/gpt-tui")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert program() == "gpt-tui"


@pytest.mark.parametrize(
    ("place", "typed"),
    [
        (".venv/bin", ".venv/bin/gpt-tui"),
        (".", "./gpt-tui"),  # a bare word would be looked for on the path
        ("my env/bin", "'my env/bin/gpt-tui'"),
    ],
)
def test_elsewhere_it_is_called_as_it_was_started(
    started_as: Start, tmp_path: Path, place: str, typed: str
) -> None:
    started_as(tmp_path / place / "gpt-tui")
    assert program() == typed


def test_a_program_outside_the_current_folder_is_called_by_its_whole_path(
    started_as: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started_as(tmp_path / "bin/gpt-tui")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert program() == str(tmp_path / "bin/gpt-tui")


def test_a_module_is_called_with_its_interpreter(
    started_as: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started_as(tmp_path / "tui/__main__.py")
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    assert program() == ".venv/bin/python -m tui"


def leave(run: Path | None, edits: Mapping[str, Value] | None = None) -> None:
    """Say goodbye as the app does."""
    status = SimpleNamespace(
        state=State.STOPPED, step=3, total_steps=9, val_loss=2.0, best_val_loss=2.0
    )
    control = SimpleNamespace(
        status=status,
        watching=False,
        attached="",
        elsewhere="",
        draft=SimpleNamespace(waiting=edits or {}, base="tiny"),
        run_path=run,
        facts=SimpleNamespace(name=run and run.name),
        launch=SimpleNamespace(command_line="gpt-tui --preset tiny", config="tiny", elsewhere=None),
    )
    _print_summary(control)  # type: ignore[arg-type]


def test_the_apps_goodbye_names_a_command_that_works(
    started_as: Start, tmp_path: Path, runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started_as(tmp_path / ".venv/bin/gpt-tui")
    leave((runs_dir / "fast-1").resolve())
    assert "  continue .venv/bin/gpt-tui fast-1\n" in capsys.readouterr().out
    leave(None, {"train.seed": 2})
    assert capsys.readouterr().out == (
        "  settings not used yet: .venv/bin/gpt-tui --preset tiny --set train.seed=2\n"
    )


def test_advice_names_a_command_that_works(started_as: Start, tmp_path: Path) -> None:
    started_as(tmp_path / ".venv/bin/gpt-tui")
    advice = Advised("plateau", "no progress", "lower the rate", {}, None)
    assert ".venv/bin/gpt-tui train --resume" in format_advice(advice, tmp_path / "runs/a")


def test_each_way_on_from_training_works(
    started_as: Start, quick_train: Cli, cli: Cli, text: Path, tmp_path: Path
) -> None:
    """Also in a runs folder that is not found without being named."""
    started_as(tmp_path / ".venv/bin/gpt-tui")
    elsewhere = tmp_path / "else where"
    quick_train("--name", "a", "--runs-dir", elsewhere)
    told = cli("train", "--resume", "a", "--runs-dir", elsewhere).out
    assert f".venv/bin/gpt-tui train --resume '{elsewhere}/a'" in told
    told = cli("fork", "a", "--at", "3", "--runs-dir", elsewhere).out
    assert f"train    .venv/bin/gpt-tui train --resume '{elsewhere}/a-fork-1'\n" in told
    assert f"look     .venv/bin/gpt-tui '{elsewhere}/a-fork-1'" in told
    assert cli("runs", "show", elsewhere / "a-fork-1").code == 0


def test_a_sweep_elsewhere_is_gone_on_with_where_it_is(
    started_as: Start, cli: Cli, text: Path, tmp_path: Path
) -> None:
    started_as(tmp_path / ".venv/bin/gpt-tui")
    words = ("model.n_layer=1,2", "--preset", "tiny", "--data", text)
    there = ("--runs-dir", tmp_path / "r")
    go_on = f".venv/bin/gpt-tui sweep --resume sweep-1 --runs-dir {tmp_path}/r"
    assert (
        f"queued as sweep-1: {go_on} trains them"
        in cli("sweep", *words, "--queue-only", *there).out
    )
    board = cli("sweep", "--leaderboard", *there).out
    assert board.endswith(f"2 runs to go: {go_on}\n")
    queued = cli("queue", *there).out
    assert queued.endswith(f"2 runs to go: .venv/bin/gpt-tui queue run --runs-dir {tmp_path}/r\n")


def test_what_brings_runs_back_looks_in_the_trash_they_are_in(cli: Cli, tmp_path: Path) -> None:
    for place, name in (("r", "a"), ("r", "b"), ("s", "c")):
        create_run(Config(), tmp_path / place, name)
    told = cli("runs", "rm", *(tmp_path / run for run in ("r/a", "s/c", "r/b"))).out
    assert told.splitlines() == [
        "in the trash: a, c, b",
        f"  restore  gpt-tui runs restore a b --runs-dir {tmp_path}/r",
        f"  restore  gpt-tui runs restore c --runs-dir {tmp_path}/s",
    ]
    assert cli(*told.splitlines()[1].split()[2:]).out == "restored: a, b\n"
    assert list_trash(tmp_path / "r") == []


def test_a_name_that_is_taken_elsewhere_is_gone_on_with_there(cli: Cli, tmp_path: Path) -> None:
    create_run(Config(), tmp_path / "r", "mine")
    problem = cli("train", "--name", "mine", "--runs-dir", tmp_path / "r").problem
    assert problem.endswith(f"gpt-tui train --resume {tmp_path}/r/mine")


ELSEWHERE = "else where"
HERE = ".venv/bin/gpt-tui"


def _no_run(runs_dir: Path) -> None:
    find_run("b", runs_dir)


def _no_checkpoint(runs_dir: Path) -> None:
    find_checkpoint(runs_dir / "a", "latest")


def _no_database(runs_dir: Path) -> None:
    (runs_dir / "a/run.db").write_bytes(b"no database at all" * 99)
    RunDatabase(runs_dir / "a/run.db", read_only=True)


def _no_settings(runs_dir: Path) -> None:
    folder = runs_dir / "a/checkpoints/step-00000004"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "state.json").write_text("{}")
    (runs_dir / "a/config.toml").write_text("[[[")
    read_run_config(runs_dir / "a")


def _taken_name(runs_dir: Path) -> None:
    trashed = trash_run(runs_dir / "a")
    create_run(Config(), runs_dir, "a")
    restore_run(trashed)


@pytest.mark.parametrize(
    ("mishap", "command"),
    [
        (_no_run, "runs --runs-dir '{runs}' lists"),
        (_no_checkpoint, "train --resume '{runs}/a'"),
        (_no_database, "verify '{runs}/a' --repair"),
        (_no_settings, "verify '{runs}/a' --repair"),
        (_taken_name, "runs restore a-[-0-9]+ --runs-dir '{runs}' --name NAME"),
    ],
)
def test_the_way_out_of_a_mishap_can_be_typed_as_it_stands(
    started_as: Start, tmp_path: Path, mishap: Start, command: str
) -> None:
    started_as(tmp_path / HERE)
    runs_dir = tmp_path / ELSEWHERE
    create_run(Config(), runs_dir, "a")
    with pytest.raises(InputError, match=f"{HERE} {command.format(runs=runs_dir)}"):
        mishap(runs_dir)
