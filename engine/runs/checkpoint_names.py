"""The checkpoint folders of a run: their names, their order, and which can be resumed from.

What is inside is read and written by ``engine.checkpoint.store``; nothing here needs torch.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from data.reading import convert, parse_json, read_regular
from engine.config.schema import MOST_STEPS

CHECKPOINTS_FOLDER = "checkpoints"
MODEL_FILE, OPTIMIZER_FILE = "model.safetensors", "optimizer.safetensors"
STATE_FILE = "state.json"
MANIFEST_FILE, PIN_FILE = "manifest.json", "pinned"
LATEST, BEST = "latest", "best"  # pointers: files beside the checkpoints that name one of them
LATEST_BRANCH = 10**6  # far beyond any use
NAME = re.compile(r"step-([0-9]{8,10})(?:-b([1-9][0-9]{0,6}))?")
LARGEST_MANIFEST = 2**16  # bytes


def list_snapshots(run: Path) -> list[Path]:
    """List all checkpoints of a run, including light ones, oldest first."""
    folder = run / CHECKPOINTS_FOLDER
    try:
        names = os.listdir(folder)
    except (OSError, ValueError):
        return []  # who writes looks at the folder before
    return sorted((folder / name for name in names if is_checkpoint_name(name)), key=_place)


def is_checkpoint_name(name: str) -> bool:
    """Return whether a folder of this name can be one that ``checkpoint_name`` named."""
    found = NAME.fullmatch(name)
    if not found:
        return False
    step, branch = int(found[1]), int(found[2] or 0)
    return step <= MOST_STEPS and branch <= LATEST_BRANCH and checkpoint_name(step, branch) == name


def list_checkpoints(run: Path) -> list[Path]:
    """List the checkpoints that a run can be resumed from, oldest first."""
    return [path for path in list_snapshots(run) if _is_resumable(path)]


def pin(path: Path) -> None:
    """Keep a checkpoint, whatever the retention rules say.

    Raises:
        OSError: The folder cannot be written.
    """
    with suppress(FileExistsError):  # left as it is: a copy of the run may share the file
        os.close(os.open(path / PIN_FILE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def unpin(path: Path) -> None:
    """Let the retention rules decide on a checkpoint again.

    Raises:
        OSError: The folder cannot be written.
    """
    (path / PIN_FILE).unlink(missing_ok=True)


def is_pinned(path: Path) -> bool:
    return os.path.lexists(path / PIN_FILE)


def read_pointer(run: Path, which: str) -> str | None:
    """Return the name of the checkpoint that ``latest`` or ``best`` names; None if it is none."""
    try:
        name = read_regular(run / CHECKPOINTS_FOLDER / which, 100).decode().strip()
    except (OSError, ValueError):
        return None
    return name if is_checkpoint_name(name) else None


class Manifest(Struct, frozen=True):
    """``manifest.json``: the hash of each file of a checkpoint, in hexadecimal digits."""

    format: int
    sha256: dict[str, str]
    diverged: bool = False  # training had failed: losses or weights are no finite numbers


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a checkpoint.

    Raises:
        OSError: It is missing, no regular file or cannot be read.
        ValueError: It is not one that gpt-tui wrote.
    """
    manifest = path / MANIFEST_FILE
    found = convert(parse_json(read_regular(manifest, LARGEST_MANIFEST)), Manifest, MANIFEST_FILE)
    if MODEL_FILE not in found.sha256:
        raise ValueError(f"{MANIFEST_FILE} has no hash of {MODEL_FILE}")
    return found


def is_checkpoint(path: Path) -> bool:
    """Return whether a folder has the manifest of a checkpoint."""
    with suppress(OSError, ValueError):
        return bool(read_manifest(path))
    return False


def is_full(path: Path) -> bool:
    """Return whether a run can be resumed from a checkpoint; light ones hold the weights alone.

    A damaged one counts as what it was written as, so that reading it reports the damage.
    """
    try:
        return OPTIMIZER_FILE in read_manifest(path).sha256
    except (OSError, ValueError):
        return True


def has_diverged(path: Path) -> bool:
    """Return whether a checkpoint holds weights that are no use, as its manifest says."""
    with suppress(OSError, ValueError):
        return read_manifest(path).diverged
    return False


def _is_resumable(path: Path) -> bool:
    try:
        manifest = read_manifest(path)
    except (OSError, ValueError):
        return True  # as ``is_full``
    return OPTIMIZER_FILE in manifest.sha256 and not manifest.diverged


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
