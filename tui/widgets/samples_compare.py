"""Texts of several runs side by side, from the same prompt and seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual import getters, work
from textual.app import ComposeResult
from textual.containers import Horizontal, HorizontalScroll, Vertical, VerticalScroll
from textual.widgets import Static
from textual.worker import get_current_worker

from data.errors import InputError
from engine.config.schema import SETTINGS
from tui.widgets.field import EMPTY_PROMPT, Field, FieldLabel

if TYPE_CHECKING:
    from textual.worker import Worker

    from engine.config.schema import SampleConfig

TEXT_SECONDS = 0.1  # between two looks at what was written
NARROWEST = 20  # columns of a text; where more are needed they scroll sideways


BEFORE_WRITING = {  # what is said of a text by its state
    "waiting": "comes after the one before it",
    "loading": "loading PyTorch …",
    "reading": "loading the weights …",
}


@dataclass
class Page:
    """The text of one run: the writing thread fills it, the screen reads it."""

    run: Path
    title: str
    step: int | None = None
    text: str = ""
    problem: str = ""
    state: str = "waiting"  # then loading, reading, writing, done


class BrokenOff(Exception):
    """Nobody waits for the text any more."""


class SamplesBeside(Vertical):
    """A column for each run, written one after another by a thread."""

    DEFAULT_CSS = """
    SamplesBeside { height: 1fr; }
    SamplesBeside #prompt-line { height: 1; padding: 0 1; }
    SamplesBeside #prompt-line Label { color: $foreground 60%; margin-right: 1; }
    SamplesBeside Field { width: 1fr; background: $surface; }
    SamplesBeside Field:focus { background: $boost; }
    SamplesBeside #how { color: $foreground 60%; padding: 0 1; height: 1; }
    SamplesBeside #pages { height: 1fr; }
    SamplesBeside .page {
        height: 1fr;
        border-top: solid $primary 40%;
        border-title-color: $text-primary;
        padding: 0 1;
        scrollbar-size-vertical: 1;
    }
    SamplesBeside .page Static { height: auto; padding-right: 1; }
    """

    prompt = getters.query_one(Field)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.pages: list[Page] = []
        self._settings: SampleConfig | None = None
        self._writing: Worker[None] | None = None
        self._drawn: list[Page | None] = []

    def compose(self) -> ComposeResult:
        with Horizontal(id="prompt-line"):
            yield FieldLabel("prompt")
            prompt = Field(placeholder=EMPTY_PROMPT)
            prompt.escaped = True
            yield prompt
        yield Static(id="how")
        yield HorizontalScroll(id="pages", can_focus=False)

    def on_mount(self) -> None:
        self.set_interval(TEXT_SECONDS, self.refresh_text)

    @property
    def has_texts(self) -> bool:
        return bool(self.pages)

    def prepare(self, settings: SampleConfig) -> None:
        """Say how texts will be written, while none is."""
        if self._settings is None:
            self._settings = settings
            self.prompt.value = SETTINGS["sample.prompt"].format(settings.prompt)
            self._show_how()

    def write(self, runs: Sequence[tuple[Path, str]], seed_step: int = 0) -> None:
        """Write a text for each run with the prompt in the field.

        Args:
            runs: Their folders and titles.
            seed_step: How far to go on from the last seed.

        Raises:
            InputError: The prompt cannot be.
        """
        assert self._settings is not None
        try:
            prompt = SETTINGS["sample.prompt"].parse(self.prompt.value)
        except ValueError as error:
            raise InputError(str(error)) from None
        seed = (self._settings.seed + seed_step) % 2**31
        self._settings = dataclasses.replace(self._settings, prompt=str(prompt), seed=seed)
        self.pages = [Page(path, title) for path, title in runs]
        self._show_how()
        self._lay_out()
        self._writing = self._write_all(self.pages, self._settings)

    def on_unmount(self) -> None:
        if self._writing is not None:
            self._writing.cancel()

    # -- showing ---------------------------------------------------------------------------------

    def _show_how(self) -> None:
        if self._settings is None:
            return
        asked = [
            f"{name.replace('_', '-')} {SETTINGS[f'sample.{name}'].format(value)}"
            for name, value in dataclasses.asdict(self._settings).items()
            if name in ("seed", "temperature", "max_tokens")
            or (name != "prompt" and value != SETTINGS[f"sample.{name}"].default)
        ]
        self.query_one("#how", Static).update(" · ".join(["best checkpoints", *asked]))

    def _lay_out(self) -> None:
        """Make a column for each page, keeping those that are there."""
        pages = self.query_one("#pages", HorizontalScroll)
        missing = len(self.pages) - len(pages.children)
        for _ in range(missing):
            pages.mount(VerticalScroll(Static(), classes="page", can_focus=False))
        for extra in list(pages.children)[len(self.pages) :]:
            extra.remove()
        self._drawn = []
        self.call_after_refresh(self._share_the_width)

    def on_resize(self) -> None:
        """Columns are equally wide, and never too narrow to read."""
        self._share_the_width()

    def _share_the_width(self) -> None:
        pages = self.query_one("#pages", HorizontalScroll)
        count = max(1, len(self.pages))
        for column in pages.children:
            column.styles.width = max(NARROWEST, self.size.width // count)

    def scroll_texts(self, down: int = 0, right: int = 0) -> None:
        """Move in all texts at once, by lines, or sideways, by texts."""
        for column in self.query("#pages > .page").results(VerticalScroll):
            column.scroll_relative(y=down, animate=False)
        step = max(NARROWEST, self.size.width // max(1, len(self.pages)))
        self.query_one("#pages").scroll_relative(x=right * step, animate=False)

    def refresh_text(self) -> None:
        """Draw what has come since the last look."""
        columns = self.query("#pages > .page").results(VerticalScroll)
        now = [dataclasses.replace(page) for page in self.pages]
        before = self._drawn if len(self._drawn) == len(now) else [None] * len(now)
        drawn: list[Page | None] = []
        for column, page, old in zip(columns, now, before, strict=False):
            there = bool(column.query(Static))  # on a busy machine it comes after its column
            drawn.append(page if there else None)
            if page == old or not there:
                continue
            step = "" if page.step is None else f" · step {page.step:,}"
            column.border_title = f"{page.title}{step}"
            column.query_one(Static).update(self._words(page))
            if page.state == "writing":
                column.scroll_end(animate=False)
            elif page.state == "done":
                column.scroll_home(animate=False)
        self._drawn = drawn

    def _words(self, page: Page) -> Text:
        if page.problem:
            return Text(page.problem, "dim")
        if page.state in BEFORE_WRITING:
            return Text(BEFORE_WRITING[page.state], "dim")
        prompt = self._settings.prompt if self._settings else ""
        cursor = "▌" if page.state == "writing" else ""
        text = page.text if prompt else page.text.lstrip("\n")
        return Text.assemble((prompt, "bold"), text, cursor)

    # -- writing ---------------------------------------------------------------------------------

    @work(thread=True, exclusive=True, group="write")
    def _write_all(self, pages: list[Page], settings: SampleConfig) -> None:
        worker = get_current_worker()
        for page in pages:
            if worker.is_cancelled:
                return
            try:
                _write_page(page, settings, worker)
            except BrokenOff:
                return
            except (InputError, OSError) as error:
                page.problem = str(error)
            page.state = "done"


def _write_page(page: Page, settings: SampleConfig, worker: Worker[None]) -> None:
    page.state = "loading"  # seconds, the first time
    import torch

    from engine.sampling.from_run import load_sampler

    def show(piece: str) -> None:
        if worker.is_cancelled:
            raise BrokenOff
        page.text += piece

    page.state = "reading"
    run_sampler = load_sampler(page.run, "best", lambda message: None)
    page.step, page.state = run_sampler.step, "writing"
    torch.set_num_threads(run_sampler.threads)  # of this thread alone: training has its own
    run_sampler.write(settings, show)
