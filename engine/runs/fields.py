"""What runs are sorted, filtered and listed by: words, figures, and every setting."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from data.errors import InputError, nearest, suggest
from engine.config.schema import KEYS_BY_NAME, SETTINGS

if TYPE_CHECKING:  # it imports numpy, and names of fields are known before the first paint
    from engine.runs.summary import RunSummary


class Kind(StrEnum):
    """How the values of a field are compared."""

    TEXT = "text"
    NUMBER = "number"
    DURATION = "duration"  # in seconds
    SWITCH = "on or off"


@dataclass(frozen=True)
class Field:
    """One property of runs.

    Attributes:
        name: As it is typed, and as a column is called.
        value: Its value for a run; None if that is not known.
        kind: How values are compared.
        example: A value, for messages.
        setting: The key of the setting that it is; empty for others.
    """

    name: str
    value: Callable[[RunSummary], Any]
    kind: Kind = Kind.TEXT
    example: str = ""
    setting: str = ""


def _natural(name: str) -> list[tuple[int, Any]]:
    """So that ``run-9`` comes before ``run-10``."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


SORTS: dict[str, Callable[[RunSummary], Any]] = {
    "created": lambda run: run.created,
    "name": lambda run: _natural(run.name),
    "state": lambda run: run.state,
    "preset": lambda run: run.preset,
    "parameters": lambda run: run.parameters,
    "best": lambda run: run.best_val_loss,
    "step": lambda run: run.step,
    "time": lambda run: run.train_seconds,
    "data": lambda run: run.corpus,
    "tags": lambda run: " ".join(run.tags) or None,
    "val": lambda run: run.val_loss,
    "train": lambda run: run.train_loss,
    "tokens": lambda run: run.tokens,
    "speed": lambda run: run.tokens_per_second or None,
}
"""What runs can be sorted by, beside their settings; a run without it comes last."""

WORDS: dict[str, Callable[[RunSummary], str]] = {
    "name": lambda run: run.name,
    "state": lambda run: f"{run.state} live" if run.live else run.state,
    "preset": lambda run: run.preset,
    "data": lambda run: run.corpus,
    "tag": lambda run: " ".join(run.tags),
    "note": lambda run: run.note,
    "parent": lambda run: run.parent,
}
"""Where a word without a field is looked for."""

FIGURES: tuple[Field, ...] = (
    *(Field(name, value) for name, value in WORDS.items()),
    Field("device", lambda run: run.device or ""),
    Field("precision", lambda run: run.precision or ""),
    Field("best", lambda run: run.best_val_loss, Kind.NUMBER, "2"),
    Field("val", lambda run: run.val_loss, Kind.NUMBER, "2"),
    Field("train", lambda run: run.train_loss, Kind.NUMBER, "2"),
    Field("step", lambda run: run.step, Kind.NUMBER, "1000"),
    Field("tokens", lambda run: run.tokens, Kind.NUMBER, "1M"),
    Field("params", lambda run: run.parameters, Kind.NUMBER, "1M"),
    Field("speed", lambda run: run.tokens_per_second or None, Kind.NUMBER, "10k"),
    Field("time", lambda run: run.train_seconds, Kind.DURATION, "10m"),
    Field("age", lambda run: max(0.0, time.time() - run.created), Kind.DURATION, "2d"),
)

SAME_AS = {
    "steps": "step",
    "parameters": "params",
    "tags": "tag",
    "loss": "best",
    "corpus": "data",
    "text": "data",
    "duration": "time",
}
"""Other words for a field."""

KINDS = {bool: Kind.SWITCH, int: Kind.NUMBER, float: Kind.NUMBER, str: Kind.TEXT}


def short_name(key: str) -> str:
    """Return what a setting is called where there is little room: ``lr``, ``n_head``."""
    return _SHORT_OF.get(key, key)


def _setting_field(key: str) -> Field:
    setting = SETTINGS[key]
    kind = KINDS[setting.type]
    return Field(
        short_name(key),
        lambda run: None if run.config is None else run.config.get(key),
        kind,
        setting.format(setting.default) if kind is Kind.NUMBER else "",
        key,
    )


_TAKEN = {*SAME_AS, *(field.name for field in FIGURES)}
_SHORT_OF = {  # a name that several settings have is the first one's
    keys[0]: name for name, keys in KEYS_BY_NAME.items() if name not in {*SETTINGS, *_TAKEN}
}
_BY_KEY = {key: _setting_field(key) for key in SETTINGS}
FIELDS: dict[str, Field] = {
    **{name: _BY_KEY[keys[0]] for name, keys in KEYS_BY_NAME.items()},
    **{field.name: field for field in FIGURES},
}
FIELDS |= {name: FIELDS[other] for name, other in SAME_AS.items()}
"""What runs can be filtered by: every name of every field."""


def known_field(name: str) -> Field:
    """Return a field by one of its names.

    Raises:
        InputError: There is none; the sentence suggests the nearest.
    """
    if name in FIELDS:
        return FIELDS[name]
    near = similar_field(name)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(_COMMON)} and any setting"
    raise InputError(f"runs have no {name!r}: {hint}")


def similar_field(name: str) -> str | None:
    """Return the name of a field that is nearly this one; None if there is none."""
    return nearest(name, FIELDS, cutoff=0.7)


_COMMON = ("name", "state", "preset", "tag", "note", "best", "val", "step", "params", "age", "lr")


def sort_key(by: str) -> Callable[[RunSummary], Any]:
    """Return the function that an order sorts by.

    Raises:
        InputError: There is no such order.
    """
    if by in SORTS:
        return SORTS[by]
    if by in FIELDS and FIELDS[by].setting:
        return FIELDS[by].value
    names = [*SORTS, *(name for name, field in FIELDS.items() if field.setting)]
    hint = suggest(by, names, f"there are {', '.join(SORTS)} and any setting")
    raise InputError(f"runs cannot be sorted by {by!r}: {hint}")


def differing_keys(runs: Iterable[RunSummary]) -> list[str]:
    """Return the settings in which runs differ, as far as they are known, in the schema's order."""
    configs = [run.config for run in runs if run.config is not None]
    sections: dict[str, set[Any]] = {}
    for config in configs:
        for name, section in vars(config).items():
            sections.setdefault(name, set()).add(section)
    return [
        key
        for key, setting in SETTINGS.items()
        if len(found := sections.get(setting.section, set())) > 1
        and len({getattr(one, setting.name) for one in found}) > 1
    ]
