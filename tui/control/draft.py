"""The settings in the panel: those of the run, and edits for the next one."""

from __future__ import annotations

from functools import cache

from engine.config.presets import PRESETS, preset_config
from engine.config.schema import SETTINGS, Config
from engine.config.setting import Value, When


class Draft:
    """A configuration with edits that no run uses yet."""

    def __init__(self, base: Config) -> None:
        self.base = base  # of the open run; before the first run, of the preset
        self.edits: dict[str, Value] = {}

    def value(self, key: str) -> Value:
        return self.edits.get(key, self.base.get(key))

    def edit(self, key: str, value: Value) -> None:
        """Keep an edit for the next run, unless it restores the run's value."""
        if value == self.base.get(key):
            self.edits.pop(key, None)
        else:
            self.edits[key] = value

    def rebase(self, base: Config) -> None:
        """Set the configuration of the run, and drop the edits that it contains."""
        self.base = base
        self.edits = {key: value for key, value in self.edits.items() if value != base.get(key)}

    def config(self) -> Config:
        """Return the edited configuration, or that of the run while the edits conflict."""
        edited, problems = self.base.check(self.edits)
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

    def conflicts(self) -> list[str]:
        """Return one sentence for each invalid combination of the edited settings."""
        return self.base.check(self.edits)[1]

    def next_config(self) -> Config:
        """Return the edited configuration.

        Raises:
            InputError: The edits are an invalid combination.
        """
        return self.base.replace(self.edits)

    def edits_for(self, when: When) -> dict[str, Value]:
        return {key: value for key, value in self.edits.items() if SETTINGS[key].when is when}


@cache
def _preset(name: str) -> Config | None:
    """Return a preset; None of one that this version does not know."""
    return preset_config(name) if name in PRESETS else None
