"""The inside of a model: what it attends to, predicts, is surprised by and has learned."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input

from data.errors import InputError
from engine.config.escapes import unescape
from engine.protocol import Evaluated, Event, Inspected, RunOpened, State, StateChanged
from tui.control.inside import NOW, UNTRAINED, Inside, Side
from tui.control.keymap import bindings
from tui.control.run import RunControl
from tui.inside.layout import Picture, Row, below, beside, cut, draw_tabs, fitted, wrapped
from tui.inside.words import WORDS
from tui.screens.inside_views import NOTHING, View, views_of
from tui.screens.picture_screen import PictureScreen
from tui.text.numbers import format_count
from tui.widgets.field import Field, FieldLabel
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.picture_view import PictureView

if TYPE_CHECKING:
    from engine.inspect.health import HealthCurves
    from tui.charts.heatmap import Ink

OF_A_TEXT = ("type_text", "sample", "excerpt", "moment", "now", "untrained", "move")
WIDE = 120  # columns from which two models stand side by side
TALL = 28  # rows from which the explanation has room for all of it


class InsideScreen(PictureScreen[None]):
    """Looks into a model at a moment of its training.

    Args:
        control: The open run.
        run: The folder of another run to look into; None for the open one.
        step: Of the moment; None for now.
        other: The folder of a run to show beside it.
    """

    CSS_PATH = "../styles/inside.tcss"
    KEYS = "inside"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(
        self,
        control: RunControl,
        run: Path | None = None,
        step: int | None = None,
        other: Path | None = None,
    ) -> None:
        super().__init__()
        self.control = control
        self.state = Inside(control.send, run)
        if other is not None:
            self.state.sides.append(Side(str(other)))
        if step is not None:
            self.state.main.moment = step
        self._views: dict[str, View] = views_of(self)
        self._kept: list[int] = []  # steps whose weights are kept
        self._sample = ""  # the text of the cockpit, if that was taken
        self._curves: HealthCurves | None = None  # of another run, once they are read
        self._asked = time.monotonic()  # when it was looked last

    @property
    def views(self) -> dict[str, View]:
        return self._views

    @property
    def shown(self) -> str:
        return self.state.view

    @property
    def view(self) -> View:
        return self._views[self.state.view]

    @property
    def run(self) -> Path | None:
        """The folder of the run that is looked into."""
        return Path(self.state.main.run) if self.state.main.run else self.control.run_path

    @property
    def ink(self) -> Ink:
        """What pictures are made of on this terminal."""
        return self.picture.ink

    def compose(self) -> ComposeResult:
        yield PictureView(self._draw, id="inside")
        with Horizontal(id="inside-text"):
            yield FieldLabel("text")
            field = Field(id="text", placeholder="a text to look at")
            field.escaped = field.takes_tab = True
            yield field
        yield KeysFooter()

    def on_mount(self) -> None:
        self.state.ask()
        self._find_kept()
        self.set_interval(1.0, self._refresh_now)

    # -- what there is -----------------------------------------------------------------------------

    @work(thread=True, exclusive=True)
    def _find_kept(self) -> None:
        from engine.runs.checkpoint_names import list_snapshots, step_of

        run = self.run
        try:
            kept = sorted({step_of(one) for one in list_snapshots(run)}) if run else []
        except OSError:
            kept = []
        self.call_from_worker(self._take_kept, kept)

    def _take_kept(self, kept: list[int]) -> None:
        self._kept = kept
        self.refresh_bindings()

    def hear(self, event: Event) -> bool:
        if isinstance(event, Evaluated | StateChanged | RunOpened):
            if isinstance(event, RunOpened):  # by another engine than the one that was asked
                self.state.forget_problems()
            self.state.follow()
            self._find_kept()
            self.refresh_picture()
            return False
        answered = self.state.take(event)
        if answered and not (isinstance(event, Inspected) and event.found is None):
            self.refresh_picture()  # else it is only how much is done
        return answered

    def health_curves(self) -> HealthCurves:
        """Return what was recorded of the health of the run that is looked into."""
        from engine.inspect.health import curves_of, read_curves

        if not self.state.main.run:
            return curves_of(self.control.metrics)
        if self._curves is None:
            try:
                self._curves = read_curves(Path(self.state.main.run))
            except InputError as error:
                self._curves = {}
                self.notify(str(error), severity="warning")
        return self._curves

    def _refresh_now(self) -> None:
        """Look again where that is wanted more often than after each evaluation."""
        seconds = self.app.preferences.get("inside.seconds")  # type: ignore[attr-defined]
        is_due = seconds and time.monotonic() - self._asked >= seconds
        if is_due and self.control.status.state is State.RUNNING:
            self._asked = time.monotonic()
            self.state.follow()
        if self.state.view == "health" and self.control.status.state is State.RUNNING:
            self.refresh_picture()

    # -- drawing -----------------------------------------------------------------------------------

    def _draw(self, width: int, height: int) -> Picture:
        why = self._why(width, height)
        top = below(self._tabs(width), self._facts(width))
        room = height - len(top.rows) - len(why.rows)
        body = cut(self._body(width, room), width, room)
        body.rows += [[] for _ in range(room - len(body.rows))]
        return below(top, body, why)

    def _tabs(self, width: int) -> Picture:
        return draw_tabs({name: WORDS[name].title for name in self._views}, self.state.view, width)

    def _facts(self, width: int) -> Picture:
        state = self.state
        row: Row = [(" ", "ink")]
        for number, side in enumerate(state.sides if self.view.takes_two else state.sides[:1]):
            row += [(" beside " if number else "", "dim"), (self._moment_of(side), "title")]
        if self.view.needs_answer:
            row += [(f" · {self._text_of()}", "dim")]
        return Picture([fitted(row, width)])

    def _moment_of(self, side: Side) -> str:
        name = f"{self.run_of(side)} " if side.run or self._has_two_runs else ""
        answer = side.answers.get(self.state.view) or next(iter(side.answers.values()), None)
        if side.moment == UNTRAINED:
            return f"{name}untrained"
        step = f"step {answer.step:,}" if answer else "…"
        if answer is None and not side.run:  # it has no such inside, as a bigram has no attention
            step = f"step {self.control.status.step:,}"
        if side.moment != NOW:
            return f"{name}step {side.moment:,}"
        if self.control.status.state in (State.STOPPED, State.FAILED) and not side.run:
            return f"{name}{step}, kept: nothing trains this run now"
        if self.control.status.state is not State.RUNNING or side.run:
            return f"{name}{step}"
        seconds = self.app.preferences.get("inside.seconds")  # type: ignore[attr-defined]
        when = f"every {seconds:g} s" if seconds else "after each evaluation"
        return f"{name}{step}, again {when}"

    def run_of(self, side: Side) -> str:
        """Return the name of a side's run."""
        run = Path(side.run) if side.run else self.control.run_path
        return run.name if run else ""

    @property
    def _has_two_runs(self) -> bool:
        return len({one.run for one in self.state.sides}) > 1

    def _caption(self, side: Side) -> Picture:
        """Say which of two models a half shows."""
        row: Row = [(self._moment_of(side), "title")]
        main = self.state.main
        if side is not main and not self._has_two_runs:
            row.append((", kept", "dim"))
        elif side is main and not self._has_two_runs and main.step == self.state.sides[1].step:
            row.append((f" · {self.key_of('inside.earlier')} goes to an earlier one", "dim"))
        return Picture([row])

    def _text_of(self) -> str:
        state = self.state
        answer = state.answer
        length = format_count(len(answer.tokens), "token") if answer and answer.tokens else ""
        cut_off = (
            f", the last of {len(answer.tokens) + answer.left_out:,}"
            if answer and answer.left_out
            else ""
        )
        what = (
            f"excerpt {state.excerpt + 1} of the validation split"
            if state.text is None
            else ("the sample" if state.text == self._sample and self._sample else "your text")
        )
        return f"{what} · {length}{cut_off}" if length else what

    def _body(self, width: int, height: int) -> Picture:
        sides = self.state.sides
        if len(sides) == 1 or not self.view.takes_two or self.view.joins_two:
            return self._side(sides[0], width, height)
        is_wide = width >= WIDE
        half_width, half_height = ((width - 2) // 2, height) if is_wide else (width, height // 2)
        halves = []
        for side in sides:
            caption = self._caption(side)
            picture = self._side(side, half_width, half_height - len(caption.rows))
            half = cut(below(caption, picture), half_width, half_height)
            half.rows += [[] for _ in range(half_height - len(half.rows))]
            halves.append(half)
        if is_wide:
            return beside([(half, half_width) for half in halves], height)
        return below(*halves)

    def _side(self, side: Side, width: int, height: int) -> Picture:
        name = self.state.view
        if problem := side.problems.get(name):
            told = wrapped(problem, width, "bad")
            if self.state.text is None:
                return told
            key, excerpt = self.key_of("inside.text"), self.key_of("inside.next_excerpt")
            ways = f"{key} types another text, {excerpt} takes one of the validation split"
            return below(told, wrapped(ways, width, "dim"))
        if self.view.needs_answer and name not in side.answers:
            return Picture([[("looking into the model …", "dim")]])
        return self.view.draw(side, width, height)

    def _why(self, width: int, height: int) -> Picture:
        """Explain what one sees, and why it matters; as much of it as there is room for."""
        if self.state.view in self.state.main.problems:  # nothing of it is shown
            return Picture()
        most = 3 if height >= TALL else 2
        words = WORDS[self.state.view]
        whole = words.explanation
        first = whole.partition(". ")[0] + "."
        for text in (f"{whole} {words.source}", whole, first):
            lines = wrapped(text, width - 2, "dim")
            if len(lines.rows) <= most:
                break
        for row in lines.rows:
            row.insert(0, (" ", "ink"))
        return below(Picture([[]]) if height >= TALL else Picture(), lines)

    def explain(self) -> str:
        """Return what the view shows, for the help."""
        words = WORDS[self.state.view]
        return f"**{words.title}.** {words.explanation} {words.source}"

    # -- keys --------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if isinstance(self.focused, Field) and action != "leave_field":
            return False  # while a text is typed, keys are part of it
        return super().check_action(action, parameters)

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        if action == "moment" and not self._kept:
            return "no weights of earlier steps are kept yet: the run keeps some as it trains"
        view = self.state.view
        if action == "enter" and (parameters != (view,) or view in self.state.main.problems):
            return NOTHING["enter"]
        if action in NOTHING:
            return self.view.why_not(action)
        if action in OF_A_TEXT and not self.view.needs_answer:
            return "this view shows what was recorded while the run trained, and needs no text"
        if action == "beside" and not self.view.takes_two:
            return "this view shows one model at a time"
        if action == "sample" and not self._current_sample():
            return f"there is no text yet: {self.key_of('cockpit.sample')} in the cockpit samples"
        return ""

    def action_show(self, view: str) -> None:
        self.state.show(view)
        self.refresh_picture()

    def action_go_layer(self, by: int) -> None:
        self.view.go_layer(by)
        self.refresh_picture()

    def action_enter(self, view: str) -> None:
        self.view.enter()
        self.refresh_picture()

    def action_take_back(self) -> None:
        self.view.take_back()
        self.refresh_picture()

    def action_adjust(self, by: int) -> None:
        self.view.adjust(by)
        self.refresh_picture()

    def action_next_setting(self) -> None:
        self.view.next_setting()
        self.refresh_picture()

    def action_moment(self, by: int) -> None:
        """Go to the kept weights before or after; after the last of them, to now."""
        main = self.state.main
        at = main.moment
        if by < 0:
            here = self._step_of(main)
            before = [one for one in self._kept if one < here]
            self._go_to(before[-1] if before else UNTRAINED)
        elif at == NOW:
            self.notify("these are the newest weights")
        else:
            here = -1 if at == UNTRAINED else self._step_of(main)
            after = [one for one in self._kept if one > here]
            self._go_to(after[0] if after else NOW)

    def _step_of(self, side: Side) -> int:
        if isinstance(side.moment, int):
            return side.moment
        if side.moment == UNTRAINED:
            return 0
        return side.step if side.step is not None else self.control.status.step

    def _go_to(self, moment: str | int) -> None:
        if moment == self.state.main.moment:
            self.notify("these are the weights that are shown")
            return
        self.state.go_to(moment)
        self.refresh_picture()

    def action_now(self) -> None:
        if self.state.main.moment == NOW:
            self.state.follow()  # it may have been a while
        else:
            self._go_to(NOW)

    def action_untrained(self) -> None:
        self._go_to(UNTRAINED)

    def action_beside(self) -> None:
        """Keep what is looked at beside the moment that one moves to, or no longer."""
        state = self.state
        if len(state.sides) > 1:
            del state.sides[1:]
        else:
            moment = self._kept_moment()
            state.keep_beside(moment)
            what = moment if moment == UNTRAINED else f"step {moment:,}"
            self.notify(f"the weights of {what} stay beside the moment that you move to")
        self.refresh_picture()

    def _kept_moment(self) -> str | int:
        """Return the moment that is looked at; the last one before it whose weights are kept."""
        main = self.state.main
        if main.moment != NOW:
            return main.moment
        before = [one for one in self._kept if one <= self._step_of(main)]
        return before[-1] if before else UNTRAINED

    def action_excerpt(self, by: int) -> None:
        excerpt = self.state.excerpt + by if self.state.text is None else self.state.excerpt
        if excerpt < 0:
            self.notify("this is the first excerpt")
            return
        self.state.look_at(None, excerpt)
        self.refresh_picture()

    def _current_sample(self) -> str:
        cockpit = self.app.cockpit  # type: ignore[attr-defined]
        record = cockpit.samples.current if cockpit.is_mounted else None
        return str(record.passage.whole) if record else ""

    def action_sample(self) -> None:
        self._sample = self._current_sample()
        self.state.look_at(self._sample)
        self.refresh_picture()

    def action_type_text(self) -> None:
        self.query_one("#inside-text").add_class("-open")
        field = self.query_one(Field)
        self.set_focus(field)
        field.action_select_all()  # what is typed takes the place of the text before

    def action_leave_field(self) -> None:
        self.query_one("#inside-text").remove_class("-open")
        self.set_focus(None)
        self.refresh_bindings()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.action_leave_field()
        if not event.value:
            told = "no text was typed: at least one character"
            if self.state.main.problems and self.state.text is not None:  # it is gone
                self.action_excerpt(0)
                told += "; this is an excerpt of the validation split"
            self.notify(told, severity="warning")
            return
        try:
            text = unescape(event.value, "the text")
        except ValueError as error:
            self.notify(str(error), severity="warning")
            return
        self.state.look_at(text)
        self.refresh_picture()

    def on_picture_view_clicked(self, message: PictureView.Clicked) -> None:
        kind, *where = message.what
        if kind == "view":
            self.action_show(str(where[0]))
            return
        self.view.click(str(kind), [int(one) for one in where])
        if message.twice and not self.view.why_not("enter"):
            self.view.enter()
        self.refresh_picture()

    def action_export(self) -> None:
        """Write the screen as it is into the run's folder."""
        step = self.state.main.step or 0
        name = time.strftime(f"inside-{self.state.view}-step-{step}-%H%M%S.svg")
        self.app.deliver_screenshot(name)

    def action_close(self) -> None:
        """Leave what the view was entered for; then the screen."""
        if self.view.leave():
            self.refresh_picture()
        else:
            self.dismiss(None)
