"""``gpt-tui runs diff``: exactly what differs, the figures, and texts from one prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w

from engine.config.schema import read_config
from tests.cli.conftest import Cli
from tests.engine.run_folders import write_run


@pytest.fixture
def pair(runs_dir: Path) -> None:
    """Two runs that differ in one setting, and look as if they had been trained."""
    write_run(runs_dir, "calm")
    bold = write_run(runs_dir, "bold", best_val_loss=1.7)
    config = read_config(bold / "config.toml").replace({"optim.learning_rate": 0.01})
    (bold / "config.toml").write_text(tomli_w.dumps(config.to_dict()))


def table_of(out: str) -> dict[str, list[str]]:
    """The lines of the table by their label; cells are two spaces apart."""
    lines = [
        [cell.strip() for cell in line.split("  ") if cell.strip()]
        for line in out.splitlines()
        if "  " in line
    ]
    return {cells[0]: cells[1:] for cells in lines}


@pytest.mark.usefixtures("pair")
def test_the_table_has_the_settings_that_differ_and_the_figures(cli: Cli) -> None:
    answer = cli("runs", "diff", "calm", "bold")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.split()[:2] == ["calm", "bold"]
    table = table_of(answer.out)
    assert [key for key in table if "." in key] == ["optim.learning_rate"]
    assert table["optim.learning_rate"] == ["0.003", "0.01"]
    assert table["steps"] == ["1,000/1,000"] * 2
    assert {"best val", "last val", "last train", "tokens", "train time", "tokens/s"} <= {*table}
    assert "forked from" not in table


@pytest.mark.usefixtures("pair")
def test_json_has_the_same_in_numbers(cli: Cli, runs_dir: Path) -> None:
    facts = cli("runs", "diff", "bold", "calm", "--json").json
    assert facts["settings"] == {"optim.learning_rate": [[0.01], [0.003]]}
    assert [run["run"] for run in facts["runs"]] == [str(runs_dir / n) for n in ("bold", "calm")]
    summary = {run["name"]: run for run in cli("runs", "--json").json}
    for run in facts["runs"]:
        for figure in ("best_val_loss", "train_loss", "steps", "train_seconds", "parameters"):
            assert run[figure] == summary[run["name"]][figure]
    assert "samples" not in facts and facts["cautions"] == []


def test_samples_are_those_that_sample_writes_from_the_same_prompt_and_seed(
    quick_train: Cli, cli: Cli
) -> None:
    quick_train("--name", "calm")
    quick_train("--name", "bold", "--set", "optim.learning_rate=0.01")
    how = ("--prompt", "red", "--seed", "3", "--max-tokens", "12")
    samples = cli("runs", "diff", "calm", "bold", "--samples", "--json", *how).json["samples"]
    alone = [cli("sample", name, *how).out for name in ("calm", "bold")]
    assert [sample["text"] for sample in samples] == alone
    shown = cli("runs", "diff", "calm", "bold", "--samples", *how).out
    for name, sample in zip(("calm", "bold"), samples, strict=True):
        assert f"--- {name}, step {sample['step']} ---\n{sample['text']}\n" in shown


def test_a_run_that_cannot_write_the_prompt_says_so_and_the_others_write(
    quick_train: Cli, cli: Cli, tmp_path: Path
) -> None:
    other = tmp_path / "digits.txt"
    other.write_text("0123456789\n" * 300)
    quick_train("--name", "words")
    quick_train("--name", "digits", text=other)
    how = ("--samples", "--prompt", "red", "--max-tokens", "5")
    answer = cli("runs", "diff", "words", "digits", *how)
    assert answer.code == 0
    assert "--- digits, step" in answer.out and "---\nno text: " in answer.out
    assert "'r'" in answer.out
    assert "note: the runs learn from different texts" in answer.out


@pytest.mark.usefixtures("pair")
def test_equal_settings_are_said_to_be_equal(cli: Cli, runs_dir: Path) -> None:
    write_run(runs_dir, "again")
    out = cli("runs", "diff", "calm", "again").out
    assert "no setting differs" in out and "best val" in out


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["calm"], "name two or more different runs to compare"),
        (["calm", "calm"], "name two or more different runs to compare"),
        (["calm", "bald"], "did you mean 'bold'?"),
        (["calm", "bold", "--seed", "3"], "--seed is for the samples: add --samples"),
        (
            ["calm", "bold", "--samples", "--max-tokens", "many"],
            "--max-tokens must be a whole number",
        ),
    ],
)
def test_bad_input_is_one_sentence(cli: Cli, arguments: list[str], problem: str) -> None:
    assert problem in cli("runs", "diff", *arguments).problem


@pytest.mark.usefixtures("pair")
def test_a_damaged_run_is_named(cli: Cli, runs_dir: Path) -> None:
    (runs_dir / "bold/run.db").write_bytes(b"not a database at all" * 100)
    assert "the run 'bold' cannot be compared" in cli("runs", "diff", "calm", "bold").problem
