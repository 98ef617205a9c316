"""``gpt-tui runs export``: the metrics of a run as a table."""

from __future__ import annotations

from pathlib import Path

from data.errors import InputError, suggest
from data.files import replacing
from engine.runs.export import WRITERS, Curves, read_curves
from tui.commands import EXIT_DONE
from tui.commands.options import RunParser, path_argument
from tui.terminal.stdout import put, standard_output
from tui.text.numbers import format_count, format_path
from tui.text.tables import format_json

BINARY = ("parquet",)


def export(argv: list[str]) -> int:
    args, run = _parser().parse_run(argv)
    if args.to not in WRITERS:
        raise InputError(f"there is no format {args.to!r}: {suggest(args.to, WRITERS)}")
    if args.output is None and (args.to in BINARY or args.json):
        reason = "tells of a file" if args.json else "is binary"
        what = "--json" if args.json else f"--to {args.to}"
        raise InputError(f"{what} {reason}: say which with -o FILE")
    curves = read_curves(run, args.metric)
    if args.output is None:
        with standard_output() as out:
            WRITERS[args.to](curves, out, args.long)
        return EXIT_DONE
    file = args.output.resolve()  # where a link leads to
    if file.is_file() and not args.force:
        raise InputError(f"{file} exists: choose another file, or add --force to replace it")
    _write(curves, file, args.to, args.long)
    if args.json:
        facts = {"run": str(run), "file": str(file), "format": args.to}
        put(format_json(facts | {"steps": len(curves.steps), "metrics": list(curves.by_name)}))
    else:
        put(
            f"wrote {format_count(len(curves.by_name), 'metric')} at "
            f"{format_count(len(curves.steps), 'step')} to {format_path(file)}"
        )
    return EXIT_DONE


def _write(curves: Curves, file: Path, form: str, long: bool) -> None:
    """Write atomically; into a pipe or a device directly."""
    options = {"mode": "wb"} if form in BINARY else {"mode": "w", "encoding": "utf-8"}
    straight = file.exists() and not file.is_file()
    try:
        with open(file, **options) if straight else replacing(file, **options) as out:  # type: ignore[call-overload]
            WRITERS[form](curves, out, long)
    except OSError as error:
        raise InputError(
            f"{file} cannot be written ({error.strerror}): choose another file, or make room"
        ) from None


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
        help="where to (default: standard output)",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME",
        help="only this one, also one that charts derive, such as val_bpc; repeatable",
    )
    parser.add_argument(
        "--long", action="store_true", help="a row for each value: step, metric, value"
    )
    return parser
