"""Which field of a row has the text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from data.corpora.conversations import text_of
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
        "mapping",
        "chat_messages",
        "document",
        "story",
        "article",
        "sentence",
    ),
    *("lyrics", "poem", "prompt", "comment", "description", "title"),
)
MOST_NAMED = 8


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
            if (text := text_of(row, key)) or isinstance(value, str):
                lengths[key] += len(text or "")
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
