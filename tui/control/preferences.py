"""The preferences: what the app remembers, in one file that may also be edited by hand.

Settings are those of a run; preferences are those of the app. They are declared once, in
`PREFERENCES`; the file, its comments, ``gpt-tui preferences``, the screen and docs/preferences.md
are made from that table. What in the file does not fit is reported and its default used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from data.errors import InputError, brief, suggest
from data.files import write_atomically
from data.paths import absolute, describe_os_error, typed_path
from data.reading import parse_toml, read_regular
from engine.config.setting import Setting, Value, When
from engine.program import program
from tui.control.limits import check_charts, parse_all
from tui.control.notify_targets import check_address, command_words

VARIABLE = "GPT_TUI_PREFERENCES"
FILE_NAME = "preferences.toml"
MOST_BYTES = 2**16
MOST_PROBLEMS = 5  # that are told at once
KEYS = "keys"  # the section of remapped keys: action = "key,key"
AUTO = "auto"
ACTION = re.compile(r"[A-Za-z0-9_.-]{1,64}")

SECTIONS = {
    "screen": "The theme, the panels of the cockpit, and what quitting does.",
    "chart": "How curves are drawn.",
    "runs": "The table of runs.",
    "inside": "How models are looked into.",
    "notify": "What tells of a run while the app is in the background.",
    "folders": "Where files are kept; the environment variables and --runs-dir come first.",
    KEYS: 'Other keys for actions: action = "key" or "key,key"; docs/keys.md lists the actions.',
}


def _preference(key: str, default: Value, help: str, **details: Any) -> Setting:
    section, _, name = key.partition(".")
    return Setting(section, name, type(default), default, help, When.LIVE, **details)


_TABLE = (
    _preference(
        "screen.theme", AUTO, "The theme; auto is a dark or a light one, as the terminal is."
    ),
    _preference(
        "screen.settings_width", 0, "Width of the settings.",
        zero=AUTO, minimum=24, maximum=120, unit="columns",
    ),
    _preference(
        "screen.chart_height", 0, "Height of the charts, in percent of what charts and text share.",
        zero=AUTO, minimum=20, maximum=90, unit="%",
    ),
    _preference("screen.settings", True, "Whether the settings are shown where there is room."),
    _preference("screen.text", True, "Whether the generated text is shown."),
    _preference(
        "screen.keep_training", False,
        "Whether quitting, and closing the terminal, leave a run in training in the background.",
    ),
    _preference(
        "chart.characters", AUTO,
        "What curves are drawn with; auto is what the terminal can show.",
        choices=(AUTO, "braille", "block", "ascii"),
    ),
    _preference(
        "chart.smoothing", 0.9,
        "Weight of the old average in the smoothed curve; as TensorBoard's slider.",
        minimum=0, maximum=0.99,
    ),
    _preference(
        "chart.y_scale", "robust",
        "Range of the vertical axis: robust cuts off outliers, full shows all values.",
        choices=("robust", "full", "log"),
    ),
    _preference(
        "chart.grid", AUTO,
        "Which charts are shown: auto is all of them in terminals of 160 columns and more.",
        choices=(AUTO, "loss", "grid"),
    ),
    _preference(
        "chart.order", "",
        "Order of the charts, names with commas between them; a - before one hides it.",
    ),
    _preference(
        "chart.limits", "",
        "Ends of the vertical axes that are chosen, as loss=2..3.5,grad_norm=..5; a chart not"
        " named here has its own.",
    ),
    _preference(
        "runs.columns", AUTO,
        "Columns by importance, as name,best,lr; auto adds settings that differ.",
    ),
    _preference("runs.sort", "-created", "The column to sort by; with - the largest first."),
    _preference("runs.preview", True, "Whether the run under the cursor is previewed."),
    _preference(
        "inside.seconds", 0,
        "Time between two looks inside a model in training; 0 is after each evaluation.",
        minimum=0, maximum=3600, unit="s",
    ),
    _preference("notify.bell", True, "Ring the terminal's bell."),
    _preference("notify.message", True, "Have the terminal show a notification (OSC 9)."),
    _preference(
        "notify.command", "",
        "A program to run with its arguments; {event}, {message}, {run}, {step} are replaced.",
    ),
    _preference("notify.webhook", "", "An https address that the event is posted to, as JSON."),
    _preference("folders.runs", "", "Where runs are kept; empty is the data folder."),
    _preference("folders.cache", "", "Where downloads are kept; empty is the cache folder."),
)  # fmt: skip
PREFERENCES = {one.key: one for one in _TABLE}
OF_CHARTS = ("chart.characters", "chart.smoothing", "chart.y_scale")
UNSET = {  # what an empty text means
    "chart.order": "the usual order",
    "chart.limits": "chosen by each chart",
    "notify.command": "off",
    "notify.webhook": "off",
    "folders.runs": "the data folder",
    "folders.cache": "the cache folder",
}
FOLDERS = {"folders.runs": "GPT_TUI_RUNS", "folders.cache": "GPT_TUI_CACHE"}


@cache
def preference(name: str) -> Setting:
    """Return the definition of a preference; a theme's with all themes as its choices.

    Raises:
        InputError: There is none of this name.
    """
    if name not in PREFERENCES:
        hint = suggest(name, PREFERENCES, f"{program()} preferences lists them")
        raise InputError(f"there is no preference {brief(name)}: {hint}")
    one = PREFERENCES[name]
    if name == "screen.theme":
        from textual.theme import BUILTIN_THEMES  # not for every command

        return replace(one, choices=(AUTO, *BUILTIN_THEMES))
    return one


class Preferences:
    """The values of all preferences, and the file they are kept in.

    Args:
        path: Of the file; None keeps them in memory alone.

    Attributes:
        problems: What was wrong with the file, a sentence each.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.problems: list[str] = []
        self._values: dict[str, Value] = {}
        self._keys: dict[str, str] = {}
        self._watchers: list[Callable[[str], None]] = []

    @classmethod
    def load(cls, path: Path | None = None) -> Preferences:
        """Read the file; nothing in it, and nothing in its place, is an error.

        Args:
            path: Of the file; None takes the person's own.
        """
        loaded = cls()
        try:
            loaded.path = path or preferences_file()
            loaded._take(loaded._parse(loaded._read()))
        except InputError as error:
            if loaded.path or os.environ.get(VARIABLE):  # else there is no home folder
                loaded.problems.append(f"{error}; until then, all preferences have their defaults")
        return loaded

    def unknown_charts(self) -> str:
        """Return which charts of ``chart.limits`` there are none of; empty if there are all."""
        try:
            check_charts(parse_all(str(self.get("chart.limits"))))
        except InputError as error:
            return f"{self.path}: chart.limits: {error.problems[0]}"
        return ""

    def get(self, name: str) -> Any:
        """Return a value."""
        return self._values.get(name, PREFERENCES[name].default)

    @property
    def keys(self) -> dict[str, str]:
        """The keys of actions that are not the default: action -> ``key`` or ``key,key``."""
        return dict(self._keys)

    def set(self, name: str, value: object) -> Value:
        """Change a preference now, and in the file if it differs; return the value.

        Args:
            value: May be a text, as it was typed.

        Raises:
            InputError: There is no such preference, it cannot have this value, or the file
                cannot be written. In the last case it is changed until the app ends.
        """
        one = preference(name)
        checked = checked_value(one, value)
        if checked != self.get(name):
            self._values[name] = checked
            self._tell(name)
        self._write(one.section, one.name, None if checked == one.default else checked)
        return checked

    def set_key(self, action: str, keys: str) -> None:
        """Give an action other keys, ``key`` or ``key,key``; empty gives it its own again.

        Raises:
            InputError: No action can have this name, or the file cannot be written.
        """
        if not ACTION.fullmatch(action):
            raise InputError(f"no action has the name {brief(action)}: {program()} keys lists them")
        if keys:
            _check_keys(self._keys, action, keys)
            self._keys[action] = keys
        else:
            self._keys.pop(action, None)
        self._tell(KEYS)
        self._write(KEYS, action, keys or None)

    def watch(self, callback: Callable[[str], None]) -> None:
        """Call this with the name of each preference that changes, or ``keys``."""
        self._watchers.append(callback)

    def _tell(self, name: str) -> None:
        for callback in self._watchers:
            callback(name)

    # -- the file --------------------------------------------------------------------------------

    def _read(self) -> bytes:
        """Return what is in the file; nothing if there is none.

        Raises:
            InputError: It cannot be read.
        """
        assert self.path
        try:
            return read_regular(self.path, MOST_BYTES, follow=True)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise InputError(describe_os_error(error)) from None

    def _parse(self, body: bytes) -> dict[str, Any]:
        assert self.path
        try:
            return parse_toml(body)
        except ValueError as error:
            raise InputError(f"{self.path} is not TOML ({error}): mend it, or remove it") from None

    def _take(self, parsed: dict[str, Any]) -> None:
        """Take those values that fit, and note what does not."""
        for section, values in parsed.items():
            if section not in SECTIONS or not isinstance(values, dict):
                self._note(f"there is no section [{brief(section)[1:-1]}] of preferences")
                continue
            for name, value in values.items():
                if section == KEYS:
                    self._take_key(name, value)
                else:
                    self._take_value(f"{section}.{name}", value)

    def _take_value(self, name: str, value: object) -> None:
        if name not in PREFERENCES:
            self._note(f"there is no preference {brief(name)}")
            return
        try:
            self._values[name] = checked_value(PREFERENCES[name], value)
        except InputError as error:
            self._note(str(error))

    def _take_key(self, action: str, value: object) -> None:
        if isinstance(value, dict):  # cockpit.train = "f5", without quotes
            for name, keys in value.items():
                self._take_key(f"{action}.{name}", keys)
        elif isinstance(value, str) and value and ACTION.fullmatch(action):
            self._keys[action] = value
        else:
            self._note('keys must be as in cockpit.train = "space,f5"')

    def _note(self, problem: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(f"{self.path}: {problem}")

    def _write(self, section: str, name: str, value: Value | None) -> None:
        """Change one line of the file, and leave all others as they are."""
        if self.path is None:
            return
        body = self._read()  # another program may have changed it meanwhile
        before = _flat_keys(self._parse(body))
        after = {**before, section: {**_table(before.get(section)), name: value}}
        if value is None:
            del after[section][name]
        if _table(before.get(section)) == after[section]:
            return
        text = edited(body.decode("utf-8-sig") or template(), section, name, value)
        if len(text.encode()) > MOST_BYTES:
            raise InputError(
                f"{self.path} would be larger than {MOST_BYTES // 1024} kB, and not be read again: "
                f"choose a shorter value"
            )
        path = Path(os.path.realpath(self.path))  # a link stays one
        try:
            written = _flat_keys(parse_toml(text.encode()))
            fits = _without_empty(written) == _without_empty(after)
            if fits:
                write_atomically(path, text.encode())
        except ValueError:
            fits = False
        except OSError as error:
            raise InputError(describe_os_error(error)) from None
        if not fits:
            line = _line(section, name, value)
            raise InputError(f"{path} can only be edited by hand: in [{section}], write {line}")


def checked_value(one: Setting, value: object) -> Value:
    """Return the value of a preference, which may be a text, as it was typed.

    Raises:
        InputError: It cannot have this one.
    """
    try:
        checked = one.check(value)
    except ValueError as error:
        raise InputError(str(error)) from None
    if checked != one.default and one.key in CHECKS:
        try:
            CHECKS[one.key](str(checked))
        except InputError as error:
            raise InputError(f"{one.key}: {error}") from None
    return checked


def typed_value(one: Setting, typed: str) -> Value:
    """Do as ``checked_value``, and check names that a file or a chart of the screen may have.

    Raises:
        InputError: It cannot have this one.
    """
    checked = checked_value(one, typed)
    if one.key == "chart.limits":
        check_charts(parse_all(str(checked)))
    return checked


def _check_folder(typed: str) -> None:
    folder = typed_path(typed)
    if not folder.is_absolute():
        raise InputError("write a whole path, as /mnt/runs or ~/runs")
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise InputError(f"{there} is not a folder: choose another")


def _check_order(order: str) -> None:
    from tui.control.runs_view import check_sort  # not for every command

    check_sort(order.removeprefix("-"))


def _check_columns(columns: str) -> None:
    from tui.control.runs_view import column_keys

    column_keys(columns)


CHECKS: dict[str, Callable[[str], object]] = {
    "chart.limits": parse_all,
    "runs.columns": _check_columns,
    "runs.sort": _check_order,
    "notify.command": command_words,
    "notify.webhook": check_address,
    "folders.runs": _check_folder,
    "folders.cache": _check_folder,
}
"""What values must fit beside their types and bounds; defaults always do."""


def preferences_file() -> Path:
    """Return the path of the file: ``$GPT_TUI_PREFERENCES``, else in the user's configuration.

    Raises:
        InputError: The path cannot be used, or there is no home folder.
    """
    if chosen := os.environ.get(VARIABLE):
        return absolute(typed_path(chosen, VARIABLE))
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(folder):  # which the specification says to ignore
        folder = "~/.config"
    return typed_path(folder) / "gpt-tui" / FILE_NAME


_taken_over: dict[str, str] = {}  # variables of the environment that the preferences have set


def comes_first(name: str) -> str:
    """Return the variable of the environment that overrules a preference; empty if none does."""
    variable = FOLDERS.get(name, "")
    value = os.environ.get(variable, "")
    return variable if value and value != _taken_over.get(variable) else ""


def use_folders() -> list[str]:
    """Have this process, and those it starts, use the folders of the preferences.

    Returns:
        What is wrong with the file, a sentence each.
    """
    preferences = Preferences.load()
    for name, variable in FOLDERS.items():
        chosen = preferences.get(name)
        if chosen and not os.environ.get(variable):
            os.environ[variable] = _taken_over[variable] = str(typed_path(chosen))
    return preferences.problems


# -- its text --------------------------------------------------------------------------------------


def template() -> str:
    """Return the file with all defaults, each in a comment under what it is."""
    lines = ["# Preferences of gpt-tui. Remove the # before a line to change it."]
    for section, help in SECTIONS.items():
        lines += ["", f"# {help}", f"[{section}]"]
        for one in PREFERENCES.values():
            if one.section == section:
                lines += ["", f"# {one.help}{_allowed(one)}", _line(section, one.name, None)]
    return "\n".join(lines) + "\n"


def _check_keys(changes: dict[str, str], action: str, keys: str) -> None:
    """Refuse keys that cannot be, or that another action of the screen has."""
    from tui.control.remap import Keymap  # not for every command

    others = {name: one for name, one in changes.items() if name != action}
    known = Keymap(others).problems
    for problem in Keymap({**others, action: keys}).problems:
        if problem not in known:
            raise InputError(problem)


def _flat_keys(table: dict[str, Any]) -> dict[str, Any]:
    """Return a file's values with `cockpit.train = "f5"` as `"cockpit.train" = "f5"`."""
    keys = table.get(KEYS)
    if not isinstance(keys, dict):
        return table
    flat: dict[str, Any] = {}
    for name, value in keys.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            flat[name] = value
    return {**table, KEYS: flat}


def edited(text: str, section: str, name: str, value: Value | None) -> str:
    """Return the text of a file with one value changed; None stands for the default."""
    lines = text.splitlines()
    line = _line(section, name, value)
    head = re.compile(rf"\s*\[\s*{re.escape(section)}\s*\]")
    begin = next((i for i, one in enumerate(lines) if head.match(one)), None)
    if begin is None:
        return "\n".join([*lines, "", f"[{section}]", line, ""])
    end = next(
        (i for i in range(begin + 1, len(lines)) if lines[i].lstrip().startswith("[")), len(lines)
    )
    own = re.compile(rf"\s*(#?)\s*[\"']?{re.escape(name)}[\"']?\s*=")
    found = [(match[1] == "#", i) for i in range(begin + 1, end) if (match := own.match(lines[i]))]
    if found:
        at = min(found)[1]  # the value before its comment
        lines[at] = line
    else:
        while end > begin + 1 and not lines[end - 1].strip():
            end -= 1
        lines.insert(end, line)
    return "\n".join(lines) + "\n"


def allowed(one: Setting) -> str:
    """Return the values that a preference may have; empty for any text."""
    return ", or ".join(word for word in (one.bounds, *one.special.values()) if word)


def _allowed(one: Setting) -> str:
    told = allowed(one)
    return f" ({told})" if told and one.type is not bool else ""


def _line(section: str, name: str, value: Value | None) -> str:
    """Return a line of the file; a default is a comment."""
    one = PREFERENCES.get(f"{section}.{name}")
    text = _toml(value if value is not None else one.default if one else "", one)
    if "." in name:  # without quotes it would be a table
        name = f'"{name}"'
    return f"{name} = {text}" if value is not None else f"# {name} = {text}"


def _toml(value: Value, one: Setting | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if one and not isinstance(value, str):
        value = one.special.get(int(value), value) if value == int(value) else value
    if not isinstance(value, str):
        return repr(value)
    import json

    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _table(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _without_empty(tables: dict[str, Any]) -> dict[str, Any]:
    return {name: table for name, table in tables.items() if table != {}}
