"""Files of a server that are downloaded each time they are read, one at a time, and not kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from data.download import NOBODY, Watcher
from data.sources.files import HEAD_BYTES, FileSource, opened


class StreamedFile(FileSource):
    """A file that is on the disk only while it is read.

    Args:
        path: Where it would be kept; it is put beside that.
        magic: Its first bytes, so that it is not downloaded for these.
        fetch: Downloads it to a path.
    """

    def __init__(
        self,
        path: Path,
        spec: str,
        name: str,
        magic: bytes,
        fetch: Callable[[Path, Watcher], None],
    ) -> None:
        super().__init__(path, spec, name)
        self._magic, self._fetch = magic, fetch

    @property
    def size(self) -> int:
        """Bytes of it; 0 until it was read once."""
        return self._before[0] if self._before else 0

    def head(self, size: int = HEAD_BYTES) -> bytes:
        return self._magic[:size]

    @contextmanager
    def opened(self, watcher: Watcher = NOBODY) -> Iterator[IO[bytes]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="streamed-", dir=self.path.parent) as folder:
            place = Path(folder, self.path.name)
            self._fetch(place, watcher)
            with opened(self.spec, place) as file:
                self._check_unchanged(file)
                yield file

    def _identity(self, there: os.stat_result) -> tuple[int, ...]:
        return (there.st_size,)  # each download is another file
