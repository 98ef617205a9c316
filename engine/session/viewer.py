"""Show a run from its folder, which is never written: one that another program trains, or one whose
text is missing.

``Viewer`` has the methods of ``Session``; it refuses all commands. Nothing here needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import structs

from data.errors import InputError
from engine import protocol
from engine.config.schema import Config
from engine.metrics import MetricStore
from engine.protocol import Event, State, Status
from engine.runs.database import RunDatabase, Unreadable
from engine.runs.folder import DATABASE_FILE, is_locked, read_run_config
from engine.runs.records import JournalEntry, SummaryFacts
from engine.session.recorder import describe_changes, load_metrics, mark_entry

POLL_SECONDS = 0.5
# kinds of journal entries to pass on; advice as a warning, since it cannot be followed here
TOLD = ("evaluated", "adjusted", "warned", "advised")


class Viewer:
    """Follows a run on the disk.

    Args:
        missing: Why it cannot be trained here, if no other program trains it either.

    Raises:
        InputError: The run is just being created, or is damaged.
    """

    def __init__(
        self,
        path: Path,
        metrics: MetricStore,
        emit: Callable[[Event], None],
        missing: InputError | None = None,
    ) -> None:
        self.path, self.metrics, self._emit, self._missing = path, metrics, emit, missing
        self.poll_interval = None if missing else POLL_SECONDS
        self.status = Status(State.PREPARING)
        self._ended = ""  # why there is nothing more to see
        self._branch = self._journal_id = self._sample_id = self._samples_told = 0
        database = self._database()
        try:
            meta = database.meta()
            if "runtime" not in meta or "summary" not in meta:
                raise missing or InputError(
                    f"the run {path.name!r} is just being created by another program: "
                    f"try again in a moment"
                )
            self._meta = meta
            self._take_summary(meta["summary"])
            self._branch = self.status.branch
            self._config = _config_in_force(path, database, self._branch)
            load_metrics(database, metrics, self._branch)
            self._journal_id = database.newest_id("journal")
            self._sample_id = database.newest_id("samples")
        finally:
            database.close()

    def open(self, running: bool, request_id: int = 0) -> None:
        meta, status = self._meta, self.status
        corpus, parent = meta.get("corpus"), meta.get("parent")
        self._emit(
            protocol.RunOpened(
                path=str(self.path),
                config=self._config.to_dict(),
                runtime={**meta["runtime"]["resolved"]},
                corpus=corpus["name"] if corpus else self._config.data.corpus,
                note=corpus["note"] if corpus else "",
                parameters=meta["summary"].get("parameters") or 0,
                step=status.step,
                total_steps=status.total_steps,
                saved_step=status.saved_step,
                first_step=parent["step"] if parent else 0,
                last_sample=self._sample_id,
                watching=True,
                missing=str(self._missing or ""),
                request_id=request_id,
            )
        )
        self._emit(protocol.StateChanged(status.state, status.step))
        self._emit(
            protocol.Warned(
                f"{self._missing}; here the run is shown as it is, and nothing is changed"
                if self._missing
                else f"{self._other}: here it can be watched, and nothing is changed"
            )
        )

    def advance(self) -> bool:
        if not (self._ended or self._missing):
            try:
                self._look()
            except Unreadable:
                if self.path.is_dir():
                    raise
                self._lose()
        return False

    def handle(self, command: protocol.Command) -> None:
        """Refuse what would change the run."""
        why = self._ended or f"{self._other}: pause, sample and change it there"
        self._emit(command.refused(str(self._missing or why)))

    @property
    def _other(self) -> str:
        training = self.status.state in (State.RUNNING, State.PREPARING)
        return f"another program {'trains this run' if training else 'has this run open'}"

    def close(self, save: bool, request_id: int = 0) -> None:
        """Announce the end; no file is open."""
        self.status = structs.replace(self.status, state=State.STOPPED)
        state, step = self.status.state, self.status.step
        self._emit(protocol.StateChanged(state, step, request_id=request_id))

    # -- looking ---------------------------------------------------------------------------------

    def _look(self) -> None:
        live = is_locked(self.path)
        before = self.status
        database = self._database()
        try:
            self._take_summary(database.meta().get("summary", {}))
            if self.status.branch != self._branch:
                self._go_back(database)
            self._take_metrics(database)
            self._take_samples(database)
            self._take_journal(database)
        finally:
            database.close()
        if not live:
            self._end()
        elif self.status.state is not before.state:
            self._emit(protocol.StateChanged(self.status.state, self.status.step))

    def _end(self) -> None:
        self._ended = "the program that trained this run has ended: open it here to continue it"
        finished = self.status.state is State.FINISHED
        stopped = self.status.state is State.STOPPED
        state = State.FINISHED if finished else State.STOPPED
        self.status = structs.replace(self.status, state=state, message="")
        self._emit(protocol.StateChanged(state, self.status.step))
        step, saved = self.status.step, self.status.saved_step
        if finished:
            told = "the run is finished"
        elif stopped and step == saved:
            told = f"the run was stopped at step {step:,} and saved: it can be continued here"
        else:
            told = (
                "the program that trained this run has ended: it can be opened and continued here"
            )
        self._emit(protocol.Warned(told))

    def _lose(self) -> None:
        """Stop looking: the folder is not there any more."""
        self._ended = (
            f"the run's folder {self.path} is gone, as it was moved or deleted: open the run where "
            f"it is now, or another one"
        )
        self.status = structs.replace(self.status, state=State.STOPPED, message="")
        self._emit(protocol.StateChanged(State.STOPPED, self.status.step))
        self._emit(protocol.Warned(self._ended))

    def _take_summary(self, summary: SummaryFacts) -> None:
        known = {field.name for field in structs.fields(Status)}
        figures: dict[str, Any] = {k: v for k, v in summary.items() if k in known}
        state = State(summary.get("state", State.PREPARING))
        figures |= {"state": state, "pruned": summary.get("outdone", "")}
        self.status = Status(**figures, message=f"watching: {state}")

    def _go_back(self, database: RunDatabase) -> None:
        """Read everything again after the other program rewound the run."""
        self._branch = self.status.branch
        self.metrics.clear()
        load_metrics(database, self.metrics, self._branch)

    def _take_metrics(self, database: RunDatabase) -> None:
        for name in database.metric_names(self._branch):
            column = self.metrics.column(name)
            last = -1 if column.last_step is None else column.last_step
            self.metrics.extend(name, *database.metric(self._branch, name, last))

    def _take_samples(self, database: RunDatabase) -> None:
        for one in database.samples(after_id=self._sample_id):
            self._sample_id = one["id"]
            self._samples_told += 1
            number = self._samples_told
            settings = dict(one["settings"])
            group = one["settings"].get("group", 0)
            why = one["settings"].get("stopped_by", "")
            self._emit(protocol.SampleStarted(number, one["step"], True, settings, group))
            self._emit(protocol.SampleText(number, one["text"]))
            self._emit(protocol.SampleFinished(number, len(one["text"]), 0.0, why))

    def _take_journal(self, database: RunDatabase) -> None:
        for entry in database.journal(after_id=self._journal_id):
            mark_entry(self.metrics, entry["step"], entry["kind"], entry["detail"])
            self._journal_id = entry["id"]
            if entry["kind"] == "rewound":
                self._tell_rewound(entry, database)
            elif entry["kind"] in TOLD:
                self._pass_on(entry["kind"], entry["step"], entry["detail"])

    def _pass_on(self, kind: str, step: int, detail: dict[str, Any]) -> None:
        if kind == "evaluated":
            loss, status = detail["val_loss"], self.status
            best = status.best_step == step
            self._emit(protocol.Evaluated(step, loss, detail["measured"], best))
        elif kind == "adjusted":
            clock = detail.get("clock", False)
            label = describe_changes(detail["changes"])
            if label and not clock:
                self.metrics.add_mark(step, label)
            self._emit(protocol.Adjusted(step, detail["changes"], clock))
        else:
            self._emit(protocol.Warned(detail["message"]))

    def _tell_rewound(self, entry: JournalEntry, database: RunDatabase) -> None:
        step, branch, left_at = entry["step"], entry["branch"], entry["detail"]["left_at"]
        config = _config_in_force(self.path, database, branch, before=entry["id"])
        self._emit(protocol.Rewound(step, left_at, branch, config.to_dict()))

    def _database(self) -> RunDatabase:
        return RunDatabase(self.path / DATABASE_FILE, read_only=True)


def _config_in_force(
    path: Path, database: RunDatabase, branch: int, before: int | None = None
) -> Config:
    """Return the first configuration of a run with the changes along a branch.

    Journal entries after the id ``before`` do not count.
    """
    config = read_run_config(path)
    for change in database.lineage(branch).changes(database.journal("adjusted")):
        if before is None or change.id <= before:
            config, _ = config.check(change.values)
    return config
