"""A run in the queue: what it is about, and what has become of it."""

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
    """What has become of an entry."""

    WAITING = "waiting"
    RUNNING = "running"  # or interrupted: see ``Entry.live``
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = (EntryState.DONE, EntryState.FAILED, EntryState.CANCELLED)


@dataclass(frozen=True)
class RunRequest:
    """A run to be queued: its settings, and those it is about."""

    config: Config
    changes: Mapping[str, Value]


@dataclass(frozen=True)
class Entry:
    """A run in the queue.

    Attributes:
        id: What the person calls it by.
        position: Its place; the smallest is trained first.
        sweep: What it is part of; empty for a run of its own.
        number: Within the sweep, from 1.
        settings: All of them, as in ``config.toml``.
        changes: Those it is about.
        command_line: What added it.
        state: What has become of it.
        run: The name of its run; empty before it begins.
        problem: Why it failed.
        created: Seconds since 1970.
        live: Some program trains it now.
        rule: What may stop it before its end; None if nothing does.
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
        """Its state; ``interrupted`` if it was begun and nobody trains it."""
        lies = self.state is EntryState.RUNNING and not self.live
        return "interrupted" if lies else str(self.state)

    @property
    def is_over(self) -> bool:
        """Whether it will not be trained unless asked for."""
        return self.state in OVER

    def value(self, key: str) -> Value | None:
        """The value of a setting; None if the program that added it did not know it."""
        section, name = key.split(".")
        value: Value | None = self.settings.get(section, {}).get(name)
        return value


def is_run_of(run: Path, entry: Entry) -> bool:
    """Whether a run folder was made for an entry.

    Its program may have been killed before it could note so. The settings decide: a run with the
    very same ones is the same run, whoever began it.
    """
    try:
        asked = config_from_dict(entry.settings)
        made = read_config(run / CONFIG_FILE)
    except InputError:
        return False
    return not asked.differences(made).keys() - {"data.corpus"}  # a link may have been followed


def with_path(config: Config) -> Config:
    """A file of text is found from any folder."""
    corpus = config.data.corpus
    if corpus in KNOWN_NAMES:
        return config
    return config.replace({"data.corpus": str(Path(corpus).expanduser().absolute())})


def varying(entries: Iterable[Entry]) -> list[str]:
    """The settings in which entries differ, or which the only one is about."""
    entries = list(entries)
    keys = list(dict.fromkeys(key for entry in entries for key in entry.changes))
    if len(entries) == 1:
        return keys
    return [key for key in keys if len({entry.value(key) for entry in entries}) > 1]
