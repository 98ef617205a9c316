"""The settings in the panel: those of the run, and edits for the next one."""

from __future__ import annotations

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
