"""Find settings that have no effect in a configuration; they give a warning, never an error."""

from __future__ import annotations

from collections.abc import Callable, Collection

from engine.config.schema import SETTINGS, Config

BIGRAM_SETTINGS = {"model.architecture", "model.block_size", "model.init"}  # all it uses


def _is_bigram(config: Config) -> bool:
    return config.model.architecture == "bigram"


def uses_muon(config: Config) -> bool:
    """Return whether Muon updates any parameters."""
    return config.optim.optimizer == "muon" and not _is_bigram(config)


# settings, when they have no effect, and why
RULES: tuple[tuple[Collection[str], Callable[[Config], bool], str], ...] = (
    (
        {key for key in SETTINGS if key.startswith("model.")} - BIGRAM_SETTINGS,
        _is_bigram,
        "a bigram model has only one table",
    ),
    (
        {"optim.optimizer"},
        lambda config: config.optim.optimizer == "muon" and _is_bigram(config),
        "Muon updates the matrices of blocks; a bigram model has none and is trained with AdamW",
    ),
    (
        {"model.rope_theta"},
        lambda config: config.model.position != "rotary" and not _is_bigram(config),
        "it applies to model.position rotary",
    ),
    (
        {"model.activation"},
        lambda config: not config.model.mlp_ratio and not _is_bigram(config),
        "model.mlp_ratio is off, so there is no MLP",
    ),
    (
        {"data.vocab_size"},
        lambda config: config.data.tokenizer != "bpe",
        "it applies to data.tokenizer bpe",
    ),
    (
        {"data.min_count"},
        lambda config: config.data.tokenizer != "char",
        "it applies to data.tokenizer char",
    ),
    (
        {"data.val_share", "data.val_split"},
        lambda config: bool(config.data.val),
        "data.val is a text to validate on",
    ),
    (
        {"data.val_seed"},
        lambda config: config.data.val_split != "random" or bool(config.data.val),
        "it applies to data.val_split random",
    ),
    (
        {"optim.muon_lr"},
        lambda config: not uses_muon(config),
        "it applies to optim.optimizer muon, and to a model with blocks",
    ),
    (
        {"optim.momentum"},
        lambda config: config.optim.optimizer != "sgd" and not uses_muon(config),
        "AdamW uses optim.beta1 instead",
    ),
    (
        {"optim.beta1", "optim.beta2"},
        lambda config: config.optim.optimizer == "sgd",
        "they apply to AdamW; SGD uses optim.momentum",
    ),
    (
        {"optim.decay_steps"},
        lambda config: config.optim.schedule == "constant",
        "a constant schedule does not decay",
    ),
    (
        {"optim.cooldown_steps"},
        lambda config: config.optim.schedule in ("cosine", "linear"),
        "it applies to optim.schedule wsd",
    ),
    (
        {"train.max_steps"},
        lambda config: config.train.max_epochs > 0,
        "train.max_epochs is set and takes precedence",
    ),
    (
        {"train.max_steps", "train.max_epochs"},
        lambda config: config.train.max_minutes > 0,
        "train.max_minutes is set and takes precedence",
    ),
)


def without_effect(config: Config, given: Collection[str]) -> list[str]:
    """Return one sentence for each reason why some of the given settings have no effect.

    Args:
        config: The configuration, with the given settings applied.
        given: Keys such as ``optim.muon_lr``, in the order to name them.
    """
    told = []
    for settings, applies, reason in RULES:
        keys = [key for key in given if key in settings]
        if keys and applies(config):
            verb = "has" if len(keys) == 1 else "have"
            told.append(f"{' and '.join(keys)} {verb} no effect here: {reason}")
    return told


def unused(config: Config) -> dict[str, str]:
    """Return the settings that have no effect in a configuration, and why."""
    return {
        key: reason for settings, applies, reason in RULES if applies(config) for key in settings
    }


# settings that are numbers of steps, when they do not fit the length of the run, and what follows
STEPS_BEYOND: tuple[tuple[str, Callable[[Config, int], bool], str], ...] = (
    (
        "optim.warmup_steps",
        lambda config, steps: config.optim.warmup_steps >= steps,
        "the learning rate never reaches its peak",
    ),
    (
        "optim.decay_steps",
        lambda config, steps: (
            config.optim.decay_steps > steps and config.optim.schedule != "constant"
        ),
        "the decay does not reach its end",
    ),
    (
        "optim.cooldown_steps",
        lambda config, steps: (
            config.optim.cooldown_steps >= steps and config.optim.schedule == "wsd"
        ),
        "the learning rate falls from the start",
    ),
    (
        "eval.interval",
        lambda config, steps: config.eval.interval > steps,
        "evaluated only at the end",
    ),
    (
        "eval.patience",
        lambda config, steps: config.eval.patience * config.eval.interval >= steps,
        "it cannot stop early",
    ),
    (
        "checkpoint.interval",
        lambda config, steps: config.checkpoint.interval > steps,
        "saved only at the end",
    ),
    (
        "checkpoint.keep_every",
        lambda config, steps: config.checkpoint.keep_every > steps,
        "it keeps nothing",
    ),
    (
        "train.max_epochs",
        lambda config, steps: config.train.max_epochs > 0 and steps == 1,
        "one step is more than that",
    ),
)


def beyond_the_run(config: Config, steps: int, before: tuple[Config, int] | None = None) -> str:
    """Return one sentence on the settings that do not fit the length of a run; else empty.

    Args:
        config: With the settings of the preset, too.
        steps: The length of the run.
        before: Both, before a change: what did not fit then either is left out, unless it changed.
    """
    told = [
        f"{key} is {SETTINGS[key].format(config.get(key))} ({what})"
        for key, applies, what in STEPS_BEYOND
        if config.get(key)
        and applies(config, steps)
        and not (before and config.get(key) == before[0].get(key) and applies(*before))
    ]
    if not told:
        return ""
    length = "1 step" if steps == 1 else f"{steps:,} steps"
    return f"the run has {length}: {', '.join(told)}"
