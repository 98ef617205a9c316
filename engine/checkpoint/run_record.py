"""What a checkpoint remembers of the run's database, should that be lost."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checkpoint.store import Snapshot
from engine.config.schema import config_from_dict
from engine.protocol import State
from engine.runs.database import RunDatabase
from engine.runs.lineage import Branch


@dataclass(frozen=True)
class Memory:
    """What a checkpoint knows of the database that it was written beside.

    Attributes:
        name: Of the checkpoint.
        branch: It is on.
        step: Of it.
        journal_id: Of the last change of settings that took effect before it.
        created: Seconds since 1970.
        meta: The run's facts, each a JSON value.
        branches: The lines of history there were; empty if it was not noted.
    """

    name: str
    branch: int
    step: int
    journal_id: int
    created: float
    meta: dict[str, Any]
    branches: list[Branch]


def remember(database: RunDatabase) -> dict[str, Any]:
    """The facts and the lines of history of a run, for the state of a checkpoint."""
    meta = database.meta()
    if "summary" in meta:  # its curve is made anew from the figures
        meta["summary"] = {k: v for k, v in meta["summary"].items() if k != "sparkline"}
    return {"meta": meta, "branches": [dataclasses.astuple(one) for one in database.branches()]}


def recall(path: Path, snapshot: Snapshot) -> Memory:
    """What a checkpoint knows; one that an older version wrote knows less.

    Args:
        path: Of the checkpoint.
        snapshot: What was read there.
    """
    state = snapshot.state
    record = state.get("record") or {"meta": {}, "branches": []}
    meta = _facts(state) | record["meta"]
    meta["summary"] = _summary(state) | meta.get("summary", {}) | {"state": _state(state)}
    return Memory(
        name=path.name,
        branch=state["branch"],
        step=snapshot.step,
        journal_id=state["journal_id"],
        created=state["created"],
        meta=meta,
        branches=[Branch(*row) for row in record["branches"]],
    )


def _facts(state: dict[str, Any]) -> dict[str, Any]:
    """What can be said of a run without the record of it."""
    config = state["config"]
    corpus = {"name": Path(config["data"]["corpus"]).name, "note": ""}
    return {
        "preset": config["preset"],
        "corpus": corpus | {"sha256": state["corpus_sha256"]},
        "runtime": {"asked": config["system"], "resolved": state["runtime"]},
        "versions": state["versions"],
    }


def _summary(state: dict[str, Any]) -> dict[str, Any]:
    """The run in one row, as far as its checkpoint tells."""
    losses, runtime = state["standing"], state["runtime"]
    shown = ("train_loss", "val_loss", "val_measured", "best_val_loss", "best_step")
    return {name: losses[name] for name in shown} | {
        "step": state["step"],
        "saved_step": state["step"],
        "total_steps": config_from_dict(state["config"]).train.max_steps,
        "tokens": state["tokens"],
        "train_seconds": state["train_seconds"],
        "branch": state["branch"],
        "device": runtime["device"],
        "precision": runtime["precision"],
        "threads": runtime["threads"],
        "preset": state["config"]["preset"],
    }


def _state(state: dict[str, Any]) -> State:
    """A run that is being rebuilt is being trained by nobody."""
    ended = state["standing"]["final_step"] == state["step"]
    return State.FINISHED if ended else State.STOPPED
