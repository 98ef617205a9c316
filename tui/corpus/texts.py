"""The texts that have a name or whose tokens are kept, as a list with a cursor."""

from __future__ import annotations

from collections.abc import Sequence

from data.prepared.texts import KnownText
from data.program import named
from tui.inside.layout import Picture, below, cut, fitted, window, wrapped
from tui.terminal.cells import padded, shortened
from tui.text.numbers import format_count, format_unit

NAME, HERE, TOKENS = 20, 19, 16  # columns
DETAILS = 4  # rows below the list
HEADER = (("text", NAME), ("on this machine", HERE), ("tokens", TOKENS))


def draw_texts(
    texts: Sequence[KnownText], cursor: int, chosen: str, width: int, height: int
) -> Picture:
    """Draw the list, and what is known of the text at the cursor.

    Args:
        chosen: The name of the text of the next run.
    """
    head = "".join(padded(label, cells) for label, cells in HEADER) + "what it is"
    picture = Picture([fitted([(f"  {head}", "title")], width)])
    room = max(1, height - DETAILS - 2)
    top = window(cursor, room, len(texts)) if len(texts) > room else 0
    for number, one in list(enumerate(texts))[top : top + room]:
        mark = "> " if number == cursor else "* " if one.name == chosen else "  "
        cells = zip((named(one.name), here(one), kept(one)), HEADER, strict=True)
        row = mark + "".join(padded(shortened(text, room - 1), room) for text, (_, room) in cells)
        if number == cursor:
            whole = padded(row + one.described, width)
            picture.add(*fitted([(whole, "cursor")], width), what=("text", number))
        else:
            parts = [(row, "ink"), (one.described, "dim")]
            picture.add(*fitted(parts, width), what=("text", number))
    if not texts:
        return picture
    return below(
        picture, Picture([[]]), cut(_details(texts[cursor], chosen, width), width, DETAILS)
    )


def here(one: KnownText) -> str:
    """Say what of a text is on this machine, or what is to be downloaded."""
    if not one.in_catalogue:
        return "only tokens known"
    if one.is_here:
        return "yes" if one.size else "yes, built in"
    return f"no, {format_unit(one.size, 'B')}"


def kept(one: KnownText) -> str:
    """Say how many bytes of tokens are kept of a text."""
    return format_unit(one.bytes_prepared, "B") if one.prepared else "none yet"


def _details(one: KnownText, chosen: str, width: int) -> Picture:
    about = [
        f"{named(one.name)}{', the text of the next run' if one.name == chosen else ''}",
        *([one.described, f"licence {one.licence}"] if one.in_catalogue else []),
    ]
    picture = wrapped(" · ".join(about), width, "title")
    for made in one.prepared:
        tokens = f"prepared: {made.tokenizer_named}, {format_count(made.tokens, 'token')}"
        picture.add((f"{tokens}, {format_unit(made.size, 'B')}", "dim"))
    return picture
