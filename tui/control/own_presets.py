"""Presets: the built-in ones, and one's own, TOML files beside the preferences."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from data.errors import InputError, suggest
from data.files import write_atomically
from data.paths import describe_os_error
from engine.config.presets import GROUPS, PRESETS, Preset
from engine.config.schema import SETTINGS, Config, config_from_dict, flatten, read_toml
from engine.config.setting import Value
from engine.runs.folder import NAME_PATTERN, check_word
from tui.control.preferences import preferences_file

FOLDER, SUFFIX = "presets", ".toml"
OWN = "your own"  # their group
MOST_NAMED = 6  # changes in the sentence on a preset
MOST_PRESETS = 500  # of one's own; files beyond are not read


class OwnPreset(Struct, frozen=True):
    """A preset that the user saved, or why it cannot be used."""

    preset: Preset
    built_on: str  # the built-in preset that it changes; empty if it changes the defaults
    problem: str = ""

    @property
    def name(self) -> str:
        return self.preset.name


def own_presets() -> list[OwnPreset]:
    """Return the presets in the folder, by name.

    Raises:
        InputError: The folder cannot be read.
    """
    folder = presets_folder()
    try:
        names = sorted(one.removesuffix(SUFFIX) for one in os.listdir(folder) if _is_preset(one))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(describe_os_error(error)) from None
    return [_read(folder, name) for name in names[:MOST_PRESETS]]


def all_presets() -> dict[str, tuple[Preset, ...]]:
    """Return all presets by group; those of one's own come last, without those with a problem."""
    own = tuple(one.preset for one in own_presets() if not one.problem)
    return {**GROUPS, OWN: own} if own else GROUPS


@cache
def find_preset(name: str) -> Preset | None:
    """Return a preset, None if there is none or it cannot be used."""
    if name in PRESETS:
        return PRESETS[name]
    try:
        own = _find_own(name)
    except InputError:
        return None
    return None if own is None or own.problem else own.preset


def named_config(name: str) -> Config:
    """Return the configuration of a preset, built-in or of one's own.

    Raises:
        InputError: There is none of this name, or its file has a problem.
    """
    if name in PRESETS:
        return config_of_preset(PRESETS[name])
    own = _find_own(name)
    if own is None:
        known = [*PRESETS, *(one.name for one in own_presets())]
        raise InputError(f"there is no preset {name!r}: {suggest(name, known)}")
    if own.problem:
        raise InputError(own.problem)
    return config_of_preset(own.preset)


def config_of_preset(preset: Preset) -> Config:
    return dataclasses.replace(Config().replace(preset.values), preset=preset.name)


def save_preset(name: str, built_on: str, values: Mapping[str, Value]) -> Path:
    """Write a preset of one's own, in place of the one with this name; return its file.

    Args:
        built_on: The preset that the settings began from.

    Raises:
        InputError: The name cannot be used, or the file cannot be written.
    """
    check_preset_name(name)
    sections: dict[str, Any] = {"preset": _built_in(built_on)}
    for key, value in values.items():
        section, _, setting = key.partition(".")
        sections.setdefault(section, {})[setting] = value
    import tomli_w

    path = presets_folder() / f"{name}{SUFFIX}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, tomli_w.dumps(sections).encode())
    except OSError as error:
        raise InputError(f"the preset is not saved: {describe_os_error(error)}") from None
    find_preset.cache_clear()
    return path


def delete_preset(name: str) -> None:
    """Remove a preset of one's own.

    Raises:
        InputError: Its file cannot be removed.
    """
    path = presets_folder() / f"{name}{SUFFIX}"
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(describe_os_error(error)) from None
    finally:
        find_preset.cache_clear()


def check_preset_name(name: str) -> None:
    """Check a name for a preset of one's own.

    Raises:
        InputError: It is that of a built-in preset, or no file can have it.
    """
    check_word(name, "preset")
    if name.lower() in PRESETS:
        raise InputError(f"{name!r} is a built-in preset: choose another name")


def presets_folder() -> Path:
    """Return the folder of one's own presets, which need not exist.

    Raises:
        InputError: The path of the preferences cannot be used.
    """
    return preferences_file().parent / FOLDER


def _is_preset(file: str) -> bool:
    name = file.removesuffix(SUFFIX)
    return name != file and NAME_PATTERN.fullmatch(name) is not None and name not in PRESETS


def _find_own(name: str) -> OwnPreset | None:
    if not _is_preset(f"{name}{SUFFIX}"):
        return None
    folder = presets_folder()
    return _read(folder, name) if os.path.lexists(folder / f"{name}{SUFFIX}") else None


def _read(folder: Path, name: str) -> OwnPreset:
    path = folder / f"{name}{SUFFIX}"
    built_on, problem = "", ""
    values: dict[str, Value] = {}
    try:
        config, values = _parse(read_toml(path), path)
        built_on = config.preset if config.preset in PRESETS else ""
    except InputError as error:
        problem = "; ".join(error.problems)
    return OwnPreset(Preset(name, _sentence(built_on, values), values), built_on, problem)


def _parse(parsed: dict[str, Any], path: Path) -> tuple[Config, dict[str, Value]]:
    """Return the configuration of a file, and the settings that it names.

    Raises:
        InputError: All problems at once.
    """
    try:
        config = config_from_dict(parsed)
    except InputError as error:
        raise InputError(*(f"{path}: {problem}" for problem in error.problems)) from None
    return config, {key: config.get(key) for key in flatten(parsed)[0]}


def _sentence(built_on: str, values: Mapping[str, Value]) -> str:
    """Return what a preset changes."""
    before = config_of_preset(PRESETS[built_on]) if built_on else Config()
    changed = [
        f"{key.partition('.')[2]} {SETTINGS[key].format(value)}"
        for key, value in values.items()
        if value != before.get(key)
    ]
    what = built_on or "The defaults"
    if not changed:
        return f"the same as {what}."
    more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
    return f"{what} with {', '.join(changed[:MOST_NAMED])}{more}."


def _built_in(name: str) -> str:
    """Return the built-in preset behind a name."""
    if name in PRESETS:
        return name
    own = _find_own(name)
    return own.built_on if own else ""
