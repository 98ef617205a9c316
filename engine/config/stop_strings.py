"""Stop strings, which end a sample when they appear in it."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config.escapes import ESCAPES as ESCAPES_OF_TEXT

BETWEEN = "|"
ESCAPES = {**ESCAPES_OF_TEXT, BETWEEN: BETWEEN}


def parse_stops(written: str) -> tuple[str, ...]:
    r"""Parse ``sample.stop``: strings separated by ``|``.

    ``\n`` is a new line, ``\t`` a tab, ``\|`` a bar and ``\\`` a backslash.

    Raises:
        ValueError: The syntax is invalid; the message is one sentence.
    """
    if not written:
        return ()
    stops, letters = [""], iter(written)
    for letter in letters:
        if letter == BETWEEN:
            stops.append("")
        elif letter != "\\":
            stops[-1] += letter
        else:
            stops[-1] += _unescape(next(letters, ""))
    if "" in stops:
        raise ValueError(
            r"sample.stop has no text on one side of a bar: remove the bar, or write \| to stop "
            "at a bar"
        )
    return tuple(stops)


def _unescape(letter: str) -> str:
    """Return the character that a letter after a backslash stands for."""
    if not letter:
        raise ValueError(r"sample.stop ends in a single backslash: write \\ to stop at a backslash")
    if letter not in ESCAPES:
        raise ValueError(
            rf"sample.stop has a backslash before {letter!r}: \n is a new line, \t a tab, \| a bar "
            r"and \\ a backslash"
        )
    return ESCAPES[letter]


class StopScan:
    """Searches for stop strings in a text that arrives in pieces.

    The end of the text is held back while it may be the start of a stop string, so that no part of
    one is shown.

    Args:
        stops: None of them empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found: str | None = None

    def feed(self, piece: str) -> str:
        """Add a piece; return the text that certainly precedes any stop string."""
        if not self._stops:
            return piece
        self._held += piece
        places = [(self._held.find(one), one) for one in self._stops if one in self._held]
        if places:  # the one that ends first, as if characters arrived one by one
            end, self.found = min(places, key=lambda found: (found[0] + len(found[1]), found[0]))
        else:
            end = len(self._held) - max(self._begun(one) for one in self._stops)
        shown, self._held = self._held[:end], self._held[end:]
        return shown

    def rest(self) -> str:
        """Return what was held back, if the text ended without a stop string."""
        held, self._held = self._held, ""
        return "" if self.found else held

    def _begun(self, stop: str) -> int:
        """Return how many characters at the end may be the start of a stop string."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)
