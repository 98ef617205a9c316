"""What the README shows works as shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tui.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
QUICK = [
    "--data=python-docs",
    "--set=train.max_steps=4",
    "--set=system.threads=1",
    "--set=system.micro_batch_size=16",
    "--set=sample.max_tokens=5",
]


def _python_example() -> str:
    found = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


def test_the_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--preset", "tiny", "--name", "first", *QUICK]) == 0
    capsys.readouterr()
    names: dict[str, object] = {}
    exec(_python_example(), names)
    text = capsys.readouterr().out
    assert text.startswith("ROMEO:")
    assert len(text) == len("ROMEO:") + 100 + 1  # and the end of the line
    vocab_size = names["model"].vocab_size  # type: ignore[attr-defined]
    assert names["logits"].shape == (1, 32, vocab_size)  # type: ignore[attr-defined]
    weights = names["weights"]
    assert isinstance(weights, list)
    assert [one.shape for one in weights] == [(1, 2, 32, 32)] * 2


def test_the_commands_without_a_screen_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--preset", "tiny", "--name", "first", *QUICK]) == 0
    assert main(["train", "--resume", "first", "--set", "train.max_steps=6"]) == 0
    capsys.readouterr()
    assert main(["sample", "first", "--prompt", "ROMEO:", "--max-tokens", "20"]) == 0
    assert capsys.readouterr().out.startswith("ROMEO:")
    assert main(["runs"]) == 0
    assert "first" in capsys.readouterr().out


def test_the_table_of_settings_is_that_of_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--markdown"]) == 0
    table = capsys.readouterr().out.strip()
    shown = README.split("<!-- made by: gpt-tui settings --markdown -->")[1]
    assert shown.split("<!-- end -->")[0].strip() == table


def test_every_picture_is_there() -> None:
    for picture in re.findall(r"\((docs/pictures/[^)]+)\)", README):
        assert (Path(__file__).parent.parent / picture).is_file()
