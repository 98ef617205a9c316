"""Optimizers and the learning-rate schedule."""

from engine.optim.optimizer import Optimizer
from engine.optim.schedule import learning_rate

__all__ = ["Optimizer", "learning_rate"]
