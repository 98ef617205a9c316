"""What may change in a run that exists: when, in a fork, and what one setting does to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from data.errors import InputError
from data.paths import quoted
from engine.config.schema import SETTINGS, Config
from engine.config.setting import Value, When
from engine.config.unused import uses_muon

WITHOUT_EFFECT = ("sample.", "eval.", "checkpoint.")  # on the weights and the training loss
SHAPES = ("model.", "data.")
OPTIMIZER_STATE = ("optim.optimizer", "optim.ema_decay")


class WhenText(Struct, frozen=True):
    """How panel, messages and docs describe a ``When``."""

    sign: str  # beside the setting
    effect: str  # "takes effect …"
    column: str  # in docs/settings.md


WHEN_TEXTS = {
    When.LIVE: WhenText(" ", "at the next step", "any time"),
    When.RESUME: WhenText("↻", "when the run is resumed", "on resume"),
    When.NEW_RUN: WhenText("+", "in a new run", "new run"),
}


def format_options(changes: Mapping[str, Value]) -> str:
    """Format changes of settings as options of the command line."""
    return " ".join(
        f"--set {quoted(f'{key}={SETTINGS[key].format(value)}')}" for key, value in changes.items()
    )


def changes_training(key: str) -> bool:
    """Return whether a setting has an effect on the weights."""
    return not key.startswith(WITHOUT_EFFECT)


def why_not_now(key: str, now: When) -> str:
    """Return why a setting cannot change yet; empty if it can.

    Args:
        key: The setting; an unknown one is left to ``Config.check``.
        now: ``LIVE`` in an open run, ``RESUME`` as it is opened, ``NEW_RUN`` before it exists.
    """
    order = list(When)
    if key not in SETTINGS or order.index(SETTINGS[key].when) <= order.index(now):
        return ""
    return f"{key} can change only {WHEN_TEXTS[SETTINGS[key].when].effect}"


def why_not_in_fork(key: str) -> str:
    """Return why a fork cannot change a setting; empty if it can."""
    if key in SETTINGS and SETTINGS[key].when is When.LIVE:
        return ""
    if key.startswith(SHAPES):
        return "the weights were made for what it is"
    if key in OPTIMIZER_STATE:
        return "the optimizer's state would not fit"
    return ""


def check_fork(changes: Iterable[str]) -> None:
    """Refuse settings that no fork can change, of whatever run at whatever step.

    Raises:
        InputError: The weights or the optimizer's state would not fit.
    """
    problems = [
        f"{key} cannot change in a fork: {why}" for key in changes if (why := why_not_in_fork(key))
    ]
    if problems:
        raise InputError(*problems)


def check_fork_end(step: int, end: int) -> None:
    """Refuse a fork without a step to train.

    Raises:
        InputError: It would end at ``step`` or before.
    """
    if end <= step:
        raise InputError(
            f"the fork would begin at step {step:,} and end at step {end:,}: set "
            f"train.max_steps above that"
        )


def with_one_end(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes with other ways to end a run off, if they name one.

    ``max_minutes`` and ``max_epochs`` take precedence over ``max_steps``, so that a user who types
    a number of steps would see no effect. Only for what a user types: saved configurations,
    journals and forks are applied as written.
    """
    others: dict[str, Any] = {}
    if "train.max_steps" in changes:
        others = {"train.max_epochs": 0.0, "train.max_minutes": 0.0}
    elif changes.get("train.max_epochs"):
        others = {"train.max_minutes": 0.0}
    elif changes.get("train.max_minutes"):
        others = {"train.max_epochs": 0.0}
    return {**others, **changes}


def as_typed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes without those that ``with_one_end`` adds to the others."""
    typed = dict(changes)
    for key in ("train.max_epochs", "train.max_minutes"):
        others = {other: value for other, value in typed.items() if other != key}
        if with_one_end(others) == changes:
            typed = others
    return typed


def at_learning_rate(config: Config, rate: float) -> dict[str, Any]:
    """Return the changes that set ``learning_rate`` and scale the rates that depend on it.

    Rates are rounded to two digits; a ``min_lr`` that would be above the others is lowered.
    """
    optim = config.optim
    changes = {"optim.learning_rate": rounded_rate(rate)}
    if uses_muon(config):
        changes["optim.muon_lr"] = rounded_rate(rate * optim.muon_lr / optim.learning_rate)
    lowest = min(changes.values())
    if optim.schedule != "constant" and optim.min_lr > lowest:
        scaled = rounded_rate(rate * optim.min_lr / optim.learning_rate)
        changes["optim.min_lr"] = min(scaled, lowest)
    return changes


def rounded_rate(rate: float) -> float:
    """Round a learning rate to two digits, within the bounds of the setting."""
    limit = SETTINGS["optim.learning_rate"].maximum
    return min(float(f"{rate:.2g}"), limit if limit is not None else rate)
