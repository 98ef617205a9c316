"""What a fork may change: told before anything is trained, built or asked for."""

from __future__ import annotations

from collections.abc import Iterable

from data.errors import InputError
from engine.config.schema import SETTINGS
from engine.config.setting import When

SHAPES = ("model.", "data.")  # what the weights were made for
REMEMBERED = ("optim.optimizer", "optim.ema_decay")  # what the optimizer's state was made for


def check_fit(changes: Iterable[str]) -> None:
    """Refuse what no fork of any run at any step can change.

    Args:
        changes: The settings.

    Raises:
        InputError: The weights or the optimizer's state were made for what the setting is.
    """
    problems = [f"{key} cannot change in a fork: {why}" for key in changes if (why := held_by(key))]
    if problems:
        raise InputError(*problems)


def check_end(step: int, end: int) -> None:
    """Refuse a fork that would have nothing to train.

    Args:
        step: Where it begins.
        end: Its last step.

    Raises:
        InputError: There is no step between.
    """
    if end <= step:
        raise InputError(
            f"the fork would begin at step {step:,} and end at step {end:,}: set "
            f"train.max_steps above that"
        )


def held_by(key: str) -> str:
    """Why a fork cannot change a setting; empty if it can."""
    if key in SETTINGS and SETTINGS[key].when is When.LIVE:
        return ""
    if key.startswith(SHAPES):
        return "the weights were made for what it is"
    if key in REMEMBERED:
        return "what the optimizer remembers would not fit"
    return ""
