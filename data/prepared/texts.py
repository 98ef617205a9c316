"""The texts that have a name, and those whose tokens are kept: what of each is on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from data.corpora.catalogue import CATALOGUE
from data.corpora.obtain import is_here
from data.prepared.store import Prepared, entries


@dataclass(frozen=True)
class KnownText:
    """A text of the catalogue, or one that was prepared.

    Attributes:
        described: Empty if it is not of the catalogue, as the next two.
        size: Bytes to download, about; 0 if nothing is.
        is_here: Whether it can be read without a download; False if only its tokens are known.
        prepared: Its tokens in the cache, the latest first.
    """

    name: str
    described: str
    licence: str
    size: int
    is_here: bool
    prepared: tuple[Prepared, ...]

    @property
    def in_catalogue(self) -> bool:
        return self.name in CATALOGUE

    @property
    def bytes_prepared(self) -> int:
        return sum(one.size for one in self.prepared)


def known_texts() -> list[KnownText]:
    """Return the texts of the catalogue, and after them others whose tokens are in the cache.

    Raises:
        InputError: There is no cache folder.
    """
    prepared: dict[str, list[Prepared]] = {}
    for one in entries():
        prepared.setdefault(one.name, []).append(one)
    listed = [
        KnownText(
            entry.name,
            entry.described,
            entry.licence,
            entry.size,
            is_here(entry),
            tuple(prepared.pop(entry.name, ())),
        )
        for entry in CATALOGUE.values()
    ]
    return listed + [
        KnownText(name, "", "", 0, False, tuple(found)) for name, found in prepared.items()
    ]
