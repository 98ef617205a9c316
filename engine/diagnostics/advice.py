"""What to do about a symptom: one sentence, one action, and the settings that carry it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.config.schema import SETTINGS, Config
from engine.diagnostics.symptoms import Kind, Symptom

DROPOUT = 0.2  # nanoGPT's, for a model that outgrows its text
PATIENCE = 1  # evaluations, for one that has it already
RATES = ("optim.learning_rate", "optim.muon_lr", "optim.min_lr")
MUCH_LOWER, LOWER, HIGHER = 0.1, 0.3, 10.0  # factors of the learning rate


@dataclass(frozen=True)
class Advice:
    """What a person is told.

    Attributes:
        kind: What is wrong.
        message: One sentence on it.
        action: What following the advice does, as an imperative; empty if there is nothing to do.
        changes: Of live settings, which do that.
        rewind_to: The step to go back to before; None stays.
    """

    kind: Kind
    message: str
    action: str
    changes: dict[str, Any]
    rewind_to: int | None = None


def advise(symptom: Symptom, config: Config, before: dict[str, Any]) -> Advice | None:
    """The advice on a symptom; None if all that could be advised is done already.

    Args:
        symptom: What is wrong.
        config: As it is now.
        before: The values before the latest change, if that may have brought the symptom on.
    """
    was, now, step = f"{symptom.before:.2f}", f"{symptom.now:.2f}", f"{symptom.step:,}"
    match symptom.kind:
        case Kind.SPIKE:
            message = f"the loss jumped from {was} to {now} at step {step} and stays there"
            changes = _rate_before(before, config) or scaled_rate(config, LOWER)
        case Kind.TOO_HIGH if symptom.now > symptom.before * 1.05:
            message = f"the loss has climbed from {was} to {now}: the learning rate is too high"
            changes = scaled_rate(config, MUCH_LOWER)
        case Kind.TOO_HIGH:
            message = f"stuck at {now}, what token counts alone give: the learning rate is too high"
            changes = scaled_rate(config, MUCH_LOWER)
        case Kind.OVERFITTING:
            message = (
                f"validation rose from {was} (step {step}) to {now}, training fell: overfitting"
            )
            changes = _against_overfitting(config)
        case Kind.PLATEAU if symptom.unmoved:
            message = f"the loss has hardly moved from {was}: the learning rate is too low"
            changes = _raised_rate(config)
        case _:
            message = f"the loss has stood at {now} since step {step}"
            changes = scaled_rate(config, LOWER)
    return Advice(symptom.kind, message, described(changes), changes) if changes else None


def advise_non_finite(step: int, what: str, rewind_to: int, config: Config) -> Advice:
    """The advice on a loss or gradient that is not a number.

    Args:
        step: Whose update was left out.
        what: ``loss`` or ``gradient``.
        rewind_to: The last step known to be good.
        config: As it is now.
    """
    changes = scaled_rate(config, MUCH_LOWER)
    rate = SETTINGS["optim.learning_rate"].format(changes["optim.learning_rate"])
    return Advice(
        Kind.NON_FINITE,
        f"the {what} of step {step:,} is not a number: update left out, run paused",
        f"go back to step {rewind_to:,}, learning_rate {rate}",
        changes,
        rewind_to,
    )


def described(changes: dict[str, Any]) -> str:
    """Changes as an imperative, the first of them with its value."""
    for key, value in changes.items():
        return f"set {key.partition('.')[2]} to {SETTINGS[key].format(value)}"
    return ""


def scaled_rate(config: Config, factor: float) -> dict[str, Any]:
    """The learning rates of all parameter groups and their floor, times a factor."""
    optim = config.optim
    names = ["learning_rate", *(["muon_lr"] if optim.optimizer == "muon" else [])]
    rates = {f"optim.{name}": _rounded(getattr(optim, name) * factor) for name in names}
    lowest = min(rates.values())
    if optim.min_lr > lowest:
        rates["optim.min_lr"] = _rounded(min(optim.min_lr * factor, lowest))
    return rates


def _raised_rate(config: Config) -> dict[str, Any]:
    """Ten times the learning rate, and at least what most models begin with."""
    usual = float(SETTINGS["optim.learning_rate"].default)
    rate = config.optim.learning_rate
    return scaled_rate(config, max(HIGHER, usual / rate))


def _against_overfitting(config: Config) -> dict[str, Any]:
    if config.model.dropout < DROPOUT:
        return {"model.dropout": DROPOUT}
    return {} if config.eval.patience else {"eval.patience": PATIENCE}


def _rate_before(before: dict[str, Any], config: Config) -> dict[str, Any]:
    """What takes back a change that raised the learning rate; nothing if it did not."""
    rates = {key: value for key, value in before.items() if key in RATES}
    raised = any(value < config.get(key) for key, value in rates.items())
    return rates if raised else {}


def _rounded(rate: float) -> float:
    """Two digits, within what the setting allows."""
    limit = SETTINGS["optim.learning_rate"].maximum
    return min(float(f"{rate:.2g}"), limit if limit is not None else rate)
