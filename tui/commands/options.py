"""The options that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from data.errors import InputError, brief, nearest, suggest
from data.paths import absolute, check_storable, expanded, quoted, typed_path
from data.specs import join_specs, specs_of
from engine.program import PROGRAM, program
from tui.terminal.stdout import complain, put, say

if TYPE_CHECKING:
    from data.tokenizers import Tokenizer
    from engine.config.schema import Config
    from engine.config.setting import Value
    from engine.runs.known_text import Places
    from tui.charts.characters import CharacterSet

SAMPLE_SETTING = re.compile(r"^sample\.(\w+)")  # that a sentence begins with
MOST_LISTED = 5  # arguments that are not known
LARGEST = 2**63 - 1  # which SQLite and NumPy can hold
NEW_RUN_OPTIONS = ("preset", "config", "name")  # --data and --val go with an existing run, too

DATA_HELP = (
    "a name (gpt-tui data list), file, folder, pattern, address or - (standard input); repeat it "
    "for several"
)


class AlsoText(argparse.Action):
    """Joins the texts of ``--data``, which may be repeated, to one value of ``data.corpus``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest, None)
        specs = (*specs_of(before), values) if before else (values,)
        setattr(namespace, self.dest, join_specs(specs))


def path_argument(text: str) -> Path:
    """Convert an argument to a path, with ``~`` expanded."""
    try:
        return typed_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def whole_number(text: str) -> int:
    """Convert an argument to a whole number."""
    number = _number(text, whole=True)
    if abs(number) > LARGEST:
        raise argparse.ArgumentTypeError(f"it must be at most {LARGEST:,}")
    return int(number)


def finite_number(text: str) -> float:
    """Convert an argument to a number."""
    return float(_number(text, whole=False))


def _number(text: str, whole: bool) -> int | float:
    from engine.config.setting import parse_number

    try:
        return parse_number(text, "it", whole)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class Parser(argparse.ArgumentParser):
    """An argument parser with ``--runs-dir``; it raises ``InputError`` instead of exiting."""

    def __init__(self, prog: str, description: str, **more: Any) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False, **more)
        self.add_argument(
            "--runs-dir",
            type=path_argument,
            metavar="DIR",
            help="where runs are kept (default: $GPT_TUI_RUNS, else your data folder)",
        )

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Raise ``OutputLost`` if ``--help`` or ``--version`` could not be printed."""
        put("", end="")
        super().exit(status, message)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Take ``--option=--`` as the text, where argparse gives an empty list."""
        if action.option_strings and action.nargs is None and arg_strings == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Suggest the choice that was meant, where argparse lists them all."""
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            hint = suggest(str(value), choices)
            raise argparse.ArgumentError(action, f"it cannot be {brief(str(value))}: {hint}")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.refuse(unknown)
        return found

    def refuse(self, unknown: list[str]) -> NoReturn:
        """Raise ``InputError`` about arguments that this command does not take."""
        listed = " ".join(unknown[:MOST_LISTED])
        if more := unknown[MOST_LISTED:]:
            listed += f" and {len(more):,} more"
        hint = self._meant(*unknown)
        self.error(f"unrecognized arguments: {listed}{hint and f': {hint}'}")

    def _meant(self, first: str, *others: str) -> str:
        """Return a hint at what was meant by arguments; empty if there is none."""
        options = self._option_string_actions
        if first.startswith("--"):
            option, _, value = first.partition("=")
            if "--set" in options and (key := _setting(option)):
                value = value or next((one for one in others[:1] if not one.startswith("-")), "…")
                return f"did you mean --set {key}={quoted(value)}?"
            near = nearest(option, list(options), cutoff=0.7)
            return f"did you mean {near}?" if near else ""
        if "--data" in options and _exists(first):
            return (
                "--data stands before each text, and quotes around a pattern, as in --data '*.txt'"
            )
        return ""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog.replace(PROGRAM, program(), 1)} --help)")


def _setting(option: str) -> str:
    """Return the setting that an option is called after; empty if there is none."""
    from engine.config.schema import SETTINGS, full_key

    key = full_key(option.lstrip("-").replace("-", "_"))
    return key if key in SETTINGS else ""


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(expanded(path))
    except (OSError, ValueError, RuntimeError):
        return False


class RunParser(Parser):
    """A parser of a command for one run: its first argument is RUN, and it takes ``--json``."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog, description)
        self.add_argument("run", metavar="RUN", help="name or path of the run")
        self.add_argument("--json", action="store_true", help="print one line of JSON instead")

    def parse_run(self, argv: list[str]) -> tuple[argparse.Namespace, Path]:
        """Parse the arguments and find the run's folder.

        Raises:
            InputError: The arguments are wrong, or there is no such run.
        """
        from engine.runs.folder import find_run

        args = self.parse_args(argv)
        return args, find_run(args.run, runs_dir_of(args))


def add_new_run_options(parser: argparse.ArgumentParser) -> None:
    add_config_options(parser)
    parser.add_argument("--name", help="name of the run (default: that of the preset and a number)")


