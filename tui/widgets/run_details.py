"""All there is to say of the run under the cursor, in a few lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text
from textual.geometry import Size
from textual.widget import Widget

from engine.program import program
from engine.runs.summary import RunSummary
from engine.states import DAMAGED
from tui.text.numbers import (
    format_amount,
    format_loss,
    format_path,
    format_steps,
    format_time,
    format_unit,
)
from tui.text.run_states import format_state, state_colour
from tui.text.tables import SEPARATOR, fit_items, format_threads

LINES = 5
MOST_LINES_OF_DIFFERENCES = 8
CONSOLE = Console(width=80)  # breaks lines, whatever its width


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run.

    Attributes:
        size: Bytes on the disk; None while that is not known.
        parent: What the run it was forked from is called now.
        is_open_here: Whether it is the one in the cockpit, and trained there.
        differs: What it is compared with, and the settings that differ.
    """

    run: RunSummary
    size: int | None = None
    parent: str = ""
    is_open_here: bool = False
    differs: tuple[tuple[str, str], ...] = ()


class RunDetails(Widget):
    """The facts of one run; what does not fit a line gives way by importance."""

    DEFAULT_CSS = f"""
    RunDetails {{ height: auto; min-height: {LINES}; padding: 0 1; }}
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._told: RunFacts | None = None
        self._wraps = False

    def show(self, told: RunFacts | None, wraps: bool = False) -> None:
        """Show a run.

        Args:
            told: None if there is none.
            wraps: Whether facts may go on on further lines.
        """
        if (told, wraps) != (self._told, self._wraps):
            lines = len(self._lines(self.size.width))
            self._told, self._wraps = told, wraps
            now = len(self._lines(self.size.width))
            self.refresh(layout=max(lines, LINES) != max(now, LINES))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines(width))

    def render(self) -> Text:
        return Text("\n").join(self._lines(self.size.width))

    def _lines(self, width: int) -> list[Text]:
        told = self._told
        if told is None or width < 1:
            return []
        run = told.run
        fit = _wrapped_items if self._wraps else lambda items, width: [fit_items(items, width)]
        making = _problem(run, width) if run.problem else fit(_making(run), width)
        return [
            *fit(_standing(run, told.is_open_here, width), width),
            *making,
            *(line for one in told.differs for line in self._differs(*one, width)),
            *_all_written(run, width),
            *fit(_keeping(run, told.size, told.parent, width), width),
        ]

    def _differs(self, label: str, words: str, width: int) -> list[Text]:
        text = Text.assemble((f"{label}  ", "dim"), words)
        if not self._wraps:
            text.truncate(width, overflow="ellipsis")
            return [text]
        lines = list(text.wrap(CONSOLE, width))
        if len(lines) > MOST_LINES_OF_DIFFERENCES:
            lines = lines[:MOST_LINES_OF_DIFFERENCES]
            lines[-1].append(" …")
        return lines


def _wrapped_items(items: Sequence[Text], width: int) -> list[Text]:
    """Put items on as many lines as they need."""
    lines: list[Text] = []
    for item in items:
        item = item.copy()
        item.truncate(width, overflow="ellipsis")
        if lines and lines[-1].cell_len + len(SEPARATOR) + item.cell_len <= width:
            lines[-1].append(SEPARATOR, "dim").append_text(item)
        else:
            lines.append(item)
    return lines


def _problem(run: RunSummary, width: int) -> list[Text]:
    """Return the problem, all of it: the way out first, if it can be typed or pressed."""
    problem = run.problem.replace(f"{run.path}/", "").replace("\n", "; ")
    command = re.search(rf"(?:: |; )({re.escape(program())} .+)$", problem)
    way_out = Text()
    if run.is_restorable:
        way_out = Text.assemble(("enter", "bold"), " opens the run and restores it")
    elif command:
        way_out = Text(command[1], "bold")
        problem = problem[: command.start()]
    lines = list(way_out.wrap(CONSOLE, width)) if way_out else []
    return [*lines, *Text(problem, "yellow").wrap(CONSOLE, width)]


def _standing(run: RunSummary, is_open_here: bool, width: int) -> list[Text]:
    where = "open here" if is_open_here else "open in another program"
    live = f" ({where})" if run.live else ""
    best = "" if run.best_step is None else f" @{run.best_step:,}"
    name, state = (
        Text(run.name, "bold"),
        Text(format_state(run.state) + live, state_colour(run.state)),
    )
    if run.state == DAMAGED:
        return [_cut(name, _room(width, [state]), width // 3), state]
    facts = [
        state,
        Text(f"step {format_steps(run.step, run.total_steps)}"),
        Text(f"train {format_loss(run.train_loss)}"),
        Text(f"val {format_loss(run.val_loss)}"),
        Text(f"best {format_loss(run.best_val_loss)}{best}"),
    ]
    return [_cut(name, _room(width, facts), width // 3), *facts]


def _making(run: RunSummary) -> list[Text]:
    machine = " ".join(word for word in (run.device, run.precision) if word)
    if run.device == "cpu" and run.threads:
        machine += f", {format_threads(run.threads, run.processes, run.sharded)}"
    elif run.processes > 1:
        machine += f", {run.processes} processes{', sharded' if run.sharded else ''}"
    facts = [
        run.preset,
        "" if run.parameters is None else f"{format_amount(run.parameters)} parameters",
        f"{run.corpus} (stand-in)" if run.corpus_note else run.corpus.rpartition("/")[2],
        machine,
        f"{format_amount(run.tokens)} tokens" if run.tokens else "",
        f"{format_amount(run.tokens_per_second)} tok/s" if run.tokens_per_second else "",
    ]
    return [Text(fact, "dim") for fact in facts if fact]


def _keeping(run: RunSummary, size: int | None, parent: str, width: int) -> list[Text]:
    step = "" if run.parent_step is None else f" at step {run.parent_step:,}"
    mother = _cut(Text(parent or run.parent), width // 4, 0)
    origin = f"forked from {mother}{step}" if run.parent else ""
    age = f"created {format_time(run.created)}"
    space = "" if size is None else format_unit(size, "B")
    before, after = ([Text(one, "dim") for one in part if one] for part in ([origin], [age, space]))
    half = min(width // 2, _room(width, before))  # what comes after may give way
    folder = _cut(Text(format_path(run.path), "dim"), _room(width, [*before, *after]), half)
    formerly = [Text(f"formerly {' '.join(run.formerly)}", "dim")] if run.formerly else []
    return [*before, folder, *after, *formerly]


def _cut(text: Text, room: int, at_least: int) -> Text:
    """The beginning of a text, in the room that others leave on its line."""
    text.truncate(max(room, at_least), overflow="ellipsis")
    return text


def _room(width: int, beside: Sequence[Text]) -> int:
    return width - sum(len(SEPARATOR) + one.cell_len for one in beside)


def _all_written(run: RunSummary, width: int) -> list[Text]:
    """What the user writes, on one line if there is room."""
    tags, note = _written("tags", " ".join(run.tags)), _written("note", run.note)
    if tags.cell_len + 3 + note.cell_len <= width:
        return [Text("   ").join([tags, note])]
    for line in (tags, note):
        line.truncate(width, overflow="ellipsis")
    return [tags, note]


def _written(label: str, text: str) -> Text:
    """A label whose first letter is the key, and what was written."""
    return Text.assemble((label[0], "bold yellow"), (f"{label[1:]} ", "dim"), text or ("–", "dim"))
