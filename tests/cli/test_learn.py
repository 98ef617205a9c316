"""``gpt-tui learn`` without a terminal."""

from __future__ import annotations

from tests.cli.conftest import Cli
from tui.text.lecture import LESSONS


def test_the_path_is_printed_as_text(cli: Cli) -> None:
    answer = cli("learn")
    assert answer.code == 0
    titles = [answer.out.index(f"{one.name}: {one.title}\n=") for one in LESSONS]
    assert titles == sorted(titles)
    assert "the lecture reaches 2.49\nyours: not tried yet" in answer.out
    assert "    def _residual_add(" in answer.out


def test_one_model_is_printed(cli: Cli) -> None:
    answer = cli("learn", "multi-head", "--text")
    assert answer.out.startswith("3 multi-head: ")
    assert "(B,nh,T,hs) 32×4×8×8" in answer.out
    assert "bigram: " not in answer.out


def test_a_mistyped_model_is_named(cli: Cli) -> None:
    answer = cli("learn", "multihead")
    assert answer.code == 2
    assert "the lecture has no model 'multihead': did you mean 'multi-head'?" in answer.err
