"""Bytes that can be read again and again: a file, what is packed in it, a member of an archive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from data.sources.meter import Meter


class Source(Protocol):
    """Bytes.

    Attributes:
        name: Of the document in it.
        spec: How it is named in messages.
        inner_name: The name without the suffix of a packed file.
    """

    name: str
    spec: str
    inner_name: str

    @property
    def size(self) -> int:
        """Bytes on the disk; 0 if they are not known."""

    def chunks(self, meter: Meter) -> Iterator[bytes]:
        """Yield its bytes; the last chunk is empty.

        Raises:
            InputError: It cannot be read, or has changed since it was read first.
            Cancelled: The meter's watcher returned true.
        """
