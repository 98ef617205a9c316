"""The run under the cursor: its facts, its curve and the text it wrote last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text
from textual import getters
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from tui.text.numbers import format_loss
from tui.widgets.loss_chart import LossChart
from tui.widgets.run_details import RunDetails, RunFacts

if TYPE_CHECKING:
    from engine.runs.preview import Preview
    from engine.runs.records import StoredSample


class RunPreview(Container):
    """Facts, curve and text; its size does not depend on the run, so that nothing jumps."""

    DEFAULT_CSS = """
    RunPreview { layout: vertical; background: $panel; }
    RunPreview #preview-body { layout: horizontal; height: 1fr; padding: 0 1; }
    RunPreview #preview-curve { width: 1fr; height: 1fr; }
    RunPreview #preview-words {
        width: 1fr; height: 1fr; margin-left: 2; scrollbar-size-vertical: 1;
    }
    RunPreview #preview-text { height: auto; padding-right: 1; }
    """

    details = getters.query_one(RunDetails)
    chart = getters.query_one("#preview-curve", LossChart)
    text = getters.query_one("#preview-text", Static)

    def compose(self) -> ComposeResult:
        yield RunDetails(id="details")
        with Container(id="preview-body"):
            yield LossChart(id="preview-curve")
            with VerticalScroll(id="preview-words", can_focus=False):
                yield Static(id="preview-text")

    def show_facts(self, facts: RunFacts | None, wraps: bool) -> None:
        self.details.show(facts, wraps)

    def show_content(self, found: Preview | str | None) -> None:
        """Show curve and text; for a sentence why there are none, and for None nothing."""
        from engine.metrics import MetricStore

        if found is None or isinstance(found, str):
            self.chart.empty_text = "reading …" if found is None else "its curve cannot be read"
            self.chart.show(MetricStore())
            self.text.update("")
            return
        self.chart.empty_text = "no loss was recorded yet"
        self.chart.show(found.metrics)
        self.text.update(_words(found.sample))
        self.query_one("#preview-words", VerticalScroll).scroll_home(animate=False)

    def colour_of(self, place: int) -> Style:
        """Return the colour of the run at a place, as charts have it."""
        letter = "abcdef"[place % 6]
        colour = self.chart.get_component_rich_style(f"chart--run-{letter}").color
        return Style(color=colour, bold=True)


def _words(sample: StoredSample | None) -> Text:
    if sample is None:
        return Text("it has written no text yet", "dim")
    loss = sample["val_loss"]
    head = f"step {sample['step']:,}" + ("" if loss is None else f" · val {format_loss(loss)}")
    prompt = str(sample["settings"].get("prompt", ""))
    text = sample["text"] if prompt else sample["text"].lstrip("\n")
    return Text.assemble((f"{head}\n", "dim"), (prompt, "bold"), text)
