r"""A prompt of several lines on the command line: ``\n`` or a real line break."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.schema import read_config
from tests.cli.conftest import Cli


@pytest.mark.parametrize("written", [r"one fish,\nred", "one fish,\nred"])
def test_a_line_break_is_written_either_way(
    quick_train: Cli, cli: Cli, runs_dir: Path, written: str
) -> None:
    quick_train("--set", f"sample.prompt={written}")
    config = read_config(runs_dir / "tiny-1" / "config.toml")
    assert config.sample.prompt == "one fish,\nred"
    answer = cli("sample", "tiny-1", "--prompt", written, "--max-tokens", "5")
    assert answer.out.startswith("one fish,\nred")
    longer = ("--set", "train.max_steps=9", "--name", "child")
    assert cli("fork", "tiny-1", "--set", f"sample.prompt={written}", *longer).code == 0
    assert read_config(runs_dir / "child" / "config.toml").sample.prompt == "one fish,\nred"


def test_another_backslash_is_refused_in_one_sentence(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    sentence = r"prompt has a backslash before 'q': \n is a new line, \t a tab and \\ a"
    assert cli("sample", "tiny-1", "--prompt", r"\q").problem.startswith(f"--{sentence}")
    assert cli("train", "--set", r"sample.prompt=\q").problem.startswith(f"sample.{sentence}")
