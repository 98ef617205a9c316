from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import tokens
from tests.benchmarks.front_door import benchmark


def test_the_tokens_of_a_text_are_made_and_told_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("One fish, two fish,\nred fish, blue fish.\n\n" * 200)
    monkeypatch.setattr(tokens, "BPE_CHARACTERS", 20_000)
    monkeypatch.setattr(tokens, "BATCHES", 3)
    assert benchmark("tokens", "--json", "--data", str(text), "--size", "1") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["size"] >= 10**6
    assert all(one > 0 for one in told["bytes_per_second"].values())
    assert told["bpe_rates"]["count"] == tokens.REPEATS
    assert 0 < told["again_seconds"] < 1
    assert told["peak_bytes"] < 500e6
    assert told["batch_ms"]["count"] == 3
