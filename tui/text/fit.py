"""Items beside each other on a line that may be too short for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

SEPARATOR = " · "


def fit_items(items: Sequence[Text], width: int, separator: str = SEPARATOR) -> Text:
    """Join as many items as fit, the most important first; truncate the first one if need be."""
    line = Text(no_wrap=True)
    for item in items:
        gap = Text(separator if line else "", "dim")
        if line and line.cell_len + gap.cell_len + item.cell_len > width:
            break
        line.append_text(gap).append_text(item)
    line.truncate(width, overflow="ellipsis")
    return line
