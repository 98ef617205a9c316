"""What is in a text: its characters, the odd ones among them, and its documents."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from data.corpora.corpus import Corpus
from data.download import Watcher
from data.sources.tally import Tally

ODD = {
    "NUL characters": "\0",
    "control characters": "[\x01-\x08\x0b-\x1f\x7f-\x9f]",
    "characters of private use": "[\ue000-\uf8ff\U000f0000-\U0010fffd]",
    "replacement characters": "\ufffd",
    "signs of the direction of writing": "[\u200e\u200f\u202a-\u202e\u2066-\u2069]",
    "invisible characters": "[\u200b-\u200d\u2060\u00ad]",
}
OTHER_LETTERS = "[\u0370-\u03ff\u0400-\u052f]"  # Greek and Cyrillic
MIXED = f"[A-Za-z]{OTHER_LETTERS}|{OTHER_LETTERS}[A-Za-z]"
MIXED_NAME = "places where letters of two scripts stand in one word"


@dataclass
class Description:
    """What is in a text.

    Attributes:
        distinct: Its characters, each once.
        longest: The name of its longest document, and its characters.
        odd: Characters that are probably not meant, with an example each.
    """

    distinct: set[str] = field(default_factory=set)
    longest: tuple[str, int] = ("", 0)
    odd: Tally = field(default_factory=Tally)


def describe(corpus: Corpus, watcher: Watcher) -> Description:
    """Read a text once more, and describe it.

    Raises:
        InputError: A file has changed, or cannot be read any more.
        Cancelled: `watcher.cancelled` returned true.
    """
    found = Description()
    patterns = {what: re.compile(pattern) for what, pattern in ODD.items()}
    mixed = re.compile(MIXED)
    for document in corpus.documents("looking at", watcher):
        length = 0
        for piece in document.pieces():
            length += len(piece)
            letters = set(piece)
            found.distinct |= letters
            for what, pattern in patterns.items():
                if odd := [one for one in letters if pattern.match(one)]:
                    count = sum(map(piece.count, odd))
                    found.odd.add(what, f"U+{ord(min(odd)):04X} in {document.name}", count)
            if not piece.isascii():
                places = mixed.findall(piece)
                found.odd.add(MIXED_NAME, f"{''.join(places[:1])} in {document.name}", len(places))
        if length > found.longest[1]:
            found.longest = document.name, length
    return found
