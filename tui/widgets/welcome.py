"""What the first screen says before there is a run: what space will start, and the keys."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from rich.cells import cell_len
from textual.content import Content
from textual.style import Style
from textual.widget import Widget

from engine.config.presets import Preset
from engine.config.schema import SETTINGS, Config
from tui.control.draft import Draft
from tui.control.next_run import NOBODY_WAITS, NextRun, Surroundings, next_run
from tui.control.own_presets import find_preset
from tui.terminal.visible import visible_line
from tui.text.numbers import format_amount, format_count, format_estimate

LABEL = 10  # cells
WIDEST = 88  # of the block, however wide the terminal
WIDE_GAP = 3  # cells between keys, where there is room
ROOMY = 20  # rows from which on it also says what one will see
ARROW = " → "
KEYS: tuple[tuple[str, str, str], ...] = (  # id in the key table, action, what it does
    ("cockpit.train", "start", "train"),
    ("cockpit.presets", "presets", "presets"),
    ("cockpit.settings", "edit", "settings"),
    ("cockpit.data", "data", "data"),
    ("cockpit.runs", "runs", "runs"),
    ("app.help", "app.help", "help"),
)
AHEAD = (  # label, words, id of the key behind them
    ("here", "the curve of the loss, falling while the model learns", ""),
    ("below", "what it writes, after each evaluation and whenever you ask", "cockpit.sample"),
    ("beside", "the settings: most can be changed while it trains", "cockpit.settings"),
)


class Welcome(Widget):
    """Describes the run that space starts, edits included, until there is one.

    Args:
        draft: Its settings.
        key_of: Returns the key of an action, by its id in the key table.
    """

    COMPONENT_CLASSES = {"welcome--key", "welcome--label", "welcome--changed", "welcome--title"}
    DEFAULT_CSS = """
    Welcome {
        height: 1fr;
        link-color: $text-accent;
        link-style: bold underline;
        & > .welcome--title { text-style: bold; color: $text-primary; }
        & > .welcome--key { text-style: bold; color: $text-accent; }
        & > .welcome--label { color: $foreground 70%; }
        & > .welcome--changed { color: $text-warning; }
    }
    """

    def __init__(self, draft: Draft, key_of: Callable[[str], str], *, id: str) -> None:
        super().__init__(id=id)
        self.draft, self._key_of = draft, key_of
        self.around: Surroundings | None = None  # once it is known

    def render(self) -> Content:
        width, height = self.size
        block = min(width - 2, WIDEST)
        if block < 16:
            return Content("")
        lines = self._lines(block, height)[:height]
        left, top = (width - block) // 2, max(0, (height - len(lines)) // 2)
        rows = [Content(" " * left) + line for line in lines]
        return Content("\n" * top) + Content("\n").join(rows)

    def _lines(self, width: int, height: int) -> list[Content]:
        draft = self.draft
        config = draft.config()
        preset = find_preset(config.preset)
        title, text = self._title(config, width), self._sentence(preset, width)
        facts = self._facts(config, width)
        keys = self._keys(width)
        ahead = [
            self._row(label, f"{words} ({self._key_of(id)})" if id else words, width=width)
            for label, words, id in (AHEAD if height >= ROOMY else ())
        ]
        blank = Content("")
        for lines in (
            [title, *text, blank, *facts, blank, *ahead, *[blank] * bool(ahead), *keys],
            [title, *text, *facts, blank, *keys],
            [title, *facts, *keys],
        ):
            if len(lines) <= height:
                return lines
        return [title, *facts[: max(0, height - 1 - len(keys))], *keys]

    def _title(self, config: Config, width: int) -> Content:
        style = self.get_visual_style("welcome--title", partial=True)
        key = self._key("cockpit.train", "start")
        name = visible_line(config.preset)
        what = f" to train the preset {name}" if name else " to train"
        before, more = Content("Press "), " with your changes" if self.draft.edits else ""
        room = width - before.cell_length - key.cell_length
        ways = [what + more, what, f" to train {name}"]
        after = Content(next((one for one in ways if cell_len(one) <= room), ways[-1]))
        return before.stylize(style) + key + after.truncate(room, ellipsis=True).stylize(style)

    def _sentence(self, preset: Preset | None, width: int) -> list[Content]:
        lines = textwrap.wrap(preset.help, width, max_lines=3, placeholder=" …") if preset else []
        return [Content(line) for line in lines]

    def _facts(self, config: Config, width: int) -> list[Content]:
        draft, around = self.draft, self.around
        before, now = next_run(draft.base), next_run(config)
        rows = [
            self._row("model", *self._model(before, now, config), width=width),
            self._row("training", *self._training(before, now, around), width=width),
            self._row("text", around.text if around else config.data.corpus, width=width),
            self._row("device", around.device if around else "…", width=width),
        ]
        if draft.edits:
            words = [
                f"{key.partition('.')[2]} {SETTINGS[key].format(v)}"
                for key, v in draft.edits.items()
            ]
            rows.append(self._row("edited", *_changed(words), width=width, changed=True))
        return rows

    def _model(self, before: NextRun, now: NextRun, config: Config) -> list[str]:
        about = "" if now.is_exact else "about "
        was = "" if before.parameters == now.parameters else f"{before.parameters:,}{ARROW}"
        model, shape = config.model, []
        if model.architecture != "bigram":
            shape = [
                format_count(model.n_layer, "layer"),
                format_count(model.n_head, "head"),
                f"width {model.n_embd}",
                f"context {model.block_size}",
            ]
        return [f"{about}{was}{now.parameters:,} parameters", *shape]

    def _training(self, before: NextRun, now: NextRun, around: Surroundings | None) -> list[str]:
        if now.steps is None or now.tokens is None:
            return ["until all of the text was seen as often as set"]
        was = ""
        if before.tokens is not None and before.tokens != now.tokens:
            was = f"{format_amount(before.tokens)}{ARROW}"
        words = [f"{now.steps:,} steps", f"{was}{format_amount(now.tokens)} tokens"]
        if now.seconds is not None and around and around.on_cpu:
            feasible = now.seconds < NOBODY_WAITS
            words.append(
                f"roughly {format_estimate(now.seconds)}" if feasible else "made for a GPU"
            )
        return [*words, f"{now.tokens_per_step:,} tokens per step"]

    def _row(
        self, label: str, first: str, *more: str, width: int, changed: bool = False
    ) -> Content:
        """Return a line with as many of the words as there is room for."""
        room, text = width - LABEL, visible_line(first)
        for one in map(visible_line, more):
            if cell_len(f"{text} · {one}") > room:
                break
            text = f"{text} · {one}"
        row = Content(text).truncate(room, ellipsis=True)
        if changed or ARROW in text:
            row = row.stylize(self.get_visual_style("welcome--changed", partial=True))
        return self._part("label", label.ljust(LABEL)) + row

    def _keys(self, width: int) -> list[Content]:
        runs = self.around.runs if self.around else 0
        earlier = format_count(runs, "earlier run") if runs else "runs"
        parts = [
            self._key(id, action) + Content(f" {earlier if word == 'runs' else word}")
            for id, action, word in KEYS
        ]
        fits = sum(one.cell_length + WIDE_GAP for one in parts) - WIDE_GAP <= width
        gap = Content(" " * (WIDE_GAP if fits else WIDE_GAP - 1))
        lines: list[Content] = []
        for part in parts:
            if lines and lines[-1].cell_length + gap.cell_length + part.cell_length <= width:
                lines[-1] = lines[-1] + gap + part
            else:
                lines.append(part)
        return lines

    def _key(self, id: str, action: str) -> Content:
        """Return a key that can be clicked, too."""
        where = action if "." in action else f"screen.{action}"
        link = Style.from_meta({"@click": where})
        shown = self._key_of(id)
        return self._part("key", shown).stylize(link)

    def _part(self, kind: str, text: str) -> Content:
        return Content(text).stylize(self.get_visual_style(f"welcome--{kind}", partial=True))


def _changed(words: Sequence[str]) -> Sequence[str]:
    """Return words for a row; a number of further ones if there are many."""
    few = 4
    return words if len(words) <= few else [*words[:few], f"{len(words) - few} more"]
