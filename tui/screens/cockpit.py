"""The main screen: the loss chart, texts and settings of the open run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, getters, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Input, Static

from data.errors import InputError
from engine import protocol
from engine.config.model_size import flops_per_token
from engine.config.presets.published import published_losses
from engine.config.schema import SETTINGS, Config
from engine.config.setting import Value
from engine.protocol import State
from tui.control.availability import WAIT, WHY_NOT
from tui.control.comparisons import comparisons
from tui.control.effect import effect_of
from tui.control.keymap import bindings
from tui.control.next_run import Surroundings, surroundings
from tui.control.run import OPEN_STATES, RunControl
from tui.screens.chart_actions import GridActions
from tui.screens.cockpit_keys import HELP_PAGE
from tui.screens.engine_events import EngineEvent, EngineEventHandler
from tui.screens.keyed import KeyedScreen
from tui.screens.panels import HEIGHT_FOR_TEN, Panels
from tui.screens.start_actions import StartActions
from tui.screens.text_actions import TextActions
from tui.widgets.chart_grid import ChartGrid
from tui.widgets.chart_widget import ChartWidget
from tui.widgets.charts_frame import ChartsFrame
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.loss_chart import LossChart
from tui.widgets.metric_chart import Plan
from tui.widgets.notice import Notice
from tui.widgets.sample_pane import SamplePane
from tui.widgets.settings_list import SettingsList
from tui.widgets.settings_panel import SettingsPanel
from tui.widgets.status_bar import StatusBar
from tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from tui.control.runs_view import RunsView
    from tui.screens.timeline import Choice

# screens that a key opens are imported by its action: the first paint does not wait for them

TICK_SECONDS = 0.25
TICKS_PER_TEXT = 2  # beside training; while it is paused, each tick
TICKS_PER_STATUS = 4  # together with the chart, so that both show the same figures
MIN_WIDTH, MIN_HEIGHT = 60, 16
MOST_KEPT_KEYS = 8
MOST_OF_NOTICE = 6  # lines; in a low terminal fewer, so that chart and text have theirs
GRID_WIDTH = 160  # of the terminal, from which all charts are shown by default


class CockpitScreen(Panels, StartActions, TextActions, GridActions, KeyedScreen[None]):
    """Chart, samples, settings and status of one run."""

    AUTO_FOCUS = ""  # keys are commands until the user opens a field
    HORIZONTAL_BREAKPOINTS = [
        (0, "-narrow"),
        (110, "-wide"),
        (170, "-very-wide"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]

    KEYS = "cockpit"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)
    HELP = HELP_PAGE

    chart = getters.query_one(LossChart)
    charts = getters.query_one(ChartGrid)
    samples = getters.query_one(SamplePane)
    welcome = getters.query_one(Welcome)
    settings = getters.query_one(SettingsPanel)
    notice = getters.query_one("#notice", Notice)

    def __init__(self, control: RunControl) -> None:
        super().__init__()
        self.control = control
        self.handler = EngineEventHandler(self)
        self.set_class(control.run_path is None, "-welcome")  # a change after mounting costs
        self._status_seen: protocol.Status | None = None
        self._why_not: dict[str, str] = {}  # action -> why it is impossible; empty if it is not
        self._ticks = 0
        self._is_styled = False  # by its composition, for the first time on the screen
        self._titles = "loss", "", ""  # of the charts' frame
        self._conflicts_shown = False
        self.advice: protocol.Advised | None = None  # that holds, though its notice may be hidden
        self._goes_back = False  # as the footer was last told
        self._kept_keys: list[str] = []  # pressed while the run was being opened

    def compose(self) -> ComposeResult:
        self.hide_panels(self.app.size.height, update=False)  # before any styles of what it has
        self._is_styled = True
        yield StatusBar(id="status")
        yield Notice(id="notice")
        with Horizontal(id="main"):
            with Vertical(id="left"):
                with ChartsFrame(id="chart-frame") as frame:
                    frame.say("loss")
                    yield ChartGrid(id="charts")
                    yield Welcome(self.control.draft, self.key_of, id="welcome")
                yield SamplePane(self.key_of, id="samples")
            yield SettingsPanel(
                self.control.draft,
                lambda key, value: effect_of(self.control, key, value),
                id="settings",
            )
        yield Static(id="too-small")
        yield KeysFooter()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """The first one follows the composition, whose styles hold."""
        is_first, self._is_styled = self._is_styled, False
        event.refresh_styles = not is_first
        if not is_first:  # nothing was drawn while another screen covered it
            self.show_status()
            self.samples.refresh_text()
            self.charts.refresh_data()

    def explain(self) -> str:
        """Return the help of the chart that keys concern, while charts are shown."""
        return self.charts.current.explain() if self._shows_charts else ""

    def say(self, text: str, severity: str = "warning") -> None:
        """Show a text in the notice, errors until they are hidden; an empty one hides it."""
        self.notice.say(text, severity, seconds=0.0 if severity == "error" else NOTICE_SECONDS)
        self._evaluate_keys()

    def forget_message_of(self, who: str) -> None:
        """Take away the lines of the notice that name who is in control no more."""
        told = self.message.split("\n")
        if (true := [line for line in told if who not in line]) != told:
            self.say("\n".join(true))

    def on_notice_expired(self) -> None:
        self.refresh_bindings()

    @property
    def message(self) -> str:
        return self.notice.text

    @property
    def message_is_cut(self) -> bool:
        return self.notice.is_cut

    @property
    def _user_is_busy(self) -> bool:
        """Whether a screen is open in which one chooses for this run, or a field has the focus."""
        screen = self.app.screen
        if isinstance(screen, KeyedScreen) and screen.QUEUE_GOES_ON:
            return isinstance(screen.focused, Input)
        return screen is not self or self.focused is not None

    def _show_queue(self) -> None:
        """Tell that runs wait, below what is told already: of the preferences, for example."""
        told = self.notice.text
        queue = self.control.queue
        queue.say, queue.notify = self.say, self.notify
        queue.welcome()
        if told and self.notice.text != told:
            self.say(f"{told}\n{self.notice.text}")

    # -- refreshing ------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Show the settings; the engine starts after the first paint."""
        self.show_settings()
        self.show_status()
        self._preferences.watch(self.arrange_panels)
        self.charts.arrange_as(self._preferences.get("chart.order"))
        self.charts.limit_as(self._preferences.get("chart.limits"))
        self.chart.empty_text = self.control.status.message  # that a run is being opened
        self.set_interval(TICK_SECONDS, self._tick)
        self.call_after_refresh(self._show_queue)
        self.show_welcome()

    def on_resize(self, event: events.Resize) -> None:
        """Show a message instead of the layout if the terminal is too small."""
        small = event.size.width < MIN_WIDTH or event.size.height < MIN_HEIGHT
        self.set_class(small, "-too-small")
        self.set_focus(self.focused)
        self.arrange_panels()
        self._choose_charts(event.size.width)
        lines = max(1, min(MOST_OF_NOTICE, event.size.height - HEIGHT_FOR_TEN))
        self.notice.limit(lines, event.size.width - 2, f"{self.key_of('app.help')} shows all")
        self.query_one("#too-small", Static).update(
            f"this terminal is {event.size.width}x{event.size.height}:\n"
            f"gpt-tui needs {MIN_WIDTH}x{MIN_HEIGHT} at least"
        )

    def set_focus(
        self, widget: Widget | None, scroll_visible: bool = True, from_app_focus: bool = False
    ) -> None:
        """Focus a widget, unless all of them are hidden."""
        hidden = self.has_class("-too-small")
        super().set_focus(None if hidden else widget, scroll_visible, from_app_focus)

    def _choose_charts(self, width: int) -> None:
        """Show one chart or all, as preferred; by default all where there is room."""
        preferred = self._preferences.get("chart.grid")
        grid = width >= GRID_WIDTH if preferred == "auto" else preferred == "grid"
        if self.charts.mode != "one":
            self.charts.mode = "grid" if grid else "loss"

    def on_chart_grid_chosen(self, message: ChartGrid.Chosen) -> None:
        self._remember("chart.order", message.order)

    def _tick(self) -> None:
        self._ticks += 1
        self.control.queue.tick(self._user_is_busy)
        if not self.is_current:  # another screen covers it
            return
        if self._ticks % TICKS_PER_TEXT == 0 or self.control.status.state is not State.RUNNING:
            self.samples.refresh_text()
        goes_back = self.control.status.going_back is not None
        if self._ticks % TICKS_PER_STATUS == 0 or goes_back != self._goes_back:
            self.show_status()
        if goes_back != self._goes_back:
            self._goes_back = goes_back
            self.refresh_bindings()
        self.charts.refresh_data(everything=False)  # painting holds the GIL: a few at a time

    def show_status(self) -> None:
        bar = self.query_one(StatusBar)
        bar.facts = self.control.facts
        bar.status = self.control.shown_status

    def show_welcome(self) -> None:
        """Show what space will start while there is no run, and none was asked for."""
        shown = self.control.run_path is None and self.handler.last_state is State.IDLE
        self.set_class(shown, "-welcome")
        self._show_titles()
        if shown:
            self.welcome.refresh()
            self.call_after_refresh(self._look_around)

    @work(thread=True, exclusive=True, group="around")
    def _look_around(self) -> None:
        """Find out what is there for the next run: machine, text and earlier runs."""
        launch = self.control.launch
        surely = launch.config
        with suppress(InputError):  # a file that was named is gone by now
            surely = launch.surely() if launch.surely else surely
        found = surroundings(self.control.draft.config(), launch.runs_dir)
        if surely != launch.config:
            self.call_from_worker(self._correct, surely)
        self.call_from_worker(self._take_surroundings, found)

    def _correct(self, config: Config) -> None:
        if self.control.correct(config):
            self.show_settings()
            self.show_status()

    def _take_surroundings(self, found: Surroundings) -> None:
        for welcome in self.query(Welcome):  # none if the app quits meanwhile
            if welcome.around != found:
                welcome.around = found
                welcome.refresh()

    def show_settings(self) -> None:
        self.show_welcome()
        self.settings.refresh_values()
        self.samples.show_settings(self.sampling_settings)

    def on_engine_event(self, message: EngineEvent) -> None:
        message.stop()
        heard = [one.hear(message.event) for one in self.app.screen_stack
                 if isinstance(one, KeyedScreen)]  # fmt: skip
        if not any(heard):
            self.handler.handle(message.event)
            if isinstance(message.event, UNASKED) and not self.is_current:  # where one looks
                self.app.notify(message.event.message, severity="warning")
        self._evaluate_keys()

    def show_chart_source(self) -> None:
        status = self.control.status
        label = f"val, {status.val_measured}" if status.val_measured else "val"
        self.chart.growing = status.state is not State.FINISHED
        per_token = {}
        if status.tokens and status.epoch:
            per_token["epochs"] = status.epoch / status.tokens
        if self.control.vocab_size:
            model = self.control.draft.base.model
            per_token["FLOPs"] = flops_per_token(model, self.control.vocab_size)
        self.chart.show_units(per_token)
        base = self.control.draft.base
        known = self.control.facts.corpus == base.data.corpus  # else another text stands in for it
        published = published_losses(base) if known else []
        self.chart.show_published([(one.loss, one.label) for one in published])
        plan = Plan(self.control.draft.base.optim, status.total_steps)
        self.charts.show(
            self.control.metrics, max_step=status.total_steps, val_label=label, plan=plan
        )

    def on_chart_widget_view_changed(self, message: ChartWidget.ViewChanged) -> None:
        """Remember how the user looks at the loss, once that is painted: it writes a file."""
        self.call_after_refresh(self._remember_view)

    def _remember_view(self) -> None:
        view = self.chart.view
        for name, value in (
            ("chart.smoothing", view.smoothing),
            ("chart.y_scale", view.y),
            ("chart.limits", self.charts.limits),
        ):
            if self._preferences.get(name) != value:
                self._remember(name, value)

    def on_chart_grid_arranged(self, message: ChartGrid.Arranged) -> None:
        self._titles = message.title, message.subtitle, message.pages
        self._show_titles()
        self.refresh_bindings()

    def on_charts_frame_turned(self, message: ChartsFrame.Turned) -> None:
        self.charts.turn_page(message.by)

    def _show_titles(self) -> None:
        """Name in their frame what the charts show, or what the next run is."""
        frame, (title, subtitle, pages) = self.query_one(ChartsFrame), self._titles
        if self.has_class("-welcome"):
            frame.say("next run")
            return
        corpus = self.control.facts.corpus
        named = f"{title} · {corpus}" if corpus and self.control.run_path else title
        frame.say(named, subtitle, pages)

    # -- keys ------------------------------------------------------------------------------------

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        if self.control.status is not self._status_seen:  # the engine has replaced it
            self._evaluate_keys()
        if action in ("filter_charts", "type_limits") and not self._shows_charts:
            return "the charts are not shown now"
        return self._why_not.get(action, "")

    def keep_key(self, key: str, why_not: str) -> bool:
        """Keep a key for when the run is open, if that is what it waits for."""
        keeps = why_not == WAIT and len(self._kept_keys) < MOST_KEPT_KEYS
        if keeps:
            self._kept_keys.append(key)
        return keeps

    def press_kept_keys(self) -> None:
        """Press the keys that were kept, once the run is open; forget them if it is not."""
        control = self.control
        if control.is_being_opened or control.status.state is State.PREPARING:
            return
        keys, self._kept_keys = self._kept_keys, []
        for key in keys if control.status.state in OPEN_STATES else ():
            self.app.press_on(self, key)  # type: ignore[attr-defined]

    @property
    def _shows_charts(self) -> bool:
        """Whether they can be seen: not in the welcome, nor beside the full text."""
        nodes = self.charts.ancestors_with_self if self.is_mounted else ()
        return all(one.display for one in nodes if isinstance(one, Widget))

    def _evaluate_keys(self) -> None:
        """Evaluate which keys work."""
        self._status_seen = self.control.status
        self._why_not = {action: why_not(self.control) for action, why_not in WHY_NOT.items()}
        advice = self.advice
        no_advice = "there is no advice to follow" if advice is None else ""
        silent = "this pauses the run each time: it cannot be hidden for good"
        self._why_not |= {
            "follow_advice": no_advice or WHY_NOT["sample"](self.control),
            "silence_advice": no_advice or (silent if advice and advice.pauses else ""),
            "dismiss_notice": "" if self.is_mounted and self.notice.text else "no message is shown",
            "stop_going_back": "" if self._status_seen.going_back else "the run does not go back",
            "leave_chart": "" if self.is_mounted and self.charts.can_go_back else NOTHING_TO_LEAVE,
            "leave_projector": "" if self.has_class("-projector") else "everything is shown",
            "show_this_run": "" if self.control.draft.is_turned else "this run is shown",
            "leave_full_text": "" if self.has_class("-full-text") else "everything is shown",
        }

    def refresh_bindings(self) -> None:
        """Update the footer."""
        self._evaluate_keys()
        super().refresh_bindings()

    def action_pause(self) -> None:
        if self.control.is_being_opened:
            self.notify(f"the run is opened paused: {self.key_of('cockpit.train')} trains it")
        self.control.pause()
        self.show_status()
        self.refresh_bindings()

    def action_resume(self) -> None:
        if self.control.is_being_opened:
            self.notify("training begins once the run is open")
        self._try(self.control.resume)
        self.show_status()
        self.refresh_bindings()

    def action_take_control(self) -> None:
        """Ask first: somebody else is in control."""
        from tui.screens.dialogs import TakeControlDialog

        dialog = TakeControlDialog(self.control.controlled.who)
        self.app.push_screen(dialog, lambda yes: self.control.take_control() if yes else None)

    def action_step(self) -> None:
        self.control.send(protocol.Step())

    def action_edit(self) -> None:
        self.remove_class("-full-text")
        self.settings.add_class("-open")
        self.settings.list.focus()

    def action_show_this_run(self) -> None:
        self.settings.turn(to_next=False)

    def action_undo(self) -> None:
        self._try(self._undo)

    def _undo(self) -> None:
        request_id, before = self.control.undo()
        words = ", ".join(f"{key} {SETTINGS[key].format(value)}" for key, value in before.items())
        told = f"undone: {words or 'the settings before the preset'} again"
        if request_id:
            self.handler.undone = request_id, told  # once the engine has done it
        else:
            self.notify(told)
        self.show_settings()
        self.show_status()
        self.refresh_bindings()

    def action_add_to_queue(self) -> None:
        from tui.screens.queue_dialog import QueueDialog

        self.app.push_screen(QueueDialog(self.control), self._on_queued)

    def _on_queued(self, said: str | None) -> None:
        if said:
            self.show_settings()
            self.notify(said)

    def action_show_queue(self) -> None:
        from tui.screens.queue import QueueScreen

        self.app.push_screen(QueueScreen(self.control))

    def action_hold_queue(self) -> None:
        self.control.queue.toggle_hold()

    def action_presets(self) -> None:
        from tui.screens.presets import PresetsScreen

        self.app.push_screen(PresetsScreen(self.control), self._on_preset)

    def action_lecture(self, at: str = "") -> None:
        from tui.screens.lecture import LectureScreen  # seldom needed at once

        self.app.push_screen(LectureScreen(self.control, at), self._on_preset)

    def _on_preset(self, said: str | None) -> None:
        if said:
            self.show_settings()
            self.show_status()
            self.notify(said)

    @cached_property
    def _runs_view(self) -> RunsView:
        from tui.control.runs_view import RunsView

        return RunsView(self.control.launch.runs_dir)

    def action_runs(self) -> None:
        from tui.screens.runs import RunsScreen

        self.app.push_screen(RunsScreen(self.control, self._runs_view))

    def action_data(self) -> None:
        from tui.screens.data import DataScreen  # loads numpy

        self.app.push_screen(DataScreen(self.control), self._take_changes)

    def action_test_rates(self) -> None:
        self._try(self._begin_lr_finder)
        self.refresh_bindings()

    def _begin_lr_finder(self) -> None:
        from tui.screens.lr_finder import LRFinderScreen

        control = self.control
        config = control.draft.shown_base.replace(control.draft.edits)
        request_id = control.send(protocol.FindLearningRate(config.to_dict()))
        finder = LRFinderScreen(control, config, request_id)
        self.app.push_screen(finder, self._take_changes)

    def _take_changes(self, changes: dict[str, Value] | None) -> None:
        if changes:
            self.edit(changes)
            words = ", ".join(f"{key} {SETTINGS[key].format(changes[key])}" for key in changes)
            self.notify(f"set: {words}")

    def action_evaluate(self) -> None:
        self.handler.evaluation = self.control.send(protocol.Evaluate())

    def action_save(self) -> None:
        self.handler.checkpoint = self.control.send(protocol.Save())

    def action_cool_down(self) -> None:
        self.handler.cool_down = self.control.send(protocol.CoolDown())

    def action_inside(self) -> None:
        from tui.screens.inside import InsideScreen  # loads numpy

        self.app.push_screen(InsideScreen(self.control))

    def action_timeline(self) -> None:
        from tui.screens.timeline import TimelineScreen

        self.app.push_screen(TimelineScreen(self.control), self._answer_timeline)

    def _answer_timeline(self, choice: Choice | None) -> None:
        if choice and choice.action == "rewind":
            self.control.rewind(choice.step)
        elif choice:
            self._fork(choice.step, choice.opens)

    def action_stop_going_back(self) -> None:
        self.control.stop_going_back()

    def action_fork(self) -> None:
        from tui.screens.dialogs import before_forking

        step = self.control.status.step

        def take(answer: str | None) -> None:
            if answer:
                self._fork(step, opens=answer == "open")

        self.app.push_screen(before_forking(self.control, step), take)

    def _fork(self, step: int, opens: bool) -> None:
        request_id = self.control.fork(step)
        self.handler.fork_to_open = request_id if opens else None

    @property
    def export_folder(self) -> Path | None:
        return self.control.run_path

    def action_toggle_grid(self) -> None:
        self.charts.toggle_grid()
        self._remember("chart.grid", self.charts.mode)

    def action_follow_advice(self) -> None:
        if self.advice:
            self.control.follow(self.advice)
            self.forget_advice()

    def action_silence_advice(self) -> None:
        if self.advice:
            self.control.send(protocol.Silence(self.advice.kind))
            self.forget_advice()

    def forget_advice(self) -> None:
        """Have no advice any more; take it away if it is shown."""
        self.advice = None
        if self.notice.advice:
            self.notice.say("")
        self.refresh_bindings()

    def action_dismiss_notice(self) -> None:
        self._conflicts_shown = False
        self.notice.say("")
        self.refresh_bindings()

    def action_leave_settings(self) -> None:
        """Leave a search first, then a comparison, then the next run, then the settings."""
        if not self.settings.step_back():
            self._close_settings()

    def _close_settings(self) -> None:
        self.settings.remove_class("-open")
        self.set_focus(None)

    def action_leave_field(self) -> None:
        """Leave the field of a setting for the list, or a sampling field for the keys."""
        if self.settings.is_editing:
            self.settings.close_editor()
        elif self.settings.search.has_focus:
            self.settings.end_search()
        elif self.charts.has_focus_within:
            self.charts.end_field(keep=False)
        else:
            self.samples.leave_field()
            self.set_focus(None)

    def leave_all_fields(self) -> None:
        """Close all fields, so that keys are commands again."""
        self.settings.close_editor()
        self.settings.end_search()
        if self.settings.compared_with:
            self.settings.compare()
        self._close_settings()

    def on_settings_list_differences_asked(self, message: SettingsList.DifferencesAsked) -> None:
        message.stop()
        self._find_comparisons()

    @work(thread=True, exclusive=True, group="comparisons")
    def _find_comparisons(self) -> None:
        """Find what the settings can be compared with, and show the next of these."""
        found = comparisons(self.control)
        self.call_from_worker(self._compare_with_next, found)

    def _compare_with_next(self, found: list[tuple[str, Config]]) -> None:
        names = [name for name, _ in found]
        now = self.settings.compared_with
        at = names.index(now) + 1 if now in names else 0
        self.settings.compare(*(found[at] if at < len(found) else ()))

    # -- edits -----------------------------------------------------------------------------------

    def on_settings_panel_edited(self, message: SettingsPanel.Edited) -> None:
        self.edit({message.key: message.value})

    def on_settings_panel_left(self, message: SettingsPanel.Left) -> None:
        self.notify(message.text, severity="warning")

    def edit(self, changes: dict[str, Value]) -> None:
        """Change settings, now or in the draft; show problems."""
        problem, was_next = "", self.control.draft.shows_next
        self.handler.edited = 0, changes
        try:
            self.handler.edited = self.control.edit(changes), changes
        except InputError as error:
            problem = str(error)
        conflicts = self.control.draft.conflicts()
        self.show_settings()
        if self.control.draft.shows_next and not was_next:
            self.notify(TURNED.format(", ".join(changes), self.key_of("settings.back")))
        if not (problem and self.settings.take_back(self.handler.edited[1], problem)):
            self.settings.show_problem(problem or "; ".join(conflicts))
        if self._conflicts_shown and not conflicts:
            self.action_dismiss_notice()

    def say_conflicts(self, problems: Sequence[str]) -> None:
        """Show which settings conflict, until they do not."""
        self.notice.say("\n".join(problems), "error")
        self._conflicts_shown = True
        self.refresh_bindings()


NOTICE_SECONDS = 60.0  # of what needs no answer: it takes rows from the chart
UNASKED = protocol.Warned | protocol.Failed  # what the engine tells by itself
TURNED = "{} is for the next run, whose settings are shown now ({} goes back to this run's)"
NOTHING_TO_LEAVE = "no message is shown, and no chart is maximised"
