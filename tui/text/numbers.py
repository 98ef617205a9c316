"""Numbers, times and paths as text: the one format for screens and commands."""

from __future__ import annotations

import math
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import on_one_line
from data.paths import utf8_text
from engine.config.setting import format_float
from engine.states import State

if TYPE_CHECKING:
    from engine.protocol import Status

UNKNOWN = "–"
LINE, ROOMY_LINE = 76, 100  # cells: the next evaluation is told, and its time
SAVED_SOON = 600.0  # seconds; a checkpoint that is due later is announced


def format_duration(seconds: float | None) -> str:
    """``0:07``, ``12:30``, ``3:05:00``; a dash if it is not known."""
    if seconds is None:
        return UNKNOWN
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_estimate(seconds: float) -> str:
    """``40 seconds``, ``12 minutes``, ``28 hours``: for what is only estimated."""
    for unit, noun in ((3600, "hour"), (60, "minute")):
        if seconds >= 1.5 * unit:
            return format_count(round(seconds / unit), noun)
    return format_count(max(1, round(seconds)), "second")


def format_amount(number: float | None) -> str:
    """``812``, ``24.5k``, ``10.7M``, ``1.56B``; a dash if it is not known."""
    if number is None:
        return UNKNOWN
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= limit * 0.99995:
            return f"{number / limit:.3g}{unit}"
    return f"{number:.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def format_unit(number: float, unit: str) -> str:
    """``812 B``, ``6.23 GB``, ``10.3 GFLOP``: three digits and a decimal prefix."""
    for limit, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit * 0.9995:
            return f"{number / limit:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}"


def format_count(number: int, noun: str) -> str:
    """``1 step``, ``2,000 steps``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_loss(value: float | None) -> str:
    """Three decimals, or three digits where those would say little; a dash if there is none yet."""
    if value is None:
        return UNKNOWN
    if not math.isfinite(value) or 0.01 <= abs(value) < 1000:
        return f"{value:.3f}"
    return format_float(value, 3)


def format_rate(rate: float) -> str:
    """``0.001``, ``0.00435``, ``3.2e-5``: a learning rate in three digits, as settings write it."""
    return format_float(rate, 3)


def format_step_share(share: float) -> str:
    """Format how much of a long step is done; empty if there is nothing to say."""
    return f" ({share:.1%} of the next)" if share else ""


def format_steps(step: int, total: int) -> str:
    """``120/5,000``."""
    return f"{step:,}/{total:,}"


def format_next_save(status: Status) -> str:
    """``at step 5,000 in 2:10:00``; empty if the next checkpoint is due before long."""
    seconds = status.seconds_to_save
    if status.state is not State.RUNNING or seconds is None or seconds < SAVED_SOON:
        return ""
    return f"at step {status.next_save:,} in {format_duration(seconds)}"


def format_next_eval(status: Status, width: int) -> str:
    """``at step 250 in 0:35``, or without the time in a narrow terminal; a dash if none is due."""
    if status.state is not State.RUNNING or status.next_eval <= status.step or width < LINE:
        return UNKNOWN
    seconds = status.seconds_to_eval if width >= ROOMY_LINE else None
    when = f" in {format_duration(seconds)}" if seconds is not None else ""
    return f"at step {status.next_eval:,}{when}"


def format_time(seconds: float) -> str:
    """``2026-11-21 14:30``, local time."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def format_path(path: Path | str) -> str:
    """A path on one line, with the home folder, if there is one, as ``~``."""
    path, home = Path(path), Path(os.path.expanduser("~"))  # stays ~ if there is none
    inside = path.is_relative_to(home) and home != home.parent
    return on_one_line(f"~/{utf8_text(path.relative_to(home))}" if inside else utf8_text(path))
