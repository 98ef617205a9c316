"""The definition of a preset."""

from __future__ import annotations

from dataclasses import dataclass

from engine.config.setting import Value


@dataclass(frozen=True)
class Preset:
    """A named set of changes to the schema's defaults."""

    name: str
    help: str  # one sentence
    values: dict[str, Value]
    changed: str = ""  # the changes from the previous model of the lecture
    lecture_loss: float | None = None  # validation loss shown in the video, nats per token
    vocab_size: int | None = None  # of the published model; None takes the text's
