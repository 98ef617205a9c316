"""The letters that stand for runs, on charts and in tables."""

from __future__ import annotations

from string import ascii_uppercase


def letter_of(place: int) -> str:
    """``A`` to ``Z``, then ``AA``, ``AB`` …"""
    more, last = divmod(place, len(ascii_uppercase))
    return (letter_of(more - 1) if more else "") + ascii_uppercase[last]
