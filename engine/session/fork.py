"""Fork a run: create another one with its weights and its history."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from pathlib import Path
from typing import Any

from data.errors import InputError
from engine.checkpoint.restore_database import remember
from engine.checkpoint.retention import Rules
from engine.checkpoint.store import Snapshot, write_checkpoint
from engine.config.changes import check_fork, check_fork_end
from engine.config.schema import Config, total_steps
from engine.runs.checkpoint_names import pin
from engine.runs.database import RunDatabase, Unreadable
from engine.runs.folder import DATABASE_FILE, cannot_write, create_run, delete_run
from engine.runs.known_text import places_now
from engine.runs.text import where_now
from engine.runs.tokenizer_file import write_tokenizer
from engine.session.run_state import Losses, RunState


def fork(
    run_state: RunState, changes: dict[str, Any], name: str | None, runs_dir: Path | None = None
) -> Path:
    """Create a run that continues as its parent would, but for the changes; return its folder.

    Args:
        run_state: The parent, at the step of the fork.
        name: None for the parent's and a number.
        runs_dir: Where the new run goes; None for the folder that its parent is in.

    Raises:
        InputError: A change does not fit the weights, the name is taken, or there is no room.
    """
    config = check_changes(run_state, run_state.step, changes)
    config = where_now(config, run_state.files.corpus)
    snapshot, parent = run_state.snapshot(), run_state.files.path
    if snapshot.has_diverged:
        raise InputError(
            f"the weights of step {snapshot.step:,} are not finite, as training had diverged: fork "
            f"an earlier step"
        )
    path = create_run(config, runs_dir or parent.parent, name, stem=f"{parent.name}-fork")
    try:
        record = _write_past(run_state, path, snapshot, config)
        first = _as_first(snapshot, config, record)
        checkpoint = write_checkpoint(path, first, Rules(2), None, path / DATABASE_FILE)
        pin(checkpoint)  # there is nothing before it to begin from
    except (OSError, sqlite3.Error, Unreadable) as error:  # the disk's fault: the files are new
        delete_run(path)
        raise cannot_write(path.parent, error, "") from None
    except BaseException:
        delete_run(path)
        raise
    return path


def check_changes(run_state: RunState, step: int, changes: dict[str, Any]) -> Config:
    """Return the configuration of a fork at a step.

    Raises:
        InputError: It does not fit the weights, or the fork would end where it begins.
    """
    check_fork(changes)
    config = run_state.trainer.config.replace(changes)
    check_fork_end(step, total_steps(config, run_state.trainer.train_windows.per_epoch))
    return config


def _as_first(snapshot: Snapshot, config: Config, record: dict[str, Any]) -> Snapshot:
    """Return the snapshot as the first checkpoint of the fork."""
    before = Losses(**snapshot.state["standing"])
    evaluated_here = before.evaluated_step == snapshot.step
    losses = dataclasses.replace(
        before,
        best_val_loss=before.val_loss if evaluated_here else None,
        best_step=snapshot.step if evaluated_here else None,
        final_step=None,
    )
    changed = {
        "config": config.to_dict(),
        "standing": dataclasses.asdict(losses),
        "branch": 0,
        "journal_id": 0,
        "unapplied": [],
        "record": record,
    }
    return dataclasses.replace(snapshot, state=snapshot.state | changed)


def _write_past(
    run_state: RunState, path: Path, snapshot: Snapshot, config: Config
) -> dict[str, Any]:
    """Copy what the parent recorded up to the fork, so that the new run needs no other.

    Returns:
        The record for the first checkpoint.
    """
    parent, branch = run_state.files.database, run_state.recorder.branch
    way, before = run_state.lineage(snapshot.step), run_state.trainer.config
    write_tokenizer(path, run_state.files.tokenizer)
    child = RunDatabase(path / DATABASE_FILE)
    try:
        known = parent.meta()
        corpus = known.get("corpus")
        kept = ("preset", "runtime", "versions", "hardware", "command_line")
        child.set_meta(
            created=time.time(),
            parent={
                "run": run_state.files.path.name,
                "step": snapshot.step,
                "branch": branch,
                "changes": {
                    key: [before.get(key), config.get(key)]
                    for key in config.differences(before)
                    if key not in ("data.corpus", "data.val")  # the same, by their whole paths
                },
            },
            summary={
                "parameters": run_state.trainer.model.parameter_count(),
                "tokens": run_state.trainer.tokens,
                "epoch": run_state.trainer.epoch,
                "train_seconds": run_state.throughput.train_seconds,
            },
            **{key: value for key, value in known.items() if key in kept},
            **({"corpus": places_now(corpus, run_state.files.corpus)} if corpus else {}),
        )
        for metric in parent.metric_names(*(one.branch for one in way)):
            child.import_metric(metric, *parent.curve(metric, way))
        for one in parent.samples():
            if way.holds_moment(one["branch"], one["step"]):
                child.add_sample(0, one["step"], one["val_loss"], {**one["settings"]}, one["text"])
        child.add_journal(0, snapshot.step, "forked from", {"run": run_state.files.path.name})
        return remember(child)
    finally:
        child.close()
