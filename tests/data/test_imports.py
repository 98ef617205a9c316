from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _loaded_by(module: str) -> set[str]:
    script = f"import sys, {module}; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["data", "data.errors", "data.corpora.load", "data.tokenizers"])
def test_what_is_needed_before_the_first_paint_loads_neither_numpy_nor_urllib(module: str) -> None:
    assert not _loaded_by(module) & {"numpy", "torch", "textual", "urllib.request"}


def test_data_knows_nothing_of_the_packages_above_it() -> None:
    assert not _loaded_by("data.batches") & {"torch", "engine", "tui", "textual"}
