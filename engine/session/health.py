"""When the layers of a run in training are measured, and on which text."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from data.batches import evenly_spaced, take_windows, validation_windows
from engine.config.schema import tokens_per_step
from engine.inspect.activity import Activity, measure_activity
from engine.machine.memory import if_memory_allows
from engine.session.outlet import Outlet
from engine.session.run_state import RunState
from engine.training.trainer import StepResult
from engine.training.update_health import UpdateHealth

TOKENS = 768  # of the validation text that are passed through the model, if a step has as many

Health: TypeAlias = tuple[UpdateHealth | Activity, ...]


class HealthWatch:
    """Measures the layers at the first step and every ``eval.health_interval`` steps.

    Nothing of the training depends on it: it draws no random numbers, and changes no weights.
    """

    def __init__(self, run_state: RunState, outlet: Outlet) -> None:
        self._run_state, self._outlet = run_state, outlet
        self._excerpt: tuple[int, Tensor] | None = None  # how many windows were wanted, and them
        self._has_told = False

    def is_due(self, step: int) -> bool:
        """Whether a step is measured; by its number alone, so that a resumed run has the same."""
        trainer = self._run_state.trainer
        # of a sharded model no process has all gradients of a layer
        interval = 0 if trainer.sharding else trainer.config.eval.health_interval
        return bool(interval) and (step == 1 or step % interval == 0)

    def measure(self, result: StepResult) -> Health:
        """Measure the weights after a step that was watched; nothing for others."""
        if not self.is_due(result.step):
            return ()
        trainer, phases = self._run_state.trainer, self._run_state.phases
        phase = phases.enter("health")
        activity = if_memory_allows(lambda: measure_activity(trainer.model, self._text()))
        phases.enter(phase)
        if result.health and activity:
            return result.health, activity
        if trainer.device.type == "cuda":
            torch.cuda.empty_cache()
        self._tell_once()
        return tuple(one for one in (result.health, activity) if one)

    def _text(self) -> Tensor:
        """Return evenly spaced windows (B, T) of the validation text, the same every time.

        They are no more than a step has, so that small steps are not slowed down more than others.
        """
        trainer = self._run_state.trainer
        size, tokens = trainer.config.model.block_size, trainer.split.val
        length = min(size, TOKENS)
        count = max(min(TOKENS, tokens_per_step(trainer.config)) // length, 1)
        if self._excerpt is None or self._excerpt[0] != count:
            offsets = evenly_spaced(validation_windows(len(tokens), size), count)
            windows = torch.from_numpy(take_windows(tokens, offsets, length))  # (B, T)
            self._excerpt = count, windows.to(trainer.device)
        return self._excerpt[1]

    def _tell_once(self) -> None:
        if not self._has_told:
            self._has_told = True
            self._outlet.warn(
                "there was too little memory to measure the layers; training goes on without, and "
                "eval.health_interval 0 turns it off"
            )
