"""The settings in the panel: those of the run, and edits for the next one."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

from engine.config.schema import SETTINGS, Config
from engine.config.setting import Value, When
from tui.control.own_presets import config_of_preset, find_preset

NO_CHANGES: Mapping[str, Value] = {}
KEY = re.compile(r"[a-z]+\.[a-z_0-9]+")


@dataclass(frozen=True)
class Kept:
    """A draft as it was, to go back to."""

    base: Config | None  # None where that is the open run's
    edits: dict[str, Value]
    next_values: dict[str, Value]
    next_preset: str


class Draft:
    """A configuration with edits that no run uses yet.

    While a run is open, a preset can be prepared for the next one: its settings of a new run become
    edits; the others wait in ``next_values``, because as edits they would reach the open run.
    """

    def __init__(self, base: Config) -> None:
        self.base = base  # of the open run; before the first run, of the preset
        self.edits: dict[str, Value] = {}
        self.next_values: dict[str, Value] = {}
        self.next_preset = ""  # empty if the next run has that of the base

    def value(self, key: str) -> Value:
        return self.edits.get(key, self.base.get(key))

    def edit(self, key: str, value: Value) -> None:
        """Keep an edit for the next run, unless it restores the run's value."""
        if value == self.base.get(key):
            self.edits.pop(key, None)
        else:
            self.edits[key] = value

    @property
    def waiting(self) -> dict[str, Value]:
        """What the next run has that the base has not."""
        return {**self.next_values, **self.edits}

    @property
    def next_base(self) -> Config:
        """What the edits of the next run change."""
        config, _ = self.base.check(self.next_values)
        return dataclasses.replace(config, preset=self.next_preset or config.preset)

    def prepare(self, config: Config) -> None:
        """Take over a configuration for the next run, while another is open."""
        changes = {key: pair[0] for key, pair in config.differences(self.base).items()}
        self.edits = {k: v for k, v in changes.items() if SETTINGS[k].when is When.NEW_RUN}
        self.next_values = {k: v for k, v in changes.items() if k not in self.edits}
        self.next_preset = config.preset

    def forget(self) -> None:
        """Drop everything that waits for the next run."""
        self.edits, self.next_values, self.next_preset = {}, {}, ""

    def keep(self, with_base: bool) -> Kept:
        base = self.base if with_base else None
        return Kept(base, dict(self.edits), dict(self.next_values), self.next_preset)

    def restore(self, kept: Kept) -> None:
        self.base = kept.base or self.base
        self.edits, self.next_values = dict(kept.edits), dict(kept.next_values)
        self.next_preset = kept.next_preset

    def rebase(self, base: Config) -> None:
        """Set the configuration of the run, and drop the edits that it contains."""
        self.base = base
        self.edits = {key: value for key, value in self.edits.items() if value != base.get(key)}
        if self.next_preset == base.preset:  # the run that it was prepared for
            self.next_values, self.next_preset = {}, ""

    def config(self) -> Config:
        """Return the edited configuration, or that of the run while the edits conflict."""
        edited, problems = self.base.check(self.waiting)
        return self.base if problems else edited

    def known_values(self, key: str) -> list[tuple[Value, str]]:
        """Return the values that a setting can go back to, and what they are: no value twice."""
        one, preset = SETTINGS[key], _preset(self.base.preset)
        found = [(self.base.get(key), "before the edit")]
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
        preset = _preset(self.base.preset)
        usual = preset.get(key) if preset else SETTINGS[key].default
        return self.value(key) != usual

    def conflicts(self, changes: Mapping[str, Value] = NO_CHANGES) -> list[str]:
        """Return one sentence for each invalid combination of the edited settings.

        Args:
            changes: Further edits.
        """
        return self.base.check({**self.waiting, **changes})[1]

    def conflicting(self) -> set[str]:
        """Return the settings that do not fit together."""
        return set().union(*map(settings_named, self.conflicts()))

    def next_config(self) -> Config:
        """Return the edited configuration.

        Raises:
            InputError: The edits are an invalid combination.
        """
        return self.next_base.replace(self.edits)

    def edits_for(self, when: When) -> dict[str, Value]:
        return {key: value for key, value in self.edits.items() if SETTINGS[key].when is when}


def _preset(name: str) -> Config | None:
    """Return a preset; None of one that is not here."""
    preset = find_preset(name)
    return config_of_preset(preset) if preset else None


def settings_named(sentence: str) -> set[str]:
    """Return the settings that a sentence names."""
    return SETTINGS.keys() & set(KEY.findall(sentence))
