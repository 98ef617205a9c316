from __future__ import annotations

import json

import pytest

from benchmarks import runs
from tests.benchmarks.front_door import benchmark


def test_runs_are_opened_and_told_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "REPEATS", 2)
    monkeypatch.setattr(runs, "PAGES", 3)
    assert benchmark("runs", "--json", "--runs", "30", "--steps", "3000") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["runs"], told["steps"], told["metrics"]) == (30, 3000, 10)
    assert told["open_seconds"]["count"] == runs.REPEATS
    assert told["page_seconds"]["count"] == runs.REPEATS * runs.PAGES
    assert told["letter_seconds"]["count"] == runs.REPEATS * (len(runs.FILTER) + 1)
    assert told["key_seconds"]["count"] > 0
    assert 0 < told["open_seconds"]["min"] <= told["open_seconds"]["max"]
    assert told["row_seconds"]["median"] > 0
    assert told["curves_seconds"]["median"] > 0
    assert told["list_cpu_seconds"]["count"] == runs.REPEATS
    assert told["bytes"] > 3000 * 10 * 8  # each value at least
    assert told["reached"] is (
        told["open_seconds"]["median"] <= 1
        and told["page_seconds"]["median"] <= 0.1
        and told["key_seconds"]["median"] <= 0.05
        and told["letter_seconds"]["median"] <= 0.05
        and told["list_cpu_seconds"]["median"] <= 1
        and told["row_seconds"]["median"] <= 1
        and told["curves_seconds"]["median"] <= 1
    )
