"""What the cockpit does when the engine tells it something."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.message import Message

from engine import protocol
from engine.protocol import State
from tui.control.run import OPEN_STATES
from tui.text.notices import (
    format_cool_down,
    format_failed,
    format_finished,
    format_forked,
    format_rewound,
    seconds_to_read,
)
from tui.text.numbers import format_loss
from tui.widgets.loss_chart import LossChart
from tui.widgets.sample_pane import SampleRecord

if TYPE_CHECKING:
    from engine.config.setting import Value
    from engine.metrics import Column
    from engine.runs.records import StoredSample
    from tui.screens.cockpit import CockpitScreen

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


class EngineEventHandler:
    """What the cockpit does when the engine tells something.

    Args:
        cockpit: The screen in whose widgets it is shown.

    Attributes:
        last_state: As the engine told it last.
        undone: Id of the latest request to undo, and what is told once it is done.
        evaluation: Id of the latest request for the loss, which is told then.
        checkpoint: The same for a checkpoint.
        cool_down: The same for a cool-down.
        fork_to_open: Id of the request for a fork that is to be opened.
        edited: Id and changes of the latest edit.
    """

    def __init__(self, cockpit: CockpitScreen) -> None:
        self._screen, self._control = cockpit, cockpit.control
        self.last_state = State.IDLE
        self.undone = 0, ""
        self.evaluation: int | None = None
        self.checkpoint: int | None = None
        self.cool_down: int | None = None
        self.fork_to_open: int | None = None
        self.edited: tuple[int, dict[str, Value]] = (0, {})
        self._not_opened = ""  # why another run could not be opened in place of this one
        self._preparation_warnings: list[str] = []  # of a run that is being prepared

    def handle(self, event: protocol.Event) -> None:
        self._control.note_answered(event)
        self._HANDLERS[type(event)](self, event)

    def _on_state(self, event: protocol.StateChanged) -> None:
        before, self.last_state = self.last_state, event.state
        if event.state is before is State.FINISHED:
            pass  # it is being closed: the next run, which may be open already, has other figures
        elif event.state is State.FINISHED:
            self._screen.forget_advice()
            is_short = self._screen.has_class("-short")
            told = format_finished(
                self._control.status,
                self._control.elsewhere or self._control.run_path,
                self._screen.key_of,
                early=event.message,
                brief=is_short,
            )
            # in a low terminal it has the rows of the text, which is what one looks at then
            seconds = seconds_to_read(told, "information") if is_short else 0.0
            self._screen.notice.say(told, "information", seconds=seconds)
            if before is State.RUNNING:
                self._control.queue.note_finished(told)
        elif event.state is State.PREPARING and before is not State.PREPARING:
            self._preparation_warnings.clear()
        elif event.state is State.RUNNING:
            if self._screen.advice and self._screen.advice.pauses:
                self._screen.forget_advice()  # it was of the batch that is skipped now
            self._show_warnings(self._preparation_warnings if before is State.PREPARING else [])
            if before is State.PREPARING and not self._screen.notice.text:
                self._control.queue.note_started()
        elif before is State.FINISHED and event.state is State.PAUSED:
            self._screen.notice.say("")  # train.max_steps was raised
        self._screen.chart.empty_text = self._why_no_curves(event.state)
        self._screen.show_welcome()
        self._screen.show_status()
        self._screen.charts.refresh_data()
        self._screen.refresh_bindings()
        self._screen.press_kept_keys()

    def _why_no_curves(self, state: State) -> str:
        if state is State.IDLE and self._control.run_path:  # it could not be opened
            return f"{self._screen.key_of('cockpit.train')} opens and continues the run"
        return EMPTY_CHART.get(state, "no steps yet")

    def _on_run_opened(self, event: protocol.RunOpened) -> None:
        from engine.runs.timeline import read_samples  # numpy waits for the first paint

        gc.freeze()  # a collection through PyTorch's modules would pause the app for 0.1 s
        control = self._control
        control.take_over(event)
        self._screen.forget_advice()
        self._screen.show_chart_source()
        kept = read_samples(Path(event.path), control.status.branch, event.last_sample)
        records = [_kept_sample(one) for one in kept]
        control.note_seeds(one.seed for one in records)
        model = control.draft.base.model
        context = model.block_size if model.architecture == "gpt" else 1
        self._screen.samples.open_run(records, control.characters, context, event.begins)
        self._screen.show_settings()
        self._show_warnings(self._preparation_warnings)
        elsewhere = event.watching or bool(event.attached)
        self._screen.app.log_to_run(event.path, elsewhere)  # type: ignore[attr-defined]
        self.show_others(Path(event.path))
        self._screen.press_kept_keys()

    def _on_controlled(self, event: protocol.Controlled) -> None:
        before, who = self._control.others_control, self._control.controlled.who
        self._control.note_controlled(event)
        if who and who != event.who:
            self._screen.forget_message_of(who)
        if before and not self._control.others_control:
            self._screen.notify("you are in control of this run now")
        self._screen.show_status()
        self._screen.refresh_bindings()

    def _on_warned(self, event: protocol.Warned) -> None:
        if self.last_state is State.PREPARING:
            self._preparation_warnings.append(event.message)
        self._screen.say(event.message)

    def _show_warnings(self, warnings: Iterable[str]) -> None:
        """Show the note on the run's corpus, and warnings; hide everything else."""
        self._screen.notice.say("")
        told = [one for one in (self._not_opened, self._control.note, *warnings) if one]
        self._not_opened = ""
        if told:
            self._screen.say("\n".join(told))

    def show_others(self, run: Path) -> None:
        """Show the parent's curve after the fork, and the best earlier run on the same data."""
        read = partial(self._read_others, run)
        self._screen.run_worker(read, thread=True, exclusive=True, group="others")

    def _read_others(self, run: Path) -> None:
        from engine.runs.catalogue import best_earlier
        from engine.runs.curves import ghost_of_parent

        self._screen.call_from_worker(self._take_parent, run, *ghost_of_parent(run))
        self._screen.call_from_worker(self._take_best, run, best_earlier(run))

    def _take_parent(self, run: Path, name: str, curve: Column | None) -> None:
        for chart in self._screen.query(LossChart):  # none if the app quits meanwhile
            if run == self._control.run_path:
                chart.show_parent(name, curve)

    def _take_best(self, run: Path, best: tuple[str, float] | None) -> None:
        for chart in self._screen.query(LossChart):
            if run == self._control.run_path:
                chart.show_references([(best[1], f"best {best[0]}")] if best else [])

    def _on_evaluated(self, event: protocol.Evaluated) -> None:
        self._screen.samples.label_val_loss(event.step, event.val_loss)
        self._screen.show_chart_source()
        if event.request_id == self.evaluation:
            self._screen.notify(f"validation loss {format_loss(event.val_loss)} ({event.measured})")

    def _on_sample_started(self, event: protocol.SampleStarted) -> None:
        self._screen.samples.begin(
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
            self._screen.notify(f"saved step {event.step:,}")

    def _on_adjusted(self, event: protocol.Adjusted) -> None:
        self._control.note_adjusted(event)
        if event.request_id == self.undone[0]:
            self._screen.notify(self.undone[1])
        elif event.request_id == self.cool_down:
            end = self._control.draft.base.train.max_steps
            self._screen.notify(format_cool_down(end, self._screen.key_of))
        advice = self._screen.advice
        if advice and advice.changes.keys() & event.changes.keys():
            self._screen.forget_advice()  # the user has changed the setting
        self._screen.show_settings()
        self._screen.show_chart_source()

    def _on_advised(self, event: protocol.Advised) -> None:
        self._screen.notice.advise(event)
        self._screen.advice = event
        self._control.queue.note_advised(event)
        self._screen.refresh_bindings()

    def _on_silenced(self, event: protocol.Silenced) -> None:
        way = f"{self._screen.key_of('app.palette')}, {SHOW_ALL_ADVICE!r} undoes that"
        self._screen.notify(f"no more advice on: {event.kind}\n({way})")

    def _on_rewound(self, event: protocol.Rewound) -> None:
        self._control.note_rewound(event)
        self._screen.forget_advice()
        self._screen.show_settings()
        self._screen.show_chart_source()
        self._screen.show_status()
        self._screen.refresh_bindings()
        self._screen.samples.forget_after(event.step)
        assert self._control.run_path
        told = format_rewound(
            event,
            self._control.status,
            self._control.run_path,
            self._screen.key_of,
            self._control.elsewhere,
        )
        self._screen.say(told, "information")

    def _on_forked(self, event: protocol.Forked) -> None:
        elsewhere = self._control.elsewhere
        if event.request_id == self.fork_to_open and not elsewhere:
            self._control.open_run(Path(event.path), keep_edits=True)  # the fork has those that fit
        else:
            self._screen.say(format_forked(event, self._screen.key_of, elsewhere), "information")

    def _on_refused(self, event: protocol.Refused) -> None:
        """Show the problem beside the field concerned, if there is one."""
        self._control.note_change_refused(event.request_id)
        self._control.note_not_opened(event.request_id)
        if event.request_id == self._screen.sampling:
            self._control.note_sample_refused(event.request_id)
            self._screen.samples.refuse(self._screen.sampling_settings)
        if event.request_id == self._screen.sampling and self._screen.samples.has_focus_within:
            self._screen.samples.show_problem(event.message)
        elif self._control.was_stopped(event):
            self._screen.notify(event.message)
        elif before := self._control.reopen_after(event):
            self._not_opened = f"{event.message}\n{before.name} is open again, and not in training"
        elif not self._taken_back(event):
            self._screen.notice.say(event.message, "error")
            self._control.queue.note_refused(event)
            self._screen.refresh_bindings()

    def _taken_back(self, event: protocol.Refused) -> bool:
        """Take back the edit that was refused where it is still shown; return whether it is."""
        request_id, changes = self.edited
        is_edit = 0 < event.request_id == request_id
        return is_edit and self._screen.settings.take_back(changes, event.message)

    def _on_failed(self, event: protocol.Failed) -> None:
        self._control.note_not_opened(event.request_id)
        told = event.message
        if self.last_state in (*OPEN_STATES, State.FAILED):
            told = format_failed(
                event,
                self._control.status,
                self._control.elsewhere or self._control.run_path,
                self._screen.key_of,
            )
        self._screen.notice.say(told, "error")
        self._control.queue.note_failed(event.message, told)

    _HANDLERS: ClassVar[dict[type[protocol.Event], Callable[[Any, Any], object]]] = {
        protocol.StateChanged: _on_state,
        protocol.RunOpened: _on_run_opened,
        protocol.Controlled: _on_controlled,
        protocol.Evaluated: _on_evaluated,
        protocol.SampleStarted: _on_sample_started,
        protocol.SampleText: lambda self, e: self._screen.samples.append(e.sample, e.text, e.odds),
        protocol.SampleFinished: lambda self, e: self._screen.samples.finish(
            e.sample, e.stopped_by
        ),
        protocol.Saved: _on_saved,
        protocol.Adjusted: _on_adjusted,
        protocol.Rewound: _on_rewound,
        protocol.Pinned: lambda self, e: None,  # the timeline reads it from the run folder
        protocol.Forked: _on_forked,
        protocol.Advised: _on_advised,
        protocol.Silenced: _on_silenced,
        protocol.Unsilenced: lambda self, e: self._screen.notify(
            f"advice is given again on: {', '.join(e.kinds)}"
        ),
        protocol.Warned: _on_warned,
        protocol.Refused: _on_refused,
        protocol.Failed: _on_failed,
        # answers to a screen that was closed meanwhile
        protocol.LearningRateFinderPrepared: lambda self, e: None,
        protocol.LearningRateFound: lambda self, e: None,
        protocol.Inspected: lambda self, e: None,
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
        at_end_of_text=kept["settings"].get("stopped_by") == "end_of_text",
    )
