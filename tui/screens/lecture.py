"""The lecture: its models as a path, each explained, with its code, and to be trained by a key."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.text import Text
from textual import events, getters, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, ScrollableContainer, Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from data.errors import InputError
from data.paths import real_path
from engine.config.model_size import COUNTED
from engine.config.presets.published import CORPUS
from engine.states import State
from tui.control.availability import why_not
from tui.control.keymap import bindings
from tui.control.lecture import Progress, progress_of
from tui.control.run import RunControl
from tui.control.run_previews import RunPreviews
from tui.screens.dialogs import NewRunDialog, OpenRunDialog, is_busy, what_becomes
from tui.screens.keyed import KeyedScreen
from tui.terminal.visible import visible_line
from tui.text.forward_pass import attention_lines, pass_lines
from tui.text.lecture import GROUPS, LESSONS, RUNGS, Lesson
from tui.text.lesson import drawing, facts, heading, parameters_of, steps_of
from tui.text.letters import letter_of
from tui.text.model import LETTERS
from tui.text.model_source import FEWEST, fold, read_excerpt
from tui.text.numbers import format_amount, format_duration, format_loss
from tui.text.tables import format_columns
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.overlay_chart import COLOURS, OverlayChart
from tui.widgets.page_tabs import PageTabs

if TYPE_CHECKING:
    from engine.runs.catalogue import Catalogue
    from engine.runs.preview import Preview
    from engine.runs.summary import RunSummary
    from tui.charts.chart import Series
    from tui.control.forward_pass import ForwardPass
    from tui.screens.compare import Reading

REFRESH_SECONDS = 2.0
REST = 10  # times the duration of reading: reading must not slow down training
PAGES = {
    "lesson": "lesson",
    "code": "code",
    "pass": "one pass",
    "text": "its text",
    "curves": "curves",
}
NAME_WIDTH = 17
SIGN_STYLES = {"✓": "green", "●": "green", "◐": "yellow", "○": "dim"}


class PassOf(NamedTuple):
    """What a forward pass is of: a run has others with each lower loss."""

    lesson: str
    run: str
    best_step: int | None


class LessonList(OptionList, can_focus=False):
    """The models in rows; the screen has the keys."""

    def on_click(self, event: events.Click) -> None:
        event.prevent_default()  # a click shows a lesson and does nothing more
        clicked = event.style.meta.get("option")
        if not isinstance(clicked, int) or not 0 <= clicked < self.option_count:
            return
        if not self.get_option_at_index(clicked).disabled:
            self.highlighted = clicked


class LectureScreen(KeyedScreen[str]):
    """The models of the lecture; its result is a sentence on what was begun, empty if nothing was.

    Args:
        at: The model to begin at; empty for that of the open run, or the first not trained.
    """

    CSS_PATH = "../styles/lecture.tcss"
    AUTO_FOCUS = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (170, "-very-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (36, "-tall")]
    KEYS = "lecture"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)
    ABOUT = (
        "The models of Karpathy's *Let's build GPT*, from a table of pairs to a GPT; each adds "
        "something to the one before. Use it to learn what each part of a GPT is for: read the "
        "lesson, look at the code and at the numbers that go through it, and train the model to "
        "see what the part is worth."
    )
    HELP = (
        "The code is read from the program that is installed, the forward pass is a real one.\n\n"
        "`{lecture.train}` trains the model in a new run. What was trained is found from the runs: "
        "○ not tried, ◐ begun, ● trained, ✓ as good as in the video. A run counts if its preset "
        "and its model are those of the lecture; losses compare on the lecture's text alone. "
        f"Parameters are counted {COUNTED}.\n\n"
        "The same as text: `gpt-tui learn --text`; all models one after the other: "
        "`gpt-tui ladder`."
    )

    path = getters.query_one("#lecture-path", LessonList)
    tabs = getters.query_one(PageTabs)
    lesson_view = getters.query_one("#lecture-lesson", ScrollableContainer)
    page_view = getters.query_one("#lecture-page", ScrollableContainer)

    def __init__(self, control: RunControl, at: str = "") -> None:
        super().__init__()
        self.control = control
        self._at = at
        self._page = "lesson"
        self._progress: dict[str, Progress] = {}
        self._catalogue: Catalogue | None = None
        self._next_look = 0.0  # by the monotonic clock
        self._readings: dict[Path, Reading] = {}
        self._metric, self._axis = "val_loss", "steps"
        self._previews = RunPreviews()
        self._text: tuple[RunSummary | None, Preview | str | None] = (None, None)
        self._pass: tuple[PassOf | None, ForwardPass | str | None] = (None, None)
        self._shown: dict[str, object] = {}  # what each view shows now

    def compose(self) -> ComposeResult:
        yield Static(id="lecture-heading")
        with Horizontal(id="lecture-body"):
            with Vertical(id="lecture-left"):
                yield LessonList(id="lecture-path")
                yield OverlayChart(id="lecture-small")
            with Vertical(id="lecture-right"):
                yield PageTabs(id="lecture-tabs")
                with Horizontal(id="lecture-pages"):
                    with ScrollableContainer(
                        id="lecture-lesson", classes="lecture-page", can_focus=False
                    ):
                        yield Static()
                    with ScrollableContainer(
                        id="lecture-page", classes="lecture-page", can_focus=False
                    ):
                        yield Static()
                    with Vertical(id="lecture-curves"):
                        yield OverlayChart(id="lecture-chart")
                        with ScrollableContainer(id="lecture-table", can_focus=False):
                            yield Static()
        yield KeysFooter()

    def on_mount(self) -> None:
        self._show_path()
        self.set_interval(REFRESH_SECONDS, self._read_if_seen)
        self.app.theme_changed_signal.subscribe(self, lambda _: self._show_everything())

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_everything)  # with the classes of the new size

    def on_screen_resume(self) -> None:
        """Read at first, and again, as nothing was read while the screen was hidden."""
        self._read()

    # -- reading ---------------------------------------------------------------------------------

    def _read_if_seen(self) -> None:
        if self.is_current and time.monotonic() >= self._next_look:
            self._read()

    def _read(self) -> None:
        self._next_look = float("inf")  # until it is read
        self._read_runs(self._metric, self._axis)

    @work(thread=True, exclusive=True, group="runs")
    def _read_runs(self, metric: str, axis: str) -> None:
        """Read which models were trained, and their curves."""
        from engine.runs.catalogue import Catalogue
        from engine.runs.curves import Axis
        from tui.screens.compare import View, read_in_view

        began = time.monotonic()
        catalogue = self._catalogue or Catalogue(self.control.launch.runs_dir)
        self._catalogue = catalogue
        runs = catalogue.read()
        progress = {one.name: progress_of(one.preset, runs) for one in LESSONS}
        view, readings = View(metric, Axis(axis)), {}
        for one in progress.values():
            run = one.live or one.run
            if run is None:
                continue
            path = Path(run.path)
            try:
                readings[path] = read_in_view(path, view, self._readings.get(path))
            except (InputError, OSError):  # it has a row in the screen of runs that says so
                continue
        if not get_current_worker().is_cancelled:
            rest = REST * (time.monotonic() - began)
            self.call_from_worker(self._take, progress, readings, rest)

    def _take(
        self, progress: dict[str, Progress], readings: dict[Path, Reading], rest: float
    ) -> None:
        self._next_look = time.monotonic() + rest
        first = not self._progress
        changed = progress != self._progress or readings != self._readings
        self._progress, self._readings = progress, readings
        if first and not self._at:
            self._show_path(self._first(progress))
        if changed:
            self._show_everything()

    def _first(self, progress: dict[str, Progress]) -> str:
        """Return the model of the open run, whose text and curve are new; else the next to try."""
        if self.control.run_path is not None:
            open_one = str(real_path(self.control.run_path))
            for name, one in progress.items():
                if any(run is not None and run.path == open_one for run in (one.run, one.live)):
                    return name
        untried = (one.name for one in RUNGS if progress[one.name].run is None)
        return next(untried, RUNGS[0].name)

    @property
    def _is_wide(self) -> bool:
        return self.has_class("-wide") or self.has_class("-very-wide")

    def _progress_of(self, lesson: Lesson) -> Progress:
        return self._progress.get(lesson.name) or Progress(lesson.preset)

    def _run_of(self, lesson: Lesson) -> RunSummary | None:
        one = self._progress_of(lesson)
        return one.run or one.live

    # -- the path --------------------------------------------------------------------------------

    @property
    def lesson(self) -> Lesson:
        """The model under the cursor."""
        option = self.path.highlighted_option if self.is_mounted else None
        return next((one for one in LESSONS if option and one.name == option.id), RUNGS[0])

    def _show_path(self, name: str = "") -> None:
        """List the models, with the cursor on one of them."""
        option = self.path.highlighted_option
        at = name or (str(option.id) if option else self._at or RUNGS[0].name)
        rows: list[Option] = []
        for group, lessons in GROUPS.items():
            rows.append(Option(self._title(group), id=f"group {group}", disabled=True))
            rows += [Option(self._row(one), id=one.name) for one in lessons]
        scrolled = self.path.scroll_offset.y
        self.path.set_options(rows)
        self.path.highlighted = self.path.get_option_index(at)
        self.path.scroll_to(y=scrolled, animate=False)
        self._show_heading()

    def _title(self, group: str) -> Text:
        if not self._is_wide:
            if group not in list(GROUPS)[:1]:
                return Text("four projects", "bold", no_wrap=True)
            return Text.assemble((f"{group:<18}", "bold"), (f"{'yours':>6}", "dim"))
        if group not in list(GROUPS)[:1]:
            return Text(group, "bold", no_wrap=True)
        columns = f"{'yours':>7}{'video':>7}{'params':>8}"
        return Text.assemble((f"{group:<{NAME_WIDTH + 5}}", "bold"), (columns, "dim"))

    def _row(self, lesson: Lesson) -> Text:
        one = self._progress_of(lesson)
        text = Text(no_wrap=True)
        text.append(f"{one.sign} ", SIGN_STYLES[one.sign])
        number = str(RUNGS.index(lesson) + 1) if lesson in RUNGS else "·"
        text.append(f"{number} ", "dim")
        target = lesson.preset.lecture_loss
        video = "" if target is None else f"{target:.2f}"
        best = one.best if one.is_comparable or target is None else None
        if not self._is_wide:
            if target is None:
                return text.append(lesson.name)
            shown = "–" if best is None else f"{best:.2f}"
            return text.append(f"{lesson.name:<15}").append(f"{shown:>5}", "bold")
        text.append(f"{lesson.name:<{NAME_WIDTH + 1}}", "bold")
        text.append(f"{format_loss(best) if best is not None else '–':>7}")
        text.append(f"{video:>7}", "dim")
        text.append(f"{format_amount(parameters_of(lesson)):>8}", "dim")
        if self.has_class("-tall") and lesson in RUNGS:
            text.append(f"\n  │ {lesson.title}", "dim")
        return text

    def _show_heading(self) -> None:
        done = sum(self._progress_of(one).best is not None for one in RUNGS)
        text = Text("the lecture", "bold")
        text.append(f" · {done} of {len(RUNGS)} models trained", "not bold")
        corpus = self.control.draft.next_value("data.corpus")
        if corpus != CORPUS:
            name = visible_line(Path(str(corpus)).name)
            text.append(f" · the text is {name}: its losses do not compare", "yellow not bold")
        else:
            train = self.key_of("lecture.train")
            text.append(f" · {train} trains the one at the cursor", "not bold")
        self.query_one("#lecture-heading", Static).update(text)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self._show_pages()
        self._show_curves()
        self.refresh_bindings()

    # -- the pages -------------------------------------------------------------------------------

    def _show_everything(self) -> None:
        if not self.query(LessonList):
            return
        self._show_path()
        self._shown.clear()
        self._show_pages()
        self._show_curves()
        self.refresh_bindings()

    def _show_pages(self) -> None:
        """Show the page that is chosen; beside it, where there is room, the lesson."""
        beside = self.has_class("-very-wide")
        page = "code" if beside and self._page == "lesson" else self._page
        keys = [(one, self.key_of(f"lecture.{one}"), name) for one, name in PAGES.items()]
        self.tabs.show(keys, self._page)
        self.set_class(page == "curves", "-curves")
        if beside:
            self._fill(self.lesson_view, "lesson")
        if page != "curves":
            self._fill(self.page_view, page)

    def _fill(self, view: ScrollableContainer, page: str) -> None:
        """Show a page in a view; a page that is shown already stays where it was scrolled to."""
        lesson = self.lesson
        pages: dict[str, Callable[[Lesson], Text | Content]] = {
            "lesson": self._lesson_text,
            "code": self._code,
            "pass": self._pass_text,
            "text": self._sample,
        }
        before = self._shown.get(view.id or "")
        view.set_class(page == "code", "-code")
        view.query_one(Static).update(pages[page](lesson))
        if before is not None and before != (lesson.name, page):
            view.scroll_home(animate=False)
        self._shown[view.id or ""] = (lesson.name, page)

    def _lesson_text(self, lesson: Lesson) -> Text:
        one = self._progress_of(lesson)
        text = Text.assemble((f"{heading(lesson)}\n", "bold"), (f"{facts(lesson)}\n", "dim"))
        text.append(f"{one.sign} ", SIGN_STYLES[one.sign]).append(f"{one.told()}\n")
        for words in lesson.words:
            text.append(f"\n{words}\n")
        text.append("\nThe data, with shapes\n", "bold")
        for line, step in drawing(steps_of(lesson)):
            text.append(f"{line}\n", "bold" if step.is_new else "")
        text.append(f"{LETTERS}; + is new here\n", "dim")
        text.append("\nTo look at inside\n", "bold")
        inside = self.key_of("cockpit.inside")
        for number, look in enumerate(lesson.looks):
            key = self.key_of(f"inside.{look.view}")
            lead = f"{self.key_of('lecture.open')} opens its run, then " if not number else ""
            text.append(f"· {lead}{inside} {key}", "dim")
            text.append(f" {look.view}: {look.what}\n")
        return text

    def _code(self, lesson: Lesson) -> Content:
        from textual.highlight import highlight

        parts: list[Content] = []
        for name in lesson.code:
            try:
                found = read_excerpt(name)
            except (LookupError, OSError) as error:  # an installation without its source
                parts.append(Content(f"{name} cannot be read: {error}\n\n"))
                continue
            room = self._page_width - len(found.name) - len(found.where)
            gap = "  " if room >= 2 else "\n"
            head = Content.assemble((found.name, "bold"), (f"{gap}{found.where}\n", "dim"))
            code = highlight(found.text.rstrip(), language="python")
            parts += [head, *self._folded(code), Content("\n")]
        return Content("").join(parts)

    @property
    def _page_width(self) -> int:
        """Columns of a line of a page, beside its padding and its scrollbar."""
        return max(FEWEST, self.page_view.region.width - 3)

    def _folded(self, code: Content) -> Iterator[Content]:
        """Yield the rows of a page; what a long line goes on with is indented, behind a sign."""
        for line in code.split("\n", allow_blank=True):
            for before, begin, end in fold(line.plain, self._page_width):
                yield Content.assemble((before, "dim"), line[begin:end], "\n")

    def _pass_text(self, lesson: Lesson) -> Text:
        run = self._run_of(lesson)
        of = PassOf(lesson.name, run.path if run else "", run.best_step if run else None)
        before, found = self._pass
        if before != of:  # of the same run the one before stays till then: the page would jump
            self._pass = (of, found if before and before[:2] == of[:2] else None)
            self._pass_through(lesson, run, of)
        found = self._pass[1]
        if found is None or isinstance(found, str):
            return Text(found or "computing …", "dim")
        shown = "".join(found.tokens)
        text = Text.assemble((f"{shown!r} through {found.weights}\n", "bold"))
        text.append(
            "Each tensor: its axes, its shape, mean ± standard deviation of its numbers.\n", "dim"
        )
        styles = {"title": "bold underline", "tensor": "", "words": "dim"}
        for kind, line in pass_lines(found.trace):
            text.append(f"\n{line}\n" if kind == "title" else f"{line}\n", styles[kind])
        if found.attention:
            text.append("\nattention weights of head 0 in block 0\n", "bold underline")
            text.append("each row: how much this character takes from those before\n", "dim")
            for line in attention_lines(found.tokens, found.attention):
                text.append(f"{line}\n")
        text.append("\nlikeliest next characters\n", "bold underline")
        text.append("  ".join(f"{token!r} {chance:.1%}" for token, chance in found.likeliest))
        return text

    @work(thread=True, exclusive=True, group="pass")
    def _pass_through(self, lesson: Lesson, run: RunSummary | None, of: PassOf) -> None:
        from tui.control.forward_pass import pass_through

        found: ForwardPass | str
        try:
            found = pass_through(lesson.preset, Path(run.path) if run else None)
        except (InputError, OSError) as error:
            found = str(error)
        if not get_current_worker().is_cancelled:
            self.call_from_worker(self._take_pass, of, found)

    def _take_pass(self, of: PassOf, found: ForwardPass | str) -> None:
        if self._pass[0] == of:
            self._pass = (of, found)
            if self._page == "pass":
                self._show_pages()

    def _sample(self, lesson: Lesson) -> Text:
        run = self._run_of(lesson)
        if run is None:
            train = self.key_of("lecture.train")
            return Text(f"nothing was written yet: {train} trains this model", "dim")
        before, shown = self._text
        if before != run:
            same = before is not None and before.path == run.path
            self._text = (run, self._previews.known(run) or (shown if same else None))
            self._read_text(run)
        found = self._text[1]
        if found is None or isinstance(found, str):
            return Text(found or "reading …", "dim")
        text = Text.assemble((f"{run.name}", "bold"))
        sample = found.sample
        if sample is None:
            return text.append("\nit has written no text yet", "not bold dim")
        loss = sample["val_loss"]
        told = f" at step {sample['step']:,}"
        if loss is not None:
            told += f", validation loss {format_loss(loss)}"
        text.append(f"{told}\n\n", "not bold dim")
        prompt = str(sample["settings"].get("prompt", ""))
        words = sample["text"] if prompt else sample["text"].lstrip("\n")
        return text.append(prompt, "bold").append(words, "not bold")

    @work(thread=True, exclusive=True, group="text")
    def _read_text(self, run: RunSummary) -> None:
        found = self._previews.read(run)
        if not get_current_worker().is_cancelled:
            self.call_from_worker(self._take_text, run, found)

    def _take_text(self, run: RunSummary, found: Preview | str) -> None:
        if self._text[0] == run:
            self._text = (run, found)
            if self._page == "text":
                self._show_pages()

    # -- the curves ------------------------------------------------------------------------------

    def _trained(self) -> list[tuple[int, Lesson, RunSummary]]:
        """Return the models that have a run, each with its place on the chart."""
        runs = ((i, one, self._progress_of(one)) for i, one in enumerate(LESSONS))
        return [(i, one, run) for i, one, p in runs if (run := p.live or p.run) is not None]

    def _show_curves(self) -> None:
        if not self._progress:  # nothing was read yet, which the charts say
            return
        self.query_one("#lecture-table Static", Static).update(self._table())
        train = self.key_of("lecture.train")
        nothing = f"no model was trained yet: {train} trains one"
        for chart in self.query(OverlayChart):
            chart.empty_text = "nothing was measured yet" if self._trained() else nothing
        if not self._readings:
            return
        from engine.runs.curves import Axis

        series = self._series()
        is_loss = self._metric == "val_loss"
        target = self.lesson.preset.lecture_loss
        if target is not None and is_loss and series:
            series.append(_level(f"the video's {self.lesson.name}", target, series))
        found = ((i, self._progress_of(one).best) for i, one in enumerate(LESSONS))
        best = {place: loss for place, loss in found if loss is not None} if is_loss else {}
        for chart in self.query(OverlayChart):
            chart.show(series, Axis(self._axis), figures=best)

    def _series(self) -> list[Series]:
        from tui.charts.chart import Series

        smooth = self._metric == "train_loss"
        return [
            Series.of_run(lesson.name, place, self._readings[Path(run.path)].column, smooth=smooth)
            for place, lesson, run in self._trained()
            if Path(run.path) in self._readings
        ]

    def _table(self) -> Text:
        rows: list[tuple[str, ...]] = [("", "model", "best", "video", "params", "time", "run")]
        trained = self._trained()
        for place, lesson, run in trained:
            target = lesson.preset.lecture_loss
            rows.append(
                (
                    letter_of(place),
                    lesson.name,
                    format_loss(self._progress_of(lesson).best),
                    "" if target is None else f"{target:.2f}",
                    format_amount(parameters_of(lesson)),
                    format_duration(run.train_seconds),
                    run.name if run.state == State.FINISHED else f"{run.name} ({run.state})",
                )
            )
        metric = "training loss, smoothed" if self._metric == "train_loss" else "validation loss"
        text = Text.assemble((f"{metric} over {self._axis}\n", "dim"))
        if not trained:
            return text
        chart = self.query_one("#lecture-chart", OverlayChart)
        if not self._is_wide and not self.has_class("-alone"):  # the path is beside it
            rows = [row[:-1] for row in rows]
        header, *lines = format_columns(rows, right=(2, 3, 4, 5)).splitlines()
        text.append(f"{header}\n", "dim")
        for line, (place, _, _) in zip(lines, trained, strict=True):
            hue = COLOURS[place % len(COLOURS)]
            colour = chart.get_component_rich_style(f"chart--run-{hue}").color
            text.append(line[:1], f"bold {colour.name}" if colour else "bold")
            text.append(f"{line[1:]}\n")
        return text

    # -- keys ------------------------------------------------------------------------------------

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        if not self.is_mounted:
            return ""
        if action == "train":
            started = self.control.run_path is not None
            if started or self.control.status.state is State.PREPARING:
                return why_not("new_run", self.control)
            return why_not("start", self.control)
        if action == "open" and self._run_of(self.lesson) is None:
            return f"this model was not trained yet: {self.key_of('lecture.train')} trains it"
        if action == "compare" and len(self._trained()) < 2:
            return "train two models at least to compare them"
        if action in ("next_axis", "next_metric", "toggle_log") and not self._readings:
            return "no model was trained yet"
        return ""

    def action_move(self, how: str) -> None:
        getattr(self.path, f"action_{MOVES.get(how, how)}")()

    def action_page(self, page: str) -> None:
        self._page = page
        self._show_pages()
        self.refresh_bindings()

    def action_next_page(self, by: int) -> None:
        pages = list(PAGES)
        self.action_page(pages[(pages.index(self._page) + by) % len(pages)])

    def on_page_tabs_chosen(self, message: PageTabs.Chosen) -> None:
        message.stop()
        self.action_page(message.page)

    def action_scroll_page(self, down: int, right: int) -> None:
        """Scroll by lines, or by a page if it is two of them, and by columns."""
        if self._page == "curves":
            view = self.query_one("#lecture-table", ScrollableContainer)
        else:
            beside = self.has_class("-very-wide") and self._page == "lesson"
            view = self.lesson_view if beside else self.page_view
        lines = down if abs(down) < 2 else down // 2 * max(1, view.size.height - 2)
        view.scroll_relative(x=right, y=lines, animate=False)

    def action_alone(self) -> None:
        """Show the page alone, or the path beside it again."""
        self.toggle_class("-alone")
        self.call_after_refresh(self._show_everything)  # in the room that there is then

    def action_train(self) -> None:
        """Train the model in a new run; ask first if that ends a training or replaces edits."""
        control, preset = self.control, self.lesson.preset
        asks = is_busy(control) or bool(control.draft.waiting)
        control.take_preset(preset)
        if not asks:
            self._start(preset.name)
            return
        name = control.run_path.name if control.run_path else "the draft"

        def answered(answer: str | None) -> None:
            if answer:
                self._start(preset.name)
            else:
                control.undo()

        dialog = NewRunDialog(control.draft, name, what_becomes(control))
        self.app.push_screen(dialog, answered)

    def _start(self, name: str) -> None:
        try:
            self.control.start_named_after_preset()
        except InputError as error:
            self.control.undo()
            self.notify(str(error), severity="error")
            return
        self.dismiss(f"training {name}: {self.key_of('cockpit.lecture')} goes back to the lecture")

    def action_open(self) -> None:
        """Open the run of the model in the cockpit; ask first if that interrupts another one."""
        run, control = self._run_of(self.lesson), self.control
        if run is None:
            return
        path = Path(run.path)
        if control.run_path is not None and path == real_path(control.run_path):
            self.dismiss("")
        elif is_busy(control) or control.draft.waiting:
            self.app.push_screen(OpenRunDialog(control, run.name), partial(self._open, path))
        else:
            self._open(path, "open")

    def _open(self, path: Path, answer: str | None) -> None:
        if answer:
            self.control.open_run(path)
            self.dismiss("")

    def action_compare(self) -> None:
        from tui.screens.compare import CompareScreen

        trained = self._trained()
        paths = [Path(run.path) for _, _, run in trained]
        self.app.push_screen(CompareScreen(paths, [place for place, _, _ in trained]))

    def action_next_axis(self) -> None:
        from engine.runs.curves import Axis

        axes = [str(one) for one in Axis]
        self._axis = axes[(axes.index(self._axis) + 1) % len(axes)]
        self._read()

    def action_next_metric(self) -> None:
        self._metric = "train_loss" if self._metric == "val_loss" else "val_loss"
        self._read()

    def action_toggle_log(self) -> None:
        for chart in self.query(OverlayChart):
            chart.toggle_log()

    def action_leave(self) -> None:
        self.dismiss("")


def _level(name: str, value: float, beside: Sequence[Series]) -> Series:
    """Return a line at one value, as long as the curves beside it."""
    from engine.metrics import Column
    from tui.charts.chart import Series
    from tui.charts.raster import DOTTED, REFERENCE

    last = max(one.column.last_step or 0 for one in beside)
    column = Column()
    column.extend((0, max(1, last)), (value, value))
    return Series(column, REFERENCE, name=name, stroke=DOTTED)


MOVES = {"down": "cursor_down", "up": "cursor_up"}
