"""What a change of a setting would do, before it is applied."""

from __future__ import annotations

from msgspec import Struct

from engine.config.changes import WHEN_TEXTS, with_one_end
from engine.config.schema import SETTINGS, Config
from engine.config.setting import Value, When
from tui.control.next_run import NOBODY_WAITS, NextRun, guessed_device, next_run
from tui.control.run import RunControl
from tui.text.numbers import format_amount, format_estimate, format_unit

SAME = "size, tokens and time stay the same"


class Effect(Struct, frozen=True):
    """What a change would do.

    Attributes:
        figures: Those that change, each from its value to the new one.
        when: It applies, in words.
    """

    figures: tuple[str, ...]
    when: str


def effect_of(control: RunControl, key: str, value: Value) -> Effect | None:
    """Return what the change would do; None while it conflicts with other settings.

    It is arithmetic, and at most asks for the size of the text, so that it can be shown while a
    value is typed.
    """
    before = control.draft.config()
    after, problems = before.check(with_one_end({key: value}))
    if problems:
        return None
    old, new = (_sizes(control, config) for config in (before, after))
    return Effect(tuple(_figures(control, before, old, new)), _when(control, key))


def _sizes(control: RunControl, config: Config) -> NextRun:
    is_open_text = config.data.corpus == control.draft.base.data.corpus
    return next_run(config, control.vocab_size if is_open_text else 0)


def _when(control: RunControl, key: str) -> str:
    when = SETTINGS[key].when
    if control.run_path is None:
        return "applies when training starts"
    if control.draft.shows_next:
        return f"applies in the next run ({control.key_of('cockpit.new_run')} starts it)"
    if when is When.NEW_RUN:
        return f"applies in a new run ({control.key_of('cockpit.new_run')})"
    if when is When.LIVE and not control.is_open:
        when = When.RESUME  # no program has the run open: it waits
    return f"applies {WHEN_TEXTS[when].effect}"


def _figures(control: RunControl, before: Config, old: NextRun, new: NextRun) -> list[str]:
    about = "" if new.is_exact else "about "
    figures = []
    if old.parameters != new.parameters:
        change = f"{format_amount(old.parameters)} → {format_amount(new.parameters)}"
        figures.append(f"{about}{change} parameters")
    if old.bytes != new.bytes:
        change = f"{format_unit(old.bytes, 'B')} → {format_unit(new.bytes, 'B')}"
        figures.append(f"{change} + activations")
    if old.tokens != new.tokens:
        change = f"{format_amount(old.tokens)} → {format_amount(new.tokens)}"
        figures.append(f"{change} tokens")
    was, will = _seconds(control, before, old, old), _seconds(control, before, old, new)
    if was and will and format_estimate(was) != format_estimate(will):
        figures.append(f"roughly {format_estimate(was)} → {format_estimate(will)}")
    return figures


def _seconds(control: RunControl, before: Config, old: NextRun, sizes: NextRun) -> float | None:
    """Return the time of training: from the speed that was measured, else estimated for a CPU."""
    status = control.status
    if sizes.seconds is None or not old.seconds or old.tokens is None:
        return None
    if control.run_path is not None and status.tokens_per_second:
        return sizes.seconds / old.seconds * old.tokens / status.tokens_per_second
    _, on_cpu = guessed_device(before)
    return sizes.seconds if on_cpu and sizes.seconds < NOBODY_WAITS else None
