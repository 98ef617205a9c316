"""Numbers as a person at a terminal likes to read them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path


def duration(seconds: float | None) -> str:
    """``0:07``, ``12:30``, ``3:05:00``; a dash if it is not known."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def roughly(seconds: float) -> str:
    """``40 seconds``, ``12 minutes``, ``28 hours``: for what is only estimated."""
    for unit, noun in ((3600, "hour"), (60, "minute")):
        if seconds >= 1.5 * unit:
            return counted(round(seconds / unit), noun)
    return counted(max(1, round(seconds)), "second")


def amount(number: float) -> str:
    """``812``, ``24.5k``, ``10.7M``, ``1.56B``."""
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= limit * 0.99995:
            return f"{number / limit:.3g}{unit}"
    return f"{number:.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def with_unit(number: float, unit: str) -> str:
    """``812 B``, ``6.23 GB``, ``10.3 GFLOP``: three digits and a decimal prefix."""
    for limit, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit * 0.9995:
            return f"{number / limit:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}"


def counted(number: int, noun: str) -> str:
    """``1 step``, ``2,000 steps``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def loss(value: float | None) -> str:
    """Three decimals; a dash if there is none yet."""
    return "–" if value is None else f"{value:.3f}"


def moment(seconds: float) -> str:
    """``2026-11-21 14:30``, local time."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def short_path(path: Path | str) -> str:
    """A path with the home folder as ``~``."""
    path = Path(path)
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
