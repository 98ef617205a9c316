"""The keys of the cockpit, and when each of them works."""

from __future__ import annotations

from collections.abc import Callable

from textual.binding import Binding, BindingType

from engine.config.changes import WHEN_TEXTS
from engine.config.setting import When
from engine.protocol import State
from tui.control.run import RunControl
from tui.screens.panels import PANEL_BINDINGS

BINDINGS: list[BindingType] = [
    Binding("space", "start", "Start", tooltip="start training, pause it, go on"),
    Binding("space", "pause", "Pause", tooltip="hold training"),
    Binding("space", "resume", "Resume", tooltip="go on with training"),
    Binding("full_stop", "step", "Step", key_display=".", show=False,
            tooltip="while paused: take a single step"),
    Binding("s", "sample", "Sample", tooltip="write a text with the weights of this moment"),
    Binding("p", "prompt", "Prompt", show=False,
            tooltip="edit prompt, temperature and top-k (enter: sample, esc: back)"),
    Binding("left_square_bracket", "earlier", "Earlier", key_display="[", show=False,
            tooltip="the sample before"),
    Binding("right_square_bracket", "later", "Later", key_display="]", show=False,
            tooltip="the sample after"),
    Binding("S", "sample(4)", "Four samples", show=False, tooltip="four texts at once"),
    Binding("greater_than_sign", "continue_text", "Go on", key_display=">", show=False,
            tooltip="go on from where the text ends"),
    Binding("k", "stop_text", "Stop text", show=False,
            tooltip="end the text that is being generated; what there is stays"),
    Binding("P", "keep_probe", "Probe", show=False,
            tooltip="sample this prompt after each evaluation, too; or no longer"),
    Binding("o", "shade", "Odds", show=False,
            tooltip="shade each character by its probability, then by its rank, then not"),
    Binding("pageup", "scroll_text(-1)", "Page up", show=False, tooltip="the text, a page up"),
    Binding("pagedown", "scroll_text(1)", "Page down", show=False,
            tooltip="the text, a page down"),
    Binding("ctrl+home", "text_start", "Start of text", show=False,
            tooltip="to the start of the text"),
    Binding("ctrl+end", "text_end", "End of text", show=False, tooltip="to the end of the text"),
    Binding("F,f11", "full_text", "Full text", key_display="F", show=False,
            tooltip="the text alone on the screen, or everything again"),
    Binding("left", "move_in_text(-1, 0)", "Left", show=False,
            tooltip="the chart's cursor; the token before, while characters are shaded"),
    Binding("right", "move_in_text(1, 0)", "Right", show=False,
            tooltip="the token after"),
    Binding("up", "move_in_text(0, -1)", "Up", show=False,
            tooltip="the text, a line up"),
    Binding("down", "move_in_text(0, 1)", "Down", show=False,
            tooltip="the text, a line down"),
    Binding("C", "copy_text", "Copy text", show=False, tooltip="copy the text to the clipboard"),
    Binding("W", "save_text", "Save text", show=False,
            tooltip="write the text to a file in the folder of the run"),
    Binding("e", "edit", "Edit", tooltip="edit settings (enter: change, esc: back)"),
    Binding("n", "new_run", "New",
            tooltip="begin a new run with the edited settings; the old one is kept"),
    Binding("b", "timeline", "Back",
            tooltip="look at any moment before, go back to it or fork from it"),
    Binding("f", "fork", "Fork", show=False,
            tooltip="begin another run from this step; this one is kept"),
    Binding("r", "runs", "Runs",
            tooltip="all runs: open, compare, filter, tag, rename, delete"),
    Binding("a", "add_to_queue", "Add to queue", show=False,
            tooltip="queue the edited settings, as one run or with several values"),
    Binding("Q", "show_queue", "Queue", show=False,
            tooltip="the queue: what is to come, and which run is the best"),
    Binding("h", "hold_queue", "Hold queue", show=False,
            tooltip="hold the queue: no queued run begins by itself; or release it"),
    Binding("t", "test_rates", "Test rates", show=False,
            tooltip="find a learning rate: a short test with a rising rate"),
    Binding("v", "evaluate", "Eval", show=False, tooltip="measure the validation loss now"),
    Binding("w", "save", "Save", show=False, tooltip="write a checkpoint now"),
    Binding("d", "cool_down", "Cool down", show=False,
            tooltip="with a wsd or constant schedule: begin the decay now, and end with it"),
    Binding("l", "toggle_log", "Log", show=False, tooltip="logarithmic losses on or off"),
    Binding("m", "toggle_smooth", "Smooth", show=False,
            tooltip="the running average of the training loss on or off"),
    Binding("z", "toggle_window", "Zoom", show=False,
            tooltip="the whole run, or its last fifth"),
    Binding("Y", "cycle_range", "Scale", show=False,
            tooltip="losses: what matters, everything, everything on a logarithmic axis"),
    Binding("left_curly_bracket", "smooth(-1)", "Less smooth", key_display="{", show=False,
            tooltip="smooth the training loss less"),
    Binding("right_curly_bracket", "smooth(1)", "Smoother", key_display="}", show=False,
            tooltip="smooth the training loss more, up to 0.99"),
    Binding("U", "next_unit", "Axis", show=False,
            tooltip="the loss over steps, tokens, epochs or time"),
    Binding("K", "toggle_log_x", "Log x", show=False,
            tooltip="a logarithmic horizontal axis on or off"),
    Binding("plus,equals_sign", "zoom(1)", "Zoom in", key_display="+", show=False,
            tooltip="zoom in at the cursor, or at the end; as the mouse wheel does"),
    Binding("minus", "zoom(-1)", "Zoom out", key_display="-", show=False, tooltip="zoom out"),
    Binding("0", "fit", "Fit", show=False, tooltip="show the whole run again"),
    Binding("G", "follow", "Follow", show=False,
            tooltip="a zoomed chart moves along with the end of the run, or stays"),
    Binding("comma", "pan(-1)", "Pan", key_display=",", show=False,
            tooltip="move a zoomed chart to the left; dragging it does so, too"),
    Binding("semicolon", "pan(1)", "Pan", key_display=";", show=False,
            tooltip="move a zoomed chart to the right"),
    Binding("shift+left", "move_cursor(-10)", "Cursor", show=False,
            tooltip="ten columns to the left"),
    Binding("shift+right", "move_cursor(10)", "Cursor", show=False,
            tooltip="ten columns to the right"),
    Binding("c", "clear_cursor", "No cursor", show=False, tooltip="take the cursor away"),
    Binding("E", "export_chart", "Export", show=False,
            tooltip="write what the chart shows to the run's folder, as SVG and CSV"),
    Binding("y", "follow_advice", "Do it", show=False, tooltip="do what the advice says"),
    Binding("X", "silence_advice", "Never again", show=False,
            tooltip="take this kind of advice away for good, in this run"),
    Binding("x", "dismiss_notice", "Hide", tooltip="take the message away"),
    *PANEL_BINDINGS,
    Binding("q", "app.leave", "Quit", tooltip="quit; a running run asks what to do"),
]  # fmt: skip

