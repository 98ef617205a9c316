"""The checkpoint folders of a run: their names, their order, and which can be resumed from.

What is inside is read and written by ``engine.checkpoint.store``; nothing here needs torch.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from engine.runs.folder import CHECKPOINTS_FOLDER

MODEL_FILE, OPTIMIZER_FILE = "model.safetensors", "optimizer.safetensors"
MANIFEST_FILE, PIN_FILE = "manifest.json", "pinned"
NAME = re.compile(r"step-(\d{8,})(?:-b(\d+))?")


def list_snapshots(run: Path) -> list[Path]:
    """List all checkpoints of a run, including light ones, oldest first."""
    folder = run / CHECKPOINTS_FOLDER
    return sorted((path for path in folder.glob("step-*") if NAME.fullmatch(path.name)), key=_place)


def list_checkpoints(run: Path) -> list[Path]:
    """List the checkpoints that a run can be resumed from, oldest first."""
    return [path for path in list_snapshots(run) if is_full(path)]


def pin(path: Path) -> None:
    """Keep a checkpoint, whatever the retention rules say."""
    (path / PIN_FILE).touch()


def unpin(path: Path) -> None:
    """Let the retention rules decide on a checkpoint again."""
    (path / PIN_FILE).unlink(missing_ok=True)


def is_pinned(path: Path) -> bool:
    return (path / PIN_FILE).exists()


def is_full(path: Path) -> bool:
    """Return whether a run can be resumed from a checkpoint; light ones hold the weights alone.

    A damaged one counts as what it was written as, so that reading it reports the damage.
    """
    try:
        return OPTIMIZER_FILE in json.loads((path / MANIFEST_FILE).read_bytes())["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return True


def checkpoint_name(step: int, branch: int = 0) -> str:
    return f"step-{step:08d}" + (f"-b{branch}" if branch else "")


def step_of(path: Path) -> int:
    return _place(path)[1]


def branch_of(path: Path) -> int:
    return _place(path)[0]


def _place(path: Path) -> tuple[int, int]:
    """Branch and step; a run only writes to its newest branch, so this is the order of time."""
    found = NAME.fullmatch(path.name)
    assert found, path
    return int(found[2] or 0), int(found[1])
