"""The actions of the cockpit that start a new run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from textual import work

from data.errors import InputError
from tui.screens.keyed import KeyedScreen

if TYPE_CHECKING:
    from engine.config.schema import Config
    from tui.control.detaching import Background
    from tui.control.run import RunControl
    from tui.widgets.notice import Notice


class StartActions(KeyedScreen[Any]):
    """What keys do to start a run here, or in the background on several GPUs."""

    control: RunControl
    notice: Notice

    def say_conflicts(self, problems: Sequence[str]) -> None:
        raise NotImplementedError

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except InputError as error:
            self.say_conflicts(error.problems)

    def action_start(self) -> None:
        self._try(self._start)

    def action_new_run(self) -> None:
        """Ask first: the open run is closed."""
        from tui.screens.dialogs import NewRunDialog, what_becomes

        control = self.control
        try:
            control.draft.next_config()
        except InputError as error:
            self.say_conflicts(error.problems)
            return
        name = control.run_path.name if control.run_path else ""
        dialog = NewRunDialog(control.draft, name, what_becomes(control))
        self.app.push_screen(dialog, lambda answer: self._try(self._start) if answer else None)

    def _start(self) -> None:
        """Start a new run; if there are several GPUs, ask on how many."""
        from tui.control.launching import processes_for

        config = self.control.draft.next_config()
        processes = processes_for(config)
        if processes == 1:
            self.control.start()
            return
        from tui.screens.dialogs import GpusDialog

        def answered(answer: str | None) -> None:
            if answer == "one":
                self._try(self.control.start)
            elif answer == "all":
                self.notify(f"starting {processes} processes: this takes some seconds")
                self._start_several(config, processes)

        self.app.push_screen(GpusDialog(processes), answered)

    @work(thread=True, exclusive=True, group="several")
    def _start_several(self, config: Config, processes: int) -> None:
        from tui.control.launching import start_several

        control = self.control
        started = start_several(config, processes, control.launch.runs_dir, control.next_name)
        self.call_from_worker(self._on_started, started)

    def _on_started(self, started: Background) -> None:
        if started.run:
            self.control.open_run(started.run)
        else:
            self.notice.say(started.problem, "error")
