"""What a checkpoint notes of the run's database, and how a new one begins with it.

It is what is left where no checkpoint holds a copy of the database: the run opens, and its curves
begin at the checkpoint.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from data.errors import InputError
from engine.program import program
from engine.runs.database import RunDatabase
from engine.runs.folder import DATABASE_FILE, typed_name


def remember(database: RunDatabase) -> dict[str, Any]:
    """The facts and the lines of history of a run, for the state of a checkpoint."""
    meta = database.meta()
    if "summary" in meta:  # its curve is made anew from the figures
        meta["summary"] = {k: v for k, v in meta["summary"].items() if k != "sparkline"}
    return {"meta": meta, "branches": [dataclasses.astuple(one) for one in database.branches()]}


def begin_database(file: Path, state: dict[str, Any]) -> None:
    """Write a new database that opens a run at a checkpoint.

    Args:
        file: Of the new one.
        state: Of the checkpoint; one that an older version wrote may lack the record.

    Raises:
        InputError: Nothing tells where the checkpoint's line of history began.
    """
    record = state.get("record") or {"meta": _facts(state), "branches": []}
    if state["branch"] not in {0, *(number for number, *_ in record["branches"])}:
        raise InputError(
            f"no checkpoint tells where the line of history {state['branch']} of the run began, so "
            f"that its {DATABASE_FILE} cannot be made anew: put it back from a copy of yours; "
            f"{program()} sample {typed_name(file.parent)} still works"
        )
    RunDatabase(file).close()
    with closing(sqlite3.connect(file)) as db, db:
        facts = [(key, json.dumps(value)) for key, value in record["meta"].items()]
        db.executemany("INSERT INTO meta VALUES (?, ?)", facts)
        db.executemany("INSERT OR REPLACE INTO branches VALUES (?, ?, ?, ?)", record["branches"])


def _facts(state: dict[str, Any]) -> dict[str, Any]:
    """What can be said of a run without the record of it, and has to be said for it to open."""
    config = state["config"]
    corpus = {"name": Path(config["data"]["corpus"]).name, "note": ""}
    return {
        "preset": config["preset"],
        "corpus": corpus | {"sha256": state["corpus_sha256"]},
        "runtime": {"asked": config["system"], "resolved": state["runtime"]},
        "versions": state["versions"],
    }
