"""What chat programs export beside the conversations: lists, and a page that shows them.

They say the same again, or who the person is, and are not learned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Protocol, TypeVar

from data.corpora.structure import is_chat
from data.sources.tally import Tally

CONVERSATIONS = re.compile(r"conversations(-\d+)?\.json")
BESIDE = (".json", ".html")
HEAD_BYTES = 1 << 16  # a summary may stand before the first turn


class Headed(Protocol):
    """A file whose beginning can be looked at."""

    @property
    def name(self) -> str:
        """Its path in the folder or archive that was named."""

    def head(self, size: int) -> bytes:
        """Return its first bytes."""


File = TypeVar("File", bound=Headed)


def without_copies(files: Sequence[File], skipped: Tally) -> list[File]:
    """Return the files without those that an export has beside its conversations.

    Args:
        skipped: Receives those.
    """
    exports = {_path(file).parent for file in files if _is_export(file)}
    if not exports:
        return [*files]
    kept = []
    for file in files:
        path = _path(file)
        is_beside = path.suffix.lower() in BESIDE and not CONVERSATIONS.fullmatch(path.name)
        if is_beside and not exports.isdisjoint(path.parents):
            skipped.add("beside exported conversations", file.name)
        else:
            kept.append(file)
    return kept


def _path(file: Headed) -> PurePosixPath:
    return PurePosixPath(file.name)


def _is_export(file: Headed) -> bool:
    if not CONVERSATIONS.fullmatch(_path(file).name):
        return False
    return is_chat(file.head(HEAD_BYTES).decode(errors="replace"))
