"""How far one has come in the lecture, found from the runs themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from engine.config.presets import Preset, preset_config
from engine.config.presets.published import CORPUS
from engine.states import State
from tui.text.numbers import format_duration, format_loss, format_steps

if TYPE_CHECKING:
    from engine.config.schema import ModelConfig
    from engine.runs.summary import RunSummary


@dataclass(frozen=True)
class Progress:
    """What one's own runs of a model have reached.

    Attributes:
        run: The best of them; of those without a loss yet, the newest. None without any.
        live: The one in training now.
        count: How many there are.
    """

    preset: Preset
    run: RunSummary | None = None
    live: RunSummary | None = None
    count: int = 0

    @property
    def best(self) -> float | None:
        return self.run.best_val_loss if self.run else None

    @property
    def is_comparable(self) -> bool:
        """Whether the run has learned from the lecture's text."""
        return self.run is not None and _has_lecture_text(self.run)

    @property
    def is_beaten(self) -> bool:
        """Whether the lecture's loss is reached, in the digits it is published with."""
        target, best = self.preset.lecture_loss, self.best
        if target is None or best is None or not self.is_comparable:
            return False
        return math.isfinite(best) and round(best, 2) <= target

    @property
    def sign(self) -> str:
        """``○`` not tried, ``◐`` begun, ``●`` trained, ``✓`` as good as the lecture.

        What was reached stays: it is the same whether another run of it is open at the moment.
        """
        if self.is_beaten:
            return "✓"
        if self.run is None and self.live is None:
            return "○"
        runs = [one for one in (self.run, self.live) if one is not None]
        return "●" if any(self._is_trained(one) for one in runs) else "◐"

    def _is_trained(self, run: RunSummary) -> bool:
        """Whether a run has ended, and not before the steps of the preset."""
        return run.state == State.FINISHED and run.step >= self._planned

    @property
    def _planned(self) -> int:
        """The steps of the preset; 0 if it counts epochs."""
        train = preset_config(self.preset.name).train
        return 0 if train.max_epochs else train.max_steps

    def told(self) -> str:
        """Say how far one has come with this model."""
        run = self.live or self.run
        if run is None:
            return "not tried yet"
        parts = []
        if run.live and run.state == State.RUNNING:
            parts.append(f"{run.name} is training: step {format_steps(run.step, run.total_steps)}")
        elif run.state != State.FINISHED:
            steps = format_steps(run.step, run.total_steps)
            parts.append(f"{run.name} is {run.state} at step {steps}")
        best, target = self.best, self.preset.lecture_loss
        if self.run is not None and best is not None:
            took = format_duration(self.run.train_seconds)
            text = f"{self.run.name}: best loss {format_loss(best)} in {took} of training"
            if self.run.state == State.FINISHED and not self._is_trained(self.run):
                text += f", {self.run.step:,} of the {self._planned:,} steps of the preset"
            if not self.is_comparable:
                text += f", of another text than the lecture's ({self.run.corpus})"
            elif target is not None:
                text += ", as good as the lecture" if self.is_beaten else ", above the lecture's"
            parts.append(text)
        elif not parts:
            parts.append(f"{run.name} has measured no validation loss yet")
        if self.count > 1:
            parts.append(f"{self.count} runs of it")
        return "; ".join(parts)


def progress_of(preset: Preset, runs: Iterable[RunSummary]) -> Progress:
    """Find the runs of a preset that have its model."""
    model = _parts(preset_config(preset.name).model)
    own = [
        one
        for one in runs
        if one.preset == preset.name and one.config and _parts(one.config.model) == model
    ]
    live = next((one for one in reversed(own) if one.live), None)
    return Progress(preset, min(own, key=_rank, default=None), live, len(own))


def _rank(run: RunSummary) -> tuple[bool, bool, float, float]:
    """Order the lecture's text first, then the lower loss, then the newest."""
    loss = run.best_val_loss
    known = loss is not None and math.isfinite(loss)
    return not known, not _has_lecture_text(run), loss if known and loss else 0.0, -run.created


def _parts(model: ModelConfig) -> dict[str, Any]:
    """Return the settings that make a model; dropout may change while it trains."""
    return {key: value for key, value in asdict(model).items() if "dropout" not in key}


def _has_lecture_text(run: RunSummary) -> bool:
    tokens = run.config.data.tokens if run.config else None
    return run.corpus == CORPUS and not run.corpus_note and tokens == ("char", 1)
