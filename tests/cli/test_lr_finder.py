"""``gpt-tui lr-finder``: a suggestion, why, and the command to go on with."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import QUICK, Cli

NOT_MEASURED = [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture
def test_rates(cli: Cli, text: Path) -> Cli:
    """Tests the tiny preset on a small text; further options may follow."""

    def call(*arguments: str | Path):  # type: ignore[no-untyped-def]
        return cli("lr-finder", "--preset", "tiny", "--data", text, *NOT_MEASURED, *arguments)

    return call


def test_it_ends_with_the_suggestion_why_and_the_command_to_go_on(
    test_rates: Cli, cli: Cli, runs_dir: Path
) -> None:
    answer = test_rates()
    assert answer.code == 0
    *_, suggestion, blank, command = answer.out.splitlines()
    assert suggestion.startswith("suggestion: optim.learning_rate 0.0")
    assert blank == ""
    assert "60% of its fall" in " ".join(answer.out.split())
    assert max(map(len, answer.out.splitlines()[:-1])) <= 80
    assert any("┊" in line for line in answer.out.splitlines())  # the suggestion in it
    assert not runs_dir.exists()  # no run comes of it
    program, *words = shlex.split(command)
    assert program.endswith("gpt-tui")
    trained = cli(*words, "--json")
    assert trained.code == 0
    assert f"optim.learning_rate={suggestion.split()[-1]}" in command


def test_json_holds_the_curve_and_the_settings(test_rates: Cli) -> None:
    told = test_rates("--json", "--from", "1e-5", "--to", "0.01", "--steps", "31").json
    assert (told["from"], told["to"], told["steps"], told["preset"]) == (1e-5, 0.01, 31, "tiny")
    assert told["rates"] == pytest.approx([1e-5 * 10 ** (step / 10) for step in range(31)])
    assert len(told["losses"]) == len(told["smoothed"]) == 31
    assert told["settings"] == {"optim.learning_rate": told["learning_rate"]}
    assert 1e-5 < told["learning_rate"] < 0.01
    assert told["command"].endswith(f"--set optim.learning_rate={told['learning_rate']:g}")
    assert (told["device"], told["precision"], told["threads"]) == ("cpu", "fp32", 1)


def test_the_command_names_the_preset_that_was_taken_for_granted(cli: Cli, text: Path) -> None:
    small = ("--set", "model.n_embd=16", "--set", "model.n_layer=1", "--steps", "30")
    told = cli("lr-finder", "--data", text, *NOT_MEASURED, *small, "--json").json
    assert f"train --preset {told['preset']} --data {text}" in told["command"]


def test_muons_rate_is_suggested_too_and_replaces_what_was_given(test_rates: Cli) -> None:
    given = ("--set", "optim.optimizer=muon", "--set", "optim.muon_lr=0.006")
    told = test_rates("--json", "--steps", "40", *given).json
    rates = told["settings"]
    assert rates["optim.muon_lr"] == pytest.approx(2 * rates["optim.learning_rate"], rel=0.05)
    assert told["command"].count("optim.muon_lr=") == 1
    assert "--set optim.optimizer=muon" in told["command"]


def test_without_a_suggestion_it_says_what_to_do(test_rates: Cli) -> None:
    answer = test_rates("--from", "1e-9", "--to", "1e-8", "--steps", "10")
    assert answer.code == 0
    *_, last = answer.out.split("\n\n")
    assert last.startswith("No suggestion: the loss did not fall by 5%")
    told = test_rates("--from", "1e-9", "--to", "1e-8", "--steps", "10", "--json").json
    assert (told["learning_rate"], told["settings"], told["command"]) == (None, {}, None)


def test_a_test_that_ends_early_says_where(test_rates: Cli) -> None:
    given = ("--set", "optim.optimizer=sgd", "--set", "optim.grad_clip=0", "--to", "10")
    answer = test_rates(*given, "--steps", "60", "--from", "1e-3")
    assert answer.code == 0
    assert "of 60: the loss had risen far above its minimum" in " ".join(answer.out.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--from", "0.1", "--to", "0.01"], "--from 0.1 must be below --to 0.01"),
        (["--from", "0"], "--from must be above 0, not 0"),
        (["--steps", "9"], "--steps must be 10 to 100,000, not 9"),
        (["--preset", "tiny", "--to", "100"], "--to must be at most 10, not 100"),
        (["--set", "optim.rate=1"], "there is no setting 'optim.rate'"),
        (["--preset", "tiyn"], "there is no preset 'tiyn': did you mean 'tiny'?"),
        (["--steps", "many"], "argument --steps: it must be a whole number, not 'many'"),
        (["--data", "gone.txt"], "gone.txt"),
        (["--runs-dir", __file__], "cannot be a runs folder, because it is a file"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(
    cli: Cli, arguments: list[str], sentence: str
) -> None:
    assert sentence in cli("lr-finder", *arguments).problem


def test_all_that_is_wrong_is_said_at_once(cli: Cli) -> None:
    answer = cli("lr-finder", "--steps", "1", "--from", "0", "--set", "a.b=1")
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 3
