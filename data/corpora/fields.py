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
SPEAKERS = ("role", "from", "speaker", "author", "sender_name", "sender", "name")
WORDS = ("content", "value", "text", "message")


def text_of(value: object) -> str | None:
    """Return the text of a field, which may be a conversation; None if it is none."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        return None
    if not all(isinstance(one, Mapping) for one in value):
        return None
    # of a chat some turns are pictures
    lines = [line for one in value if (line := _said(one))]
    return "".join(f"{line}\n" for line in lines) or None


def _said(turn: Mapping[str, object]) -> str:
    """Return what is said in a turn of a conversation, after who says it; empty if nothing is."""
    words = next((said for key in WORDS if (said := _words(turn.get(key)))), "")
    who = next((name for key in SPEAKERS if (name := _name(turn.get(key)))), "")
    return f"{who}: {words}" if who and words else words


def _words(value: object) -> str:
    """Return a text, which may be in parts as where some of it is a link."""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else []
    texts = [one.get("text") if isinstance(one, Mapping) else one for one in parts]
    return "".join(one for one in texts if isinstance(one, str))


def _name(value: object) -> str:
    """Return who a speaker is, who may be an object that has a name."""
    found = value.get("name") if isinstance(value, Mapping) else value
    return found if isinstance(found, str) else ""


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
