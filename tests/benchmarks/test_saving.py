"""``benchmarks saving``: its arithmetic, and once from end to end on a small model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.saving import Measured
from tests.benchmarks.front_door import benchmark


def test_a_checkpoint_costs_what_its_window_takes_longer() -> None:
    measured = Measured(10, [2.5, 2.25, 3.0], [2.0, 2.0, 2.0], 4, 0.0, stall=0.1, health=[])
    assert measured.extra == [0.5, 0.25, 1.0]
    assert measured.step_seconds == 0.5


def test_saving_end_to_end(small_text_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--preset", "tiny", "--data", str(small_text_file), "--threads", "1"]
    size = ["--pairs", "1", "--steps", "8", "--history", "3000"]
    quick = ["--set", "sample.max_tokens=1", "--set", "system.micro_batch_size=16"]
    assert benchmark("saving", "--json", *options, *size, *quick) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["step_seconds"] > 0
    assert result["stall_seconds"] > 0
    assert 0 < result["recording_share"] < 1
    assert result["health_share"] > 0
    assert result["history_bytes"] > 10 * 3000 * 8
