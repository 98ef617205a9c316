"""A machine that knows no home folder: commands work, or say which variable to set."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from engine.kernels.compiler import NoKernels, kernels_folder
from tests.cli.conftest import Cli, train_command
from tui.text.numbers import format_path

COMMANDS = ("runs", "queue", "runs trash", "runs show x", "verify x", "fork x", "train", "sweep")
VARIABLES = ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "GPT_TUI_RUNS", "GPT_TUI_CACHE")


@pytest.fixture(params=[None, "", "relative"])
def homeless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without an entry in the passwd file, and HOME unset or useless."""

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if request.param is not None:
        monkeypatch.setenv("HOME", request.param)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_runs_folder_the_ways_to_name_one_are_told(cli: Cli, command: str) -> None:
    assert cli(*command.split()).problem == (
        "there is no home folder, as HOME is not set: set GPT_TUI_RUNS, or use --runs-dir"
    )


@pytest.mark.usefixtures("homeless")
def test_a_public_text_needs_a_cache(cli: Cli, tmp_path: Path) -> None:
    told = "there is no home folder, as HOME is not set: set GPT_TUI_CACHE"
    assert cli("model", "tiny").problem == told
    assert cli("train", "--runs-dir", tmp_path / "r").problem == told
    assert not (tmp_path / "r").exists()


@pytest.mark.usefixtures("homeless")
def test_everything_else_works(
    cli: Cli, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    there = ("--runs-dir", tmp_path / "r")
    assert cli(*train_command(text), *there).code == 0
    for command in ("verify tiny-1", "sample tiny-1 --max-tokens 2", "runs", "presets", "settings"):
        words = command.split()
        assert cli(*words, *(there if words[0] not in ("presets", "settings") else ())).code == 0
    assert f"kept in   {tmp_path}/r/tiny-1" in cli("runs", "show", "tiny-1", *there).out
    assert not (tmp_path / "~").exists()


@pytest.mark.usefixtures("homeless")
def test_kernels_are_not_compiled_without_a_place_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPT_TUI_KERNELS")
    with pytest.raises(NoKernels, match="there is no home folder"):
        kernels_folder()


def test_a_path_is_shown_whole_where_there_is_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    assert format_path(Path.home() / "x") == "~/x"
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert format_path("/home/me/x") == "/home/me/x"
