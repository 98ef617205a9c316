"""The settings in the panel: those of the run on the screen, or those of the next one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from engine.config.schema import SETTINGS, Config
from engine.config.setting import Value, When
from tui.control.own_presets import config_of_preset, find_preset

NO_CHANGES: Mapping[str, Value] = {}
KEY = re.compile(r"[a-z]+\.[a-z_0-9]+")


class Kept(Struct, frozen=True):
    """A draft as it was, to go back to."""

    base: Config | None  # None where that is a run's
    run_edits: dict[str, Value]
    next_edits: dict[str, Value]
    prepared: Config | None
    shows_next: bool


@dataclass
class Draft:
    """The settings of two runs, of which one is shown and edited at a time.

    The run on the screen has ``base``, and ``run_edits`` that wait until it is resumed. The next
    run begins from these, or from a preset that was ``prepared``, and has ``next_edits``. Before
    the first run there is only the next one, and ``base`` is its preset.

    Args:
        base: Of the run on the screen; before the first one, of the preset.
        of_run: Whether a run is on the screen.
    """

    base: Config
    of_run: bool = False
    run_edits: dict[str, Value] = field(default_factory=dict, init=False)
    next_edits: dict[str, Value] = field(default_factory=dict, init=False)
    prepared: Config | None = field(default=None, init=False)
    _shows_next: bool = field(default=False, init=False)

    # -- which run -------------------------------------------------------------------------------

    @property
    def shows_next(self) -> bool:
        """Whether values and edits are those of the next run."""
        return self._shows_next or not self.of_run

    def show_next(self, shows: bool) -> None:
        self._shows_next = shows

    @property
    def is_turned(self) -> bool:
        """Whether the next run is shown beside another one on the screen."""
        return self.of_run and self._shows_next

    def is_for_next(self, key: str, of_run: bool = False) -> bool:
        """Return whether an edit is of the next run: a run keeps what only a new one can change.

        Args:
            of_run: It is meant for the run on the screen, whichever is shown.
        """
        if not self.of_run or SETTINGS[key].when is When.NEW_RUN:
            return True
        return self.shows_next and not of_run

    # -- values ----------------------------------------------------------------------------------

    def value(self, key: str) -> Value:
        """Return the value of the run that is shown."""
        return self.next_value(key) if self.shows_next else self.run_value(key)

    def run_value(self, key: str) -> Value:
        """Return the value of the run on the screen; before the first one, of the next."""
        return self.run_edits.get(key, self.base.get(key)) if self.of_run else self.next_value(key)

    def next_value(self, key: str) -> Value:
        return self.next_edits.get(key, self._begins_with(key))

    def _begins_with(self, key: str) -> Value:
        """Return the value that the next run has without edits of its own."""
        if self.prepared:
            return self.prepared.get(key)
        return self.run_edits.get(key, self.base.get(key))

    @property
    def edits(self) -> dict[str, Value]:
        """The edits of the run that is shown."""
        return self.next_edits if self.shows_next else self.run_edits

    @property
    def next_base(self) -> Config:
        """What the edits of the next run change."""
        return self.prepared or self.base.check(self.run_edits)[0]

    @property
    def shown_base(self) -> Config:
        """What the edits of the run that is shown change."""
        return self.next_base if self.shows_next else self.base

    @property
    def next_preset(self) -> str:
        """The name of the preset that the next run begins from."""
        return (self.prepared or self.base).preset

    @property
    def waiting(self) -> dict[str, Value]:
        """What the next run has that the base has not."""
        values = {key: self.next_value(key) for key in SETTINGS}
        return {key: value for key, value in values.items() if value != self.base.get(key)}

    @property
    def fork_edits(self) -> dict[str, Value]:
        """The edits that a fork of the run is asked to take: not those of a prepared preset."""
        return {**self.run_edits, **({} if self.prepared else self.next_edits)}

    # -- changes ---------------------------------------------------------------------------------

    def edit(self, key: str, value: Value, of_run: bool = False) -> None:
        """Keep an edit, unless it restores the value before; show the run that it is for."""
        edits, before = self.run_edits, self.base.get(key)
        if self.is_for_next(key, of_run):
            edits, before = self.next_edits, self._begins_with(key)
            self._shows_next = True
        if value == before:
            edits.pop(key, None)
        else:
            edits[key] = value

    def prepare(self, config: Config) -> None:
        """Begin the next run from another configuration, and show it."""
        self.prepared, self.next_edits, self._shows_next = config, {}, True

    def forget_next(self) -> None:
        """Begin the next run from the one on the screen again."""
        self.prepared, self.next_edits, self._shows_next = None, {}, False

    def forget(self) -> None:
        """Drop everything that waits."""
        self.forget_next()
        self.run_edits = {}

    def keep(self) -> Kept:
        base = None if self.of_run else self.base
        edits = dict(self.run_edits), dict(self.next_edits)
        return Kept(base, *edits, self.prepared, self._shows_next)

    def restore(self, kept: Kept) -> None:
        self.base = kept.base or self.base
        self.run_edits, self.next_edits = dict(kept.run_edits), dict(kept.next_edits)
        self.prepared, self._shows_next = kept.prepared, kept.shows_next
        self.rebase(self.base)

    def rebase(self, base: Config) -> None:
        """Set the settings of the run, and drop the edits of it that it contains."""
        self.base = base
        self.run_edits = {k: v for k, v in self.run_edits.items() if v != base.get(k)}

    def open_run(self, base: Config, is_next: bool) -> None:
        """Show a run that was opened, which may be the next one; other edits of that go on.

        What was edited while it was being prepared waits for it, or for the one after it.
        """
        if is_next:  # which has begun from the edits of the run before, or from a preset
            edits = {**({} if self.prepared else self.run_edits), **self.next_edits}
            self.run_edits = {k: v for k, v in edits.items() if SETTINGS[k].when != When.NEW_RUN}
            self.next_edits = {k: v for k, v in edits.items() if k not in self.run_edits}
            self.prepared = None
        self.of_run, self._shows_next = True, False
        self.rebase(base)
        if self.prepared is None:
            self.next_edits = {k: v for k, v in self.next_edits.items() if v != base.get(k)}

    # -- what can be told ------------------------------------------------------------------------

    def config(self) -> Config:
        """Return the edited settings of the run that is shown, without edits that conflict."""
        return _checked(self.shown_base, self.edits)

    def next_or_base(self) -> Config:
        """Return the same of the next run."""
        return _checked(self.next_base, self.next_edits)

    def known_values(self, key: str) -> list[tuple[Value, str]]:
        """Return the values that a setting can go back to, and what they are: no value twice."""
        one, preset = SETTINGS[key], _preset(self.shown_base.preset)
        found = [(self.shown_base.get(key), "before the edit")]
        if self.of_run and self.shows_next:
            found.append((self.run_value(key), "this run"))
        if preset:
            found.append((preset.get(key), f"preset {preset.preset}"))
        found.append((one.default, "default"))
        names: dict[str, list[str]] = {}
        values: dict[str, Value] = {}
        for value, what in found:
            names.setdefault(one.format(value), []).append(what)
            values.setdefault(one.format(value), value)
        return [(value, ", ".join(names[text])) for text, value in values.items()]

    def is_changed(self, key: str) -> bool:
        """Whether a setting differs from the preset's."""
        preset = _preset(self.next_preset if self.shows_next else self.base.preset)
        usual = preset.get(key) if preset else SETTINGS[key].default
        return self.value(key) != usual

    def conflicts(self, changes: Mapping[str, Value] = NO_CHANGES) -> list[str]:
        """Return one sentence for each invalid combination of the edited settings.

        Args:
            changes: Further edits.
        """
        return self.shown_base.check({**self.edits, **changes})[1]

    def conflicting(self) -> set[str]:
        """Return the settings that do not fit together."""
        return set().union(*map(settings_named, self.conflicts()))

    def next_config(self) -> Config:
        """Return the edited settings of the next run.

        Raises:
            InputError: The edits are an invalid combination.
        """
        return self.next_base.replace(self.next_edits)

    def edits_for(self, when: When) -> dict[str, Value]:
        """Return edits that wait for the run on the screen."""
        return {key: value for key, value in self.run_edits.items() if SETTINGS[key].when is when}


def _checked(base: Config, edits: Mapping[str, Value]) -> Config:
    edited, problems = base.check(edits)
    return base if problems else edited


def _preset(name: str) -> Config | None:
    """Return a preset; None of one that is not here."""
    preset = find_preset(name)
    return config_of_preset(preset) if preset else None


def settings_named(sentence: str) -> set[str]:
    """Return the settings that a sentence names."""
    return SETTINGS.keys() & set(KEY.findall(sentence))
