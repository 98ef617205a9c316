"""Folders that may not be read, entered or written: one sentence, and the other runs are served.

The errors come from the system: root gives up the right to pass over permissions.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.engine.run_folders import write_run

VERSION_3 = 0x20080522
OVERRIDES = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH

Forbid = Callable[[Path, int], None]


@contextmanager
def as_anybody() -> Iterator[None]:
    """This thread obeys permissions, even if it is root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(VERSION_3, 0)
    before, after = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    if libc.capget(header, before):
        pytest.skip("capabilities cannot be read here")
    after[:] = list(before)
    after[0] &= ~OVERRIDES  # effective ones alone: they can be taken back
    libc.capset(header, after)
    try:
        yield
    finally:
        libc.capset(header, before)


@pytest.fixture
def forbid() -> Iterator[Forbid]:
    """Sets the mode of a folder; afterwards it can be deleted again."""
    with ExitStack() as undo:
        if os.geteuid() == 0:
            undo.enter_context(as_anybody())

        def call(path: Path, mode: int) -> None:
            undo.callback(path.chmod, stat.S_IMODE(path.stat().st_mode))
            path.chmod(mode)

        yield call


@pytest.fixture
def runs(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    elsewhere = tmp_path_factory.mktemp("preferences")  # who cannot read them is told that, too
    monkeypatch.setenv("GPT_TUI_PREFERENCES", str(elsewhere / "preferences.toml"))
    for name in ("a", "b"):
        write_run(runs_dir, name)
    return runs_dir


OF_THE_FOLDER = ("runs", "runs trash", "queue", "runs show a", "fork a", "verify a", "sample a")


@pytest.mark.parametrize(
    "command", (*OF_THE_FOLDER, "train --data @", "runs rm a", "runs restore a")
)
@pytest.mark.parametrize("closed", ["runs", "."], ids=["the folder", "its parent"])
def test_a_runs_folder_that_may_not_be_entered(
    cli: Cli, runs: Path, forbid: Forbid, text: Path, closed: str, command: str
) -> None:
    forbid(runs if closed == "runs" else runs.parent, 0)
    problem = cli(*command.replace("@", str(text)).split()).problem
    assert "Permission denied" in problem
    assert "allow it" in problem


@pytest.mark.parametrize("mode", [0, 0o400])
def test_a_run_that_may_not_be_entered_is_a_row_among_the_others(
    cli: Cli, runs: Path, forbid: Forbid, mode: int
) -> None:
    forbid(runs / "b", mode)
    listed = {run["name"]: run for run in cli("runs", "--json").json}
    assert listed["a"]["state"] == "finished"
    assert "ermission" in listed["b"]["problem"] or "denied" in listed["b"]["problem"]
    for command in ("runs show a", "queue", "runs trash", "sweep --leaderboard"):
        assert "Traceback" not in cli(*command.split()).err
    for command in (
        "verify b",
        "sample b",
        "fork b",
        "train --resume b",
        "runs export b",
        "model --run b",
    ):
        answer = cli(*command.split())
        assert answer.code in (1, 2), (command, answer)
        assert "Permission denied" in " ".join((answer.err + answer.out).split()), command
        assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    "command",
    [
        "train --resume a --set train.max_steps=2000",
        "runs tag a x",
        "runs note a x",
        "runs rename a c",
        "runs rm a",
        "runs copy b @/c",
        "sweep model.n_layer=1,2 --queue-only --data @/../t.txt",
    ],
)
def test_a_colleagues_runs_can_be_read_and_not_changed(
    cli: Cli, runs: Path, forbid: Forbid, text: Path, command: str
) -> None:
    text.rename(text.with_name("t.txt"))
    for path in (runs / "a", runs / "a/checkpoints", runs / "a/run.db", runs):
        if path.exists():
            forbid(path, 0o500 if path.is_dir() else 0o400)
    answer = cli(*command.replace("@", str(runs)).split())
    assert answer.code == 2
    assert "Permission denied" in answer.err, answer
    assert cli("runs", "show", "a").code == 0
    assert cli("runs").code == 0
