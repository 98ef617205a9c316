"""The help page, made from the keys and the schema themselves."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text
from textual.binding import Binding

from engine.config.changes import WHEN_TEXTS
from engine.config.setting import When
from tui.screens.text_screen import TextScreen
from tui.text.numbers import short_path

INTRODUCTION = "gpt-tui trains a small GPT on a text and shows it learn. Press space to start."

PICTURE = (
    "The chart shows the training loss (raw faint, smoothed bright) and the validation loss "
    "(dots), in nats per token; lower is better. A model that knows nothing about 65 characters "
    "has a loss of ln 65 = 4.17. Marks on the axis show where a setting was changed.",
    "The sampling pane shows text written by the weights of the step in its title. After each "
    "evaluation the same prompt and seed are used again, so that the texts can be compared.",
)

AT_RESUME, IN_NEW_RUN = WHEN_TEXTS[When.RESUME], WHEN_TEXTS[When.NEW_RUN]
SETTINGS_HELP = (
    f"Settings without a sign change live, {WHEN_TEXTS[When.LIVE].effect}. Those marked "
    f"{AT_RESUME.sign} take effect {AT_RESUME.effect}, those marked {IN_NEW_RUN.sign} "
    f"{IN_NEW_RUN.effect}: edit them, then press n. Values that wait are "
    "yellow. In the list, enter edits a value or folds a group, esc goes back; what is seldom "
    "changed waits behind 'more'."
)

ADVICE_HELP = (
    "If the curves show that something is wrong (a jump, a learning rate too high or too low, "
    "overfitting, a plateau), one sentence says so, with the key that acts on it: y does what it "
    "says, x hides it, X never says it again in this run (ctrl+p, 'Hear all advice again' takes "
    "that back). A loss or gradient that is not a number pauses training before the weights "
    "change: y goes back to the last good checkpoint and on with a lower learning rate, space "
    "skips the batch. With eval.patience a run ends by itself once that many evaluations have "
    "brought nothing. A sweep (a) can stop its hopeless runs: those whose best validation loss is "
    "above the median of the runs before, at the same step; space goes on with one all the same."
)

RUNS_HELP = (
    "Every run is a folder in {folder}. After quitting, 'gpt-tui RUN' opens one again, "
    "'gpt-tui train --resume RUN' goes on without a screen, 'gpt-tui sample RUN' writes text, "
    "'gpt-tui runs' lists, tags, copies, exports and deletes them. Deleted ones wait in a trash."
)


def help_screen(bindings: Iterable[Binding], runs_dir: object) -> TextScreen:
    """The help page.

    Args:
        bindings: Of the cockpit; each shows its key and tooltip.
        runs_dir: Where runs are kept.
    """
    text = Text(f"{INTRODUCTION}\n\n")
    text.append("Keys\n", "bold")
    for binding in bindings:
        key = binding.key_display or binding.key.split(",")[0]
        text.append(f"  {key:<8}", "bold")
        text.append(f"{binding.tooltip}\n")
    text.append(f"  {'ctrl+p':<8}", "bold")
    text.append("the command palette: all of these, the log, themes\n")
    text.append("\nPicture\n", "bold")
    text.append("\n\n".join(PICTURE) + "\n")
    text.append("\nSettings\n", "bold")
    text.append(f"{SETTINGS_HELP}\n")
    text.append("\nAdvice\n", "bold")
    text.append(f"{ADVICE_HELP}\n")
    text.append("\nRuns\n", "bold")
    text.append(RUNS_HELP.format(folder=short_path(str(runs_dir))))
    return TextScreen("help", text)
