"""``gpt-tui runs export``: the metrics of a run as a table."""

from __future__ import annotations

import sys
from pathlib import Path

from data.errors import InputError, suggest
from data.paths import real_path
from data.program import named
from engine.runs.export import WRITERS, read_curves
from engine.runs.folder import is_run
from tui import EXIT_DONE
from tui.commands.options import RunParser, path_argument
from tui.terminal.stdout import is_standard_output, output_to, put
from tui.text.numbers import format_count, format_path
from tui.text.tables import format_json

BINARY = ("parquet",)
STANDARD_OUTPUT = Path("-")


def export(argv: list[str]) -> int:
    args, run = _parser().parse_run(argv)
    if args.to not in WRITERS:
        raise InputError(f"there is no format {args.to!r}: {suggest(args.to, WRITERS)}")
    file: Path = args.output or STANDARD_OUTPUT
    to_standard_output = is_standard_output(file)
    is_asked_for = args.output is not None and not sys.stdout.isatty()
    if to_standard_output and (args.json or (args.to in BINARY and not is_asked_for)):
        reason = "tells of a file" if args.json else "is binary"
        what = "--json" if args.json else f"--to {args.to}"
        raise InputError(f"{what} {reason}: say which with -o FILE")
    if file.is_file() and not (args.force or to_standard_output):
        raise InputError(
            f"{named(str(file))} exists: choose another file, or add --force to replace it"
        )
    _check_is_no_file_of_a_run(file)
    curves = read_curves(run, args.metric)
    with output_to(file, args.to in BINARY) as out:
        WRITERS[args.to](curves, out, args.long)
    if to_standard_output:
        return EXIT_DONE
    file = real_path(file) if file.is_file() else file  # where a link leads to
    if args.json:
        facts = {"run": str(run), "file": str(file), "format": args.to}
        put(format_json(facts | {"steps": len(curves.steps), "metrics": list(curves.by_name)}))
    else:
        put(
            f"wrote {format_count(len(curves.by_name), 'metric')} at "
            f"{format_count(len(curves.steps), 'step')} to {format_path(file)}"
        )
    return EXIT_DONE


def _check_is_no_file_of_a_run(file: Path) -> None:
    """Refuse to replace what a run consists of; tables in its folder are not a part of it."""
    file = real_path(file)
    if not file.is_file() or file.suffix.removeprefix(".") in WRITERS:
        return
    for folder in file.parents[:3]:  # a checkpoint's files are two folders further down
        if is_run(folder):
            raise InputError(
                f"{named(str(file))} belongs to the run {folder.name!r}: choose another file"
            )


def _parser() -> RunParser:
    parser = RunParser(
        "gpt-tui runs export",
        "Write the metrics of a run as a table: a row for each step, a column for each metric.",
    )
    parser.add_argument(
        "--to", default="csv", metavar="FORMAT", help="csv, jsonl or parquet (%(default)s)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=path_argument,
        metavar="FILE",
        help="where to (default: -, standard output)",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME",
        help="only this one, also one that charts derive, such as val_bits_per_byte, "
        "or all that begin so, such as health/grad_norm; repeatable",
    )
    parser.add_argument(
        "--long", action="store_true", help="a row for each value: step, metric, value"
    )
    return parser
