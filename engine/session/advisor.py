"""Give advice on a run in training: one piece at a time, and none twice in a row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from data.errors import InputError
from engine.config.changes import changes_training
from engine.diagnostics.advice import advise, advise_non_finite
from engine.diagnostics.symptoms import BASE_STEPS, RULES, Kind, Record, Steps, Values
from engine.protocol import Advised, Silenced, Unsilenced
from engine.runs.checkpoint_names import list_checkpoints, step_of
from engine.session.outlet import Outlet
from engine.session.run_state import RunState

LOOK_STEPS = 16
REST_STEPS = 100  # after a piece of advice, for it to be read and to take effect
LATEST = 10_000  # losses; looking at more takes time and tells no more
COUNTED_TOKENS = 1_000_000  # for their frequencies
DECAYED_SHARE = 0.2  # of the peak learning rate


class Advisor:
    """Looks for symptoms in the curves and emits advice, each kind once per change of settings."""

    def __init__(self, run_state: RunState, outlet: Outlet) -> None:
        self._run_state, self._outlet = run_state, outlet
        self._told: dict[str, int] = {}  # kind -> step of the change that it came after
        self._next_look = 0
        self.read_journal()

    def read_journal(self) -> None:
        """Read what was changed and silenced, at first and after a rewind."""
        run_state, database = self._run_state, self._run_state.files.database
        taken_back = max((one["id"] for one in database.journal("unsilenced")), default=0)
        silenced = database.journal("silenced", after_id=taken_back)
        self.silenced = {one["detail"]["advice"] for one in silenced}
        # a fork has the losses of its parent to compare with, and its changes are as those of a run
        self._since, self._comparable_since = run_state.first_step, 0
        self._values_before: dict[str, Any] = {}
        if parent := database.meta().get("parent"):
            changes = parent.get("changes")
            if changes is None:  # an old fork: they are not known
                self._comparable_since = parent["step"]
            self._note_change(parent["step"], changes or {})
        for change in run_state.lineage().changes(database.journal("adjusted")):
            if not change.clock:
                self._note_change(change.step, change.changes)
        self._next_look = min(self._next_look, run_state.step + REST_STEPS)

    def _note_change(self, step: int, changes: Mapping[str, Sequence[Any]]) -> None:
        before = {key: pair[0] for key, pair in changes.items() if changes_training(key)}
        if not before:
            return
        self._since, self._values_before = step, before
        if any(key.startswith("model.") for key in before):
            self._comparable_since = step  # dropout alone makes another loss

    def silence(self, kind: str, request_id: int = 0) -> None:
        """Give no more advice of a kind in this run.

        Raises:
            InputError: There is no such kind, or it cannot be silenced.
        """
        known = [str(one) for one in RULES]
        if kind not in known:
            raise InputError(f"no advice {kind!r} to silence: there is {', '.join(known)}")
        self.silenced.add(kind)
        self._outlet.journal("silenced", advice=kind)
        self._outlet.tell(Silenced(kind, request_id=request_id))

    def unsilence(self, request_id: int = 0) -> None:
        """Give all kinds of advice again.

        Raises:
            InputError: None was silenced.
        """
        kinds = sorted(self.silenced)
        if not kinds:
            raise InputError("no kind of advice was silenced in this run: all are given")
        self._told = {one: step for one, step in self._told.items() if one not in self.silenced}
        self.silenced.clear()
        self._outlet.journal("unsilenced", advice=kinds)
        self._outlet.tell(Unsilenced(kinds, request_id=request_id))

    def look(self) -> None:
        """Give advice, if it is due and there is any."""
        step = self._run_state.step
        if step < self._next_look:
            return
        self._next_look = step + LOOK_STEPS
        advice = self._find()
        if advice:
            self._give(advice)

    def tell_non_finite(self, step: int, what: str) -> None:
        """Give advice on a ``loss`` or ``gradient`` that is not finite."""
        config = self._run_state.trainer.config
        diverged = what == "loss" and self._run_state.has_diverged()
        self._give(advise_non_finite(step, what, self._good_step(step), config, diverged))

    def _give(self, advice: Advised) -> None:
        self._told[advice.kind] = self._since
        self._next_look = self._run_state.step + REST_STEPS
        self._outlet.journal("advised", advice=advice.kind, message=advice.message)
        self._outlet.tell(advice)

    def _find(self) -> Advised | None:
        record = self._record()
        if not len(record.losses):
            return None
        for kind, rule in RULES.items():
            if kind in self.silenced or self._told.get(kind) == self._since:
                continue
            symptom = rule(record)
            if symptom:
                recently = symptom.step - self._since <= BASE_STEPS
                blamed = recently or symptom.kind is Kind.TOO_HIGH  # on the latest change
                before = self._values_before if blamed else {}
                good = self._good_step(symptom.step) if symptom.is_blow_up else 0
                config = self._run_state.trainer.config
                return advise(symptom, config, before, good or None)
        return None

    def _record(self) -> Record:
        run_state, trainer = self._run_state, self._run_state.trainer
        optim = trainer.config.optim
        all_steps, all_losses = self._column("train_loss", self._comparable_since)
        steps, losses = _finite(all_steps[-LATEST:], all_losses[-LATEST:])
        val_steps, val_losses = _finite(*self._column("val_loss", self._since))
        return Record(
            steps=steps,
            losses=losses,
            first_loss=float(all_losses[0]) if len(all_losses) else math.nan,
            val_steps=val_steps,
            val_losses=val_losses,
            since=self._since,
            warmup_steps=optim.warmup_steps,
            decayed=run_state.step >= optim.warmup_steps
            and trainer.learning_rate < DECAYED_SHARE * optim.learning_rate,
            frequency_loss=self._frequency_loss,
        )

    def _column(self, name: str, after: int) -> tuple[Steps, Values]:
        steps, values, _ = self._run_state.recorder.metrics.column(name).snapshot()
        first = int(np.searchsorted(steps, after, side="right")) if after else 0
        return steps[first:], values[first:]

    @cached_property
    def _frequency_loss(self) -> float:
        """The entropy of the token frequencies, in nats."""
        counts = np.bincount(np.asarray(self._run_state.files.split.train[:COUNTED_TOKENS]))
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum())

    def _good_step(self, broken: int) -> int:
        """Return the newest checkpoint before a broken step whose loss had not risen."""
        run_state = self._run_state
        steps, losses = _finite(*self._column("train_loss", 0))
        lineage = run_state.lineage()
        for path in reversed(list_checkpoints(run_state.files.path)):
            step = step_of(path)
            lies_behind = run_state.first_step <= step < min(broken, run_state.step)
            if lies_behind and lineage.holds_checkpoint(path):
                recent = losses[steps <= step][-LOOK_STEPS:]
                if not len(recent) or np.median(recent) <= losses[0]:
                    return step
        return run_state.first_step


def _finite(steps: Steps, values: Values) -> tuple[Steps, Values]:
    finite = np.isfinite(values)
    return steps[finite], values[finite]
