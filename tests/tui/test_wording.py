"""Numbers in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.text.numbers import amount, counted, duration, loss, roughly, short_path, with_unit


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (0, "0:00"),
        (7.4, "0:07"),
        (59.6, "1:00"),
        (750, "12:30"),
        (3599.9, "1:00:00"),
        (11_100, "3:05:00"),
        (360_000, "100:00:00"),
    ],
)
def test_duration(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.01, "1 second"),
        (40.4, "40 seconds"),
        (89, "89 seconds"),
        (90, "2 minutes"),
        (5399, "90 minutes"),
        (101_000, "28 hours"),
    ],
)
def test_roughly(seconds: float, words: str) -> None:
    assert roughly(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (999.6, "1 kB"),
        (6_140, "6.14 kB"),
        (6_230_444_800, "6.23 GB"),
        (5.05e15, "5.05 PB"),
    ],
)
def test_with_unit(number: float, words: str) -> None:
    assert with_unit(number, "B") == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (7, "7"),
        (7.25, "7.25"),
        (812, "812"),
        (999.4, "999"),
        (999.96, "1k"),
        (24_500, "24.5k"),
        (999_960, "1M"),
        (10_745_088, "10.7M"),
        (1.56e9, "1.56B"),
    ],
)
def test_amount(number: float, words: str) -> None:
    assert amount(number) == words


def test_loss() -> None:
    assert loss(None) == "–"
    assert loss(1.90049) == "1.900"
    assert loss(float("nan")) == "nan"


def test_counted() -> None:
    assert [counted(n, "step") for n in (0, 1, 2000)] == ["0 steps", "1 step", "2,000 steps"]


def test_short_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/you")
    assert short_path(Path("/home/you/runs/x")) == "~/runs/x"
    assert short_path("/srv/runs/x") == "/srv/runs/x"
    assert short_path("/home/yours/x") == "/home/yours/x"
