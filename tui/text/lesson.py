"""A lesson as plain text: ``gpt-tui learn --text``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from engine.config.model_size import parameter_count
from engine.config.presets import preset_config
from engine.config.presets.published import CHARACTERS
from engine.program import program
from tui.text.data_way import Step, columns, data_way
from tui.text.lecture import RUNGS, Lesson
from tui.text.model_source import read_excerpt
from tui.text.numbers import format_amount

WIDTH = 80
NEW = "+"


def steps_of(lesson: Lesson) -> list[Step]:
    """Return the way of the data; what the model before has not is new."""
    at = RUNGS.index(lesson) if lesson in RUNGS else 0
    before = preset_config(RUNGS[at - 1].name) if at else None
    return data_way(preset_config(lesson.name), CHARACTERS, before)


def parameters_of(lesson: Lesson) -> int:
    """Return the parameters of the model with the lecture's text, as they are counted here."""
    return parameter_count(preset_config(lesson.name).model, CHARACTERS, positions=False)


def heading(lesson: Lesson) -> str:
    if lesson not in RUNGS:
        return f"{lesson.name}: {lesson.title}"
    return f"{RUNGS.index(lesson) + 1} {lesson.name}: {lesson.title}"


def facts(lesson: Lesson) -> str:
    """``7.33k parameters · 5,000 steps · the lecture reaches 2.40``."""
    config, loss = preset_config(lesson.name), lesson.preset.lecture_loss
    parts = [f"{format_amount(parameters_of(lesson))} parameters"]
    if config.train.max_minutes:
        parts.append(f"{config.train.max_minutes:,g} minutes")
    elif config.train.max_epochs:
        parts.append(f"{config.train.max_epochs:,g} epochs")
    else:
        parts.append(f"{config.train.max_steps:,} steps")
    if loss is not None:
        parts.append(f"the lecture reaches {loss:.2f}")
    return " · ".join(parts)


def drawing(steps: list[Step]) -> Iterator[tuple[str, Step]]:
    """Yield a line for each step."""
    cells = [columns(step) for step in steps]
    widths = [max(len(row[at]) for row in cells) for at in range(2)]
    for step, (what, axes, sizes) in zip(steps, cells, strict=True):
        mark = NEW if step.is_new else " "
        line = f"{mark}{step.rail:<3} {what:<{widths[0]}} {axes:<{widths[1]}} {sizes}"
        yield line.rstrip(), step


def format_lesson(lesson: Lesson, told: str) -> str:
    """Return everything about a lesson.

    Args:
        told: How far one has come with it.
    """
    title = heading(lesson)
    parts = [f"{title}\n{'=' * len(title)}", f"{facts(lesson)}\nyours: {told}"]
    parts += [textwrap.fill(one, WIDTH) for one in lesson.words]
    parts.append("\n".join(line for line, _ in drawing(steps_of(lesson))))
    for name in lesson.code:
        found = read_excerpt(name)
        parts.append(f"{found.name} ({found.where})\n\n{textwrap.indent(found.text, '    ')}")
    looks = (f"- {one.view}: {one.what}" for one in lesson.looks)
    parts.append("To look at inside of it:\n" + "\n".join(looks))
    parts.append(
        f"To train it in the app: {program()} --preset {lesson.name}\n"
        f"without a screen: {program()} ladder {lesson.name}"
        if lesson in RUNGS
        else f"To train it in the app: {program()} --preset {lesson.name}"
    )
    return "\n\n".join(parts)
