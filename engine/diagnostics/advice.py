"""Turn a symptom into advice: one sentence, one action, and the settings to change."""

from __future__ import annotations

from typing import Any

from engine.config.changes import at_learning_rate
from engine.config.schema import SETTINGS, Config
from engine.diagnostics.symptoms import Kind, Symptom
from engine.protocol import Advised

DROPOUT = 0.2  # nanoGPT's value for a small text, against overfitting
PATIENCE = 1  # evaluations without improvement, for a model that already has dropout
RATES = ("optim.learning_rate", "optim.muon_lr", "optim.min_lr")
MUCH_LOWER, LOWER, HIGHER = 0.1, 0.3, 10.0  # factors of the learning rate


def advise(
    symptom: Symptom, config: Config, before: dict[str, Any], good_step: int | None = None
) -> Advised | None:
    """Return the advice on a symptom; None if there is nothing left to change.

    Args:
        before: The values before the latest change, if it may have caused the symptom.
        good_step: The last checkpoint before the symptom: a loss that has blown up does not come
            back with the learning rate.
    """
    lower = _rate_before(before, config)
    was, now, step = f"{symptom.before:.2f}", f"{symptom.now:.2f}", f"{symptom.step:,}"
    match symptom.kind:
        case Kind.SPIKE:
            message = f"the loss jumped from {was} to {now} at step {step} and stays there"
            changes = lower or scaled_rate(config, LOWER)
        case Kind.TOO_HIGH if symptom.is_blow_up:
            message = f"the loss has climbed from {was} to {now}: the learning rate is too high"
            changes = lower or scaled_rate(config, MUCH_LOWER)
        case Kind.TOO_HIGH:
            message = (
                f"stuck at {now}, the loss of token counts alone: the learning rate is too high"
            )
            changes = lower or scaled_rate(config, MUCH_LOWER)
        case Kind.OVERFITTING:
            message = (
                f"validation rose from {was} (step {step}) to {now}, training fell: overfitting"
            )
            changes = _against_overfitting(config)
        case Kind.PLATEAU if symptom.unmoved:
            message = f"the loss has hardly moved from {was}: the learning rate is too low"
            changes = _raised_rate(config)
        case _:
            message = f"the loss has stayed at {now} since step {step}"
            changes = scaled_rate(config, LOWER)
    if not changes:
        return None
    if not symptom.is_blow_up or good_step is None:
        return Advised(symptom.kind, message, format_changes(changes), changes)
    action = _back_to(good_step, changes)
    return Advised(symptom.kind, message, action, changes, rewind_to=good_step)


def advise_non_finite(
    step: int, what: str, rewind_to: int, config: Config, has_diverged: bool = False
) -> Advised:
    """Return the advice on a loss or gradient that is not finite.

    Args:
        step: The step whose update was skipped.
        what: ``loss`` or ``gradient``.
        rewind_to: The last step known to be good.
        has_diverged: Not this step's batch is at fault, but the weights.
    """
    changes = scaled_rate(config, MUCH_LOWER)
    return Advised(
        Kind.NON_FINITE,
        f"the {what} of step {step:,} is not finite: update skipped, run paused",
        _back_to(rewind_to, changes),
        changes,
        rewind_to,
        pauses=True,
        has_diverged=has_diverged,
    )


def _back_to(step: int, changes: dict[str, Any]) -> str:
    key = next(iter(changes))
    name, value = key.partition(".")[2], SETTINGS[key].format(changes[key])
    return f"go back to step {step:,}, {name} {value}"


def format_changes(changes: dict[str, Any]) -> str:
    """Return the first of the changes as an imperative."""
    for key, value in changes.items():
        return f"set {key.partition('.')[2]} to {SETTINGS[key].format(value)}"
    return ""


def scaled_rate(config: Config, factor: float) -> dict[str, Any]:
    """Scale the learning rates of all parameter groups."""
    return at_learning_rate(config, config.optim.learning_rate * factor)


def _raised_rate(config: Config) -> dict[str, Any]:
    """Raise the learning rate tenfold, and at least to the default."""
    usual = float(SETTINGS["optim.learning_rate"].default)
    rate = config.optim.learning_rate
    return scaled_rate(config, max(HIGHER, usual / rate))


def _against_overfitting(config: Config) -> dict[str, Any]:
    if config.model.dropout < DROPOUT:
        return {"model.dropout": DROPOUT}
    return {} if config.eval.patience else {"eval.patience": PATIENCE}


def _rate_before(before: dict[str, Any], config: Config) -> dict[str, Any]:
    """Return the old learning rates if a change raised them."""
    rates = {key: value for key, value in before.items() if key in RATES}
    raised = any(value < config.get(key) for key, value in rates.items())
    return rates if raised else {}
