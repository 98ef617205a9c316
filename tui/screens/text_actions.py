"""The actions of the cockpit that are about generated texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data.errors import InputError
from engine import protocol
from engine.config.schema import SETTINGS
from tui.control.texts import save_text
from tui.screens.chart_actions import ChartActions
from tui.text.numbers import format_path

SETTINGS_OF_SAMPLES = ("sample.prompt", "sample.temperature", "sample.top_k")

if TYPE_CHECKING:
    from engine.config.setting import Value
    from tui.control.run import RunControl
    from tui.widgets.sample_pane import SamplePane


class TextActions(ChartActions):
    """What keys do with the texts of a screen, which has the pane and shows the settings."""

    control: RunControl
    samples: SamplePane
    sampling: int | None = None
    """The id of the latest request for a text."""

    def show_settings(self) -> None:
        raise NotImplementedError

    @property
    def sampling_settings(self) -> dict[str, Value]:
        """The settings of texts that the user asks for."""
        return {key: self.control.sampling_value(key) for key in SETTINGS_OF_SAMPLES}

    def _no_text(self, to: str) -> str:
        return f"there is no text yet to {to}: {self.key_of('cockpit.sample')} samples one"

    def on_sample_pane_edited(self, message: SamplePane.Edited) -> None:
        """Sample with these settings, from now on; the run keeps its own."""
        self.control.fixed_seed = message.seed
        try:
            self.sampling = self.control.sample_with(message.changes)
        except InputError as error:
            self.samples.show_problem(str(error))
        else:
            self.show_settings()
            if self.sampling is not None:
                self.samples.expect(str(self.control.sampling_value("sample.prompt")))

    def action_sample(self, texts: int = 1) -> None:
        self.control.fixed_seed = self.samples.fixed_seed
        self.sampling = self.control.sample(texts)
        self.samples.expect(str(self.control.sampling_value("sample.prompt")))

    def action_continue_text(self) -> None:
        """Go on from where the text on the screen ends."""
        record = self.samples.current
        if record is None:
            self.notify(self._no_text("go on from"), severity="warning")
        elif not record.finished:
            self.notify("the text is still being generated", severity="warning")
        else:
            self.control.fixed_seed = self.samples.fixed_seed
            self.sampling = self.control.sample(prompt=record.passage.whole)
            self.samples.expect(record.passage.whole)

    def action_stop_text(self) -> None:
        number = self.samples.being_written
        if number is None:
            self.notify("no text is being generated", severity="warning")
        else:
            self.control.send(protocol.StopSample(number))

    def action_keep_probe(self) -> None:
        """Sample the prompt after each evaluation from now on, or no longer."""
        prompt = self.control.sampling_value("sample.prompt")
        record = self.samples.current
        shown = record.prompt if record and record.settings.get("seed") else str(prompt)
        if self.samples.expected_prompt is not None:  # that is what is on the screen
            shown = self.samples.expected_prompt
        if not shown:
            key = self.key_of("cockpit.prompt")
            self.notify(f"type a prompt first ({key}): a probe is a prompt", severity="warning")
            return
        try:
            kept = self.control.toggle_probe(shown)
        except (InputError, ValueError) as error:
            self.notify(str(error), severity="warning")
            return
        self.show_settings()
        written = SETTINGS["sample.prompt"].format(shown)
        told = "is sampled after each evaluation, too" if kept else "is a probe no longer"
        self.notify(f"“{written}” {told}")

    def action_shade(self) -> None:
        self.samples.view.cycle_shading()

    def action_scroll_text(self, pages: int) -> None:
        self.samples.view.scroll_pages(pages)

    def action_text_start(self) -> None:
        self.samples.view.scroll_to_start()

    def action_text_end(self) -> None:
        self.samples.view.scroll_to_end()

    def action_full_text(self) -> None:
        """The text alone on the screen, or everything again."""
        self.toggle_class("-full-text")
        if self.has_class("-full-text") and not self.samples.has_focus_within:
            self.set_focus(None)  # what has it is hidden now
        self.refresh_bindings()

    action_leave_full_text = action_full_text

    def action_move_in_text(self, right: int, down: int) -> None:
        """The token cursor while characters are shaded, else the chart's cursor and the lines."""
        view = self.samples.view
        if view.shading == "off" and right:
            self.action_move_cursor(right)
        elif view.shading == "off":
            view.scroll_lines(down)
        elif down:
            view.move_cursor_down(down)
        else:
            view.move_cursor(right)

    def action_copy_text(self) -> None:
        text = self.samples.plain_text()
        if text:
            self.app.copy_to_clipboard(text)
            self.notify(f"copied {len(text):,} characters, if the terminal allows it (OSC 52)")
        else:
            self.notify(self._no_text("copy"), severity="warning")

    def action_save_text(self) -> None:
        run, records = self.control.folder_for_files, self.samples.shown
        if not (run and records):
            self.notify(self._no_text("save"), severity="warning")
            return
        try:
            path = save_text(run, records[0].step, self.samples.plain_text())
        except InputError as error:
            self.notify(str(error), severity="error")
        else:
            self.notify(f"saved as {format_path(path)}")

    def action_prompt(self) -> None:
        self.samples.focus_prompt()

    def action_earlier(self) -> None:
        self.samples.move(-1)

    def action_later(self) -> None:
        self.samples.move(1)
