"""The help page of the runs screen, made from its keys."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text
from textual.binding import Binding

from tui.screens.text_screen import TextScreen

WORDS = (
    "A filter is words that must all be there, in the name, state, preset, data, tags, note or "
    "parent. name:, state:, preset:, data:, tag:, note: and parent: before a word look in one of "
    "them, and -word must not be there.",
    "Tags and note live in the run's folder (notes.toml) and can be changed while it trains; a run "
    "in training can be neither renamed nor deleted.",
    "Deleted runs wait in the trash until it is emptied: 'gpt-tui runs trash' lists them, "
    "'gpt-tui runs restore RUN' brings one back. 'gpt-tui runs' can do all of this, too, and copy "
    "and export runs.",
)


def runs_help(bindings: Iterable[Binding]) -> TextScreen:
    """The help page.

    Args:
        bindings: Of the runs screen; each shows its key and tooltip.
    """
    text = Text("All runs, those in training included.\n\n")
    for binding in bindings:
        key = binding.key_display or binding.key.split(",")[0]
        text.append(f"  {key:<8}", "bold")
        text.append(f"{binding.tooltip}\n")
    text.append("\n" + "\n\n".join(WORDS))
    return TextScreen("runs", text)
