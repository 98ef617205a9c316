"""Read a summary of a run, even while it is trained, without writing to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.paths import describe_os_error
from engine.bits import BYTES_PER_TOKEN, bits_per_byte
from engine.config.schema import Config
from engine.runs.database import Unreadable, reading
from engine.runs.folder import CONFIG_FILE, is_locked, list_runs, read_run_config
from engine.runs.notes import Notes, read_notes
from engine.runs.records import SummaryFacts
from engine.states import DAMAGED, INTERRUPTED, PRUNED_KEY, UNCLOSED, State

FROM_CONFIG = ("preset", "corpus", "total_steps")  # until the summary knows them


@dataclass(frozen=True)
class RunSummary:
    """A run in one row, as it was last recorded."""

    path: str
    name: str
    state: str
    live: bool = False  # some program has it open now
    preset: str = ""
    parameters: int | None = None
    step: int = 0
    total_steps: int = 0
    tokens: int = 0
    epoch: float = 0.0
    train_loss: float | None = None
    val_loss: float | None = None
    val_measured: str = ""
    val_accuracy: float | None = None  # of a toy task
    best_val_loss: float | None = None
    best_step: int | None = None
    train_seconds: float = 0.0
    device: str | None = None
    precision: str | None = None
    threads: int | None = None  # of each process
    processes: int = 1
    sharded: bool = False  # each of them has a part of the model
    corpus: str = ""
    corpus_note: str = ""  # not empty if the text is a stand-in
    created: float = 0.0
    tags: tuple[str, ...] = ()
    note: str = ""
    formerly: tuple[str, ...] = ()  # names it had, the oldest first
    parent: str = ""  # the run it was forked from, by the name it had then
    parent_step: int | None = None
    sparkline: tuple[float | None, ...] = ()  # of the training loss, at evenly spaced steps
    pruned: str = ""  # why the rule of its sweep has stopped it
    problem: str = ""  # what is damaged
    is_restorable: bool = False  # damaged, but opening the run restores its database
    bytes_per_token: float = 0.0  # of the validation text; 0 if that is not known
    config: Config | None = None  # as its settings are now; None until read, or if it cannot be

    @property
    def tokens_per_second(self) -> float:
        """The mean throughput of the whole training."""
        return self.tokens / self.train_seconds if self.train_seconds else 0.0

    @property
    def val_bits_per_byte(self) -> float | None:
        """The last validation loss, comparable between tokenizers."""
        return self._bits_per_byte(self.val_loss)

    @property
    def best_bits_per_byte(self) -> float | None:
        """The best validation loss, comparable between tokenizers."""
        return self._bits_per_byte(self.best_val_loss)

    def _bits_per_byte(self, loss: float | None) -> float | None:
        if loss is None or not self.bytes_per_token:
            return None
        return bits_per_byte(loss, self.bytes_per_token)


# that a database may have
FACTS = frozenset(RunSummary.__dataclass_fields__) - {"config"} | {"changed"}


def read_summaries(runs_dir: Path) -> list[RunSummary]:
    """Read the summaries of all runs of a folder, the newest last."""
    paths = list_runs(Path(os.path.realpath(runs_dir)))  # so that what is no link needs no more
    runs = [read_summary(path) if os.path.islink(path) else _read_real(path) for path in paths]
    return sorted(runs, key=lambda run: (run.created, run.name))


def read_summary(path: Path) -> RunSummary:
    """Read the summary of a run; a damaged run has the state ``damaged``, and nothing is raised."""
    return _read_real(Path(os.path.realpath(path)))


def _read_real(path: Path) -> RunSummary:
    live = is_locked(path)
    notes, problem = _notes_or_problem(path)
    about = {**vars(notes), "path": str(path), "name": path.name, "live": live}
    facts: dict[str, Any] = {}
    try:
        facts = _read_facts(path)
        config = read_run_config(path)
        if changed := facts.pop("changed", None):
            config, _ = config.check(changed)  # what does not fit is as it was
        known = (config.preset, config.data.corpus, config.train.max_steps)
        facts = {**dict(zip(FROM_CONFIG, known, strict=True)), **facts}
        state = _state(facts.pop("state", None), live)
        return RunSummary(**facts | about, state=state, problem=problem, config=config)
    except (InputError, OSError) as error:
        told = describe_os_error(error) if isinstance(error, OSError) else str(error)
        damage = "\n".join(one for one in (told, problem) if one)
        return RunSummary(
            **about,
            state=DAMAGED,
            created=facts.get("created") or _changed(path),
            problem=damage,
            is_restorable=isinstance(error, Unreadable) and error.is_restorable,
        )


def _changed(path: Path) -> float:
    """Return the modification time of a folder; 0 if it does not exist any more."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _notes_or_problem(path: Path) -> tuple[Notes, str]:
    try:
        return read_notes(path), ""
    except InputError as error:
        return Notes(), str(error)


def _read_facts(path: Path) -> dict[str, Any]:
    """Read the fields of ``RunSummary`` that are in the database."""
    with reading(path) as database:
        meta = database.meta()
        summary: SummaryFacts = meta.get("summary", {})
        curve = summary.get("sparkline")
        if curve is None:  # it was written by an older version, or only just forked
            from engine.metrics import MetricStore, sparkline  # imports numpy

            metrics = MetricStore()
            metrics.extend("train_loss", *database.metric(0, "train_loss"))
            curve = sparkline(metrics, "train_loss")
    references = meta.get("references", {})
    corpus, created, parent = meta.get("corpus", {}), meta.get("created"), meta.get("parent")
    if created is None:
        created = (path / CONFIG_FILE).stat().st_mtime
    facts: dict[str, Any] = {"created": created, "corpus_note": corpus.get("note", "")}
    if parent:
        facts |= {"parent": parent["run"], "parent_step": parent["step"]}
        facts |= {"state": State.STOPPED, "step": parent["step"]}  # until it is opened
    pruned = summary.get(PRUNED_KEY, "")
    facts |= {**summary, "pruned": pruned, "sparkline": tuple(curve)}
    facts["bytes_per_token"] = references.get(BYTES_PER_TOKEN) or 0.0
    if "name" in corpus:
        facts["corpus"] = corpus["name"]
    return {key: value for key, value in facts.items() if key in FACTS}


def _state(recorded: str | None, live: bool) -> str:
    """Return the recorded state, or ``interrupted`` if the program that recorded it is gone."""
    if recorded is None:
        recorded = State.PREPARING
    return INTERRUPTED if recorded in UNCLOSED and not live else str(recorded)
