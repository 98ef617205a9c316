"""The main screen: watch the curve and the text, touch the settings."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Static

from data.errors import InputError
from engine import protocol
from engine.config.setting import Value
from engine.protocol import State
from engine.runs.folder import LOG_FILE
from tui.control.run import OPEN_STATES, RunControl
from tui.control.runs_view import RunsView
from tui.screens.cockpit_keys import BINDINGS, SINGLE_KEYS, WORKS, Now
from tui.screens.cockpit_lr_finder import CockpitLRFinder
from tui.screens.cockpit_timeline import CockpitTimeline
from tui.screens.help import help_screen
from tui.screens.new_run_dialog import NewRunDialog
from tui.screens.outlet import Answer, Outlet
from tui.screens.queue import QueueScreen
from tui.screens.queue_dialog import QueueDialog
from tui.text.numbers import counted, duration, loss, short_path
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.loss_chart import LossChart
from tui.widgets.notice import Notice
from tui.widgets.sample_pane import SamplePane, SampleRecord
from tui.widgets.settings_panel import SettingsPanel
from tui.widgets.status_bar import StatusBar

if TYPE_CHECKING:
    from engine.metrics import Column

TICK_SECONDS = 0.25
TICKS_PER_TEXT = 2  # beside training; while it is paused, each tick
TICKS_PER_STATUS = 4  # together with the chart, so that both show the same figures
TICKS_PER_CHART = (
    4  # painting takes the interpreter from training, so the chart moves once a second
)
MIN_WIDTH, MIN_HEIGHT = 60, 16


class EngineEvent(Message):
    """An event of the engine, posted from its thread."""

    def __init__(self, event: protocol.Event) -> None:
        super().__init__()
        self.event = event


class CockpitScreen(Screen[None]):
    """Chart, samples, settings and status of one run.

    Args:
        control: What the keys act on.
    """

    AUTO_FOCUS = ""  # no field has the focus until the person goes to one
    HORIZONTAL_BREAKPOINTS = [
        (0, "-narrow"),
        (110, "-wide"),
        (170, "-very-wide"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]

    BINDINGS: ClassVar[list[BindingType]] = BINDINGS

    def __init__(self, control: RunControl) -> None:
        super().__init__()
        self.control = control
        self._status_seen: protocol.Status | None = None
        self._works: dict[str, bool] = {}  # action -> whether it makes sense now
        self._ticks = 0
        self._conflicts_told = False
        self._state_told = State.IDLE
        self._evaluation: int | None = None  # requests whose answers are worth a word
        self._checkpoint: int | None = None
        self._sampling: int | None = None
        self._edit: tuple[int, dict[str, Value]] = 0, {}  # the latest, and its request
        self._told_on_the_way: list[str] = []  # warnings of a run that is being prepared
        outlet = Outlet(self.say, self.notify, self._push)
        self._timeline = CockpitTimeline(control, outlet)
        self._lr_finder = CockpitLRFinder(control, outlet, self.edit)
        control.queue.say, control.queue.notify = self.say, self.notify
        self._runs_view = RunsView(control.launch.runs_dir)
        self._handlers: dict[type[protocol.Event], Callable[[Any], object]] = {
            protocol.StateChanged: self._on_state,
            protocol.RunOpened: self._on_run_opened,
            protocol.Evaluated: self._on_evaluated,
            protocol.SampleStarted: self._on_sample_started,
            protocol.SampleText: lambda e: self.samples.append(e.sample, e.text),
            protocol.SampleFinished: self._on_sample_finished,
            protocol.Saved: self._on_saved,
            protocol.Adjusted: self._on_adjusted,
            protocol.Rewound: self._on_rewound,
            protocol.Pinned: lambda e: None,  # the timeline looks for itself
            protocol.Forked: self._timeline.on_forked,
            protocol.Advised: self._on_advised,
            protocol.Silenced: self._on_silenced,
            protocol.Unsilenced: lambda e: self.app.notify(
                f"advice is given again on: {', '.join(e.kinds)}"
            ),
            protocol.LearningRateFinderPrepared: self._lr_finder.hear,
            protocol.LearningRateFound: self._lr_finder.hear,
            protocol.Warned: self._on_warned,
            protocol.Refused: self._on_refused,
            protocol.Failed: self._on_failed,
        }

    def compose(self) -> ComposeResult:
        """Status above, chart and samples left, settings right, keys below."""
        yield StatusBar(id="status")
        yield Notice(id="notice")
        with Horizontal(id="main"):
            with Vertical(id="left"):
                with Vertical(id="chart-frame") as frame:
                    frame.border_title = "loss"
                    yield LossChart(id="chart")
                yield SamplePane(id="samples")
            yield SettingsPanel(self.control.draft, id="settings")
        yield Static(id="too-small")
        yield KeysFooter()

    # -- parts -----------------------------------------------------------------------------------

    @property
    def chart(self) -> LossChart:
        """The loss chart."""
        return self.query_one(LossChart)

    @property
    def samples(self) -> SamplePane:
        """The sampling pane."""
        return self.query_one(SamplePane)

    @property
    def settings(self) -> SettingsPanel:
        """The hyperparameter panel."""
        return self.query_one(SettingsPanel)

    @property
    def notice(self) -> Notice:
        """The line of things to know."""
        return self.query_one(Notice)

    # -- what the helpers reach the person with --------------------------------------------------

    def say(self, text: str, severity: str = "warning") -> None:
        """Show a text in the notice; an empty one takes it away."""
        if text:
            self.notice.say(text, severity)
        else:
            self.notice.dismiss()
        self._look_at_keys()

    def _push(
        self, screen: Screen[Answer], answered: Callable[[Answer | None], None] | None = None
    ) -> None:
        self.app.push_screen(screen, answered)

    @property
    def _person_is_busy(self) -> bool:
        """Whether the finished run is being looked at, or something is typed."""
        screen = self.app.screen
        if isinstance(screen, QueueScreen):
            return False
        return screen is not self or self.focused is not None

    # -- life ------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Show the settings there are; the engine begins after the first paint."""
        self._show_settings()
        self._show_status()
        self.set_interval(TICK_SECONDS, self._tick)
        self.call_after_refresh(self.control.queue.welcome)

    def on_resize(self, event: events.Resize) -> None:
        """Below a certain size a sentence is better than a jumble."""
        small = event.size.width < MIN_WIDTH or event.size.height < MIN_HEIGHT
        self.set_class(small, "-too-small")
        self.query_one("#too-small", Static).update(
            f"this terminal is {event.size.width}x{event.size.height}:\n"
            f"gpt-tui needs {MIN_WIDTH}x{MIN_HEIGHT} at least"
        )

    def on_descendant_focus(self) -> None:
        """Single keys act only while no field is typed in; the footer follows."""
        self.refresh_bindings()

    def on_descendant_blur(self) -> None:
        """See ``on_descendant_focus``."""
        self.refresh_bindings()

    def _tick(self) -> None:
        self._ticks += 1
        if self._ticks % TICKS_PER_TEXT == 0 or self.control.status.state is not State.RUNNING:
            self.samples.refresh_text()
        if self._ticks % TICKS_PER_STATUS == 0:
            self._show_status()
        if self._ticks % TICKS_PER_CHART == 0:
            self.chart.refresh_data()
        self.control.queue.tick(self._person_is_busy)

    def _show_status(self) -> None:
        bar = self.query_one(StatusBar)
        bar.facts = self.control.facts
        bar.status = self.control.status

    def _show_settings(self) -> None:
        draft = self.control.draft
        self.settings.refresh_values()
        self.samples.show_settings({key: draft.value(key) for key in SETTINGS_OF_SAMPLES})

    # -- events of the engine --------------------------------------------------------------------

    def on_engine_event(self, message: EngineEvent) -> None:
        """Hand an event to what it concerns."""
        message.stop()
        self._handlers[type(message.event)](message.event)
        self._look_at_keys()

    def _on_state(self, event: protocol.StateChanged) -> None:
        before, self._state_told = self._state_told, event.state
        if event.state is State.FINISHED:
            early = f"{event.message}\n" if event.message else ""
            self.notice.say(early + self._summary(), "information")
            if before is State.RUNNING:
                self.control.queue.note_finished(early + self._summary())
        elif event.state is State.PREPARING and before is not State.PREPARING:
            self._told_on_the_way.clear()
        elif event.state is State.RUNNING:
            told = self._told_on_the_way if before is State.PREPARING else []
            self._say_what_is_known(told)
            if before is State.PREPARING and not self.notice.text:
                self.control.queue.note_begun()
        elif before is State.FINISHED and event.state is State.PAUSED:
            self.notice.dismiss()  # its end was put off
        self.chart.empty_text = EMPTY_CHART.get(event.state, "no steps yet")
        self._show_status()
        self.chart.refresh_data()
        self.refresh_bindings()

    def _on_run_opened(self, event: protocol.RunOpened) -> None:
        from engine.runs.timeline import read_samples  # numpy waits for the first paint

        gc.freeze()  # PyTorch's modules are there to stay: going through them stops all for 0.1 s
        control = self.control
        control.take_over(event)
        self.query_one("#chart-frame").border_title = f"loss · {control.facts.corpus}"
        self.chart.show(control.metrics, max_step=event.total_steps, val_label=self._val_label())
        kept = read_samples(Path(event.path), control.status.branch, event.last_sample)
        self.samples.open_run([_kept_sample(one) for one in kept])
        self._show_settings()
        self._say_what_is_known(self._told_on_the_way)
        self.app.log_to_run(event.path)  # type: ignore[attr-defined]
        self._show_parent(Path(event.path))

    def _on_warned(self, event: protocol.Warned) -> None:
        if self._state_told is State.PREPARING:
            self._told_on_the_way.append(event.message)
        self.notice.say(event.message)

    def _say_what_is_known(self, warnings: list[str]) -> None:
        """What is to be known of the open run's text, and warnings; nothing else stays."""
        self.notice.dismiss()
        told = [self.control.note, *warnings] if self.control.note else warnings
        if told:
            self.notice.say("\n".join(told))

    @work(thread=True, exclusive=True, group="parent")
    def _show_parent(self, run: Path) -> None:
        """Show how the run went on that this one was forked off, if it still is there."""
        from engine.runs.curves import ghost_of_parent

        name, curve = ghost_of_parent(run)
        self.app.call_from_thread(self._take_parent, name, curve)

    def _take_parent(self, name: str, curve: Column | None) -> None:
        for chart in self.query(LossChart):  # none, if the app was left in the meantime
            chart.show_parent(name, curve)

    def _on_evaluated(self, event: protocol.Evaluated) -> None:
        self.samples.label_val_loss(event.step, event.val_loss)
        self._show_chart_source()
        if event.request_id == self._evaluation:
            self.app.notify(f"validation loss {loss(event.val_loss)} ({event.measured})")

    def _on_sample_started(self, event: protocol.SampleStarted) -> None:
        self.samples.begin(
            SampleRecord(
                step=event.step,
                automatic=event.automatic,
                settings=event.settings,
                number=event.sample,
            )
        )

    def _on_sample_finished(self, event: protocol.SampleFinished) -> None:
        self.samples.finish(event.sample)

    def _on_saved(self, event: protocol.Saved) -> None:
        if event.request_id == self._checkpoint:
            self.app.notify(f"saved step {event.step:,}")

    def _on_adjusted(self, event: protocol.Adjusted) -> None:
        self.control.note_adjusted(event)
        if self._advice and self._advice.changes.keys() & event.changes.keys():
            self.action_dismiss_notice()  # the person had an idea of their own
        self._show_settings()
        self._show_chart_source()

    def _on_advised(self, event: protocol.Advised) -> None:
        self.notice.advise(event)
        self.control.queue.note_advised(event)
        self.refresh_bindings()

    def _on_silenced(self, event: protocol.Silenced) -> None:
        self.app.notify(
            f"no more advice on: {event.kind}\n(ctrl+p, {HEAR_AGAIN!r} takes that back)"
        )

    def _on_rewound(self, event: protocol.Rewound) -> None:
        self.control.note_rewound(event)
        self._show_settings()
        self._show_chart_source()
        self._show_status()
        self.refresh_bindings()
        self.samples.forget_after(event.step)
        self._timeline.on_rewound(event)

    def _on_refused(self, event: protocol.Refused) -> None:
        """Say it beside the field it is about, if there is one."""
        if event.request_id == self._sampling and self.samples.has_focus_within:
            self.samples.show_problem(event.message)
        elif self._lr_finder.hear(event):
            return
        elif not (event.request_id == self._edit[0] and self._take_back(event.message)):
            self.notice.say(event.message, "error")
            self.control.queue.note_refused(event)
            self.refresh_bindings()

    def _on_failed(self, event: protocol.Failed) -> None:
        more = ""
        if self._state_told in (*OPEN_STATES, State.FAILED):
            saved = self.control.status.saved_step
            there = f"the checkpoint of step {saved:,}" if saved else "the beginning"
            log = short_path(f"{self.control.run_path}/{LOG_FILE}")
            more = f"\nspace goes on from {there}; details are in {log}"
        self.notice.say(event.message + more, "error")
        self.control.queue.note_failed(event.message, event.message + more)

    def _show_chart_source(self) -> None:
        self.chart.show(
            self.control.metrics,
            max_step=self.control.status.total_steps,
            val_label=self._val_label(),
        )

    def _val_label(self) -> str:
        measured = self.control.status.val_measured
        return f"val, {measured}" if measured else "val"

    def _summary(self) -> str:
        status = self.control.status
        longer = "eval.patience" if status.step < status.total_steps else "train.max_steps"
        way_on = "space goes on" if status.pruned else f"raise {longer} (e) to go on"
        return (
            f"finished: {counted(status.step, 'step')} in {duration(status.train_seconds)} · "
            f"val {loss(status.val_loss)} · best {loss(status.best_val_loss)} at step "
            f"{status.best_step or 0:,} (whole split)\n"
            f"kept in {short_path(self.control.run_path or '')} · {way_on}, n begins a new run, "
            f"s samples"
        )

    # -- keys ------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Which keys work now: in a field they are letters."""
        typing = isinstance(self.focused, Input) or self.settings.is_editing
        if action in SINGLE_KEYS and typing:
            return False
        return self.works_now(action)

    def works_now(self, action: str) -> bool:
        """Whether an action makes sense in the present state."""
        if self.control.status is not self._status_seen:  # the engine has replaced it
            self._look_at_keys()
        return self._works.get(action, True)

    def _look_at_keys(self) -> None:
        """See which keys work, now that what decides it may have changed."""
        self._status_seen = self.control.status
        now = Now(self.control)
        if self.is_mounted:
            now = Now(self.control, self.notice.text, self.notice.advice)
        self._works = {action: works(now) for action, works in WORKS.items()}

    def refresh_bindings(self) -> None:
        """Have the footer show the keys that work now."""
        self._look_at_keys()
        super().refresh_bindings()

    def action_start(self) -> None:
        """Begin the first run."""
        self._try(self.control.start)

    def action_pause(self) -> None:
        """Hold training."""
        self.control.send(protocol.Pause())

    def action_resume(self) -> None:
        """Go on."""
        self._try(self.control.resume)

    def action_step(self) -> None:
        """Take one step."""
        self.control.send(protocol.Step())

    def action_sample(self) -> None:
        """Write a text now."""
        self.control.send(protocol.Sample())

    def action_prompt(self) -> None:
        """Edit the prompt."""
        self.samples.focus_prompt()

    def action_earlier(self) -> None:
        """Show the sample before."""
        self.samples.move(-1)

    def action_later(self) -> None:
        """Show the sample after."""
        self.samples.move(1)

    def action_edit(self) -> None:
        """Go to the settings."""
        self.settings.add_class("-open")
        self.settings.list.focus()

    def action_new_run(self) -> None:
        """Ask, then begin a new run."""
        control = self.control
        problems = control.draft.conflicts()
        if problems:
            self.say_conflicts(problems)
            return
        name = control.run_path.name if control.run_path else ""
        self.app.push_screen(
            NewRunDialog(control.draft, name), lambda yes: self._try(control.start) if yes else None
        )

    def action_add_to_queue(self) -> None:
        """Ask what to queue."""
        self.app.push_screen(QueueDialog(self.control), self._on_queued)

    def _on_queued(self, said: str | None) -> None:
        if said:
            self._show_settings()
            self.notify(said)

    def action_show_queue(self) -> None:
        """The queue's own screen."""
        self.app.push_screen(QueueScreen(self.control))

    def action_hold_queue(self) -> None:
        """Let no queued run begin of itself, or go on."""
        self.control.queue.toggle_hold()

    def action_runs(self) -> None:
        """Look through all runs."""
        from tui.screens.runs import RunsScreen  # with the engine's reader, and numpy

        self.app.push_screen(RunsScreen(self.control, self._runs_view))

    def action_test_rates(self) -> None:
        """Try learning rates on a throw-away model."""
        self._try(self._lr_finder.begin)
        self.refresh_bindings()

    def action_evaluate(self) -> None:
        """Measure the validation loss."""
        self._evaluation = self.control.send(protocol.Evaluate())

    def action_save(self) -> None:
        """Write a checkpoint."""
        self._checkpoint = self.control.send(protocol.Save())

    def action_cool_down(self) -> None:
        """Begin the decay of the learning rate."""
        self.control.send(protocol.CoolDown())

    def action_timeline(self) -> None:
        """Look at the past; go back to it or fork from it."""
        self._timeline.look_back()

    def action_fork(self) -> None:
        """Begin another run from here."""
        self._timeline.ask_to_fork(self.control.status.step)

    def action_toggle_log(self) -> None:
        """Logarithmic losses."""
        self.chart.toggle_log()

    def action_toggle_smooth(self) -> None:
        """With the running average of the training loss, or only as it was measured."""
        self.chart.toggle_smooth()

    def action_toggle_window(self) -> None:
        """The whole course or the recent part."""
        self.chart.toggle_window()

    @property
    def _advice(self) -> protocol.Advised | None:
        return self.notice.advice if self.is_mounted else None

    def action_follow_advice(self) -> None:
        """Do what is advised."""
        advice = self._advice
        if advice:
            self.control.follow(advice)
            self.action_dismiss_notice()

    def action_silence_advice(self) -> None:
        """Hear no more of this kind."""
        advice = self._advice
        if advice:
            self.control.send(protocol.Silence(advice.kind))
            self.action_dismiss_notice()

    def action_dismiss_notice(self) -> None:
        """Take the message away."""
        self._conflicts_told = False
        self.notice.dismiss()
        self.refresh_bindings()

    def action_help(self) -> None:
        """Show the help page."""
        bindings = {b.key: b for b in reversed(self.BINDINGS) if isinstance(b, Binding)}
        in_order = reversed(bindings.values())  # of several for a key, the first
        self.app.push_screen(help_screen(in_order, self.control.launch.runs_dir))

    def action_leave_settings(self) -> None:
        """From the settings back to the keys."""
        self.settings.remove_class("-open")
        self.set_focus(None)

    def action_leave_editor(self) -> None:
        """From the field back to the list of settings."""
        self.settings.close_editor()

    def action_leave_field(self) -> None:
        """From a sampling field back to the keys."""
        self.samples.leave_field()
        self.set_focus(None)

    def leave_all_fields(self) -> None:
        """Back to the keys, from wherever the cursor is."""
        self.settings.close_editor()
        self.action_leave_settings()

    # -- edits -----------------------------------------------------------------------------------

    def on_settings_panel_edited(self, message: SettingsPanel.Edited) -> None:
        """A setting was given a new value."""
        self.edit({message.key: message.value})

    def edit(self, changes: dict[str, Value]) -> None:
        """Give settings new values, at once or for when they may change; say what cannot be."""
        problem = ""
        self._edit = 0, changes
        try:
            self._edit = self.control.edit(changes), changes
        except InputError as error:
            problem = str(error)
        conflicts = self.control.draft.conflicts()
        self._show_settings()
        if not (problem and self._take_back(problem)):
            self.settings.show_problem(problem or "; ".join(conflicts))
        if self._conflicts_told and not conflicts:
            self.action_dismiss_notice()

    def _take_back(self, problem: str) -> bool:
        return self.settings.take_back(self._edit[1], problem)

    def on_sample_pane_edited(self, message: SamplePane.Edited) -> None:
        """Sampling settings were typed in: take them over, and sample with them."""
        try:
            self._sampling = self.control.sample_with(message.changes)
        except InputError as error:
            self.samples.show_problem(str(error))
        else:
            self._show_settings()

    def _try(self, wish: Callable[[], None]) -> None:
        try:
            wish()
        except InputError as error:
            self.say_conflicts(error.problems)

    def say_conflicts(self, problems: Sequence[str]) -> None:
        """Say which settings do not go together, until they do."""
        self.notice.say("\n".join(problems), "error")
        self._conflicts_told = True
        self.refresh_bindings()


EMPTY_CHART = {
    State.IDLE: "press space to start training",
    State.PREPARING: "getting ready…",
    State.RUNNING: "training begins…",
}

HEAR_AGAIN = "Hear all advice again"  # in the command palette

SETTINGS_OF_SAMPLES = ("sample.prompt", "sample.temperature", "sample.top_k")


def _kept_sample(kept: dict[str, Any]) -> SampleRecord:
    return SampleRecord(
        step=kept["step"],
        automatic=False,
        settings=kept["settings"],
        text=kept["text"],
        finished=True,
        val_loss=kept["val_loss"],
    )
