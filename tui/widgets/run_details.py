"""All there is to say of the run under the cursor, in five lines."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widget import Widget

from engine.protocol import DAMAGED
from engine.runs.summary import RunSummary
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


class RunDetails(Widget):
    """The facts of one run; what does not fit a line gives way by importance."""

    DEFAULT_CSS = """
    RunDetails { height: 5; padding: 0 1; background: $panel; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._told: tuple[RunSummary | None, int | None, str] = (None, None, "")

    def show(self, run: RunSummary | None, size: int | None, parent: str) -> None:
        """Show a run.

        Args:
            run: None if there is none.
            size: Bytes on the disk; None while that is not known.
            parent: What the run it was forked from is called now.
        """
        if (run, size, parent) != self._told:
            self._told = (run, size, parent)
            self.refresh()

    def render(self) -> Text:
        (run, size, parent), width = self._told, self.size.width
        if run is None:
            return Text()
        lines = [
            fit_items(_standing(run, width), width),
            fit_items(_making(run), width),
            _written("tags", " ".join(run.tags), width),
            _written("note", run.note, width),
            fit_items(_keeping(run, size, parent, width), width),
        ]
        return Text("\n").join(lines)


def _standing(run: RunSummary, width: int) -> list[Text]:
    live = " (a program has it open)" if run.live else ""
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
    if run.problem:
        problem = run.problem.replace(f"{run.path}/", "")
        return [Text(problem.replace("\n", "; "), "yellow")]
    machine = " ".join(word for word in (run.device, run.precision) if word)
    if run.device == "cpu" and run.threads:
        machine += f", {format_threads(run.threads)}"
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
    age = f"begun {format_time(run.created)}"
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


def _written(label: str, text: str, width: int) -> Text:
    """What the user writes; the first letter is the key for it."""
    line = Text.assemble((label[0], "bold yellow"), (f"{label[1:]}  ", "dim"), text or ("–", "dim"))
    line.truncate(width, overflow="ellipsis")
    return line
