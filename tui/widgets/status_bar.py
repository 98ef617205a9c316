"""Two lines on the run: state, progress, losses, speed."""

from __future__ import annotations

from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

from engine.protocol import State, Status
from tui.control.run import RunFacts
from tui.text.numbers import (
    format_amount,
    format_duration,
    format_loss,
    format_next_eval,
    format_next_save,
    format_rate,
    format_steps,
)
from tui.text.run_states import SIGNS
from tui.text.tables import fit_items

BAR_WIDTH, LEAST_BAR = 16, 8
MOST_OF_NAME, MOST_OF_WHO = 24, 24  # cells
GAP = "  "


class StatusBar(Widget):
    """State, progress, losses, speed and machine; what does not fit gives way by importance."""

    DEFAULT_CSS = """
    StatusBar { height: 2; padding: 0 1; background: $panel; }
    """

    status: reactive[Status] = reactive(Status())
    facts: reactive[RunFacts] = reactive(RunFacts())

    HELP = "A click here opens the command palette: every command by its name."

    async def on_click(self) -> None:
        """With the mouse alone, this is the way to what has no place in the footer."""
        await self.app.run_action("command_palette")

    def render(self) -> Text:
        return Text("\n").join(lines(self.status, self.facts, self.size.width))


def lines(status: Status, facts: RunFacts, width: int) -> list[Text]:
    """Return what fits, the most important first."""
    return [
        fit_items(_progress_items(status, facts, width), width, GAP),
        fit_items(_figure_items(status, facts, width), width, GAP),
    ]


def _progress_items(status: Status, facts: RunFacts, width: int) -> list[Text]:
    sign, style = SIGNS[status.state]
    words = status.message or str(status.state)
    if status.state is State.RUNNING and status.step >= status.total_steps:
        words = "measuring"  # the last and the best weights, over the whole split
    items = [Text.assemble((f"{sign} {words}", f"bold {style}"))]
    if facts.watches:
        who = _shortened(facts.in_control, MOST_OF_WHO)
        items.append(Text("watching", "bold yellow"))
        if who:
            items[-1].append(", ").append_text(who).append(" is in control")
    if not status.total_steps:
        return [*items, Text(facts.preset, "bold"), Text(facts.corpus, "dim")]
    if way := status.going_back:  # which is no part of the run's progress
        return [*items, _item("left", format_duration(way.seconds_left)), _name(facts.name)]
    is_running = status.state is State.RUNNING
    time = status.seconds_left if is_running else status.train_seconds
    where = [
        *([_name(facts.name)] if facts.name else []),
        _item("step", format_steps(status.step, status.total_steps)),
    ]
    items += reversed(where) if facts.watches else where  # the step has room in any terminal
    items.append(_item("left" if is_running else "trained", format_duration(time)))
    epoch = _item("epoch", f"{status.epoch:.2f}")
    others = sum(one.cell_len + len(GAP) for one in (*items, epoch))
    items += [_bar(status, max(LEAST_BAR, min(BAR_WIDTH, width - others))), epoch]
    if is_running and status.step_share:  # it comes and goes, so nothing stands behind it
        items.append(_item("next step", f"{status.step_share:.1%}"))
    else:
        items.append(Text(facts.corpus, "dim"))
    return items


def _bar(status: Status, width: int) -> Text:
    filled = round(min(1.0, status.step / status.total_steps) * width)
    return Text.assemble(("━" * filled, "green"), ("─" * (width - filled), "dim"))


def _name(name: str) -> Text:
    """Return the name of the run, so short that it never gives way."""
    return _shortened(name, MOST_OF_NAME, "bold")


def _shortened(words: str, cells: int, style: str = "") -> Text:
    text = Text(words, style)
    text.truncate(cells, overflow="ellipsis")
    return text


def _figure_items(status: Status, facts: RunFacts, width: int) -> list[Text]:
    measured = status.val_loss is not None
    best = format_loss(status.best_val_loss)
    if status.best_step is not None:
        best += f" @{status.best_step:,}"
    elif facts.is_fork:  # the best of the run before has its weights there, and does not count
        best += " since the fork"
    items = [
        _item("loss", format_loss(status.train_loss)),
        _item("val", format_loss(status.val_loss) if measured else format_next_eval(status, width)),
    ]
    if facts.parameters:
        items.append(_item("lr", format_rate(status.learning_rate)))
    items.append(_item("best", best))
    if facts.parameters:
        items += [
            _item("", f"{format_amount(status.tokens_per_second or None)} tok/s"),
            _item("", f"{facts.device} {facts.precision}"),
        ]
        if next_save := format_next_save(status):
            items.append(_item("next save", next_save))
        if facts.processes > 1:
            sharded = " sharded" if facts.sharded else ""
            items.append(_item("processes", f"{facts.processes}{sharded}"))
        if facts.device == "cpu":
            items.append(_item("threads", str(facts.threads)))
        items.append(_item("", f"{format_amount(facts.parameters)} params"))
    return items


def _item(label: str, value: str) -> Text:
    return Text.assemble((f"{label} " if label else "", "dim"), value)
