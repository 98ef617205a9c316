"""When a run in training is saved, and what to do if its folder cannot be written."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from data.errors import InputError, reason_of, shortage_of_files
from engine.checkpoint.retention import Rules
from engine.checkpoint.store import Snapshot, write_checkpoint
from engine.protocol import Saved, State
from engine.runs.checkpoint_names import is_full, step_of
from engine.runs.own_files import find_foreign
from engine.session.outlet import Outlet
from engine.session.run_state import RunState

Task = Generator[None, None, None]


class Saving:
    """Saves a run between steps; the file is written while training continues.

    Results must be read before, so that a checkpoint and the metrics agree.
    """

    def __init__(self, run_state: RunState, outlet: Outlet) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-writer")
        self._writing: Future[Path] | None = None
        self._run_state, self._outlet = run_state, outlet
        self.needed = ""  # the name of a checkpoint that stays meanwhile, whatever the rules say
        self._saved = self._being_saved = ""  # what there was to save; see _content
        self.path = run_state.files.path  # of the latest checkpoint, even of dead weights
        self._request_id = 0  # of the command that the checkpoint being written answers
        self._trouble_told = ""
        self._database_file = self._identity()

    def note_saved(self, path: Path) -> None:
        """Take the run to be what this checkpoint, the latest, holds."""
        self._run_state.saved_step = self._run_state.step
        self._saved, self.path = self._content(), path

    @property
    def is_saved(self) -> bool:
        """Whether the latest checkpoint holds everything."""
        return self._saved == self._content()

    def _content(self) -> str:
        """Everything that makes a new checkpoint worthwhile: a step or an evaluation since."""
        run_state = self._run_state
        losses = dataclasses.asdict(run_state.losses)
        return json.dumps([run_state.recorder.branch, run_state.step, losses])

    def task(self, announce_again: bool = True, request_id: int = 0) -> Task:
        """Save if there is anything new; the writing itself continues after the task."""
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
            phase = run_state.phases.enter("saving")
            self._write(run_state.snapshot(light=True))
            run_state.phases.enter(phase)

    def until_written(self) -> Task:
        """Wait for a checkpoint that is being written."""
        while self.busy:
            self.collect(0.01)
            yield

    def begin(self, request_id: int = 0) -> None:
        """Take a snapshot and have it written; the last one must have been collected."""
        run_state = self._run_state
        phase = run_state.phases.enter("saving")
        self._outlet.flush()
        self.check_folder()  # where a run is saved all the time, no other flush is ever due
        database = run_state.files.database
        try:
            database.sync()
        except OSError as error:
            run_state.phases.enter(phase)
            self._pause_unwritten(error)
            return
        self._being_saved, self._request_id = self._content(), request_id
        # pending writes would be missing from a copy
        is_whole = not database.writer.trouble and not self._what_is_gone()
        copied = database.path if is_whole else None
        self._write(run_state.snapshot(), copied)
        run_state.phases.enter(phase)

    def _write(self, snapshot: Snapshot, database: Path | None = None) -> None:
        path, best = self._run_state.files.path, self._run_state.best_checkpoint
        self._writing = self._pool.submit(
            write_checkpoint, path, snapshot, self._rules, best, database
        )

    @property
    def _rules(self) -> Rules:
        asked = self._run_state.trainer.config.checkpoint
        return Rules(asked.keep, asked.keep_every, asked.history_mb * 10**6, self.needed)

    @property
    def busy(self) -> bool:
        """Whether a snapshot is being written, or its result was not collected yet."""
        return self._writing is not None

    def close(self) -> None:
        self._pool.shutdown()

    def collect(self, seconds: float | None = 0.0) -> None:
        """Announce a checkpoint that was written, after waiting at most so long; None: no limit."""
        if self._writing is None or not wait([self._writing], seconds).done:
            return
        writing, self._writing = self._writing, None
        try:
            path = writing.result()
        except OSError as error:
            self._pause_unwritten(error)
            return
        except InputError as error:  # the database is damaged, or a file is not the run's own
            why = f"the checkpoint was not written, and training is paused: {error}"
            self._pause(why if self._run_state.files.path.is_dir() else self._what_is_gone())
            return
        if is_full(path):
            self._saved, self.path = self._being_saved, path
            self._run_state.saved_step = step_of(path)
            self._announce(self._request_id)

    def _pause_unwritten(self, error: OSError) -> None:
        way_out = shortage_of_files(error) or "make room, then resume it"
        if error.errno in (errno.EEXIST, errno.EISDIR, errno.ENOTDIR):
            there = error.filename2 or error.filename
            way_out = f"remove {there}, which is not what a run has there, then resume it"
        why = (
            f"the checkpoint could not be written ({reason_of(error)}); the older ones "
            f"are whole. Training is paused: {way_out}"
        )
        _, foreign = find_foreign(self._run_state.files.path)
        if foreign:
            why = f"the checkpoint was not written, and training is paused: {foreign}"
        self._pause(why if self._run_state.files.path.is_dir() else self._what_is_gone())

    def check_folder(self) -> None:
        """Warn once if the run cannot be written, and once when it can be again.

        Training is paused, unless the database is only locked: what is recorded meanwhile is
        written later.
        """
        database = self._run_state.files.database
        writer, locked = database.writer, False
        trouble = self._what_is_gone()
        if not trouble and writer.trouble and writer.is_locked:
            locked = True
            trouble = (
                "another program holds the run's database: training continues, and the figures are "
                "written once it is closed there"
            )
        elif not trouble and writer.trouble:
            trouble = (
                f"the run's database cannot be written ({writer.trouble}): training is paused, and "
                f"what was recorded is kept in memory. Make room, then resume it"
            )
        was_resumed = self._outlet.state is State.RUNNING and not locked
        if trouble and (trouble != self._trouble_told or was_resumed):
            if locked:
                self._outlet.warn(trouble)
            else:
                self._pause(trouble)
        elif self._trouble_told and not trouble:
            self._outlet.warn("the run can be written again: nothing that was recorded is missing")
        self._trouble_told = trouble

    def _what_is_gone(self) -> str:
        """Return a sentence if the run's folder or database is not there any more, else nothing."""
        database = self._run_state.files.database.path
        if self._identity() == self._database_file:
            return ""
        if not database.parent.is_dir():
            what = f"the run's folder {database.parent} is gone"
        elif not database.exists():
            what = f"the run's database {database} is gone"
        else:
            what = f"another program has put a file of its own in the place of {database}"
        return (
            f"{what}: training is paused. The run's weights and metrics are still in memory: fork "
            f"it to keep them in a new run"
        )

    def _identity(self) -> tuple[int, int] | None:
        """Return what tells the database's file from any other; None if it is gone."""
        try:
            found = os.stat(self._run_state.files.database.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _pause(self, why: str) -> None:
        self._outlet.warn(why)
        self._outlet.pause()

    def _announce(self, request_id: int) -> None:
        step = self._run_state.saved_step
        self._outlet.journal("saved", saved=step)
        self._outlet.tell(Saved(step, str(self.path), request_id=request_id))
