"""Option lists of Textual, its command palette among them, that have no room for an option."""

from __future__ import annotations

from typing import Any

from textual.widgets import OptionList

_move_page: Any = OptionList._move_page


def page_at_any_height() -> None:
    """Have a page key do nothing in a list without a layout.

    In Textual 8.2 it raises `KeyError` there: in a terminal a few rows high, or if the key comes
    together with the one that opened the list.
    """
    patched: Any = OptionList
    patched._move_page = _move_if_laid_out


def _move_if_laid_out(options: OptionList, direction: Any) -> None:
    if (options.highlighted or 0) in options._index_to_line:
        _move_page(options, direction)
