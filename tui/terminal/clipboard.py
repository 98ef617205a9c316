"""Copies text to the clipboard of the terminal's own machine, also over ssh (OSC 52)."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress

MOST_BYTES = 74_994  # xterm takes 100,000 characters of base64
SCREEN_BYTES = 500  # of a sequence that GNU screen passes on
TMUX_SECONDS = 1.0


def copy(text: str, write: Callable[[str], None]) -> bool:
    """Copy a text; no terminal says whether it did.

    Args:
        write: Writes to the terminal, as Textual's driver does.

    Returns:
        False if the text is too long for terminals to take.
    """
    body = text.encode("utf-8", "replace")
    if len(body) > MOST_BYTES:
        return False
    # tmux ignores what applications send, unless it was told not to; its own command always works
    if not (os.environ.get("TMUX") and _give_to_tmux(body)):
        sequence = f"\x1b]52;c;{base64.b64encode(body).decode()}\x07"
        write("".join(_through_screen(sequence)) if "STY" in os.environ else sequence)
    return True


def _give_to_tmux(body: bytes) -> bool:
    with suppress(OSError, subprocess.SubprocessError):
        command = ["tmux", "load-buffer", "-w", "-"]
        done = subprocess.run(command, input=body, timeout=TMUX_SECONDS, capture_output=True)
        return done.returncode == 0
    return False


def _through_screen(sequence: str) -> Iterator[str]:
    """Wrap a sequence for the terminal around GNU screen, in pieces that screen takes."""
    for begin in range(0, len(sequence), SCREEN_BYTES):
        yield f"\x1bP{sequence[begin : begin + SCREEN_BYTES]}\x1b\\"
