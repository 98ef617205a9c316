"""What several commands ask for in the same words, and what is made of it."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from data.errors import InputError
from tui.terminal.stdout import put

if TYPE_CHECKING:
    from engine.config.schema import Config
    from engine.config.setting import Value

NEW_RUN_OPTIONS = ("preset", "config", "data", "name")


class Parser(argparse.ArgumentParser):
    """Says what is wrong as the rest of the program does; every command takes ``--runs-dir``."""

    def __init__(self, prog: str, description: str, **more: Any) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False, **more)
        self.add_argument(
            "--runs-dir",
            type=Path,
            metavar="DIR",
            help="where runs are kept (default: $GPT_TUI_RUNS, else your data folder)",
        )

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Make sure that ``--help`` and ``--version`` were printed."""
        put("", end="")
        super().exit(status, message)

    def error(self, message: str) -> NoReturn:
        """Turn argparse's complaint into ours."""
        raise InputError(f"{message} ({self.prog} --help shows what it takes)")


def add_new_run_options(parser: argparse.ArgumentParser) -> None:
    """Everything that describes a run to begin."""
    add_config_options(parser)
    parser.add_argument("--name", help="of the run (default: the preset's and a number)")


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """The settings of runs to begin."""
    parser.add_argument("--preset", metavar="P", help="named settings: gpt-tui presets lists them")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in a TOML file")
    parser.add_argument("--data", metavar="SPEC", help="tinyshakespeare, python-docs or a file")
    add_set_option(parser)


def add_set_option(parser: argparse.ArgumentParser) -> None:
    """``--set``, as often as needed."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="section.name=value",
        help="change one setting, on top of all else; gpt-tui settings lists them",
    )


def runs_dir_of(args: argparse.Namespace) -> Path:
    """The runs folder that was asked for, else the default one; it may be still to be made.

    Raises:
        InputError: There is something else in its place.
    """
    from engine.runs.folder import default_runs_dir

    chosen: Path = args.runs_dir or default_runs_dir()
    folder = chosen.expanduser().absolute()
    there = next(one for one in (folder, *folder.parents) if os.path.exists(one))
    if not os.path.isdir(there):
        why = "it is" if there == folder else f"{there} is"
        raise InputError(
            f"{folder} cannot be a runs folder, because {why} a file: choose another with "
            f"--runs-dir"
        )
    return folder


def command_line(command: str, argv: list[str]) -> str:
    """The command as it can be typed again."""
    return shlex.join([*command.split(), *argv])


def config_of(args: argparse.Namespace) -> Config:
    """The configuration of a run to begin: preset < ``--config`` < ``--data`` < ``--set``.

    Raises:
        InputError: All that is wrong with the options, at once.
    """
    from engine.config.changes import turn_off_epochs
    from engine.config.presets import preset_config
    from engine.config.schema import Config, flatten, read_toml
    from engine.runs.folder import check_name

    problems: list[str] = []
    in_file: dict[str, Any] = {}
    config = Config()
    with gathering(problems):
        in_file = read_toml(args.config) if args.config else {}
    assignments, found = parse_assignments(args.set)
    problems += found
    values, found = flatten(in_file)
    problems += [f"{args.config}: {problem}" for problem in found]
    with gathering(problems):
        config = preset_config(_preset_of(args, in_file, {**values, **assignments}))
    config, found = config.check(turn_off_epochs(values))
    problems += [f"{args.config}: {problem}" for problem in _without_conflicts(found, config)]
    if args.data is not None:
        assignments = {"data.corpus": args.data, **assignments}
    config, found = config.check(turn_off_epochs(assignments))
    problems += _without_conflicts(found, config)
    if args.name is not None:
        with gathering(problems):
            check_name(args.name, runs_dir_of(args))
    problems = problems or config.conflicts()
    if problems:
        raise InputError(*problems)
    return config


def warn_of_unused(config: Config, pairs: list[str]) -> None:
    """Say on standard error which of the settings given with ``--set`` change nothing."""
    from engine.config.unused import without_effect
    from tui.text.tables import warn

    for told in without_effect(config, list(parse_assignments(pairs)[0])):
        warn(told)


def _preset_of(
    args: argparse.Namespace, in_file: Mapping[str, Any], values: Mapping[str, object]
) -> str:
    from engine.config.presets import default_preset

    named = args.preset or in_file.get("preset")
    return str(named or default_preset(str(values.get("system.device", "auto"))))


def _without_conflicts(problems: list[str], config: Config) -> list[str]:
    """Problems of single values: what does not go together may yet be changed by a later word."""
    conflicts = config.conflicts()
    return [problem for problem in problems if problem not in conflicts]


def parse_assignments(pairs: list[str]) -> tuple[dict[str, str], list[str]]:
    """``section.name=value`` texts as a mapping, and what is wrong with them."""
    from engine.config.schema import SETTINGS

    assignments, problems = {}, []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals:
            problems.append(f"--set takes section.name=value, not {pair!r}")
            continue
        try:
            escaped = key in SETTINGS and SETTINGS[key].escaped
            assignments[key] = str(SETTINGS[key].parse(value)) if escaped else value
        except ValueError as error:
            problems.append(str(error))
    return assignments, problems


def changes_of(args: argparse.Namespace, new_run: bool = False) -> dict[str, Value]:
    """The settings to change, of an existing run or of a new one made from it.

    Raises:
        InputError: All that is wrong with them, at once.
    """
    from engine.config.changes import turn_off_epochs, why_not_now
    from engine.config.schema import SETTINGS, unknown_setting
    from engine.config.setting import When

    changes: dict[str, Value] = {}
    assignments, problems = parse_assignments(args.set)
    for key, text in assignments.items():
        if key not in SETTINGS:
            problems.append(unknown_setting(key))
        elif why := why_not_now(key, When.NEW_RUN if new_run else When.RESUME):
            problems.append(why)
        else:
            try:
                changes[key] = SETTINGS[key].check(text)
            except ValueError as error:
                problems.append(str(error))
    if problems:
        raise InputError(*problems)
    return turn_off_epochs(changes)


def refuse_new_run_options(args: argparse.Namespace, names: tuple[str, ...], run: str) -> None:
    """Refuse options that describe a new run beside an existing one.

    Raises:
        InputError: Some were given.
    """
    given = [f"--{name}" for name in names if getattr(args, name)]
    if given:
        raise InputError(
            f"{' and '.join(given)} cannot go with the existing run {run!r}: "
            f"leave it out, or begin a new run"
        )


@contextmanager
def gathering(problems: list[str]) -> Iterator[None]:
    """Keep the problems of what is done inside, and go on."""
    try:
        yield
    except InputError as error:
        problems += error.problems
