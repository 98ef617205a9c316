"""What is known of a run beyond its step: the figures that checkpoints carry along."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from engine.training.trainer import Evaluation


@dataclass
class Losses:
    """The latest and the best figures of a run."""

    train_loss: float | None = None
    val_loss: float | None = None
    val_measured: str = ""  # what the validation loss was measured on, in words
    evaluated_step: int = 0
    best_val_loss: float | None = None
    best_step: int | None = None
    final_step: int | None = None  # whose weights were measured as the last ones

    def note_evaluation(self, evaluation: Evaluation, measured: str) -> bool:
        """Take over a validation loss; returns whether it is the best so far."""
        self.val_loss, self.val_measured = evaluation.loss, measured
        self.evaluated_step = evaluation.step
        best = evaluation.loss < (math.inf if self.best_val_loss is None else self.best_val_loss)
        if best:
            self.best_val_loss, self.best_step = evaluation.loss, evaluation.step
        return best

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as checkpoints keep them."""
        return dataclasses.asdict(self)