def add_config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", metavar="P", help="a preset; gpt-tui presets lists them")
    parser.add_argument(
        "--config", type=path_argument, metavar="FILE", help="settings in a TOML file"
    )
    parser.add_argument("--data", action=AlsoText, metavar="SPEC", help=DATA_HELP)
    add_val_option(parser)
    add_set_option(parser)


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--data`` and ``--val`` of a command for an existing run."""
    for option, text in (("--data", "text"), ("--val", "validation text")):
        parser.add_argument(
            option,
            action=AlsoText,
            default="",
            metavar="PATH",
            help=f"where the {text} of RUN is, if it is not where it was",
        )


def add_val_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--val`` of a command that is told its text."""
    parser.add_argument(
        "--val",
        action=AlsoText,
        metavar="SPEC",
        help="validate on this text, named as --data (default: a part of the text)",
    )


def places_of(args: argparse.Namespace) -> Places:
    """Return where ``--data`` and ``--val`` say that the texts of a run are."""
    from engine.runs.known_text import Places  # loads numpy

    return Places(args.data or "", args.val or "")


def add_theme_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--theme`` of a command that opens the app."""
    parser.add_argument(
        "--theme", default="", metavar="NAME", help="the theme this time, as dracula or auto"
    )


def theme_of(args: argparse.Namespace) -> str:
    """Return the theme that ``--theme`` names, empty if none.

    Raises:
        InputError: There is none of this name.
    """
    if not args.theme:
        return ""
    from tui.control.preferences import preference

    try:
        return str(preference("screen.theme").check(args.theme))
    except ValueError as error:
        raise InputError(str(error).replace("screen.theme", "--theme", 1)) from None


def add_set_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--set``, which can be repeated."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="name=value",
        help="change one setting, after all other options; repeatable; gpt-tui settings lists them",
    )


def add_sample_options(
    parser: argparse.ArgumentParser, names: Iterable[str], prefix: str = ""
) -> None:
    """Add an option for each of these settings of ``sample``."""
    from engine.config.schema import SETTINGS

    for name in names:
        one = SETTINGS[f"sample.{name}"]
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            metavar={str: "TEXT", int: "N", float: "X"}[one.type],
            help=prefix + one.help.replace("%", "%%"),
        )


def characters_of(terminal: bool, asked: str = "") -> CharacterSet:
    """Return what a picture on standard output is drawn with.

    Args:
        terminal: Whether standard output is one.
        asked: What was asked for; empty for the preference ``chart.characters``.
    """
    from tui.charts.characters import detected
    from tui.control.preferences import AUTO, Preferences

    characters: Any = asked or Preferences.load().get("chart.characters")
    if characters != AUTO:
        return cast("CharacterSet", characters)
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    if not encoding.startswith("utf"):
        return "ascii"
    return detected(os.environ) if terminal else "braille"


def is_coloured(terminal: bool) -> bool:
    """Return whether a picture on standard output has colours."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return terminal and not plain


