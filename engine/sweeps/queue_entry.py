"""An entry of the queue: a run to train, and its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from data.corpus import KNOWN_NAMES
from data.errors import InputError
from engine.config.schema import Config, config_from_dict, read_config
from engine.config.setting import Value
from engine.runs.folder import CONFIG_FILE
from engine.sweeps.median_rule import MedianRule


class EntryState(StrEnum):
    """The state of an entry."""

    WAITING = "waiting"
    RUNNING = "running"  # or interrupted: see ``Entry.live``
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = (EntryState.DONE, EntryState.FAILED, EntryState.CANCELLED)


@dataclass(frozen=True)
class RunRequest:
    """A run to add to the queue: its configuration, and the settings that were changed for it."""

    config: Config
    changes: Mapping[str, Value]


@dataclass(frozen=True)
class Entry:
    """An entry of the queue.

    Attributes:
        id: The number to refer to it by.
        position: Entries are trained in ascending order.
        sweep: The name of its sweep; empty for a single run.
        number: Its number within the sweep, from 1.
        settings: All settings, as in ``config.toml``.
        changes: The settings that were changed for it.
        command_line: The command that added it.
        state: As stored; see ``state_name``.
        run: The name of its run; empty before it begins.
        problem: Why it failed.
        created: Seconds since 1970.
        live: Whether a process trains it now.
        rule: The pruning rule, if there is one.
    """

    id: int
    position: int
    sweep: str
    number: int
    settings: dict[str, Any]
    changes: dict[str, Value]
    command_line: str
    state: EntryState
    run: str
    problem: str
    created: float
    live: bool
    rule: MedianRule | None = None

    @property
    def state_name(self) -> str:
        """The state to show: ``interrupted`` if it was started and no process trains it."""
        interrupted = self.state is EntryState.RUNNING and not self.live
        return "interrupted" if interrupted else str(self.state)

    @property
    def is_over(self) -> bool:
        """Whether it is done, failed or cancelled."""
        return self.state in OVER

    def value(self, key: str) -> Value | None:
        """Return the value of a setting; None if another version added it without that setting."""
        section, name = key.split(".")
        value: Value | None = self.settings.get(section, {}).get(name)
        return value


def is_run_of(run: Path, entry: Entry) -> bool:
    """Return whether a run folder belongs to an entry, by comparing their settings.

    The process may have been killed before it could record the run's name in the queue.
    """
    try:
        asked = config_from_dict(entry.settings)
        made = read_config(run / CONFIG_FILE)
    except InputError:
        return False
    return not asked.differences(made).keys() - {"data.corpus"}  # paths may be resolved


def with_path(config: Config) -> Config:
    """Make the path of a text file absolute."""
    corpus = config.data.corpus
    if corpus in KNOWN_NAMES:
        return config
    return config.replace({"data.corpus": str(Path(corpus).expanduser().absolute())})


def varying(entries: Iterable[Entry]) -> list[str]:
    """Return the settings that differ between entries, or those changed for a single one."""
    entries = list(entries)
    keys = list(dict.fromkeys(key for entry in entries for key in entry.changes))
    if len(entries) == 1:
        return keys
    return [key for key in keys if len({entry.value(key) for entry in entries}) > 1]
