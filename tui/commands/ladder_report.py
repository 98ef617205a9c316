"""The results of ``gpt-tui ladder``: a table, JSON, and a page in Markdown."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from engine.config.model_size import COUNTED
from engine.config.presets import LADDER, Preset, preset_config
from engine.config.schema import SETTINGS, Config
from engine.protocol import State
from engine.runs.summary import RunSummary
from tui.text.numbers import format_amount, format_duration, format_loss
from tui.text.tables import format_table, markdown

LECTURE_TEXT = "tinyshakespeare"
OTHER_TEXT = (
    f"The video's losses are for {LECTURE_TEXT}: not comparable with those of another text."
)
HEADER = ("rung", "parameters", "ours", "video", "time", "what changes")
RIGHT = (1, 2, 3, 4)

FIGURES = f"""\
Parameters are counted {COUNTED}. Losses are in nats per
character. The video's are estimates over 200 random batches, read off near the end of its training;
ours are means over the whole validation split, with the final weights. Each rung was trained once,
so the last digits are noise."""


@dataclass(frozen=True)
class Rung:
    """A rung and its result."""

    preset: Preset
    config: Config
    parameters: int | None = None
    estimate: float | None = None  # seconds of training
    run: RunSummary | None = None
    problem: str = ""  # why it was not run

    @property
    def final_loss(self) -> float | None:
        """The loss of the final weights on the whole validation split, if training finished."""
        finished = self.run is not None and self.run.state == State.FINISHED
        return self.run.val_loss if finished and self.run else None

    @property
    def fate(self) -> str:
        """Why it has no final loss; empty if it has one."""
        if self.run is None:
            return f"not run: {self.problem}" if self.problem else "not run"
        if self.run.state != State.FINISHED:
            return f"stopped at step {self.run.step:,} of {self.run.total_steps:,}"
        return ""


def described(rungs: Sequence[Rung]) -> str:
    lines = format_table(HEADER, map(_row, rungs), RIGHT, wrap=True)
    told = f"Parameters are counted {COUNTED}."
    return f"{lines}\n{told} {OTHER_TEXT}" if _is_other_text(rungs) else f"{lines}\n{told}"


def _row(rung: Rung) -> tuple[str, ...]:
    fate = f" {rung.fate[0].upper()}{rung.fate[1:]}." if rung.fate else ""
    return (
        rung.preset.name,
        "–" if rung.parameters is None else format_amount(rung.parameters),
        format_loss(rung.final_loss),
        f"{rung.preset.lecture_loss:.2f}",
        format_duration(rung.run.train_seconds if rung.run else None),
        f"{rung.preset.changed}{fate}",
    )


def facts(rungs: Sequence[Rung]) -> dict[str, object]:
    return {"rungs": [_rung_facts(rung) for rung in rungs]}


def _rung_facts(rung: Rung) -> dict[str, object]:
    run = rung.run
    return {
        "rung": rung.preset.name,
        "changed": rung.preset.changed,
        "lecture_loss": rung.preset.lecture_loss,
        "val_loss": rung.final_loss,
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


# -- the page ------------------------------------------------------------------------------------


def page(rungs: Sequence[Rung], typed: str) -> str:
    """Return the page in Markdown.

    Args:
        rungs: The results.
        typed: The command line that trained them.
    """
    note = f" {OTHER_TEXT}" if _is_other_text(rungs) else ""
    parts = (
        "# The ladder: results",
        markdown(
            ("rung", "what changes", "parameters", "ours", "video", "training"),
            map(_page_row, rungs),
        ),
        FIGURES,
        f"Made by `{typed}`, {_circumstances(rungs)}.{note}",
        "## Settings\n\nThe settings of each rung that differ from the one before it:",
        markdown(("rung", "settings"), map(_settings, rungs)),
    )
    return "\n\n".join(parts) + "\n"


def _page_row(rung: Rung) -> tuple[str, ...]:
    return (
        f"`{rung.preset.name}`",
        rung.preset.changed,
        f"{rung.parameters or 0:,}",
        format_loss(rung.final_loss),
        f"{rung.preset.lecture_loss:.2f}",
        f"{rung.run.step:,} steps in {format_duration(rung.run.train_seconds)}"
        if rung.run
        else rung.fate,
    )


def _settings(rung: Rung) -> tuple[str, str]:
    names = [one.name for one in LADDER]
    place = names.index(rung.preset.name)
    if not place:
        return f"`{names[0]}`", "`gpt-tui presets --json` has all its settings"
    changed = preset_config(names[place]).differences(preset_config(names[place - 1]))
    told = (f"`{key}={SETTINGS[key].format(here)}`" for key, (here, _) in changed.items())
    return f"`{rung.preset.name}`", ", ".join(told)


def _circumstances(rungs: Sequence[Rung]) -> str:
    from engine.training.runtime import hardware, versions

    runs = [rung.run for rung in rungs if rung.run]
    machine = hardware(runs[0].device or "cpu" if runs else "cpu")
    computer = machine.get("gpu") or f"{machine['cpu']}, {machine['cores']} cores"
    text = rungs[0].config.data.corpus if not runs else runs[0].corpus
    today = datetime.date.today().isoformat()
    return f"{today}, on {text}; {computer}, torch {versions()['torch']}"


def _is_other_text(rungs: Sequence[Rung]) -> bool:
    return any(rung.run.corpus != LECTURE_TEXT for rung in rungs if rung.run)
