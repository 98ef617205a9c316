"""Numbers in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.setting import format_float
from tui.charts.axes import value_labels
from tui.text.numbers import (
    format_amount,
    format_count,
    format_duration,
    format_estimate,
    format_loss,
    format_path,
    format_rate,
    format_steps,
    format_unit,
)
from tui.widgets.metric_chart import format_figure


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
    assert format_duration(seconds) == words


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
    assert format_estimate(seconds) == words


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
    assert format_unit(number, "B") == words


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
    assert format_amount(number) == words


def test_loss() -> None:
    assert format_loss(None) == "–"
    assert format_loss(1.90049) == "1.900"
    assert format_loss(float("nan")) == "nan"
    assert [format_loss(value) for value in (0.00125, 12345.0)] == ["0.00125", "12345"]


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.00001, 3, "1e-5"),
        (8.018e-05, 4, "8.018e-5"),
        (1234.5, 3, "1234"),
        (999.6, 3, "1000"),
        (123456.0, 3, "123456"),
        (-54321.0, 2, "-54321"),
        (1.234e6, 3, "1.23e6"),
        (2.5e-11, 2, "2.5e-11"),
        (0.25, 3, "0.25"),
        (float("inf"), 3, "inf"),
        (float("nan"), 3, "nan"),
    ],
)
def test_numbers_are_written_as_on_the_axes(value: float, digits: int, text: str) -> None:
    assert format_float(value, digits) == text


def test_figures_of_a_chart_look_as_its_ticks() -> None:
    for values in ([1e-5, 2e-5], [2e5, 4e5], [1e6, 3e6], [1000.0, 2000.0]):
        told = [format_figure(value, "number", "") for value in values]
        assert told == value_labels(values) == [format_loss(value) for value in values]


def test_rate() -> None:
    assert [format_rate(rate) for rate in (1e-3, 0.00435, 1.0)] == ["0.001", "0.00435", "1"]


def test_steps() -> None:
    assert format_steps(120, 5000) == "120/5,000"


def test_counted() -> None:
    assert [format_count(n, "step") for n in (0, 1, 2000)] == ["0 steps", "1 step", "2,000 steps"]


def test_short_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/you")
    assert format_path(Path("/home/you/runs/x")) == "~/runs/x"
    assert format_path("/srv/runs/x") == "/srv/runs/x"
    assert format_path("/home/yours/x") == "/home/yours/x"