AT_RESUME, IN_NEW_RUN = WHEN_TEXTS[When.RESUME], WHEN_TEXTS[When.NEW_RUN]
HELP_PAGE = f"""\
gpt-tui trains a small GPT on a text and shows it learn.

### Chart and texts

The chart shows the training loss (raw values faint, smoothed ones bright) and the validation loss
(dots), in nats per token; lower is better. A model that knows nothing about 65 characters has a
loss of ln 65 = 4.17. Marks on the axis show where a setting was changed.

The sampling pane shows text written by the weights of the step in its title. After each evaluation
the same prompt and seed are used again, so that the texts can be compared.

### Settings

Settings without a sign take effect {WHEN_TEXTS[When.LIVE].effect}, those marked {AT_RESUME.sign}
{AT_RESUME.effect}, those marked {IN_NEW_RUN.sign} {IN_NEW_RUN.effect}: edit them, then press
n. Values that wait are yellow. In the list, enter
edits a value or folds a group, esc goes back; what is seldom changed is behind 'more'.

### Advice

If the curves show that something is wrong (a jump, a learning rate too high or too low,
overfitting, a plateau), one sentence says so, with the key that acts on it: y does what it says,
x hides it, X never says it again in this run (ctrl+p, 'Show all advice again' undoes that).

A loss or gradient that is not a number pauses training before the weights change: y goes back to
the last good checkpoint and on with a lower learning rate, space skips the batch.

With eval.patience a run ends by itself once that many evaluations have brought no improvement. A
sweep (a) can stop its hopeless runs: those whose best validation loss is above the median of the
runs before, at the same step; space continues one all the same.

### Runs

Every run is a folder, and r lists them. After quitting, `gpt-tui RUN` opens one again,
`gpt-tui train --resume RUN` continues without a screen, `gpt-tui sample RUN` writes text,
`gpt-tui runs` lists, tags, copies, exports and deletes them. Deleted ones stay in a trash.
"""


def _is_not_preparing(control: RunControl) -> bool:
    return control.status.state is not State.PREPARING


def _has_run(control: RunControl) -> bool:
    return control.run_path is not None


def _can_resume(control: RunControl) -> bool:
    state = control.status.state
    pruned = state is State.FINISHED and bool(control.status.pruned)
    at_rest = state in (State.IDLE, State.PAUSED, State.STOPPED, State.FAILED) or pruned
    return _has_run(control) and at_rest and (control.is_open or state is not State.PAUSED)


def _has_past(control: RunControl) -> bool:
    """Whether the timeline has any step, abandoned ones included."""
    if not _has_run(control):
        return False
    return control.status.step > 0 or bool(control.metrics.ghosts("train_loss"))


WORKS: dict[str, Callable[[RunControl], bool]] = {  # other actions are always possible
    "start": lambda run: run.status.state in (State.IDLE, State.FAILED) and not _has_run(run),
    "pause": lambda run: run.status.state is State.RUNNING and run.is_open,
    "resume": _can_resume,
    "step": lambda run: run.status.state is State.PAUSED and run.is_open,
    "sample": lambda run: run.is_open,
    "evaluate": lambda run: run.is_open,
    "save": lambda run: run.is_open,
    "cool_down": lambda run: run.can_cool_down,
    "timeline": lambda run: _has_past(run) and _is_not_preparing(run),
    "fork": lambda run: run.is_open and run.status.step > 0,
    "new_run": lambda run: _has_run(run) and _is_not_preparing(run),
    "test_rates": _is_not_preparing,
}
