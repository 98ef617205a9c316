"""The state of a run in training, and how a checkpoint stores and restores it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from engine.checkpoint.restore_database import remember
from engine.checkpoint.store import Snapshot, restore, take_snapshot
from engine.config.schema import config_from_dict
from engine.runs.checkpoint_names import checkpoint_name
from engine.runs.database import RunDatabase
from engine.runs.lineage import END, Lineage
from engine.runs.open import RunFiles
from engine.sampling.background import Job
from engine.session.recorder import Recorder
from engine.training.phases import Phases
from engine.training.runtime import versions
from engine.training.throughput import Throughput
from engine.training.trainer import Evaluation, Trainer

Changes = dict[str, Any]  # settings


@dataclass
class Losses:
    train_loss: float | None = None
    val_loss: float | None = None
    val_measured: str = ""  # what the validation loss was measured on
    evaluated_step: int = 0
    best_val_loss: float | None = None
    best_step: int | None = None
    final_step: int | None = None  # whose weights were measured as the last ones
    val_accuracy: float | None = None  # of a toy task

    def note_evaluation(self, evaluation: Evaluation, measured: str) -> bool:
        """Take over a validation loss; return whether it is the best so far."""
        self.val_loss, self.val_measured = evaluation.loss, measured
        self.evaluated_step = evaluation.step
        best = evaluation.loss < (math.inf if self.best_val_loss is None else self.best_val_loss)
        if best:
            self.best_val_loss, self.best_step = evaluation.loss, evaluation.step
        return best


class Adjustments:
    """Changes in the journal that were made after the checkpoint.

    After a crash they take effect again, each at its step. A newer change of a setting replaces
    older ones that are still ahead.
    """

    def __init__(self) -> None:
        self.journal_id = 0  # of the last entry that was read
        self._ahead: list[tuple[int, Changes]] = []  # from the journal, by step

    def restore(self, state: dict[str, Any]) -> None:
        self.journal_id = state["journal_id"]
        self._ahead = [(step, changes) for step, changes in state["unapplied"]]

    def to_dict(self) -> dict[str, Any]:
        ahead = [[step, dict(changes)] for step, changes in self._ahead]
        return {"journal_id": self.journal_id, "unapplied": ahead}

    def read_journal(self, database: RunDatabase, lineage: Lineage) -> None:
        """Read the changes made after the checkpoint, along a lineage.

        The entries of a run that was resumed at an earlier step may be out of order.
        """
        journal = database.journal("adjusted", after_id=self.journal_id)
        for one in lineage.changes(journal):
            self.forget_older(one.values, from_step=one.step)
            self._ahead.append((one.step, one.values))
            self._ahead.sort(key=lambda one: one[0])  # stable: of one step, the later stays later
        if journal:
            self.journal_id = journal[-1]["id"]

    def take_due(self, step: int) -> Iterator[tuple[int, Changes]]:
        """Yield the changes at the steps up to here, each with its step, and forget them."""
        while self._ahead and self._ahead[0][0] <= step:
            yield self._ahead.pop(0)

    def forget_ahead(self) -> None:
        """Forget the changes ahead: they belong to steps that the run has left."""
        self._ahead.clear()

    def forget_older(self, changes: Changes, from_step: int = 0) -> None:
        """Forget older changes of these settings, from a step on."""
        for step, older in self._ahead:
            if step >= from_step:
                for key in changes:
                    older.pop(key, None)


@dataclass(frozen=True)
class Verdict:
    """The latest decision of the pruning rule: at which step, and why the run ends there."""

    branch: int = -1
    step: int = -1
    why: str = ""


@dataclass
class RunState:
    """One run at one step."""

    files: RunFiles
    trainer: Trainer
    recorder: Recorder
    throughput: Throughput = field(default_factory=Throughput)
    losses: Losses = field(default_factory=Losses)
    adjustments: Adjustments = field(default_factory=Adjustments)
    verdict: Verdict = Verdict()
    saved_step: int = 0  # of the latest checkpoint; 0 if there is none

    @property
    def step(self) -> int:
        return self.trainer.step

    @property
    def phases(self) -> Phases:
        """The clock of what the time is spent on."""
        return self.trainer.phases

    @cached_property
    def parameters(self) -> int:
        return self.trainer.model.parameter_count()

    @property
    def best_checkpoint(self) -> str | None:
        """The name of the best step's checkpoint, if there is a best step."""
        best = self.losses.best_step
        return None if best is None else checkpoint_name(best, self.lineage(best).branch)

    @property
    def pruned(self) -> str:
        """Why the pruning rule ends the run where it is; empty if it does not."""
        verdict, trainer = self.verdict, self.trainer
        here = (verdict.branch, verdict.step) == (self.recorder.branch, trainer.step)
        return verdict.why if here and trainer.step < trainer.total_steps else ""

    def lineage(self, up_to: int = END) -> Lineage:
        """Return the branches that lead to here, or to an earlier step."""
        return self.files.database.lineage(self.recorder.branch, up_to)

    @property
    def first_step(self) -> int:
        """Where the run begins: 0, or the step at which it was forked off another."""
        parent = self.files.database.meta().get("parent")
        return int(parent["step"]) if parent else 0

    def apply_journal(self, warn: Callable[[str], None]) -> None:
        """Apply the changes that the journal has at the steps up to here."""
        for step, changes in self.adjustments.take_due(self.step):
            config, problems = self.trainer.config.check(changes)
            if problems:
                warn(f"a change made at step {step} was left out: {problems[0]}")
            else:
                self.trainer.adjust(config)

    def keep_sample(self, job: Job) -> None:
        """Store a finished sample, with the validation loss of its weights."""
        losses = self.losses
        val_loss = losses.val_loss if job.step == losses.evaluated_step else None
        settings = dataclasses.asdict(job.settings) | ({"group": job.group} if job.group else {})
        if job.written.stopped_by == "end_of_text":  # which the text does not tell
            settings["stopped_by"] = job.written.stopped_by
        branch = self.lineage(job.step).branch
        self.files.database.add_sample(branch, job.step, val_loss, settings, job.text)

    def has_diverged(self) -> bool:
        """Return whether the weights are no use: not the latest batch alone has no finite loss."""
        loss = self.losses.train_loss
        if loss is None or math.isfinite(loss):
            return False
        model = self.trainer.whole_model
        first = self.trainer.split.val[: model.config.block_size].astype(np.int64)  # (T,)
        was_training = model.training
        model.eval()
        with torch.no_grad():
            logits = model(torch.from_numpy(first)[None].to(self.trainer.whole_device))  # (1, T, V)
        model.train(was_training)
        return not bool(torch.isfinite(logits).all())

    def snapshot(self, light: bool = False) -> Snapshot:
        """Return everything needed to resume here; a light one has only the weights."""
        diverged = {"diverged": True} if self.has_diverged() else {}
        return take_snapshot(
            self.trainer,
            {
                "config": self.trainer.config.to_dict(),
                "runtime": dataclasses.asdict(self.trainer.runtime),
                "tokenizer": self.files.tokenizer.to_dict(),
                "corpus_sha256": self.files.corpus.sha256,
                "train_seconds": self.throughput.train_seconds,
                **self.adjustments.to_dict(),
                "standing": dataclasses.asdict(self.losses),
                "branch": self.recorder.branch,
                "versions": versions(),
                "record": remember(self.files.database),
                "created": time.time(),
                **diverged,
            },
            light,
        )

    def go_to(self, snapshot: Snapshot) -> None:
        """Restore a snapshot to the bit: weights, settings and losses.

        The settings in ``system`` stay as they are.
        """
        config = config_from_dict(snapshot.state["config"])
        self.trainer.adjust(dataclasses.replace(config, system=self.trainer.config.system))
        restore(self.trainer, snapshot)
        self.resume_from(snapshot.state)

    def resume_from(self, state: dict[str, Any]) -> None:
        """Restore what a checkpoint has besides the trainer's state."""
        self.throughput.restart(state["train_seconds"])
        self.adjustments.restore(state)
        self.losses = Losses(**state["standing"])
        self.recorder.branch = state["branch"]
