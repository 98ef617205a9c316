"""Words and numbers for a forward pass: every tensor of the first block, what it is, its shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from engine.config.setting import format_float
from tui.text.lecture import STAGES

if TYPE_CHECKING:
    from engine.inspect.trace import Stage, Trace

FIRST = "block 0"
NAME_WIDTH = 17


class Line(NamedTuple):
    """A line, and how it is written: ``title``, ``tensor``, ``words`` or ``number``."""

    kind: str
    text: str


def pass_lines(traced: Trace) -> Iterator[Line]:
    """Yield two lines for each tensor; of several blocks the first stands for all."""
    where, left_out = "", 0
    for stage in traced.stages:
        if stage.where not in ("", FIRST):
            left_out = max(left_out, int(stage.where.split()[-1]))
            continue
        if left_out:
            yield Line("title", _others(left_out))
            left_out = 0
        if stage.where != where:
            yield Line("title", stage.where or "after the blocks")
        where = stage.where
        yield Line("tensor", _tensor(stage))
        yield Line("words", f"  {STAGES.get(stage.name, '')}")


def _others(last: int) -> str:
    return "block 1: the same again" if last == 1 else f"blocks 1 to {last}: the same again"


def _tensor(stage: Stage) -> str:
    axes = f"({','.join(stage.axes.split())})"
    shape = "×".join(map(str, stage.shape))
    text = f"{stage.name:<{NAME_WIDTH}} {axes:<11} {shape:<8}"
    if stage.name == "token ids":  # their mean says nothing
        return text.rstrip()
    return f"{text} {_figure(stage.mean)}±{_figure(stage.std)}"


def _figure(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}" if abs(value) < 100 else format_float(value, 3)


def attention_lines(tokens: tuple[str, ...], rows: tuple[tuple[float, ...], ...]) -> Iterator[str]:
    """Yield the attention weights as a table: who looks, and at whom."""
    names = [one if one.isprintable() and one.strip() else repr(one)[1:-1] for one in tokens]
    yield "     " + "".join(f"{name:>5}" for name in names)
    for i, row in enumerate(rows):
        yield f"{names[i]:>4} " + "".join(
            f"{weight:5.2f}" if j <= i else "    ·" for j, weight in enumerate(row)
        )
