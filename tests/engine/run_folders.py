"""Run folders without any training: from one template, as many as a test wants."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.prepared import store
from engine.config.presets import preset_config
from engine.runs.database import RunDatabase
from engine.runs.folder import create_run

SUMMARY: dict[str, Any] = {
    "state": "finished",
    "preset": "tiny",
    "corpus": "rhyme.txt",
    "parameters": 99_800,
    "step": 1000,
    "total_steps": 1000,
    "tokens": 384_000,
    "train_seconds": 61.5,
    "best_val_loss": 1.9,
    "best_step": 900,
    "val_loss": 1.95,
    "train_loss": 1.8,
    "device": "cpu",
    "precision": "fp32",
    "threads": 2,
    "sparkline": [1.8 + 2.4 * math.exp(-i / 12) for i in range(64)],
}


def write_run(
    runs_dir: Path,
    name: str,
    created: float = 1_700_000_000.0,
    parent: dict[str, Any] | None = None,
    steps: int = 0,
    settings: dict[str, Any] | None = None,
    **summary: Any,
) -> Path:
    """A run that looks as if it had been trained, with this many training losses on record."""
    run = create_run(preset_config("tiny").replace(settings or {}), runs_dir, name)
    database = RunDatabase(run / "run.db")
    database.set_meta(created=created, summary=SUMMARY | summary)
    if parent:
        database.set_meta(parent=parent)
    database.add_metrics(0, [("train_loss", step, 4 / step) for step in range(1, steps + 1)])
    database.add_metrics(0, [("val_loss", step, 5 / step) for step in range(10, steps + 1, 10)])
    database.fold()
    database.close()
    checkpoint = run / "checkpoints/step-00001000"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights" * 100)
    (run / "checkpoints/latest").write_text("step-00001000\n")
    return run


def write_runs(runs_dir: Path, names: Sequence[str]) -> list[Path]:
    """Many alike, to be read only: they share their files."""
    first = write_run(runs_dir, names[0])
    copies = (shutil.copytree(first, runs_dir / name, copy_function=os.link) for name in names[1:])
    return [first, *copies]


def forget_prepared_texts() -> None:
    """Empty the cache of prepared texts, in which runs find theirs even if its file is gone."""
    for one in store.entries():
        store.remove(one)
