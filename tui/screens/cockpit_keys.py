"""The help page of the cockpit."""

from __future__ import annotations

from engine.config.changes import WHEN_TEXTS
from engine.config.model_size import COUNTED
from engine.config.setting import When

AT_RESUME, IN_NEW_RUN = WHEN_TEXTS[When.RESUME], WHEN_TEXTS[When.NEW_RUN]
HELP_PAGE = f"""\
gpt-tui trains a small GPT on a text and shows it learn.

With the mouse alone: the keys in the last line can be clicked, and a click on the first two lines
opens the command palette, which has every command by its name.

### Chart and texts

The chart shows the training loss (raw values faint, smoothed ones bright) and the validation loss
(dots), in nats per token; lower is better. A model that knows nothing about 65 characters has a
loss of ln 65 = 4.17. Marks on the axis show where a setting was changed.

The sampling pane shows text written by the weights of the step in its title. After each evaluation
the same prompt and seed are used again, so that the texts can be compared.

### Settings

Settings without a sign take effect {WHEN_TEXTS[When.LIVE].effect}, those marked {AT_RESUME.sign}
{AT_RESUME.effect}, those marked {IN_NEW_RUN.sign} {IN_NEW_RUN.effect}.
Values that wait are yellow. In the list, {{settings.edit}}
edits a value or folds a group, {{settings.back}} goes back; what is seldom changed is
behind 'more'.

The panel shows the settings of one run, which its title names: this run, or the next one, which
{{cockpit.new_run}} starts. A preset, and an edit of what only a new run can change, show the next
one; an edit is of the run that is shown. {{settings.which_run}} or a click on the title shows the
other one.

Parameters ("params" in the second line) are counted {COUNTED}.

### Advice

If the curves show that something is wrong (a jump, a learning rate too high or too low,
overfitting, a plateau), one sentence says so, with the key that acts on it:
{{cockpit.follow_advice}} does what it says, {{cockpit.hide}} hides it,
{{cockpit.silence_advice}} never says it again in this run ({{app.palette}},
'Show all advice again' undoes that).

A loss or gradient that is not a number pauses training before the weights change:
{{cockpit.follow_advice}} goes back to
the last good checkpoint and on with a lower learning rate, {{cockpit.train}} skips the batch.

With eval.patience a run ends by itself once that many evaluations have brought no improvement. A
sweep ({{cockpit.add_to_queue}}) can stop runs early (median stopping rule): those whose best
validation loss is above the median of the runs before, at the same step;
{{cockpit.train}} continues one all the same.

### Runs

Every run is a folder, and {{cockpit.runs}} lists them. After quitting,
`gpt-tui RUN` opens one again,
`gpt-tui train --resume RUN` continues without a screen, `gpt-tui sample RUN` writes text,
`gpt-tui runs` lists, tags, copies, exports and deletes them. Deleted ones stay in a trash.
"""
