"""Folders of Hugging Face's ``datasets``: which of their files are the rows to learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data.reading import read_regular
from data.sources.tally import Tally

SPLITS, STATE = "dataset_dict.json", "state.json"
MOST_BYTES = 1 << 22
TABLES = (".parquet", ".arrow")
BESIDE = (".md", ".json", ".py", ".yaml", ".yml", ".txt")  # what describes tables
LEARNED = "train"
OTHER_SPLIT = "of other splits"


def rows_of(folder: Path, files: list[Path], skipped: Tally) -> list[Path]:
    """Return the files of a folder that are learned: all, unless it is one of ``datasets``.

    Args:
        files: All files in it, in their order.
        skipped: Receives other splits than ``train``, and what describes the data.
    """
    learned = _saved(folder, files) or _published(files)
    for one in files if learned else ():
        if one not in learned:
            why = OTHER_SPLIT if one.suffix in TABLES else "beside a table"
            skipped.add(why, one.relative_to(folder).as_posix())
    return learned or files


def _saved(folder: Path, files: list[Path]) -> list[Path]:
    """Return the files that ``save_to_disk`` wrote, in its order."""
    if splits := _read(folder / SPLITS).get("splits"):
        names = [str(one) for one in splits]
        if names:
            folder = folder / (LEARNED if LEARNED in names else names[0])
    parts = _read(folder / STATE).get("_data_files", [])
    listed = set(files)
    paths = (folder / str(one.get("filename")) for one in parts if isinstance(one, dict))
    return [path for path in paths if path in listed]


def _published(files: list[Path]) -> list[Path]:
    """Return the tables of the split ``train`` of a folder that has nothing but tables."""
    tables = [one for one in files if one.suffix in TABLES]
    if not tables or any(one.suffix not in (*TABLES, *BESIDE) for one in files):
        return []
    return [one for one in tables if one.name.startswith(LEARNED)] or tables


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_regular(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