def add_drop_unknown_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--drop-unknown`` of a command that is given a text for a model; see ``known_text``."""
    parser.add_argument(
        "--drop-unknown",
        action="store_true",
        help="leave out characters unknown to the model",
    )


def known_text(what: str, text: str, tokenizer: Tokenizer, drop_unknown: bool) -> str:
    """Return a text without the characters that a model does not know.

    Args:
        what: Names the text in the sentence.

    Raises:
        InputError: It has some, and they may not be dropped.
    """
    text = tokenizer.typed(text)
    unknown = tokenizer.unknown(text)
    if unknown and not drop_unknown:
        named = ", ".join(map(repr, unknown))
        raise InputError(
            f"{what} has characters that this model does not know ({named}): "
            f"leave them out, or add --drop-unknown"
        )
    return "".join(character for character in text if character not in unknown)


def sample_changes(args: argparse.Namespace, names: Iterable[str]) -> dict[str, Value]:
    """Return the settings of ``sample`` that were given as options, by name.

    Raises:
        InputError: All problems at once.
    """
    from engine.config.schema import SETTINGS, SampleConfig

    changes: dict[str, Any] = {}
    problems: list[str] = []
    for name in names:
        if getattr(args, name) is not None:
            try:
                changes[name] = SETTINGS[f"sample.{name}"].parse(getattr(args, name))
            except ValueError as error:
                problems.append(str(error))
    problems += SampleConfig(**changes).conflicts()
    if problems:
        raise InputError(*(SAMPLE_SETTING.sub(_option_of, problem) for problem in problems))
    return changes


def _option_of(setting: re.Match[str]) -> str:
    return f"--{setting[1].replace('_', '-')}"


def runs_dir_of(args: argparse.Namespace) -> Path:
    """Return the runs folder: ``--runs-dir``, or the default. It need not exist yet.

    Raises:
        InputError: There is a file in its place, or the path cannot be used.
        OSError: It may not be read.
    """
    from engine.runs.folder import default_runs_dir

    folder: Path = absolute(args.runs_dir or default_runs_dir())
    there = next(one for one in (folder, *folder.parents) if os.path.exists(one))
    if not os.path.isdir(there):
        why = "it is" if there == folder else f"{there} is"
        raise InputError(
            f"{folder} cannot be a runs folder, because {why} a file: choose another with "
            f"--runs-dir"
        )
    if there == folder:
        os.scandir(folder).close()  # refused, it would look empty
    return folder


def command_line(command: str, argv: list[str]) -> str:
    """Return the command line as it was typed."""
    return " ".join([command, *map(quoted, argv)])


def config_of(args: argparse.Namespace, wait: bool = True) -> Config:
    """Return the configuration of a new run: preset < ``--config`` < ``--data`` < ``--set``.

    Args:
        wait: Ask nvidia-smi for a GPU if need be, as ``default_preset``.

    Raises:
        InputError: All problems of the options at once.
    """
    from engine.config.changes import with_one_end
    from engine.config.schema import TEXTS, Config, flatten, read_toml
    from engine.runs.folder import check_name

    problems: list[str] = []
    in_file: dict[str, Any] = {}
    config = Config()
    with gathering(problems):
        in_file = read_toml(args.config, follow=True) if args.config else {}
    assignments, found = parse_assignments(args.set)
    problems += found
    values, found = flatten(in_file)
    problems += [f"{args.config}: {problem}" for problem in found]
    with gathering(problems):
        config = _begun_from(args, in_file, {**values, **assignments}, wait)
    config, found = config.check(with_one_end(values))
    problems += [f"{args.config}: {problem}" for problem in _without_conflicts(found, config)]
    if args.data is not None:
        assignments = {"data.corpus": args.data, **assignments}
    if (val := getattr(args, "val", None)) is not None:  # commands without validation have none
        assignments = {"data.val": val, **assignments}
    for key in TEXTS:
        try:
            check_storable(*specs_of(assignments.get(key, "")))
        except InputError as error:
            problems += error.problems
            del assignments[key]
    config, found = config.check(with_one_end(assignments))
    problems += _without_conflicts(found, config)
    if args.name is not None:
        with gathering(problems):
            check_name(args.name, runs_dir_of(args))
    problems = problems or config.conflicts()
    if problems:
        raise InputError(*problems)
    return config


def warn_of_unused(config: Config, pairs: list[str]) -> None:
    """Warn on standard error of settings given with ``--set`` that have no effect."""
    from engine.config.unused import without_effect

    for told in without_effect(config, list(parse_assignments(pairs)[0])):
        complain(told)


def _begun_from(
    args: argparse.Namespace,
    in_file: Mapping[str, Any],
    values: Mapping[str, object],
    wait: bool,
) -> Config:
    """Return the configuration of the preset that is named, or of the default one.

    Raises:
        InputError: There is no such preset, or it cannot be used.
    """
    from engine.config.presets import default_preset
    from engine.config.schema import SECTIONS, Config
    from tui.control.own_presets import find_preset, named_config

    named = in_file.get("preset") if args.preset is None else args.preset
    if named is None:
        return named_config(default_preset(str(values.get("system.device", "auto")), wait))
    whole = args.preset is None and in_file.keys() >= SECTIONS.keys()
    if whole and isinstance(named, str) and find_preset(named) is None:
        return replace(Config(), preset=named)  # of a run whose preset is not here any more
    return named_config(str(named))


def _without_conflicts(problems: list[str], config: Config) -> list[str]:
    """Return the problems of single values; a later option may still resolve conflicts."""
    conflicts = config.conflicts()
    return [problem for problem in problems if problem not in conflicts]


def parse_assignments(pairs: list[str]) -> tuple[dict[str, str], list[str]]:
    """Parse ``name=value`` texts; return them as a mapping, and their problems.

    The section can be left out of a name that no other setting has.
    """
    from engine.config.schema import SETTINGS, full_key

    assignments, problems = {}, []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = full_key(key.strip())
        if not equals:
            problems.append(f"--set takes name=value, not {pair!r}")
            continue
        try:
            escaped = key in SETTINGS and SETTINGS[key].escaped
            assignments[key] = str(SETTINGS[key].parse(value)) if escaped else value
        except ValueError as error:
            problems.append(str(error))
    return assignments, problems


def changes_of(args: argparse.Namespace, new_run: bool = False) -> dict[str, Value]:
    """Return the settings that ``--set`` changes, in a run or (``new_run``) in its fork.

    Raises:
        InputError: All problems at once.
    """
    from engine.config.changes import why_not_now, with_one_end
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
    return with_one_end(changes)


def refuse_new_run_options(args: argparse.Namespace, names: Sequence[str], run: str) -> None:
    """Refuse options of new runs for an existing run.

    Raises:
        InputError: Some were given.
    """
    given = [f"--{name}" for name in names if getattr(args, name)]
    if given:
        raise InputError(
            f"{' and '.join(given)} cannot go with the existing run {run!r}: "
            f"leave it out, or start a new run"
        )


def say_started(message: str) -> None:
    """Print on standard error what is being done, followed by an ellipsis."""
    say(f"{message.rstrip('…')} …")


@contextmanager
def gathering(problems: list[str]) -> Iterator[None]:
    """Add the problems of an ``InputError`` to a list instead of raising it."""
    try:
        yield
    except InputError as error:
        problems += error.problems
