"""The timeline: view any step of the run, sample from it, go back to it or fork from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Input, Static

from engine.config.setting import parse_number
from engine.protocol import Pin, State
from tui.control.availability import why_not
from tui.control.keymap import bindings
from tui.control.run import RunControl
from tui.screens.dialogs import Dialog, before_forking, before_going_back
from tui.screens.kept_steps import KeptSteps, Way
from tui.screens.keyed import KeyedScreen
from tui.text.notices import fork_command
from tui.text.numbers import format_count, format_loss
from tui.widgets.chart_widget import ChartWidget
from tui.widgets.field import Field, FieldLabel
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.loss_chart import LossChart, last_step_of
from tui.widgets.text_view import Passage, TextView

if TYPE_CHECKING:
    from engine.runs.records import StoredSample
    from engine.runs.timeline import Abandoned, Moment

REFRESH_SECONDS = 1.0
SPEEDS = (0.5, 1, 2, 4, 8)  # texts a second
WEIGHTS = {"full": "checkpoint to go on from", "light": "weights to look at"}


@dataclass(frozen=True)
class Choice:
    """What to do with a step."""

    action: str  # "rewind" or "fork"
    step: int
    opens: bool = False  # the fork


class TimelineScreen(KeyedScreen[Choice | None]):
    """The past of the open run; its result is what to do, or None."""

    ABOUT = (
        "The timeline has the run as it was at any of its steps: the losses, and the text that the "
        "model wrote then. Use it to watch the text become better, to go back to a step before "
        "something went wrong, or to start another run from there."
    )
    AUTO_FOCUS = ""
    CSS_PATH = "../styles/timeline.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]

    KEYS = "timeline"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(self, control: RunControl) -> None:
        super().__init__()
        self.control = control
        self.step = control.status.step
        self._moments: list[Moment] = []
        self._left: list[Abandoned] = []  # the newest last
        self._left_as_of = -1  # the branch for which they were read
        self._forked_from = "its parent"  # until its name is read
        self._pinning: bool | None = None  # requested, and not recorded yet
        self._beside: StoredSample | None = None  # a text that stays
        self._texts_shown: list[int] = []
        self._playing: Timer | None = None  # while it plays
        self._speed = SPEEDS.index(2)
        self._texts_before: int | None = None  # number of texts when one was requested

    def compose(self) -> ComposeResult:
        with Vertical(id="timeline-chart") as frame:
            frame.border_title = "timeline"
            yield LossChart(id="chart", steers=False)
        yield Static(id="timeline-facts")
        with Horizontal(id="timeline-step"):
            yield FieldLabel("go to step")
            yield Field(id="step", restrict="[0-9]*")
        with Vertical(id="timeline-sample") as sample:
            sample.border_title = "text"
            yield TextView(id="timeline-text")
        yield KeysFooter()

    def on_mount(self) -> None:
        status = self.control.status
        self.query_one(LossChart).show(self.control.metrics, max_step=status.total_steps)
        self._show()
        self._read()
        self.set_interval(REFRESH_SECONDS, self._refresh)

    def on_resize(self) -> None:
        if self.is_mounted:
            self._show()

    def _refresh(self) -> None:
        self.query_one(LossChart).refresh_data()
        awaited = self._texts_before is not None or self._pinning is not None
        if awaited or self.control.status.state is State.RUNNING:
            self._read()

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        from engine.runs.curves import name_of_parent
        from engine.runs.timeline import read_abandoned, read_moments

        path, branch = self.control.run_path, self.control.status.branch
        assert path
        parent = name_of_parent(path) if self.control.first_step else ""
        left = self._left  # read once, because it does not change
        if branch != self._left_as_of:
            left = read_abandoned(path, branch) if self._has_ghosts() else []
        self.call_from_worker(self._take, read_moments(path, branch), left, branch, parent)

    def _take(self, moments: list[Moment], left: list[Abandoned], branch: int, parent: str) -> None:
        self._moments, self._forked_from = moments, parent
        self._left, self._left_as_of = left, branch
        here = self._moment()
        if here and here.pinned == self._pinning:
            self._pinning = None
        if self._texts_before is not None and self._count_texts() > self._texts_before:
            self._texts_before = None
        self._show()
        self.refresh_bindings()

    # -- the moment ------------------------------------------------------------------------------

    def _moment(self) -> Moment | None:
        """Return the recorded moment at the cursor, or the last one before it."""
        before = self._moments_before()
        return before[-1] if before else None

    def _has_ghosts(self) -> bool:
        return bool(self.control.metrics.ghosts("train_loss"))

    def _moments_before(self) -> list[Moment]:
        """Return the moments up to the cursor, on its branch of the history."""
        left = self._abandoned()
        moments = left.moments if left else self._moments
        return [one for one in moments if one.step <= self.step]

    def _abandoned(self) -> Abandoned | None:
        """Return the newest abandoned branch that has the step of the cursor, if any."""
        if self.step <= self.control.status.step:
            return None
        return next((one for one in reversed(self._left) if one.last >= self.step), None)

    def _reach(self) -> KeptSteps:
        control = self.control
        first, now = control.first_step, control.status.step
        ghosts = control.metrics.ghosts("train_loss")
        run, total = control.run_path, control.status.total_steps
        assert run
        return KeptSteps(
            lambda step: fork_command(run, step, total),
            self.key_of,
            self._forked_from,
            first,
            now,
            last_step_of(ghosts),
            tuple(one.step for one in self._moments if one.weights and first <= one.step <= now),
            tuple(one.step for one in self._moments if one.weights == "full" and one.step <= now),
        )

    def _way(self) -> Way:
        """Return what it takes to go to the step of the cursor."""
        step, now = self.step, self.control.status.step
        reach = self._reach()
        start = step if step == now else reach.start_of(step)
        only = step in reach.kept and step not in reach.full
        return Way(step, start, self._seconds(start, step), only)

    def _seconds(self, start: int, step: int) -> float | None:
        """Return how long the steps between two took, as recorded, or would take now."""
        from engine.runs.timeline import figures_at

        steps, seconds, _ = self.control.metrics.column("train_seconds").snapshot()
        before, after = (figures_at(steps, seconds, one) for one in (start, step))
        if after is not None and (before is not None or start == 0):
            return after - (before or 0.0)
        status = self.control.status
        if not (status.tokens_per_second and status.tokens_per_step):
            return None
        return (step - start) * status.tokens_per_step / status.tokens_per_second

    def _show(self) -> None:
        self.query_one(LossChart).cursor = self.step
        self.query_one("#timeline-facts", Static).update(self._facts())
        self.query_one("#timeline-chart").border_subtitle = self._what_it_takes()
        moment = self._moment()
        texts = [one for one in self._moments_before() if one.samples]
        sample = self.query_one("#timeline-sample", Vertical)
        view = self.query_one(TextView)
        if moment is None or not texts:
            sample.border_title = "text"
            view.show([Passage("no text was written by then", hint=True, finished=True)])
            return
        newest = texts[-1]
        beside = [self._beside] if self._beside and self._beside is not newest.samples[-1] else []
        shown = (*beside, newest.samples[-1])
        if [id(one) for one in shown] != self._texts_shown:
            self._texts_shown = [id(one) for one in shown]
            view.show([_passage(one) for one in shown])
        sample.border_title = f"text of step {newest.step:,}"
        if self._playing:
            sample.border_title += f" · playing, {SPEEDS[self._speed]:g} a second"

    def _what_it_takes(self) -> str:
        """Say what enter would do here that takes a while."""
        way = self._way()
        if not way.steps or self.why_not("choose", ("rewind",)):
            return ""
        return f"{self.key_of('timeline.rewind')} goes back: {way.brief}"

    def _facts(self) -> Text:
        from engine.runs.timeline import figures_at

        store, moment, left = self.control.metrics, self._moment(), self._abandoned()
        here = moment if moment and moment.step == self.step else None
        if left:
            train = figures_at(left.steps, left.losses, self.step)
            measured = [one.val_loss for one in self._moments_before() if one.val_loss is not None]
            val = measured[-1] if measured else None
        else:
            train = figures_at(*store.column("train_loss").snapshot()[:2], self.step)
            val = figures_at(*store.column("val_loss").snapshot()[:2], self.step)
        kind = here.weights if here else ""
        weights = WEIGHTS.get(kind) or ("" if left else self._reach().weights(self.step))
        if here and here.pinned:
            weights += ", kept for good"
        now = self.control.status.step
        distance = "now" if self.step >= now else f"{format_count(now - self.step, 'step')} ago"
        figures = Text.assemble(
            ("  loss ", "dim"),
            format_loss(train),
            ("  val ", "dim"),
            format_loss(val),
            "  ",
            (weights, "dim"),
        )
        step, width = Text(f"step {self.step:,}", "bold"), self.size.width - 2
        facts = Text.assemble(step, f" ({'abandoned' if left else distance})", figures)
        if facts.cell_len > width and not left:  # the chart shows the distance
            facts = Text.assemble(step, figures)
        facts.truncate(width, overflow="ellipsis")
        return facts

    # -- keys ------------------------------------------------------------------------------------

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        if action not in ("choose", "sample", "pin"):
            return ""
        not_open = why_not("sample", self.control)
        return not_open or self._reach().why_not(
            str(parameters[0] if parameters else action), self.step
        )

    def action_move(self, by: int) -> None:
        """Move to another moment; between two, to the next one in that direction."""
        now = self.control.status.step
        lived = {one.step for one in self._moments if one.step <= now} | {now}
        ahead = {
            one.step for left in self._left for one in left.moments if now < one.step <= left.last
        }
        steps = sorted(lived | ahead if self.step >= now else lived)  # stop at the present
        if by < 0:
            reach = [step for step in steps if step < self.step]
            self.step = reach[max(by, -len(reach))] if reach else self.step
        else:
            reach = [step for step in steps if step > self.step]
            self.step = reach[min(by, len(reach)) - 1] if reach else self.step
        self._show()
        self.refresh_bindings()

    def action_move_to_weights(self, by: int) -> None:
        """Move to the next moment in a direction whose weights are kept."""
        near = self._reach().nearest(self.step)
        for step in near:
            if (step > self.step) == (by > 0):
                self.step = step
        self._show()
        self.refresh_bindings()

    def on_chart_widget_pointed(self, message: ChartWidget.Pointed) -> None:
        """Go to the moment that is nearest to a click."""
        moments = [one.step for one in self._moments]
        self.step = min(moments, key=lambda one: abs(one - message.step), default=message.step)
        self._show()
        self.refresh_bindings()

    def action_type_step(self) -> None:
        self.query_one("#timeline-step").add_class("-open")
        field = self.query_one(Field)
        field.value = ""
        self.set_focus(field)  # at once: the next key is a digit, and enter would go back

    def action_leave_field(self) -> None:
        self.query_one("#timeline-step").remove_class("-open")
        self.set_focus(None)
        self.refresh_bindings()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.action_leave_field()
        if not event.value:
            self._say("no step was typed: a number, such as 100")
            return
        try:
            step = int(parse_number(event.value, "the step", whole=True))
        except ValueError as error:
            self._say(str(error))
            return
        if problem := self._reach().why_not_at(step):
            self._say(problem)
            return
        self.step = step
        self._show()
        self.refresh_bindings()

    def action_choose(self, action: str) -> None:
        """Go back to the step or fork from it; what takes long is asked before."""
        way = self._way()
        dialog: Dialog | None
        if action == "rewind":
            dialog = before_going_back(self.control, way)
        else:
            dialog = before_forking(self.control, way.step, way)
        if dialog is None:
            self.dismiss(Choice(action, way.step))
        else:
            self.app.push_screen(dialog, partial(self._take_answer, action, way))

    def _take_answer(self, action: str, way: Way, answer: str | None) -> None:
        """Without an answer one is at the same step of the timeline again."""
        if answer:
            step = way.start if answer == "nearest" else way.step
            self.dismiss(Choice(action, step, opens=answer == "open"))

    def action_sample(self) -> None:
        self._texts_before = self._count_texts()
        self.query_one("#timeline-sample", Vertical).border_title = "writing…"
        self.control.sample(step=self.step)

    def action_play(self) -> None:
        """Show one text after the other, from the first one if the last is shown; or stop."""
        if self._playing:
            self._stop_playing()
            return
        steps = [one.step for one in self._moments if one.samples]
        if not steps:
            self._say("there are no texts yet to play: train on until an evaluation")
            return
        if self.step >= steps[-1]:
            self.step = steps[0]
        self._playing = self.set_interval(1 / SPEEDS[self._speed], self._next_picture)
        self._show()

    def _next_picture(self) -> None:
        later = [one.step for one in self._moments if one.samples and one.step > self.step]
        if not later:
            self._stop_playing()
            return
        self.step = later[0]
        self._show()
        self.refresh_bindings()

    def _stop_playing(self) -> None:
        if self._playing:
            self._playing.stop()
            self._playing = None
            self._show()

    def action_speed(self, by: int) -> None:
        """Play faster or slower."""
        self._speed = max(0, min(len(SPEEDS) - 1, self._speed + by))
        if self._playing:
            self._playing.stop()
            self._playing = self.set_interval(1 / SPEEDS[self._speed], self._next_picture)
        self._show()

    def action_beside(self) -> None:
        """Keep the text shown beside those of other moments, or no longer."""
        texts = [one for one in self._moments_before() if one.samples]
        if self._beside or not texts:
            self._beside = None
        else:
            self._beside = texts[-1].samples[-1]
            self.notify("it stays beside the text of the moment that you move to")
        self._show()

    def action_scroll_text(self, by: int) -> None:
        self.query_one(TextView).scroll_lines(by)

    async def action_inside(self) -> None:
        """Look inside the weights of the cursor's step, or the last before it that are kept."""
        from tui.screens.inside import InsideScreen

        now = self.control.status.step
        kept = [one.step for one in self._moments_before() if one.weights]
        step = None if self.step >= now and not self._abandoned() else kept[-1] if kept else 0
        inside = InsideScreen(self.control, step=step)
        await self.app.push_screen(inside)
        if step is not None and step != self.step:  # it covers the messages of this screen
            inside.notify(
                f"the weights of step {self.step:,} are not kept: these are of step {step:,}"
            )

    def action_pin(self) -> None:
        moment = self._moment()
        assert moment  # or the key would not work
        self.control.send(Pin(self.step, not moment.pinned))
        self._pinning = not moment.pinned

    def _say(self, problem: str) -> None:
        self.notify(problem, severity="warning")

    def _count_texts(self) -> int:
        return sum(len(one.samples) for one in self._moments)

    def action_toggle_log(self) -> None:
        self.query_one(LossChart).toggle_log()


def _passage(sample: StoredSample) -> Passage:
    prompt = sample["settings"].get("prompt", "")
    text = sample["text"] if prompt else sample["text"].lstrip("\n")
    seed = sample["settings"].get("seed", 0)
    return Passage(prompt, text, f"step {sample['step']:,} · seed {seed}", finished=True)
