"""Input that is not valid UTF-8 does not end the app.

Textual 8.2 decodes standard input as strict UTF-8 in a thread of its own, so one byte that is not
(a paste in Latin-1, a mouse report in the old X10 encoding after a reattach, a letter cut in two)
ends the app. Bytes that are not UTF-8 are shown as U+FFFD here, and X10 reports are dropped. So is
the answer to the driver's question for the colour of the background, whenever it arrives.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import ClassVar

from textual.drivers import linux_driver

# CSI M, then the button, column and row as one byte each (XTerm Control Sequences, "X10"). Some
# terminals send CSI M for F1 or delete-line; nothing that Textual asks for answers with it.
X10_MOUSE = re.compile(rb"\x1b\[M[ -\xff]{3}", re.DOTALL)
# OSC 11, the answer to which colour the background has: rgb:, then 1 to 4 hexadecimal digits each
BACKGROUND = re.compile(
    rb"\x1b\]11;(?:rgba?:([0-9a-f]{1,4})/([0-9a-f]{1,4})/([0-9a-f]{1,4}))?[^\x07\x1b]*"
    rb"(?:\x07|\x1b\\)",
    re.IGNORECASE,
)
PARTIAL = re.compile(
    rb"\x1b(?:\[M[ -\xff]{0,2}|\]|\]1|\]11|\]11;[^\x07\x1b]{0,64}\x1b?)\Z", re.DOTALL
)


class TerminalDecoder(codecs.IncrementalDecoder):
    """An incremental UTF-8 decoder that raises nothing."""

    on_background: ClassVar[Callable[[int, int, int], None] | None] = None
    """Called in the thread that reads, once the terminal has told its background."""

    def __init__(self, errors: str = "replace") -> None:
        super().__init__(errors)
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = b""  # the beginning of a report

    def decode(self, data: bytes, final: bool = False) -> str:  # type: ignore[override]
        """Decode the bytes, without reports that are no keys."""
        data = X10_MOUSE.sub(b"", self._partial + data)
        if b"\x1b]11;" in data:
            data = BACKGROUND.sub(self._note_background, data)
        partial = None if final else PARTIAL.search(data)
        self._partial = partial[0] if partial else b""
        return self._utf8.decode(data[: partial.start()] if partial else data, final)

    def _note_background(self, found: re.Match[bytes]) -> bytes:
        told = type(self).on_background
        if found[1] and told:
            told(*(int(part, 16) * 255 // (16 ** len(part) - 1) for part in found.groups()))
        return b""


def accept_any_bytes() -> None:
    """Have Textual's driver decode with `TerminalDecoder`; call it before the app runs."""
    # the driver looks the decoder up in its module each time it starts to read
    linux_driver.getincrementaldecoder = lambda _encoding: TerminalDecoder  # type: ignore
