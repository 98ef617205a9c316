"""What a run in training consists of, and how it goes into a checkpoint and comes out of it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from engine.checkpoint.run_record import remember
from engine.checkpoint.store import Snapshot, restore, take_snapshot
from engine.config.schema import config_from_dict
from engine.runs.checkpoint_names import checkpoint_name
from engine.runs.database import RunDatabase
from engine.runs.lineage import END, Lineage
from engine.runs.open import RunFiles
from engine.sampling.background import Job
from engine.session.recorder import Recorder
from engine.training.runtime import versions
from engine.training.throughput import Throughput
from engine.training.trainer import Evaluation, Trainer

Changes = dict[str, Any]  # settings


@dataclass
class Losses:
    """The latest and the best figures of a run."""

    train_loss: float | None = None
    val_loss: float | None = None
    val_measured: str = ""  # what the validation loss was measured on, in words
    evaluated_step: int = 0
    best_val_loss: float | None = None
    best_step: int | None = None
    final_step: int | None = None  # whose weights were measured as the last ones

    def note_evaluation(self, evaluation: Evaluation, measured: str) -> bool:
        """Take over a validation loss; returns whether it is the best so far."""
        self.val_loss, self.val_measured = evaluation.loss, measured
        self.evaluated_step = evaluation.step
        best = evaluation.loss < (math.inf if self.best_val_loss is None else self.best_val_loss)
        if best:
            self.best_val_loss, self.best_step = evaluation.loss, evaluation.step
        return best

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as checkpoints keep them."""
        return dataclasses.asdict(self)


class Adjustments:
    """Changes of live settings that are still to take effect.

    After a crash the journal holds changes made after the checkpoint; they take effect again, each
    at its step. The newest word on a setting outlives what is still ahead of an older one.
    """

    def __init__(self) -> None:
        self.wanted: Changes = {}  # since the last step boundary
        self.journal_id = 0  # of the last entry that is known here
        self._ahead: list[tuple[int, Changes]] = []  # from the journal, by step

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint knew."""
        self.journal_id = state["journal_id"]
        self._ahead = [(step, changes) for step, changes in state["unapplied"]]

    def to_dict(self) -> dict[str, Any]:
        """What a checkpoint has to know."""
        ahead = [[step, dict(changes)] for step, changes in self._ahead]
        return {"journal_id": self.journal_id, "unapplied": ahead}

    def read_journal(self, database: RunDatabase, lineage: Lineage) -> None:
        """Find the changes made after the checkpoint, along a lineage.

        A run that was taken up again at an earlier step may have entries out of order.
        """
        journal = database.journal("adjusted", after_id=self.journal_id)
        for one in lineage.changes(journal):
            self.forget_older(one.values, from_step=one.step)
            self._ahead.append((one.step, one.values))
            self._ahead.sort(key=lambda one: one[0])  # stable: of one step, the later stays later
        if journal:
            self.journal_id = journal[-1]["id"]

    def take_wanted(self) -> Changes:
        """What was wanted since the last boundary."""
        wanted, self.wanted = self.wanted, {}
        return wanted

    def take_due(self, step: int) -> Iterator[tuple[int, Changes]]:
        """What the journal holds for the steps up to here, with the step of each."""
        while self._ahead and self._ahead[0][0] <= step:
            yield self._ahead.pop(0)

    def forget_ahead(self) -> None:
        """What is still ahead belongs to a stretch that the run has left."""
        self._ahead.clear()

    def forget_older(self, changes: Changes, from_step: int = 0) -> None:
        """A newer word was given on these settings, and holds from a step on."""
        for step, older in self._ahead:
            if step >= from_step:
                for key in changes:
                    older.pop(key, None)


@dataclass(frozen=True)
class Verdict:
    """The last word of the pruning rule: where it was spoken, and why the run ends there."""

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
        """Steps done."""
        return self.trainer.step

    @cached_property
    def parameters(self) -> int:
        """How many the model has."""
        return self.trainer.model.parameter_count()

    @property
    def best_checkpoint(self) -> str | None:
        """The name that the checkpoint of the best step has, if there is a best step."""
        best = self.losses.best_step
        return None if best is None else checkpoint_name(best, self.lineage(best).branch)

    @property
    def pruned(self) -> str:
        """Why the pruning rule ends the run where it is; empty if it does not."""
        verdict, trainer = self.verdict, self.trainer
        here = (verdict.branch, verdict.step) == (self.recorder.branch, trainer.step)
        return verdict.why if here and trainer.step < trainer.total_steps else ""

    def lineage(self, up_to: int = END) -> Lineage:
        """How the run came to be here, or at a step before."""
        return self.files.database.lineage(self.recorder.branch, up_to)

    @property
    def first_step(self) -> int:
        """Where the run begins: 0, or the step at which it was forked off another."""
        parent = self.files.database.meta().get("parent")
        return int(parent["step"]) if parent else 0

    def apply_journal(self, warn: Callable[[str], None]) -> None:
        """Settings that the journal changes at the steps up to here take effect again."""
        for step, changes in self.adjustments.take_due(self.step):
            config, problems = self.trainer.config.check(changes)
            if problems:
                warn(f"a change made at step {step} was left out: {problems[0]}")
            else:
                self.trainer.adjust(config)

    def keep_sample(self, job: Job) -> None:
        """Write a finished text down, with the loss of the weights that wrote it."""
        losses = self.losses
        val_loss = losses.val_loss if job.step == losses.evaluated_step else None
        settings = dataclasses.asdict(job.settings)
        branch = self.lineage(job.step).branch
        self.files.database.add_sample(branch, job.step, val_loss, settings, job.text)

    def snapshot(self, light: bool = False) -> Snapshot:
        """All it takes to be here again; a light one holds the weights alone."""
        return take_snapshot(
            self.trainer,
            {
                "config": self.trainer.config.to_dict(),
                "runtime": dataclasses.asdict(self.trainer.runtime),
                "tokenizer": self.files.tokenizer.to_dict(),
                "corpus_sha256": self.files.corpus.sha256,
                "train_seconds": self.throughput.train_seconds,
                **self.adjustments.to_dict(),
                "standing": self.losses.to_dict(),
                "branch": self.recorder.branch,
                "versions": versions(),
                "record": remember(self.files.database),
                "created": time.time(),
            },
            light,
        )

    def go_to(self, snapshot: Snapshot) -> None:
        """Be where a snapshot was taken, weights, settings and figures, to the bit.

        What it runs on stays what it is now.
        """
        config = config_from_dict(snapshot.state["config"])
        self.trainer.adjust(dataclasses.replace(config, system=self.trainer.config.system))
        restore(self.trainer, snapshot)
        self.resume_from(snapshot.state)

    def resume_from(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint knows besides the trainer."""
        self.throughput.restart(state["train_seconds"])
        self.adjustments.restore(state)
        self.losses = Losses(**state["standing"])
        self.recorder.branch = state["branch"]
