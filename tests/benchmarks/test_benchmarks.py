"""The benchmarks: their arithmetic, what they read, what they say. No timing is asserted."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import BENCHMARKS, harness, overhead, programs, report, startup
from benchmarks.pty_app import PtyApp, main_thread_seconds
from benchmarks.report import Row, Spread, abba, bootstrap_interval, tell
from tests.benchmarks.front_door import benchmark


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return told


@pytest.mark.parametrize(
    ("seconds", "typical"),
    [([0.1, 0.2, 0.9], 0.2), ([0.0, 0.0, 0.3], 0.1), ([0.0, 0.0], programs.SHORTEST_STEP)],
)
def test_a_typical_step_takes_some_time_even_if_steps_were_timed_in_bursts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seconds: list[float], typical: float
) -> None:
    monkeypatch.setattr(programs, "step_seconds", lambda run: seconds)
    assert programs.typical_step_seconds(tmp_path) == pytest.approx(typical)


# -- statistics ----------------------------------------------------------------------------------


def test_a_spread_is_median_and_extremes() -> None:
    spread = Spread.of([3.0, 1.0, 2.0, 10.0])
    assert spread == Spread(median=2.5, low=1.0, high=10.0, count=4)
    assert spread.to_dict() == {"median": 2.5, "min": 1.0, "max": 10.0, "count": 4}
    assert spread.described("s") == "2.50 s (1.00 to 10.00, 4 runs)"
    assert Spread.of([1.0]).described("s", 1) == "1.0 s (1.0 to 1.0, 1 run)"


def test_the_interval_of_equal_values_is_that_value() -> None:
    assert bootstrap_interval([0.97] * 12) == (0.97, 0.97)


def test_the_interval_is_repeatable_and_holds_the_median() -> None:
    values = [0.90 + 0.01 * number for number in range(13)]
    low, high = bootstrap_interval(values)
    assert (low, high) == bootstrap_interval(values)
    assert min(values) < low < 0.96 < high < max(values)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report, "RESAMPLES", 500)
    generator = np.random.default_rng(0)
    trials = 60
    covered = 0
    for _ in range(trials):
        low, high = bootstrap_interval(generator.normal(1.0, 0.05, 12).tolist())
        covered += low <= 1.0 <= high
    assert covered / trials > 0.85


def test_pairs_are_interleaved_so_that_drift_favours_neither() -> None:
    assert abba(4) == [(0, 1), (1, 0), (0, 1), (1, 0)]
    assert abba(2, arms=3) == [(0, 1, 2), (2, 1, 0)]


def test_a_figure_between_two_samples_lies_on_the_line() -> None:
    samples = [(0.0, 0.0), (1.0, 0.1), (3.0, 0.5)]
    assert overhead.at(samples, 0.5) == pytest.approx(0.05)
    assert overhead.at(samples, 2.0) == pytest.approx(0.3)
    assert overhead.at(samples, 3.0) == pytest.approx(0.5)
    with pytest.raises(programs.BenchmarkError):
        overhead.at(samples, 3.1)


def test_a_table_names_what_was_not_reached(capsys: pytest.CaptureFixture[str]) -> None:
    tell([Row("ratio", "≥ 1", "0.9", False), Row("speed", "", "12")], {"ratio": 0.9}, False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["ratio", "≥", "1", "0.9", "not", "reached"]
    assert lines[2].split() == ["speed", "12"]


# -- what is read --------------------------------------------------------------------------------


def test_a_step_on_the_screen() -> None:
    assert startup.shows_a_step("● training  step 12/2,000")
    assert startup.shows_a_step("step 1,024/2,000")
    assert not startup.shows_a_step("◌ preparing  step 0/2,000")


# -- a process in a terminal ---------------------------------------------------------------------


def test_an_app_in_a_terminal_is_read_typed_to_and_ended() -> None:
    script = (
        "import os, sys; size = os.get_terminal_size(); "
        "print(f'\\x1b[1;31m{size.columns}\\x1b[0mx{size.lines}', sys.stdin.isatty(), flush=True); "
        "print('got ' + input(), flush=True); "
        "import time; time.sleep(60)"
    )
    with PtyApp([sys.executable, "-c", script], dict(os.environ)) as app:
        assert app.read_until(lambda text: "120x40 True" in text, 30) >= app.started
        app.send("hello\n")
        app.read_until(lambda text: "got hello" in text, 30)
        assert app.read_bytes > len("120x40 True")
    assert not app.alive


def test_what_never_shows_up_is_said() -> None:
    with (
        PtyApp([sys.executable, "-c", "print('something else')"], dict(os.environ)) as app,
        pytest.raises(programs.BenchmarkError, match="something else"),
    ):
        app.read_until(lambda text: "this" in text, 30)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read from /proc")
def test_the_cpu_time_of_the_main_thread() -> None:
    before = main_thread_seconds(os.getpid())
    assert before is not None
    assert before > 0
    assert main_thread_seconds(2**30) is None


# -- the command ---------------------------------------------------------------------------------


def test_the_help_lists_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark("--help") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in BENCHMARKS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["strtup"], "did you mean 'startup'?"),
        (["flops"], f"there are {', '.join(BENCHMARKS)}"),
        (["startup", "--runs", "0"], "argument --runs"),
        (["startup", "--preset", "tinny"], "did you mean 'tiny'?"),
        (["overhead", "--pairs", "none"], "argument --pairs"),
        (["nanogpt-cpu", "--peer", "/nowhere"], "--peer takes nanogpt=PATH"),
        (["nanogpt-cpu", "--peer", "nanogpt=/nowhere"], "is no checkout of nanoGPT"),
    ],
)
def test_bad_input_gets_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark(*arguments) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert words in answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_race_without_a_peer_and_without_quality_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert benchmark("nanogpt-cpu", "--skip-quality") == 2
    assert "--peer" in capsys.readouterr().err


# -- whole runs ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_overhead_end_to_end(small_text_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--preset", "tiny", "--data", str(small_text_file), "--threads", "1"]
    assert benchmark("overhead", "--json", "--pairs", "1", "--seconds", "2", *options) == 0
    told = last_json(capsys)
    assert {"ours", "peer", "ratio", "ratio_interval", "screen_share"} < set(told)
    (pair,) = told["pairs"]
    assert pair["app"]["steps"] == pair["headless"]["steps"] == told["steps_per_window"]
    assert told["machine"]["threads"] == 1


@pytest.mark.slow
def test_startup_end_to_end(small_text_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--preset", "tiny", "--data", str(small_text_file)]
    assert benchmark("startup", "--json", "--runs", "1", *options) == 0
    told = last_json(capsys)
    assert told["torch_before_paint"] is False
    assert told["first_paint_seconds"]["count"] == told["empty_app_seconds"]["count"] == 1
    assert told["training_seconds"]["median"] > 0


@pytest.mark.parametrize("text", ["-80x24", "80", "0x24", "80x", "80x24x2"])
def test_a_size_of_the_terminal_has_columns_and_rows(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="like 120x40"):
        harness._terminal_size(text)
    assert harness._terminal_size("200x50") == (200, 50)
