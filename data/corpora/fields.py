"""Which field of a row has the text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from data.errors import nearest
from data.program import named
from data.sources.files import Unusable

TEXT_NAMES = (
    *(
        "text",
        "content",
        "body",
        "message",
        "messages",
        "conversations",
        "document",
        "story",
        "article",
        "sentence",
    ),
    *("lyrics", "poem", "prompt", "comment", "description", "title"),
)
MOST_NAMED = 8
SPEAKERS = ("role", "from", "speaker", "author", "name")
WORDS = ("content", "value", "text", "message")


def text_of(value: object) -> str | None:
    """Return the text of a field, which may be a conversation; None if it is none."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        return None
    lines = [_said(one) for one in value]
    return None if None in lines else "".join(f"{line}\n" for line in lines)


def _said(turn: object) -> str | None:
    """Return what is said in a turn of a conversation, after who says it."""
    if not isinstance(turn, Mapping):
        return None
    words = next((turn[key] for key in WORDS if isinstance(turn.get(key), str)), None)
    who = next((turn[key] for key in SPEAKERS if isinstance(turn.get(key), str)), "")
    return f"{who}: {words}" if who and words is not None else words


def choose_field(rows: Sequence[Mapping[str, object]], asked: str, spec: str, called: str) -> str:
    """Return the field that has the text: the one asked for, of a usual name, or the longest.

    Args:
        rows: The first ones.
        asked: The setting ``data.field``; empty guesses.
        spec: The file, as it is named in messages.
        called: What it is, such as "JSON lines".

    Raises:
        Unusable: There is no such field, or none that has text.
    """
    lengths: dict[str, int] = defaultdict(int)
    names = dict.fromkeys(key for row in rows for key in row)
    for row in rows:
        for key, value in row.items():
            if (text := text_of(value)) is not None:
                lengths[key] += len(text)
    listed = ", ".join([named(one) for one in names][:MOST_NAMED])
    listed += ", …" if len(names) > MOST_NAMED else ""
    if asked:
        if asked in names:
            return asked
        near = nearest(asked, list(names)) or next(iter(lengths), "text")
        raise Unusable(
            f"{named(spec)} has no field {asked!r}, which data.field names: it has {listed}; "
            f"--set data.field={near} takes that one",
            f"without a field {asked!r}",
        )
    if not lengths:
        raise Unusable(
            f"{named(spec)} is {called} without a field of text (it has {listed or 'none'}): give "
            "one that has texts",
            "without a field of text",
        )
    usual = {name.lower(): name for name in reversed(list(lengths))}
    found = next((usual[one] for one in TEXT_NAMES if one in usual), "")
    return found or max(lengths, key=lambda name: lengths[name])
