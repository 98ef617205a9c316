"""The settings as the person sees them: what the run has, and what the next one will have."""

from __future__ import annotations

import shlex

from data.errors import InputError
from engine.config.schema import SETTINGS, Config
from engine.config.setting import Value, When


class Draft:
    """A configuration with edits on top that no run has taken over yet.

    Args:
        base: Of the open run or, before the first one, of the preset.
    """

    def __init__(self, base: Config) -> None:
        self.base = base
        self.edits: dict[str, Value] = {}

    def value(self, key: str) -> Value:
        """What the setting will be: the edit if there is one."""
        return self.edits.get(key, self.base.get(key))

    def edit(self, key: str, value: Value) -> None:
        """Keep an edit for the next run; an edit back to the old value is none."""
        if value == self.base.get(key):
            self.edits.pop(key, None)
        else:
            self.edits[key] = value

    def forget_edits(self) -> None:
        """Back to the settings of the run."""
        self.edits = {}

    def rebase(self, base: Config) -> None:
        """A run has (taken over) this configuration; edits it agrees with are done with."""
        self.base = base
        self.edits = {key: value for key, value in self.edits.items() if value != base.get(key)}

    def conflicts(self) -> list[str]:
        """Combinations of the edited settings that cannot be, one sentence each."""
        return self.base.check(self.edits)[1]

    def next_config(self) -> Config:
        """The configuration of the next run.

        Raises:
            InputError: The edits do not go together.
        """
        problems = self.conflicts()
        if problems:
            raise InputError(*problems)
        return self.base.replace(self.edits)

    def edits_for(self, when: When) -> dict[str, Value]:
        """Edits of settings that may change then."""
        return {key: value for key, value in self.edits.items() if SETTINGS[key].when is when}

    def as_options(self) -> str:
        """The edits as options of the command line."""
        return " ".join(
            f"--set {shlex.quote(f'{key}={SETTINGS[key].format(value)}')}"
            for key, value in self.edits.items()
        )
