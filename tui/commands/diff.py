"""``gpt-tui runs diff A B …``: compare the settings and results of runs."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.program import named
from engine.runs.comparison import ComparedRun, cautions, differing_settings, read_compared
from engine.runs.folder import find_run
from tui import EXIT_DONE
from tui.commands.options import (
    Parser,
    add_sample_options,
    gathering,
    runs_dir_of,
    sample_changes,
)
from tui.terminal.stdout import complain, put
from tui.text.comparison import figure_lines, seed_lines, setting_lines
from tui.text.tables import format_columns, format_json

SAMPLING = ("prompt", "seed", "max_tokens")


def diff(argv: list[str]) -> int:
    """Print the comparison; with ``--samples`` also a text of each run."""
    args = _parser().parse_args(argv)
    sampling = _sampling(args)
    runs = _read(args.runs, runs_dir_of(args))
    if args.json:
        samples = _samples(runs, sampling) if args.samples else None
        put(format_json(_facts(runs, samples)))
        return EXIT_DONE
    _print_table(runs)
    for run, sample in zip(runs, _samples(runs, sampling) if args.samples else [], strict=False):
        told = f"no text: {sample['problem']}" if "problem" in sample else sample["text"]
        at = f", step {sample['step']:,}" if "step" in sample else ""
        put(f"\n--- {named(run.name)}{at} ---\n{told}")
    return EXIT_DONE


def _parser() -> Parser:
    parser = Parser("gpt-tui runs diff", "Compare runs: the settings that differ, and the results.")
    parser.add_argument("runs", metavar="RUN", nargs="+", help="names or paths of two or more runs")
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead")
    parser.add_argument(
        "--samples",
        action="store_true",
        help="also generate a text from the best checkpoint of each, with the first run's settings",
    )
    add_sample_options(parser, SAMPLING, "for the samples: ")
    return parser


def _sampling(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings for the samples that were given, checked."""
    given = [name for name in SAMPLING if getattr(args, name) is not None]
    if given and not args.samples:
        options = [f"--{name.replace('_', '-')}" for name in given]
        raise InputError(*(f"{option} is for the samples: add --samples" for option in options))
    return sample_changes(args, given)


def _read(names: list[str], runs_dir: Path) -> list[ComparedRun]:
    paths: list[Path] = []
    problems: list[str] = []
    for name in names:
        with gathering(problems):
            paths.append(find_run(name, runs_dir))
    if problems:
        raise InputError(*problems)
    if len(set(paths)) < 2 or len(set(paths)) < len(paths):
        raise InputError("name two or more different runs to compare")
    return [read_compared(path) for path in paths]


def _print_table(runs: list[ComparedRun]) -> None:
    settings = setting_lines(runs)
    header = ["", *(run.name for run in runs)]
    rows = [[line.label, *line.cells] for line in figure_lines(runs)]
    rows += [[""] * len(header)] if settings else []
    rows += [[line.label, *line.cells] for line in settings]
    put(format_columns([header, *rows]))
    if not settings:
        put("\nno setting differs")
    for caution in cautions(runs):
        put(f"\nnote: {caution}")
    for line in seed_lines(runs, [run.name for run in runs]):
        put(f"\n{line}")


def _samples(runs: list[ComparedRun], changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Generate a text of each run, all with the settings of the first, or say why there is none."""
    import torch

    from engine.sampling.from_run import load_sampler

    settings = dataclasses.replace(runs[0].sampling(), **changes)
    samples: list[dict[str, Any]] = []
    for run in runs:
        sample: dict[str, Any] = {}
        samples.append(sample)
        try:
            run_sampler = load_sampler(run.path, "best", complain)
            sample["step"] = run_sampler.step
            torch.set_num_threads(run_sampler.threads)
            text = run_sampler.write(settings)
        except InputError as error:
            sample["problem"] = str(error)
            continue
        sample |= {"prompt": settings.prompt, "seed": settings.seed}
        sample |= {"text": settings.prompt + text.text, "tokens": text.tokens}
    return samples


def _facts(runs: list[ComparedRun], samples: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return what ``--json`` prints; lists are in the order of the runs."""
    return {
        "runs": [{"run": str(run.path), "name": run.name, **run.figures()} for run in runs],
        "settings": {
            key: [list(one) for one in values] for key, values in differing_settings(runs).items()
        },
        "cautions": cautions(runs),
    } | ({} if samples is None else {"samples": samples})
