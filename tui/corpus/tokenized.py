"""A text as tokenizers cut it, side by side: tokens told apart, and how many they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tui.corpus.pages import draw_apart
from tui.inside.layout import Picture, below, beside, cut, figure_rows, fitted, wrapped
from tui.inside.tokens import lines_of, quoted
from tui.text.numbers import format_count

NARROW = 50  # columns below which two stand one beneath the other
MOST_UNKNOWN = 20


@dataclass(frozen=True)
class Tokenized:
    """A text, and the tokens that a tokenizer makes of it.

    Attributes:
        name: Of the tokenizer.
        vocab_size: 0 if there is no tokenizer yet.
        tokens: Each as it is shown.
        size: Bytes of the text that has tokens, in UTF-8.
        unknown: Characters without a token, which are left out.
        told: What is being done, or why it cannot be.
    """

    name: str
    vocab_size: int = 0
    tokens: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    size: int = 0
    unknown: tuple[str, ...] = ()
    told: str = ""


def draw_tokenized(
    both: Sequence[Tokenized], width: int, height: int, ascii: bool = False
) -> Picture:
    """Draw what tokenizers make of a text."""
    if width < NARROW:
        rows = height // len(both)
        parts = (cut(_one(one, width, rows, ascii), width, rows) for one in both)
        return below(*parts)
    each = (width - 2 * (len(both) - 1)) // len(both)
    return beside([(_one(one, each, height, ascii), each) for one in both], height)


def _one(made: Tokenized, width: int, height: int, ascii: bool) -> Picture:
    vocabulary = f" · {made.vocab_size:,} different tokens" if made.vocab_size else ""
    picture = Picture([fitted([(made.name, "title"), (vocabulary, "dim")], width)])
    if made.told:
        return below(picture, wrapped(made.told, width, "dim"))
    count = len(made.tokens)
    parts = [("tokens", f"{count:,}"), ("bytes", f"{made.size:,}")]
    if count and made.size:
        per_token, per_byte = made.size / count, count / made.size
        parts += [("bytes per token", f"{per_token:.2f}"), ("tokens per byte", f"{per_byte:.2f}")]
    picture = below(picture, figure_rows(parts, width))
    if made.unknown:
        shown = " ".join(quoted(one, ascii) for one in made.unknown[:MOST_UNKNOWN])
        more = len(made.unknown) - MOST_UNKNOWN
        of = format_count(len(made.unknown), "unknown character")
        rest = f" and {more} more" if more > 0 else ""
        picture = below(picture, wrapped(f"{of}, left out: {shown}{rest}", width, "bad"))
    lines = lines_of(made.tokens, width, ascii) if made.tokens else []
    apart = draw_apart(lines, width, 0, -1, range(0))
    ids = wrapped(" ".join(map(str, made.ids)), width, "dim")
    room = height - len(picture.rows) - 2
    shown_rows = max(1, min(len(apart.rows), max(room - len(ids.rows) - 1, room // 2)))
    apart = Picture(apart.rows[:shown_rows])  # without what a click would mean elsewhere
    if len(lines) > shown_rows and apart.rows:
        apart.rows[-1] = fitted([("…", "dim")], width)
    below_them = [[], [("their ids", "title")]]
    return below(picture, Picture([[]]), apart, Picture(below_them) if count else Picture(), ids)
