"""The harness of the benchmarks: their options, and how each is run and reported.

A benchmark is a module with two functions: ``parser()`` declares its options, and ``measure(args)``
returns the rows of its table and the object that ``--json`` prints last.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.programs import BenchmarkError
from benchmarks.pty_app import COLUMNS, ROWS
from benchmarks.report import Row, tell
from engine.config.schema import Config
from tui import EXIT_DONE, EXIT_FAILED
from tui.commands.options import Parser, add_set_option, config_of, runs_dir_of

Report = tuple[list[Row], dict[str, Any]]


class BenchmarkParser(Parser):
    """The options that every benchmark has, and ways to add those that several have.

    Args:
        name: Of the benchmark.
        description: What it measures.
        preset: The default of ``--preset``; None leaves out ``--preset`` and ``--data``.
    """

    def __init__(self, name: str, description: str, preset: str | None = "nanogpt-cpu") -> None:
        super().__init__(f"python -m benchmarks {name}", description)
        self.add_argument("--json", action="store_true", help="end with one line of JSON on stdout")
        if preset is not None:
            self.add_argument(
                "--preset", default=preset, metavar="P", help="the preset (default: %(default)s)"
            )
            self.add_argument(
                "--data", metavar="SPEC", help="text to train on (default: the preset's)"
            )

    def add_count(self, option: str, default: int | None, help: str, metavar: str = "N") -> None:
        """Add an option that takes a number, at least 1."""
        shown = "" if default is None else " (default: %(default)s)"
        self.add_argument(
            option, type=_count, default=default, metavar=metavar, help=f"{help}{shown}"
        )

    def add_size(self, more: str = "") -> None:
        """Add ``--size``, of the terminal."""
        self.add_argument(
            "--size",
            type=_terminal_size,
            default=(COLUMNS, ROWS),
            metavar="WxH",
            help=f"of the terminal (default: {COLUMNS}x{ROWS}){more and f'; {more}'}",
        )

    def add_settings(self) -> None:
        """Add ``--set``, ``--precision`` and ``--threads``; see ``asked_config``."""
        self.set_defaults(config=None, name=None)  # other options of new runs, which are not here
        add_set_option(self)
        self.add_argument("--precision", metavar="P", help="of ours (default: the preset's)")
        self.add_count("--threads", None, "of all programs (default: the number of cores)")

    def add_peers(self) -> None:
        """Add ``--peer``, which can be repeated."""
        self.add_argument(
            "--peer",
            action="append",
            default=[],
            metavar="NAME[=PATH]",
            help="also run another program: nanogpt=PATH or nanogpt-compiled=PATH, a checkout of "
            "karpathy/nanoGPT, or hf, transformers' GPT-2; repeatable",
        )


def _terminal_size(text: str) -> tuple[int, int]:
    """Parse ``200x50``."""
    if not (size := re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)):
        raise argparse.ArgumentTypeError(f"it must be like 120x40, not {text!r}")
    return int(size[1]), int(size[2])


def run(name: str, module: str, argv: list[str]) -> int:
    """Run a benchmark and print its report; return the exit code."""
    benchmark = importlib.import_module(module)
    args = benchmark.parser().parse_args(argv)
    try:
        rows, result = benchmark.measure(args)
    except BenchmarkError as error:
        print(f"python -m benchmarks {name}: {error}", file=sys.stderr)
        return EXIT_FAILED
    tell(rows, result, args.json)
    return EXIT_DONE


def new_run_options(args: argparse.Namespace) -> list[str]:
    """Return ``--preset`` and ``--data`` for the commands to start.

    Raises:
        InputError: There is no such preset.
    """
    from engine.config.presets import preset_config

    preset_config(args.preset)
    words = ["--preset", args.preset, *(["--data", args.data] if args.data else [])]
    return words + [word for pair in getattr(args, "set", []) for word in ("--set", pair)]


def asked_config(args: argparse.Namespace) -> Config:
    """Return the configuration that the options of ``add_settings`` describe, with its threads.

    Raises:
        InputError: All problems of the options at once.
    """
    if args.precision:
        args.set.append(f"system.precision={args.precision}")
    if args.threads:
        args.set.append(f"system.threads={args.threads}")
    config = config_of(args)
    return config.replace({"system.threads": config.system.threads or cores()})


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def runs_folder(args: argparse.Namespace) -> Iterator[Path]:
    """Provide the folder of the benchmark's runs: a temporary one, unless one was given."""
    if args.runs_dir:
        yield runs_dir_of(args)
        return
    with tempfile.TemporaryDirectory(prefix="gpt-tui-bench-") as folder:
        yield Path(folder)


@contextmanager
def terminable() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` on SIGTERM, so that started programs are ended, too."""

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would leave programs running
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return number
