"""``gpt-tui preferences``: what is set is checked, written and listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tui.control.preferences import PREFERENCES, Preferences


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "preferences.toml"  # which the environment names, too


def test_the_command_lists_and_changes(cli: Cli, path: Path) -> None:
    assert cli("preferences", "path").out == f"{path}\n"
    assert cli("preferences", "set", "screen.theme", "nord").out == "screen.theme = nord\n"
    assert cli("preferences", "set", "keys.cockpit.train", "f6").out == "keys.cockpit.train = f6\n"
    listed = cli("preferences").out
    assert "nord" in listed
    assert "keys.cockpit.train" in listed
    assert all(name in listed for name in PREFERENCES)
    assert cli("preferences", "reset", "screen.theme").out == "screen.theme = auto\n"
    assert cli("preferences", "reset", "keys.cockpit.train").code == 0
    assert not Preferences.load().keys


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["set", "screen.theme", "draculq"], "did you mean 'dracula'?"),
        (["set", "screen.them", "nord"], "did you mean 'screen.theme'?"),
        (["set", "chart.smoothing", "1"], "must be 0 to 0.99"),
        (["set", "folders.runs", "runs"], "folders.runs: write a whole path"),
        (["set", "chart.smoothing"], "set takes a NAME and a VALUE"),
        (["reset"], "reset takes the NAME of a preference"),
        (["set", "keys.", "f1"], "no action has the name ''"),
        (["set", "keys.help", "f1"], "there is no action 'help'"),
        (["set", "keys.cockpit.train", "strg+t"], "has the unknown key 'strg+t'"),
        (["set", "keys.cockpit.train", "s"], "both have the key s"),
        (["--theme=x"], "unrecognized arguments: --theme=x"),
    ],
)
def test_the_command_refuses(cli: Cli, path: Path, words: list[str], problem: str) -> None:
    assert problem in cli("preferences", *words).problem
    assert not path.exists()


def test_other_commands_tell_what_does_not_fit_and_go_on(cli: Cli, path: Path) -> None:
    path.write_text('[folders]\nruns = "runs"\n')
    done = cli("presets", "--json")
    assert done.code == 0
    assert "folders.runs: write a whole path" in done.err


def test_keys_written_by_hand_are_changed_where_they_stand(cli: Cli, path: Path) -> None:
    path.write_text('[keys]\ncockpit.train = "f5"\n"cockpit.step" = "f7"\n')
    for action, key in (("train", "f6"), ("step", "f8"), ("sample", "f9")):
        assert cli("preferences", "set", f"keys.cockpit.{action}", key).code == 0
    assert Preferences.load().keys == {
        "cockpit.train": "f6", "cockpit.step": "f8", "cockpit.sample": "f9"
    }  # fmt: skip


def test_the_file_does_not_grow_beyond_what_is_read(cli: Cli, path: Path) -> None:
    cli("preferences", "set", "screen.theme", "nord")
    before = path.read_bytes()
    assert (
        "would be larger than 64 kB"
        in cli("preferences", "set", "chart.order", "x" * 2**16).problem
    )
    assert path.read_bytes() == before


def test_an_unknown_theme_is_refused_before_the_app_starts(cli: Cli) -> None:
    assert (
        "--theme cannot be 'draculq': did you mean 'dracula'?" in cli("--theme", "draculq").problem
    )


def test_the_keys_in_force_are_listed_and_those_that_were_remapped_marked(
    cli: Cli, path: Path
) -> None:
    defaults, markdown = cli("keys").out, cli("keys", "--markdown").out
    assert "remapped" not in defaults
    cli("preferences", "set", "keys.cockpit.train", "f6,<")
    cli("preferences", "set", "keys.app.help", "f2")
    lines = cli("keys").out.splitlines()
    first = next(i for i, line in enumerate(lines) if "cockpit.train" in line)
    assert lines[first].startswith("f6 <  ")
    assert "(remapped: was space)" in lines[first + 1]
    (helping,) = [line for line in lines if "app.help" in line]
    assert helping.startswith("f2  ")
    assert " ".join(lines).count("remapped") == 2
    assert cli("keys", "--markdown").out == markdown


@pytest.mark.parametrize("command", ["keys", "preferences"])
def test_keys_of_the_file_that_do_not_fit_are_told(cli: Cli, path: Path, command: str) -> None:
    path.write_text('[keys]\n"cockpit.fly" = "f"\n"cockpit.train" = "s"\n')
    done = cli(command)
    assert done.code == 0
    assert "there is no action 'cockpit.fly'" in done.err
    assert "cockpit.train and cockpit.sample both have the key s" in done.err
