"""What the cockpit does when the engine tells it something."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.message import Message

from engine import protocol
from engine.protocol import State
from tui.control.run import OPEN_STATES
from tui.screens.keyed import KeyedScreen
from tui.screens.text_actions import TextActions
from tui.text.notices import format_failed, format_finished, format_forked, format_rewound
from tui.text.numbers import format_loss
from tui.widgets.loss_chart import LossChart
from tui.widgets.sample_pane import SampleRecord

if TYPE_CHECKING:
    from engine.config.setting import Value
    from engine.metrics import Column
    from engine.runs.records import StoredSample
    from tui.screens.lr_finder import LRFinderScreen
    from tui.widgets.chart_grid import ChartGrid
    from tui.widgets.notice import Notice

EMPTY_CHART = {
    State.PREPARING: "getting ready…",
    State.RUNNING: "training begins…",
}

SHOW_ALL_ADVICE = "Show all advice again"  # in the command palette


class EngineEvent(Message):
    """An event of the engine, posted from its thread."""

    def __init__(self, event: protocol.Event) -> None:
        super().__init__()
        self.event = event


class EngineEvents(TextActions):
    """The answers of the cockpit to events of the engine; it shows them in its widgets."""

    chart: LossChart
    charts: ChartGrid
    notice: Notice
    last_state: State = State.IDLE
    undone: tuple[int, str] = (0, "")
    """Id of the latest request to undo, and what is told once it is done."""
    evaluation: int | None = None
    """Id of the request whose loss is told; so with those of a checkpoint and a fork to open."""
    checkpoint: int | None = None
    fork_to_open: int | None = None
    edited: tuple[int, dict[str, Value]] = (0, {})
    """Id and changes of the latest edit."""
    lr_finder: LRFinderScreen | None = None
    _not_opened = ""  # why another run could not be opened in place of this one
    _preparation_warnings: tuple[str, ...] = ()  # of a run that is being prepared

    def say(self, text: str, severity: str = "warning") -> None:
        raise NotImplementedError

    def show_status(self) -> None:
        raise NotImplementedError

    def show_welcome(self) -> None:
        raise NotImplementedError

    def show_chart_source(self) -> None:
        raise NotImplementedError

    def take_back(self, problem: str) -> bool:
        """Take back the latest edit where it is still shown; return whether it is."""
        raise NotImplementedError

    def evaluate_keys(self) -> None:
        raise NotImplementedError

    @property
    def advice(self) -> protocol.Advised | None:
        return self.notice.advice if self.is_mounted else None

    def action_dismiss_notice(self) -> None:
        raise NotImplementedError

    def on_engine_event(self, message: EngineEvent) -> None:
        message.stop()
        heard = [one.hear(message.event) for one in self.app.screen_stack
                 if isinstance(one, KeyedScreen)]  # fmt: skip
        if not any(heard):
            self._HANDLERS[type(message.event)](self, message.event)
        self.evaluate_keys()

    def _on_state(self, event: protocol.StateChanged) -> None:
        before, self.last_state = self.last_state, event.state
        if event.state is before is State.FINISHED:
            pass  # it is being closed: the next run, which may be open already, has other figures
        elif event.state is State.FINISHED:
            told = format_finished(
                self.control.status,
                self.control.run_path,
                self.key_of,
                early=event.message,
                brief=self.has_class("-short"),
            )
            self.notice.say(told, "information")
            if before is State.RUNNING:
                self.control.queue.note_finished(told)
        elif event.state is State.PREPARING and before is not State.PREPARING:
            self._preparation_warnings = ()
        elif event.state is State.RUNNING:
            self._show_warnings(self._preparation_warnings if before is State.PREPARING else ())
            if before is State.PREPARING and not self.notice.text:
                self.control.queue.note_started()
        elif before is State.FINISHED and event.state is State.PAUSED:
            self.notice.say("")  # train.max_steps was raised
        self.chart.empty_text = self._why_no_curves(event.state)
        self.show_welcome()
        self.show_status()
        self.charts.refresh_data()
        self.refresh_bindings()

    def _why_no_curves(self, state: State) -> str:
        if state is State.IDLE and self.control.run_path:  # it could not be opened
            return f"{self.key_of('cockpit.train')} opens and continues the run"
        return EMPTY_CHART.get(state, "no steps yet")

    def _on_run_opened(self, event: protocol.RunOpened) -> None:
        from engine.runs.timeline import read_samples  # numpy waits for the first paint

        gc.freeze()  # a collection through PyTorch's modules would pause the app for 0.1 s
        control = self.control
        control.take_over(event)
        self.show_chart_source()
        kept = read_samples(Path(event.path), control.status.branch, event.last_sample)
        records = [_kept_sample(one) for one in kept]
        control.note_seeds(one.seed for one in records)
        model = control.draft.base.model
        context = model.block_size if model.architecture == "gpt" else 1
        self.samples.open_run(records, control.characters, context)
        self.show_settings()
        self._show_warnings(self._preparation_warnings)
        self.app.log_to_run(event.path, event.watching)  # type: ignore[attr-defined]
        self._show_others(Path(event.path))

    def _on_warned(self, event: protocol.Warned) -> None:
        if self.last_state is State.PREPARING:
            self._preparation_warnings += (event.message,)
        self.notice.say(event.message)

    def _show_warnings(self, warnings: Iterable[str]) -> None:
        """Show the note on the run's corpus, and warnings; hide everything else."""
        self.notice.say("")
        told = [one for one in (self._not_opened, self.control.note, *warnings) if one]
        self._not_opened = ""
        if told:
            self.notice.say("\n".join(told))

    @work(thread=True, exclusive=True, group="others")
    def _show_others(self, run: Path) -> None:
        """Show the parent's curve after the fork, and the best earlier run on the same data."""
        from engine.runs.catalogue import best_earlier
        from engine.runs.curves import ghost_of_parent

        self.app.call_from_thread(self._take_parent, run, *ghost_of_parent(run))
        self.app.call_from_thread(self._take_best, run, best_earlier(run))

    def _take_parent(self, run: Path, name: str, curve: Column | None) -> None:
        for chart in self.query(LossChart):  # none if the app quits meanwhile
            if run == self.control.run_path:
                chart.show_parent(name, curve)

    def _take_best(self, run: Path, best: tuple[str, float] | None) -> None:
        for chart in self.query(LossChart):
            if run == self.control.run_path:
                chart.show_references([(best[1], f"best {best[0]}")] if best else [])

    def _on_evaluated(self, event: protocol.Evaluated) -> None:
        self.samples.label_val_loss(event.step, event.val_loss)
        self.show_chart_source()
        if event.request_id == self.evaluation:
            self.notify(f"validation loss {format_loss(event.val_loss)} ({event.measured})")

    def _on_sample_started(self, event: protocol.SampleStarted) -> None:
        self.samples.begin(
            SampleRecord(
                step=event.step,
                automatic=event.automatic,
                settings=event.settings,
                number=event.sample,
                group=event.group,
            )
        )

    def _on_saved(self, event: protocol.Saved) -> None:
        if event.request_id == self.checkpoint:
            self.notify(f"saved step {event.step:,}")

    def _on_adjusted(self, event: protocol.Adjusted) -> None:
        self.control.note_adjusted(event)
        if event.request_id == self.undone[0]:
            self.notify(self.undone[1])
        if self.advice and self.advice.changes.keys() & event.changes.keys():
            self.action_dismiss_notice()  # the user has changed the setting
        self.show_settings()
        self.show_chart_source()

    def _on_advised(self, event: protocol.Advised) -> None:
        self.notice.advise(event)
        self.control.queue.note_advised(event)
        self.refresh_bindings()

    def _on_silenced(self, event: protocol.Silenced) -> None:
        way = f"{self.key_of('app.palette')}, {SHOW_ALL_ADVICE!r} undoes that"
        self.notify(f"no more advice on: {event.kind}\n({way})")

    def _on_rewound(self, event: protocol.Rewound) -> None:
        self.control.note_rewound(event)
        self.show_settings()
        self.show_chart_source()
        self.show_status()
        self.refresh_bindings()
        self.samples.forget_after(event.step)
        assert self.control.run_path
        told = format_rewound(event, self.control.status, self.control.run_path, self.key_of)
        self.say(told, "information")

    def _on_forked(self, event: protocol.Forked) -> None:
        if event.request_id == self.fork_to_open:
            self.control.open_run(Path(event.path), keep_edits=True)  # the fork has those that fit
        else:
            self.say(format_forked(event, self.key_of), "information")

    def _on_refused(self, event: protocol.Refused) -> None:
        """Show the problem beside the field concerned, if there is one."""
        self.control.note_undo_refused(event.request_id)
        self.control.note_not_opened(event.request_id)
        if event.request_id == self.sampling:
            self.control.note_sample_refused(event.request_id)
            self.samples.refuse(self.sampling_settings)
        if event.request_id == self.sampling and self.samples.has_focus_within:
            self.samples.show_problem(event.message)
        elif self._pass_to_lr_finder(event):
            return
        elif self.control.was_stopped(event):
            self.notify(event.message)
        elif before := self.control.reopen_after(event):
            self._not_opened = f"{event.message}\n{before.name} is open again, paused"
        elif not (0 < event.request_id == self.edited[0] and self.take_back(event.message)):
            self.notice.say(event.message, "error")
            self.control.queue.note_refused(event)
            self.refresh_bindings()

    def _on_failed(self, event: protocol.Failed) -> None:
        self.control.note_not_opened(event.request_id)
        told = event.message
        if self.last_state in (*OPEN_STATES, State.FAILED):
            told = format_failed(told, self.control.status, self.control.run_path, self.key_of)
        self.notice.say(told, "error")
        self.control.queue.note_failed(event.message, told)

    def _pass_to_lr_finder(self, event: protocol.Event) -> bool:
        """Pass an event to the learning-rate finder; return False if it is of another request."""
        return self.lr_finder is not None and self.lr_finder.handle_event(event)

    _HANDLERS: ClassVar[dict[type[protocol.Event], Callable[[Any, Any], object]]] = {
        protocol.StateChanged: _on_state,
        protocol.RunOpened: _on_run_opened,
        protocol.Evaluated: _on_evaluated,
        protocol.SampleStarted: _on_sample_started,
        protocol.SampleText: lambda self, e: self.samples.append(e.sample, e.text, e.odds),
        protocol.SampleFinished: lambda self, e: self.samples.finish(e.sample, e.stopped_by),
        protocol.Saved: _on_saved,
        protocol.Adjusted: _on_adjusted,
        protocol.Rewound: _on_rewound,
        protocol.Pinned: lambda self, e: None,  # the timeline reads it from the run folder
        protocol.Forked: _on_forked,
        protocol.Advised: _on_advised,
        protocol.Silenced: _on_silenced,
        protocol.Unsilenced: lambda self, e: self.notify(
            f"advice is given again on: {', '.join(e.kinds)}"
        ),
        protocol.LearningRateFinderPrepared: _pass_to_lr_finder,
        protocol.LearningRateFound: _pass_to_lr_finder,
        protocol.Warned: _on_warned,
        protocol.Refused: _on_refused,
        protocol.Failed: _on_failed,
        protocol.Inspected: lambda self, e: None,  # its screen was closed meanwhile
    }


def _kept_sample(kept: StoredSample) -> SampleRecord:
    return SampleRecord(
        step=kept["step"],
        automatic=False,
        settings=kept["settings"],
        text=kept["text"],
        finished=True,
        val_loss=kept["val_loss"],
        group=kept["settings"].get("group", 0),
    )
