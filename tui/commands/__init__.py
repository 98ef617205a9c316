"""The commands behind ``gpt-tui``, one file each; each has a ``main(argv)``."""

from __future__ import annotations

from typing import NamedTuple

EXIT_DONE, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_SIGNAL = 0, 1, 2, 130


class CommandEntry(NamedTuple):
    """Where a command lives, and what it is for."""

    module: str
    help: str


FORMER_NAMES = {"lr-test": "lr-finder"}  # still understood

COMMANDS = {
    "open": CommandEntry("tui.commands.open", "open a run in the app (short: gpt-tui RUN)"),
    "train": CommandEntry("tui.commands.train", "train without a screen"),
    "sample": CommandEntry("tui.commands.sample", "print text that a run's model writes"),
    "runs": CommandEntry("tui.commands.runs", "list runs; tag, copy, export, delete them"),
    "fork": CommandEntry("tui.commands.fork", "begin a new run where another one was"),
    "verify": CommandEntry("tui.commands.verify", "check that a run is whole, to the bit"),
    "sweep": CommandEntry("tui.commands.sweep", "train a run with different settings"),
    "queue": CommandEntry("tui.commands.queue", "show, change and train queued runs"),
    "lr-finder": CommandEntry("tui.commands.lr_finder", "find a learning rate in a short training"),
    "settings": CommandEntry("tui.commands.settings", "list every setting"),
    "presets": CommandEntry("tui.commands.presets", "list the presets"),
    "model": CommandEntry("tui.commands.model", "show a model's parts, cost and inner workings"),
    "ladder": CommandEntry("tui.commands.ladder", "train the rungs of Karpathy's lecture"),
}
