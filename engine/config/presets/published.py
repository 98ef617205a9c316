"""Validation losses that others have published, for models like one that is trained here."""

from __future__ import annotations

import functools
import math
from dataclasses import asdict
from typing import NamedTuple

from engine.config.model_size import parameter_count
from engine.config.presets import LADDER, Preset, preset_config
from engine.config.schema import Config, ModelConfig

CORPUS, CHARACTERS = "tinyshakespeare", 65  # they are losses per character of this text

# the presets of the two recipes in nanoGPT's README, and the losses it tells of them
NANOGPT = {"nanogpt-cpu": 1.88, "nanogpt": 1.4697}


class Published(NamedTuple):
    """A validation loss, and whose it is."""

    label: str
    loss: float


def published_losses(config: Config) -> list[Published]:
    """Return nanoGPT's loss and the lecture's for the models nearest to one; none on other texts.

    Of equally large models the one with more settings in common is nearer.
    """
    if config.data.corpus != CORPUS or config.data.tokens != ("char", 1):
        return []
    model = config.model
    rung = min(LADDER, key=lambda one: _distance(model, one))
    name = "lecture" if rung.name == "lecture" else f"lecture: {rung.name}"
    found = [] if rung.lecture_loss is None else [Published(name, rung.lecture_loss)]
    if model.architecture == "gpt":  # nanoGPT has no other
        recipe = min(NANOGPT, key=lambda one: _difference(model, _model_of(one)))
        found.insert(0, Published("nanoGPT", NANOGPT[recipe]))
    return found


@functools.cache
def _model_of(preset: str) -> ModelConfig:
    return preset_config(preset).model


def _distance(model: ModelConfig, rung: Preset) -> tuple[float, int]:
    other = _model_of(rung.name)
    if other.architecture != model.architecture:
        return math.inf, 0
    mine, theirs = asdict(model), asdict(other)
    unlike = sum(mine[name] != theirs[name] for name in mine)
    return round(_difference(model, other), 1), unlike


def _difference(one: ModelConfig, other: ModelConfig) -> float:
    """Return how many times as large one of two models is, as a logarithm."""
    sizes = (parameter_count(model, CHARACTERS) for model in (one, other))
    return abs(math.log(next(sizes) / next(sizes)))
