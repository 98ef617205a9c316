"""What is unusual about a text, in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

from data.corpora.file_text import AS_IT_STANDS, READ_AS
from data.corpora.normalize import DOS, MAC, MARKS, PARTS, UNICODE
from data.corpora.rows_text import EXPORTED, OF_FIELD, left_out_rows
from data.corpora.structure import WITH_NAMES, WITHOUT_NAMES
from data.program import named
from data.sources.tally import Tally

PLURAL = re.compile(r"(?<=end)|(?<=return)|(?<=mark)")


def sentences(spec: str, tally: Tally, skipped: Tally, field: str) -> Iterator[str]:
    """Yield what a person should know of a text.

    Args:
        spec: What it is called.
        tally: What was met in it.
        skipped: What was left out.
        field: The setting ``data.field``.
    """
    name = named(spec)
    if skipped.counts:
        yield f"{name}: left out: {skipped.described()}"
    for what in tally.counts:
        if what.startswith(READ_AS):
            yield f"{_files(name, tally, what)} {what}; data.encoding names another encoding"
        if what.startswith(AS_IT_STANDS):
            structure = what.removeprefix(AS_IT_STANDS)
            yield (
                f"{_files(name, tally, what)} {structure}, learned as it stands, with all its "
                "signs and names of columns or keys"
            )
        if what.startswith(EXPORTED):
            yield f"{_files(name, tally, what)} {what} is learned"
        if OF_FIELD in what:
            yield f"{_files(name, tally, what)} {what} is learned; {_other_field(what)}"
    if field and not any(OF_FIELD in one or one.startswith(EXPORTED) for one in tally.counts):
        yield f"data.field {field!r} changes nothing: {name} has no rows with fields"
    if left_out := left_out_rows(tally).described():
        yield f"{name}: left out: {left_out}"
    if ends := [_counted(tally, one) for one in (DOS, MAC, UNICODE) if one in tally.counts]:
        yield f"{name}: {' and '.join(ends)} became \\n"
    if MARKS in tally.counts:
        yield f"{name}: {_counted(tally, MARKS)} inside the text dropped"
    if PARTS in tally.counts:
        yield (
            f"{name} has {PARTS} ({tally.first[PARTS]}), learned as they are: "
            "--set data.normalize=nfc joins them"
        )


def _other_field(what: str) -> str:
    """Return how another field is learned, or the first line of a table is read otherwise."""
    if WITHOUT_NAMES in what:
        return "data.field takes another number, or a name from that line if it has names"
    by_number = ", or the number of a column if that line is text" if WITH_NAMES in what else ""
    return f"data.field names another{by_number}"


def _files(name: str, tally: Tally, what: str) -> str:
    count, first = tally.counts[what], named(tally.first[what])
    if count > 1:
        return f"{name}: {count:,} files ({first}, …) are"
    return f"{name} is" if first == name.rpartition("/")[2] else f"{name}: {first} is"


def _counted(tally: Tally, what: str) -> str:
    count = tally.counts[what]
    return f"{count:,} {PLURAL.sub('s', what, 1) if count > 1 else what}"
