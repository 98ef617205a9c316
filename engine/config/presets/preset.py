"""What a preset is."""

from __future__ import annotations

from dataclasses import dataclass

from engine.config.setting import Value


@dataclass(frozen=True)
class Preset:
    """A named set of changes to the schema's defaults."""

    name: str
    help: str  # one sentence
    values: dict[str, Value]
    changed: str = ""  # what it changes on the rung of the ladder before it
    lecture_loss: float | None = None  # validation loss that the video shows, nats per token
    vocab_size: int | None = None  # tokens its published size is counted with; else the text's
