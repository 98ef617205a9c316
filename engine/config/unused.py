"""Settings that were given and change nothing beside the others: told, never refused."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from engine.config.schema import SETTINGS, Config

BIGRAM_SETTINGS = {"model.architecture", "model.block_size", "model.init"}  # all that it reads


@dataclass(frozen=True)
class _Rule:
    """Settings without effect in some configurations."""

    keys: Collection[str]
    applies: Callable[[Config], bool]
    reason: str


def _is_bigram(config: Config) -> bool:
    return config.model.architecture == "bigram"


def uses_muon(config: Config) -> bool:
    """Whether some of the parameters are Muon's."""
    return config.optim.optimizer == "muon" and not _is_bigram(config)


RULES = (
    _Rule(
        {key for key in SETTINGS if key.startswith("model.")} - BIGRAM_SETTINGS,
        _is_bigram,
        "a bigram is one table and nothing else",
    ),
    _Rule(
        {"optim.optimizer"},
        lambda config: config.optim.optimizer == "muon" and _is_bigram(config),
        "Muon is for the matrices of blocks, a bigram has none and is trained by AdamW",
    ),
    _Rule(
        {"model.rope_theta"},
        lambda config: config.model.position != "rotary" and not _is_bigram(config),
        "it belongs to model.position rotary",
    ),
    _Rule(
        {"model.activation"},
        lambda config: not config.model.mlp_ratio and not _is_bigram(config),
        "model.mlp_ratio is off, so there is no feed-forward",
    ),
    _Rule(
        {"optim.muon_lr"},
        lambda config: not uses_muon(config),
        "it belongs to optim.optimizer muon, and to a model with blocks",
    ),
    _Rule(
        {"optim.momentum"},
        lambda config: config.optim.optimizer != "sgd" and not uses_muon(config),
        "AdamW has optim.beta1 in its place",
    ),
    _Rule(
        {"optim.beta1", "optim.beta2"},
        lambda config: config.optim.optimizer == "sgd",
        "they belong to AdamW, SGD has optim.momentum",
    ),
    _Rule(
        {"optim.cooldown_steps"},
        lambda config: config.optim.schedule in ("cosine", "linear"),
        "it belongs to optim.schedule wsd",
    ),
    _Rule(
        {"train.max_steps"},
        lambda config: config.train.max_epochs > 0,
        "train.max_epochs is set and decides",
    ),
)


def without_effect(config: Config, given: Collection[str]) -> list[str]:
    """What of the settings given changes nothing in this configuration, a sentence for each reason.

    Args:
        config: The whole configuration, the settings given among its own.
        given: Their keys, such as ``optim.muon_lr``, in the order to name them.
    """
    told = []
    for rule in RULES:
        keys = [key for key in given if key in rule.keys]
        if keys and rule.applies(config):
            verb = "changes" if len(keys) == 1 else "change"
            told.append(f"{' and '.join(keys)} {verb} nothing here: {rule.reason}")
    return told
