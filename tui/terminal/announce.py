"""The terminal's title, and its notifications.

What is said may hold names of others: it passes `visible_line`, or it could end the sequence.
"""

from __future__ import annotations

import os

from tui.terminal.visible import visible_line

# the title is put on the terminal's own stack, and taken from it in the end
SAVE_TITLE, RESTORE_TITLE = "\x1b[22;0t", "\x1b[23;0t"
BELL = "\x07"
MOST_CHARACTERS = 200
PRINTS_OSC = ("linux",)  # terminals that may show such a sequence as text


def takes_osc() -> bool:
    """Return whether this terminal takes sequences for the operating system (OSC)."""
    return os.environ.get("TERM", "") not in PRINTS_OSC


def title(text: str) -> str:
    """Return what sets the title of the window."""
    return f"\x1b]2;{visible_line(text)[:MOST_CHARACTERS]}{BELL}"


def notification(text: str) -> str:
    """Return what shows a notification of the desktop (OSC 9), through tmux, too."""
    # a name in front: "4;" at the beginning would be a progress bar
    sequence = f"\x1b]9;gpt-tui: {visible_line(text)[:MOST_CHARACTERS]}{BELL}"
    if "TMUX" in os.environ:
        escaped = sequence.replace("\x1b", "\x1b\x1b")
        return f"\x1bPtmux;{escaped}\x1b\\"
    return f"\x1bP{sequence}\x1b\\" if "STY" in os.environ else sequence
