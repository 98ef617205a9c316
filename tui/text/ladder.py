"""The rungs of the ladder and what became of them, on the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.config.presets import Preset
from engine.config.schema import Config
from engine.protocol import State
from engine.runs.summary import RunSummary
from tui.text.numbers import amount, duration, loss
from tui.text.tables import table

LECTURE_TEXT = "tinyshakespeare"
OTHER_TEXT = f"The video's losses are of {LECTURE_TEXT}: beside another text's they say nothing."
HEADER = ("rung", "parameters", "ours", "video", "time", "what changes")
RIGHT = (1, 2, 3, 4)


@dataclass(frozen=True)
class Rung:
    """A rung, and what became of it."""

    preset: Preset
    config: Config
    parameters: int | None = None
    estimate: float | None = None  # seconds of training
    run: RunSummary | None = None
    problem: str = ""  # why it was not run

    @property
    def whole_split_loss(self) -> float | None:
        """The validation loss of its last weights, if it came so far."""
        finished = self.run is not None and self.run.state == State.FINISHED
        return self.run.val_loss if finished and self.run else None


def described(rungs: Sequence[Rung]) -> str:
    """The table on the terminal."""
    told = table(HEADER, map(_row, rungs), RIGHT, wrap=True)
    return f"{told}\n{OTHER_TEXT}" if is_other_text(rungs) else told


def is_other_text(rungs: Sequence[Rung]) -> bool:
    """Whether any rung learned from something else than the lecture's text."""
    return any(rung.run.corpus != LECTURE_TEXT for rung in rungs if rung.run)


def _row(rung: Rung) -> tuple[str, ...]:
    return (
        rung.preset.name,
        "–" if rung.parameters is None else amount(rung.parameters),
        loss(rung.whole_split_loss),
        f"{rung.preset.lecture_loss:.2f}",
        duration(rung.run.train_seconds if rung.run else None),
        f"{rung.preset.changed}{_fate(rung)}",
    )


def _fate(rung: Rung) -> str:
    if rung.problem:
        return f" Not run: {rung.problem}."
    if rung.run is None:
        return " Not run."
    if rung.run.state != State.FINISHED:
        return f" Stopped at step {rung.run.step:,} of {rung.run.total_steps:,}."
    return ""


def facts(rungs: Sequence[Rung]) -> dict[str, object]:
    """All there is to tell, for JSON."""
    return {"rungs": [_rung_facts(rung) for rung in rungs]}


def _rung_facts(rung: Rung) -> dict[str, object]:
    run = rung.run
    return {
        "rung": rung.preset.name,
        "changed": rung.preset.changed,
        "lecture_loss": rung.preset.lecture_loss,
        "val_loss": rung.whole_split_loss,
        "best_val_loss": run.best_val_loss if run else None,
        "parameters": rung.parameters,
        "state": run.state if run else "not run",
        "problem": rung.problem,
        "steps": run.step if run else 0,
        "train_seconds": run.train_seconds if run else None,
        "estimated_seconds": rung.estimate,
        "corpus": run.corpus if run else rung.config.data.corpus,
        "run": run.path if run else None,
    }
