"""The settings as a list of foldable groups, made from the schema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.console import Console
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.css.styles import RulesMap
from textual.message import Message
from textual.strip import Strip
from textual.style import Style as VisualStyle
from textual.visual import RenderOptions, Visual
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from engine.config.changes import WHEN_TEXTS
from engine.config.schema import SECTIONS, SETTINGS, Config, other_names
from engine.config.setting import Setting
from engine.config.unused import unused
from tui.control.draft import Draft
from tui.control.keymap import bindings
from tui.widgets.choice_list import select_by_second_click

FOLDED_AT_FIRST = {"checkpoint", "system", "data", *(f"{section}.*" for section in SECTIONS)}
STEP = "step"  # what a click on an arrow means
COUNTS = Counter(one.name for one in SETTINGS.values())
AMBIGUOUS = {name for name, count in COUNTS.items() if count > 1}
ARROW = 2  # cells of one
WIDE = 100  # columns: room for any row
CONFLICT = "!"  # before a setting that does not fit others


class Row(Visual):
    """A row that is laid out for the width in which it is painted.

    The first paint comes before a widget hears of its size: rows made then would have no room.

    Args:
        text: Returns the row in a width.
    """

    def __init__(self, text: Callable[[int], Text], console: Console) -> None:
        self._text, self._console = text, console

    def render_strips(
        self, width: int, height: int | None, style: VisualStyle, options: RenderOptions
    ) -> list[Strip]:
        content = Content.from_rich_text(self._text(width), console=self._console)
        return content.render_strips(width, height, style, options)

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:
        return 1

    def __str__(self) -> str:
        return self._text(WIDE).plain


class SettingsList(OptionList):
    """One row a setting: name, value, unit; edits that wait are marked."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("settings")

    DEFAULT_CSS = """
    SettingsList {
        height: 1fr;
        border: none;
        padding: 0;
        background: transparent;
        scrollbar-size-vertical: 1;
        text-wrap: nowrap;
        text-overflow: clip;
    }
    SettingsList:focus { border: none; background: transparent; }
    """

    def __init__(self, draft: Draft, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.draft = draft
        self._folded = set(FOLDED_AT_FIRST)
        self.words: list[str] = []  # that are searched for
        self.other: Config | None = None  # only what differs from it is shown
        self.other_name = ""
        self._unused: dict[str, str] = {}  # settings without effect
        self._conflicting: set[str] = set()  # those that do not fit others
        self._arrows_on: str | None = None  # the setting whose row has them

    def on_mount(self) -> None:
        """The rows are there before there is room: keys may come before the first layout."""
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        """On a group: fold it. On a setting: go there, and with the second click change it."""
        if by := event.style.meta.get(STEP):
            event.prevent_default()
            self.post_message(self.StepAsked(by))
            return
        clicked = event.style.meta.get("option")
        if not (isinstance(clicked, int) and 0 <= clicked < self.option_count):
            event.prevent_default()
        elif str(self.options[clicked].id) in SETTINGS:
            select_by_second_click(self, event)

    def focus_on_click(self) -> bool:
        """A click on an arrow leaves the field open in which the value is."""
        return STEP not in self.screen.get_style_at(*self.app.mouse_position).meta

    def watch_highlighted(self, highlighted: int | None) -> None:
        super().watch_highlighted(highlighted)
        before, self._arrows_on = self._arrows_on, self.highlighted_key
        for key in {before, self._arrows_on} & {option.id for option in self.options}:
            if key in SETTINGS:
                self.replace_option_prompt(key, self._row(SETTINGS[key]))

    @property
    def highlighted_key(self) -> str | None:
        """The setting or section under the cursor."""
        return self.highlighted_option.id if self.highlighted_option else None

    def redraw(self) -> None:
        """Build all rows anew, the cursor staying where it is."""
        keep = self.highlighted_key
        self._find_marked()
        self.set_options(self._rows())
        ids = [option.id for option in self.options]
        self.highlighted = ids.index(keep) if keep in ids else 0

    def redraw_values(self) -> None:
        if self.other is not None:  # there may be more or fewer rows
            self.redraw()
            return
        self._find_marked()
        for option in self.options:
            if option.id in SETTINGS:
                self.replace_option_prompt(option.id, self._row(SETTINGS[option.id]))

    def _find_marked(self) -> None:
        self._unused = unused(self.draft.config())
        self._conflicting = self.draft.conflicting()

    class ResetAsked(Message):
        """The values that the setting under the cursor can go back to are wanted."""

    class StepAsked(Message):
        """The next value of the setting under the cursor is wanted, the larger one for 1."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    class OtherRunAsked(Message):
        """The settings of the next run are wanted, or those of the run on the screen again."""

    class DifferencesAsked(Message):
        """What differs from the next thing to compare with is wanted."""

    class SearchAsked(Message):
        """The field for a search is wanted."""

    def action_reset(self) -> None:
        if self.highlighted_key in SETTINGS:
            self.post_message(self.ResetAsked())

    def action_show_other_run(self) -> None:
        self.post_message(self.OtherRunAsked())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("select", "reset"):
            return self.highlighted_key is not None or not self._is_flat
        return self.draft.of_run if action == "show_other_run" else True

    def action_show_differences(self) -> None:
        self.post_message(self.DifferencesAsked())

    def action_search(self) -> None:
        self.post_message(self.SearchAsked())

    def search(self, words: str) -> None:
        """Show only settings that have all these words in name or help; empty shows the groups."""
        self.words = words.casefold().split()
        self.redraw()

    def compare(self, name: str, other: Config | None) -> None:
        """Show only what differs from other settings, with their values; None shows all."""
        self.other, self.other_name = other, name
        self.redraw()

    def _found(self, one: Setting) -> bool:
        if self.other is not None and self.draft.value(one.key) == self.other.get(one.key):
            return False
        text = f"{one.key} {' '.join(other_names(one))} {one.help}".casefold()
        return all(word in text for word in self.words)

    def _distance(self, one: Setting) -> int:
        """How far from its name a setting was found: it is called that, it has it, its help has."""
        others = other_names(one)
        if any(word in (one.name, *others) for word in self.words):
            return 0
        return 1 if all(word in one.key for word in self.words) else 2

    def go_to(self, key: str) -> None:
        """Put the cursor on a setting, unfolding its group."""
        section = key.split(".")[0]
        self.words, self.other, self.other_name = [], None, ""
        self._folded.discard(section)
        if SETTINGS[key].seldom:
            self._folded.discard(seldom_of(section))
        self.redraw()
        self.highlighted = self.get_option_index(key)

    def toggle(self, section: str) -> None:
        """Fold or unfold a group, or what of it is seldom changed (``seldom_of``)."""
        self._folded ^= {section}
        self.redraw()

    def action_fold(self) -> None:
        key = self.highlighted_key or ""
        group = key.split(".")[0]
        if key == seldom_of(group) or (key in SETTINGS and SETTINGS[key].seldom):
            group = seldom_of(group)
        if group and group not in self._folded:
            self.toggle(group)
            self.highlighted = self.get_option_index(group)

    def action_unfold(self) -> None:
        if self.highlighted_key in self._folded:
            self.toggle(str(self.highlighted_key))

    @property
    def _is_flat(self) -> bool:
        """Whether single settings are listed, without their groups."""
        return bool(self.words) or self.other is not None

    def _rows(self) -> list[Option]:
        if self._is_flat:
            found = [one for one in SETTINGS.values() if self._found(one)]
            found.sort(key=self._distance)
            words = " ".join(self.words)
            why = f"no setting matches “{words}”" if words else "no setting differs"
            nothing = Option(Text(why, "dim"), disabled=True)
            return [Option(self._row(one), id=one.key) for one in found] or [nothing]
        rows = []
        for section in SECTIONS:
            folded = section in self._folded
            keys = [key for key in SETTINGS if key.startswith(f"{section}.")]
            rows.append(Option(self._fold_row(section, keys, folded, "bold"), id=section))
            if not folded:
                rows += self._rows_of(section)
        return rows

    def _rows_of(self, section: str) -> list[Option]:
        """The settings of a group, those that are seldom changed behind a fold of their own."""
        mine = [one for one in SETTINGS.values() if one.section == section]
        often = [one for one in mine if not one.seldom]
        seldom = [one for one in mine if one.seldom]
        rows = [Option(self._row(one), id=one.key) for one in often]
        if seldom:
            group = seldom_of(section)
            folded = group in self._folded
            keys = [one.key for one in seldom]
            row = self._fold_row(f"{len(seldom)} more", keys, folded, "dim")
            rows.append(Option(row, id=group))
            if not folded:
                rows += [Option(self._row(one), id=one.key) for one in seldom]
        return rows

    def _fold_row(self, title: str, keys: list[str], folded: bool, style: str) -> Text:
        """The head of a group; it says how many edits are folded away."""
        sign = "▸" if folded else "▾"
        indent = "" if title in SECTIONS else "  "
        row = Text.assemble((f"{indent}{sign} ", "dim"), (title, style), no_wrap=True)
        edited = sum(key in self.draft.edits for key in keys)
        if folded and edited:
            row.append(f"  {edited} edited", "yellow")
        if folded and self._conflicting.intersection(keys):
            row.append(f"  {CONFLICT} conflict", "red")
        return row

    def _row(self, one: Setting) -> Row:
        return Row(lambda width: self._setting_row(one, width), self.app.console)

    def _setting_row(self, one: Setting, width: int) -> Text:
        waiting = one.key in self.draft.edits
        value = _on_one_line(one.format(self.draft.value(one.key)))
        if self.other is not None:
            value = f"{_on_one_line(one.format(self.other.get(one.key)))} → {value}"
        unit = f" {one.unit}" if one.unit and value not in (*one.special.values(), "") else ""
        name = one.name
        if self._is_flat and name in AMBIGUOUS:
            name, unit = one.key, ""
        room = max(4, width - 3 - len(name) - len(unit))
        if len(value) > room:
            value = "…" + value[1 - room :]
        gap = " " * max(1, width - 2 - len(name) - len(value) - len(unit))
        arrows: Sequence[tuple[str, Style]] = ()
        if one.key == self._arrows_on and one.type in (int, float) and len(gap) > 2 * ARROW:
            gap = gap[2 * ARROW :]
            arrows = [(f"{sign} ", Style(meta={STEP: by})) for sign, by in (("◂", -1), ("▸", 1))]
        value_style = "bold yellow" if waiting else ""
        sign = WHEN_TEXTS[one.when].sign
        if one.key in self._conflicting:
            value_style, sign = "bold red", CONFLICT
        name_style = "dim" if one.key in self._unused else ""
        if self.draft.is_changed(one.key):
            name_style += " italic"
        return Text.assemble(
            (f"{sign} ", value_style or "dim"),
            (name, name_style),
            gap,
            *arrows,
            (value, value_style or name_style),
            (unit, "dim"),
            no_wrap=True,
        )


def seldom_of(section: str) -> str:
    """The name of the group within a group that holds what is seldom changed."""
    return f"{section}.*"


def _on_one_line(text: str) -> str:
    return text.replace("\n", "⏎")
