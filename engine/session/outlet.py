"""What a session reports: events, warnings, journal entries, and its status."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from msgspec import structs

from engine.config.schema import tokens_per_step
from engine.machine.memory import memory_now
from engine.metric_catalogue import VAL_ACCURACY
from engine.protocol import Event, GoingBack, State, StateChanged, Status, Warned
from engine.session.recorder import Recorder
from engine.session.run_state import RunState
from engine.states import PRUNED_KEY
from engine.training.trainer import Trainer

REPORT_SECONDS = 1.0


class Outlet:
    """Reports for a session and its tasks."""

    def __init__(self, recorder: Recorder, emit: Callable[[Event], None]) -> None:
        self.status = Status(State.PREPARING)  # replaced whole: other threads read it
        self.state = State.PREPARING
        self._recorder, self._emit = recorder, emit
        self._run_state: RunState | None = None
        self._doing = ""  # what is done besides training
        self._going_back: GoingBack | None = None
        self._step_share = 0.0  # of the step under way, if it takes long
        self._ending = ""  # why the run ended before its last step

    @property
    def _step(self) -> int:
        return self._run_state.step if self._run_state else 0

    def follow(self, run_state: RunState) -> None:
        """Report on this run; what is reported before counts as of step 0."""
        self._run_state = run_state

    def tell(self, event: Event) -> None:
        """Emit an event, with the status up to date."""
        self.refresh()
        self._emit(event)

    def warn(self, sentence: str) -> None:
        """Emit a warning and write it into the journal."""
        self.journal("warned", message=sentence)
        self._emit(Warned(sentence))

    def report(self, line: str) -> None:
        """Show in the status what is being done besides training; empty when it is done."""
        self._doing = line
        self.refresh()

    def report_going_back(self, way: GoingBack | None, line: str = "") -> None:
        """Show in the status how far the run is on its way back; None when it is over."""
        self._going_back = way
        self.report(line)

    def report_step(self, share: float) -> None:
        """Show in the status how much of a long step is done; 0 when it is."""
        self._step_share = share
        self.refresh()

    def journal(self, kind: str, **detail: Any) -> int:
        """Write an entry of the journal; return its id."""
        return self._recorder.journal(self._step, kind, **detail)

    # -- the state -------------------------------------------------------------------------------

    def set_state(self, state: State, request_id: int = 0) -> None:
        """Set the state and announce it, even if it is the old one."""
        self.state = state
        why = self._ending if state is State.FINISHED else ""
        self.tell(StateChanged(state, self._step, why, request_id=request_id))

    def finish(self, why: str) -> None:
        """Announce the end of the run, and why it came before the last step, if it did."""
        self._ending = why
        self.set_state(State.FINISHED)

    def pause(self) -> None:
        if self.state is State.RUNNING:
            self.set_state(State.PAUSED)

    # -- the status ------------------------------------------------------------------------------

    def refresh(self) -> None:
        run_state = self._run_state
        if run_state is None:
            return
        trainer, losses, throughput = run_state.trainer, run_state.losses, run_state.throughput
        self.status = Status(
            state=self.state,
            message=self._doing,
            step=trainer.step,
            step_share=self._step_share,
            total_steps=trainer.total_steps,
            tokens=trainer.tokens,
            epoch=trainer.epoch,
            learning_rate=trainer.learning_rate,
            train_loss=losses.train_loss,
            val_loss=losses.val_loss,
            val_measured=losses.val_measured,
            best_val_loss=losses.best_val_loss,
            best_step=losses.best_step,
            saved_step=run_state.saved_step,
            next_save=_next_due(trainer, trainer.config.checkpoint.interval),
            next_eval=_next_due(trainer, trainer.config.eval.interval),
            branch=run_state.recorder.branch,
            train_seconds=throughput.train_seconds,
            tokens_per_second=throughput.tokens_per_second,
            tokens_per_step=tokens_per_step(trainer.config),
            pruned=run_state.pruned,
            going_back=self._going_back,
        )

    def summary(self) -> dict[str, Any]:
        """Return the run in one row, for lists and for ``--json``."""
        assert self._run_state
        self.refresh()
        figures = structs.asdict(self.status)
        for momentary in ("message", "step_share", "next_save", "next_eval", "going_back"):
            del figures[momentary]
        figures[PRUNED_KEY] = figures.pop("pruned")
        trainer = self._run_state.trainer
        changed = trainer.config.differences(self._run_state.files.config)
        return figures | {
            "device": trainer.runtime.device,
            "precision": trainer.runtime.precision,
            "threads": trainer.runtime.threads,
            "processes": trainer.runtime.processes,
            "sharded": trainer.sharding is not None,
            "parameters": self._run_state.parameters,
            VAL_ACCURACY: self._run_state.losses.val_accuracy,
            "corpus": self._run_state.files.corpus.name,
            "preset": trainer.config.preset,
            "changed": {key: now for key, (now, _) in changed.items()},
            "memory": memory_now(),
        }

    def flush(self) -> None:
        """Write the metrics recorded since the last time, and the summary."""
        self._recorder.flush(self.summary())

    def close(self) -> None:
        """Write everything, and that the session was closed."""
        if self.state not in (State.FINISHED, State.FAILED):
            self.state = State.STOPPED
        self.refresh()
        try:
            self.journal("closed", saved=self.status.saved_step)
        finally:
            self._recorder.close(self.summary())


def _next_due(trainer: Trainer, interval: int) -> int:
    """Return the next step that an interval makes due: at the latest the last one."""
    due = (trainer.step // interval + 1) * interval if interval else trainer.total_steps
    return min(due, trainer.total_steps)


def now_and_then(
    report: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> Callable[[str], None]:
    """Wrap ``report``: of lines that begin alike, up to a colon, one a second is passed on.

    The others are dropped; ``clock`` returns monotonic seconds.
    """
    due, topic = -float("inf"), ""

    def pass_on(message: str) -> None:
        nonlocal due, topic
        now, before, topic = clock(), topic, message.partition(":")[0]
        if now >= due or topic != before:
            due = now + REPORT_SECONDS
            report(message)

    return pass_on
