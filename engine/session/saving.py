"""When a run in training is saved, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

from engine.checkpoint.retention import Rules
from engine.checkpoint.writer import Saver
from engine.protocol import Saved
from engine.runs.checkpoint_names import is_full, step_of
from engine.runs.database import Unreadable
from engine.session.outlet import Outlet
from engine.session.run_state import RunState

Task = Generator[None, None, None]


class Saving:
    """Saves a run at step boundaries, while its training goes on.

    Whoever begins it has read all results, so that a checkpoint and the metrics agree.
    """

    def __init__(self, run_state: RunState, outlet: Outlet) -> None:
        self.saver = Saver(run_state.files.path)
        self._run_state, self._outlet = run_state, outlet
        self._saved = self._being_saved = ""  # stands; see _stand
        self._path = run_state.files.path  # of the latest checkpoint
        self._request_id = 0  # of the command that the checkpoint being written answers

    def note_saved(self, path: Path) -> None:
        """The run is what this checkpoint, the latest, holds."""
        self._run_state.saved_step = self._run_state.step
        self._saved, self._path = self._stand(), path

    @property
    def is_saved(self) -> bool:
        """Whether the latest checkpoint holds all there is to hold."""
        return self._saved == self._stand()

    def _stand(self) -> str:
        """All that makes a checkpoint worth writing anew: a step, or an evaluation since."""
        run_state = self._run_state
        return json.dumps([run_state.recorder.branch, run_state.step, run_state.losses.to_dict()])

    def task(self, announce_again: bool = True, request_id: int = 0) -> Task:
        """Save if there is anything new; the writing itself goes on after the task."""
        yield from self.until_written()
        if not self.is_saved:
            self.begin(request_id)
        elif announce_again:
            self._announce(request_id)

    def history_task(self) -> Task:
        """Keep the weights of this step to look at later, unless a checkpoint holds them."""
        yield from self.until_written()
        run_state = self._run_state
        interval = run_state.trainer.config.checkpoint.interval
        due = interval and run_state.step % interval == 0  # a full one comes next
        if self._rules.history_bytes and not due and run_state.saved_step != run_state.step:
            self.saver.write(run_state.snapshot(light=True), self._rules, run_state.best_checkpoint)

    def until_written(self) -> Task:
        """Wait for a checkpoint that is being written."""
        while self.saver.busy:
            self.collect(0.01)
            yield

    def begin(self, request_id: int = 0) -> None:
        """Copy all there is and have it written; the last one must have been collected."""
        run_state = self._run_state
        self._outlet.flush()
        database = run_state.files.database
        database.sync()
        self._being_saved, self._request_id = self._stand(), request_id
        # what waits in memory would be missing from a copy
        copied = None if database.writer.trouble else database.path
        self.saver.write(run_state.snapshot(), self._rules, run_state.best_checkpoint, copied)

    @property
    def _rules(self) -> Rules:
        asked = self._run_state.trainer.config.checkpoint
        return Rules(asked.keep, asked.keep_every, asked.history_mb * 10**6)

    def collect(self, seconds: float | None = 0.0) -> None:
        """See whether a checkpoint has come to be, waiting so long for it; None: to the end."""
        try:
            path = self.saver.collect(seconds)
        except OSError as error:
            self._give_up(self._why_not(error))
            return
        except Unreadable as error:
            self._give_up(f"the checkpoint was not written, and training is paused: {error}")
            return
        if path and is_full(path):
            self._saved, self._path = self._being_saved, path
            self._run_state.saved_step = step_of(path)
            self._announce(self._request_id)

    def close(self) -> None:
        """Wait for the writer."""
        self.saver.close()

    def _give_up(self, why: str) -> None:
        self._outlet.warn(why)
        self._outlet.pause()

    def _why_not(self, error: OSError) -> str:
        path = self._run_state.files.path
        if not path.is_dir():
            return (
                f"the run's folder {path} is gone: training is paused. Its "
                f"weights and figures are still in memory: fork it to keep them in a new run"
            )
        return (
            f"the checkpoint could not be written ({error.strerror or error}); the older ones are "
            f"whole. Training is paused: make room, then resume it"
        )

    def _announce(self, request_id: int) -> None:
        step = self._run_state.saved_step
        self._outlet.journal("saved", saved=step)
        self._outlet.tell(Saved(step, str(self._path), request_id=request_id))
