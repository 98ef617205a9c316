"""Input that is not valid UTF-8 does not end the app.

Textual 8.2 decodes standard input as strict UTF-8 in a thread of its own, so one byte that is not
(a paste in Latin-1, a mouse report in the old X10 encoding after a reattach, a letter cut in two)
ends the app. Bytes that are not UTF-8 are shown as U+FFFD here, and X10 reports are dropped. So is
the answer to the driver's question for the colour of the background, whenever it arrives.

What is pasted is only text. Textual goes on to look for sequences in a bracketed paste, and sends
what it takes for none as keys: a program's output in colour would act on the app. The control
characters in it are shown as elsewhere, but for tabs and ends of lines.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import ClassVar

from textual.drivers import linux_driver

from tui.terminal.visible import sign

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
PASTE, PASTE_END = b"\x1b[200~", b"\x1b[201~"
# what arrived of a marker by the end of a read: ESC at least
CUT = r"(?:\x1b(?:\[(?:2(?:0(?:%s)?)?)?)?)\Z"
PASTE_CUT = re.compile((CUT % "0").encode())
PASTE_END_CUT = re.compile((CUT % "1").encode())
NOT_PASTED = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"


class TerminalDecoder(codecs.IncrementalDecoder):
    """An incremental UTF-8 decoder that raises nothing."""

    on_background: ClassVar[Callable[[int, int, int], None] | None] = None
    """Called in the thread that reads, once the terminal has told its background."""

    def __init__(self, errors: str = "replace") -> None:
        super().__init__(errors)
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = b""  # the beginning of a report, or of the end of a paste
        self._passed = b""  # the beginning of a paste's marker, which may be a key: not held back
        self._pasting = False

    def decode(self, data: bytes, final: bool = False) -> str:  # type: ignore[override]
        """Decode the bytes, without reports that are no keys."""
        data, self._partial = self._partial + data, b""
        text = ""
        while True:
            part, marker, rest = self._up_to_marker(data)
            take = self._pasted if self._pasting else self._keys
            text += take(part, final or bool(marker))
            if not marker:
                return text + self._utf8.decode(b"", final)
            text += self._utf8.decode(marker)
            self._pasting = not self._pasting
            data = rest

    def _up_to_marker(self, data: bytes) -> tuple[bytes, bytes, bytes]:
        """Split the bytes at the next marker of a paste; what was passed of it is in neither."""
        if self._pasting:
            return data.partition(PASTE_END)
        passed, self._passed = self._passed, b""
        if passed and (passed + data).startswith(PASTE):
            return b"", PASTE[len(passed) :], data[len(PASTE) - len(passed) :]
        part, marker, rest = data.partition(PASTE)
        if not marker and (cut := PASTE_CUT.search(passed + data)):
            self._passed = cut[0]
        return part, marker, rest

    def _pasted(self, data: bytes, ends: bool) -> str:
        """Decode a part of a paste; what may begin its end waits."""
        if not ends and (cut := PASTE_END_CUT.search(data)):
            data, self._partial = data[: cut.start()], cut[0]
        return re.sub(NOT_PASTED, sign, self._utf8.decode(data, ends))

    def _keys(self, data: bytes, ends: bool) -> str:
        data = X10_MOUSE.sub(b"", data)
        if b"\x1b]11;" in data:
            data = BACKGROUND.sub(self._note_background, data)
        if not ends and (partial := PARTIAL.search(data)):
            data, self._partial = data[: partial.start()], partial[0]
        return self._utf8.decode(data)

    def _note_background(self, found: re.Match[bytes]) -> bytes:
        told = type(self).on_background
        if found[1] and told:
            told(*(int(part, 16) * 255 // (16 ** len(part) - 1) for part in found.groups()))
        return b""


def accept_any_bytes() -> None:
    """Have Textual's driver decode with `TerminalDecoder`; call it before the app runs."""
    # the driver looks the decoder up in its module each time it starts to read
    linux_driver.getincrementaldecoder = lambda _encoding: TerminalDecoder  # type: ignore
