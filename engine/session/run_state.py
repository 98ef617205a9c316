"""What a run in training consists of, and how it goes into a checkpoint and comes out of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.checkpoint.run_record import remember
from engine.checkpoint.store import Snapshot, restore, take_snapshot
from engine.config.schema import config_from_dict
from engine.runs.checkpoint_names import checkpoint_name
from engine.runs.lineage import END, Lineage
from engine.runs.open import RunFiles
from engine.session.adjustments import Adjustments
from engine.session.losses import Losses
from engine.session.recorder import Recorder
from engine.training.runtime import versions
from engine.training.throughput import Throughput
from engine.training.trainer import Trainer


@dataclass
class RunState:
    """One run at one step."""

    files: RunFiles
    trainer: Trainer
    recorder: Recorder
    throughput: Throughput = field(default_factory=Throughput)
    losses: Losses = field(default_factory=Losses)
    adjustments: Adjustments = field(default_factory=Adjustments)

    @property
    def step(self) -> int:
        """Steps done."""
        return self.trainer.step

    @property
    def best_checkpoint(self) -> str | None:
        """The name that the checkpoint of the best step has, if there is a best step."""
        best = self.losses.best_step
        if best is None:
            return None
        return checkpoint_name(best, self.lineage(best).branch)

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
            config = self.trainer.config
            # naming max_steps alone would turn max_epochs off
            changes.setdefault("train.max_epochs", config.train.max_epochs)
            config, problems = config.check(changes)
            if problems:
                warn(f"a change made at step {step} was left out: {problems[0]}")
            else:
                self.trainer.adjust(config)

    def journal(self, kind: str, **detail: Any) -> int:
        """Note on disk that something happened now; returns the entry's id."""
        return self.recorder.journal(self.step, kind, **detail)

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
