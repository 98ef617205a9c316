"""The commands behind ``gpt-tui``, one file each; each has a ``main(argv)``."""

from __future__ import annotations

from typing import NamedTuple


class CommandEntry(NamedTuple):
    """The module of a command, and its help."""

    module: str
    help: str


FORMER_NAMES = {"lr-test": "lr-finder"}  # still understood

COMMANDS = {
    "open": CommandEntry("tui.commands.open", "open a run in the app (short: gpt-tui RUN)"),
    "train": CommandEntry("tui.commands.train", "train without a screen"),
    "attach": CommandEntry(
        "tui.commands.attach", "watch and control a run that another process trains"
    ),
    "web": CommandEntry("tui.commands.web", "show a run in training in a web browser"),
    "ps": CommandEntry("tui.commands.ps", "list the runs in training on this machine"),
    "tell": CommandEntry("tui.commands.tell", "send a command to the process that trains a run"),
    "stop": CommandEntry("tui.commands.stop", "save and end a run trained in the background"),
    "logs": CommandEntry("tui.commands.logs", "print what a run said in the background"),
    "sample": CommandEntry("tui.commands.sample", "generate text with a run's model"),
    "runs": CommandEntry("tui.commands.runs", "list, compare, tag, copy, export and delete runs"),
    "plot": CommandEntry("tui.commands.plot", "print the curves of runs as a chart of text"),
    "fork": CommandEntry("tui.commands.fork", "start a new run from a step of another one"),
    "verify": CommandEntry("tui.commands.verify", "check, repair or replay a run"),
    "sweep": CommandEntry("tui.commands.sweep", "train runs with different settings"),
    "queue": CommandEntry("tui.commands.queue", "list and train queued runs"),
    "lr-finder": CommandEntry("tui.commands.lr_finder", "suggest a learning rate"),
    "data": CommandEntry("tui.commands.data", "list, look at, prepare and delete texts"),
    "convert": CommandEntry("tui.commands.convert", "write a text in another encoding as UTF-8"),
    "settings": CommandEntry("tui.commands.settings", "list every setting"),
    "keys": CommandEntry("tui.commands.keys", "list every key of the app"),
    "presets": CommandEntry("tui.commands.presets", "list the presets"),
    "preferences": CommandEntry(
        "tui.commands.preferences", "list and change the app's preferences"
    ),
    "model": CommandEntry(
        "tui.commands.model", "show the modules and the cost of a model, or trace it"
    ),
    "inspect": CommandEntry(
        "tui.commands.inspect", "show what a run's model does with a text, and how"
    ),
    "learn": CommandEntry(
        "tui.commands.learn", "the lecture's models, explained and trained one by one"
    ),
    "ladder": CommandEntry("tui.commands.ladder", "train the models of Karpathy's lecture"),
}
