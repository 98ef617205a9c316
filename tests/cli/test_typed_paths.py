"""Paths, names and numbers that no file, run or setting can have: one sentence, exit code 2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config.schema import SETTINGS
from tests.cli.conftest import Cli
from tests.engine.run_folders import write_run

LONG = "x" * 256
DEEP = "/tmp/" + "y/" * 2100
BAD_PATHS = {
    "empty": ("", "it is empty"),
    "long name": (LONG, "File name too long"),
    "long path": (DEEP, "File name too long"),
    "levels": ("/tmp/" + "y/" * 1500, "it would have more than 200 levels of folders"),
    "long in bytes": ("ä" * 200, "File name too long"),
    "nobody's home": ("~nosuchuser/x", "there is no user 'nosuchuser'"),
    "NUL": ("a\0b", "it has a NUL character"),
    "surrogate": ("x\ud800", "it has characters that no file name has"),
}
TAKE_PATHS = (
    *("--runs-dir @", "--config @", "@", "open @"),
    *("train --runs-dir @", "train --config @", "train --resume @"),
    *("sample @", "fork @", "verify @", "runs --runs-dir @", "runs show @", "runs diff a @"),
    *("runs tag @", "runs note @", "runs rename @ b", "runs rm @", "runs trash --runs-dir @"),
    *("runs copy a @", "runs copy @ b", "runs export @", "runs export a --output @"),
    *("sweep --resume --runs-dir @", "queue --runs-dir @", "lr-finder --config @"),
    *("model --config @", "model --run @", "ladder bigram --write @"),
)
TAKE_NAMES = (
    *("--name @", "train --name @", "fork a --name @", "runs rename a @"),
    "sweep model.n_layer=1,2 --queue-only --name @",
)
BAD_NAMES = ("", LONG, "~nosuchuser", "a\0b", "x\ud800", "a/", "..", "a\nb", "/tmp/x", "caf\udce9")

HUGE = "9" * 10_000
BAD_NUMBERS = (HUGE, "1e400", "nan", "inf", "²", "0x10", "", "one")
TAKE_NUMBERS = (
    *("fork a --at @", "queue cancel @", "queue retry @", "model tiny --vocab-size @"),
    *("lr-finder --steps @", "lr-finder --from @", "lr-finder --to @", "ladder bigram --budget @"),
    *("ladder bigram --steps @", "sweep model.n_layer=1,2 --random @", "sweep --seed @"),
    *("sample a --num-samples @", "sample a --max-tokens @", "sample a --temperature @"),
    *("sample a --checkpoint @", "sweep model.n_layer=1..@", "train --set train.max_steps=@"),
    "train --set optim.learning_rate=@",
)


@pytest.fixture(scope="module", autouse=True)
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A runs folder with a run that no command changes."""
    runs = tmp_path_factory.mktemp("runs")
    yield write_run(runs, "a")
    assert sorted(path.name for path in runs.iterdir() if not path.name.startswith(".")) == ["a"]


@pytest.fixture(autouse=True)
def in_its_folder(a_run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GPT_TUI_RUNS", str(a_run.parent))
    monkeypatch.chdir(tmp_path)


def with_value(command: str, value: str) -> list[str]:
    return [word.replace("@", value) for word in command.split()]


@pytest.mark.parametrize("command", TAKE_PATHS)
def test_a_path_that_cannot_be_used_is_told_why(cli: Cli, command: str) -> None:
    for value, why in BAD_PATHS.values():
        problem = cli(*with_value(command, value)).problem
        assert f"cannot be used ({why}): " in problem
        assert len(problem) < 500


@pytest.mark.parametrize("variable", ["GPT_TUI_RUNS", "GPT_TUI_CACHE", "XDG_DATA_HOME"])
@pytest.mark.parametrize("kind", ["long name", "long path", "nobody's home"])
def test_so_is_one_of_the_environment(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, variable: str, kind: str
) -> None:
    value, why = BAD_PATHS[kind]
    if variable.startswith("XDG"):
        monkeypatch.delenv("GPT_TUI_RUNS")
        value = value if value.startswith("~") else f"/tmp/{value}"
    monkeypatch.setenv(variable, value)
    answer = cli(*("model tiny" if variable == "GPT_TUI_CACHE" else "runs").split())
    if variable.startswith("XDG") and kind == "nobody's home":
        assert answer.code == 0  # platformdirs ignores what is not absolute
        return
    assert why in answer.problem


@pytest.mark.parametrize("command", TAKE_NAMES)
def test_a_name_that_no_run_can_have_is_refused(cli: Cli, command: str) -> None:
    for value in BAD_NAMES:
        answer = cli(*with_value(command, value))
        assert answer.code == 2, (value, answer)
        assert answer.err.startswith("gpt-tui: "), value


@pytest.mark.parametrize("command", TAKE_NUMBERS)
def test_what_is_no_number_is_refused_and_not_repeated_at_length(cli: Cli, command: str) -> None:
    for value in BAD_NUMBERS:
        answer = cli(*with_value(command, value))
        assert answer.code == 2, (value, answer)
        assert answer.err.startswith("gpt-tui: "), value
        assert len(answer.err) < 1000
        assert "Traceback" not in answer.err and "digits;" not in answer.err


@pytest.mark.parametrize("value", ["1_0", " 10 ", "1e1", "10.0", "١٠"])
def test_the_ways_to_write_a_number_are_the_same_everywhere(cli: Cli, value: str) -> None:
    assert "no entry 10 in the queue" in cli("queue", "cancel", value).problem
    sized = cli("model", "tiny", "--vocab-size", value, "--json")
    assert sized.json["vocab_size"] == 10
    assert SETTINGS["train.max_steps"].parse(value) == 10


def test_numbers_beyond_64_bits_are_refused(cli: Cli) -> None:
    assert "at most 9,223,372,036,854,775,807" in cli("queue", "cancel", "9" * 20).problem


def test_options_are_named_as_they_were_typed(cli: Cli) -> None:
    assert cli("sample", "a", "--max-tokens", "-3").problem == (
        "--max-tokens must be 1 to 1,000,000, not -3"
    )


def test_a_deleted_current_folder_is_told(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    # also where it is not needed: PyTorch's libraries end a process that has none
    for command in (("runs",), ("runs", "--runs-dir", "here"), ("sample", "run")):
        told = cli(*command).problem
        assert told == "the current folder was deleted: change to another (cd ~)"
    os.chdir(tmp_path)


def test_an_error_of_the_system_is_one_sentence(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "secret"))

    monkeypatch.setattr("tui.commands.runs.read_summaries", refuse)
    assert cli("runs").problem == (
        f"{tmp_path}/secret cannot be used (Permission denied): allow it, or choose another"
    )
