"""``gpt-tui runs diff A B …``: the settings in which runs differ, and what came of them."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import InputError
from engine.config.schema import SETTINGS
from engine.runs.comparison import ComparedRun, cautions, differing_settings, read_compared
from engine.runs.folder import find_run
from tui.commands import EXIT_DONE
from tui.commands.options import Parser, runs_dir_of
from tui.terminal.stdout import put
from tui.text.comparison import figure_lines, setting_lines
from tui.text.tables import columns, to_json, warn

if TYPE_CHECKING:
    from engine.config.schema import SampleConfig
    from engine.sampling.from_run import RunSampler

SAMPLING = ("prompt", "seed", "max_tokens")


def main(argv: list[str]) -> int:
    """Print the comparison; with ``--samples`` a text of each run below it."""
    args = _parser().parse_args(argv)
    wishes = _wishes(args)
    runs = _read(args.runs, runs_dir_of(args))
    if args.json:
        samples = _samples(runs, wishes) if args.samples else None
        put(to_json(_facts(runs, samples)))
        return EXIT_DONE
    _print_table(runs)
    for run, sample in zip(runs, _samples(runs, wishes) if args.samples else [], strict=False):
        told = f"not written: {sample['problem']}" if "problem" in sample else sample["text"]
        at = f", step {sample['step']:,}" if "step" in sample else ""
        put(f"\n--- {run.name}{at} ---\n{told}")
    return EXIT_DONE


def _parser() -> Parser:
    parser = Parser(
        "gpt-tui runs diff", "Set runs beside each other: the settings that differ, the figures."
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="names or paths of two or more")
    parser.add_argument("--json", action="store_true", help="as one line of JSON")
    parser.add_argument(
        "--samples",
        action="store_true",
        help="also a text of each, from its best checkpoint, all with the first run's sampling",
    )
    for name in SAMPLING:
        words = SETTINGS[f"sample.{name}"].help.replace("%", "%%")
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, metavar=name[0].upper(), help=f"of the samples: {words}")
    return parser


def _wishes(args: argparse.Namespace) -> dict[str, Any]:
    """How the samples are to be, checked."""
    given = {name: getattr(args, name) for name in SAMPLING if getattr(args, name) is not None}
    problems, wishes = [], {}
    for name, text in given.items():
        if not args.samples:
            problems.append(f"--{name.replace('_', '-')} is about the samples: add --samples")
            continue
        try:
            wishes[name] = SETTINGS[f"sample.{name}"].parse(text)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise InputError(*problems)
    return wishes


def _read(names: list[str], runs_dir: Path) -> list[ComparedRun]:
    paths, problems = [], []
    for name in names:
        try:
            paths.append(find_run(name, runs_dir))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    if len(set(paths)) < 2 or len(set(paths)) < len(paths):
        raise InputError("name two or more different runs to compare")
    return [read_compared(path) for path in paths]


def _print_table(runs: list[ComparedRun]) -> None:
    settings = setting_lines(runs)
    header = ["", *(run.name for run in runs)]
    rows = [[line.label, *line.cells] for line in settings]
    rows += [[""] * len(header)] if settings else []
    rows += [[line.label, *line.cells] for line in figure_lines(runs)]
    put(columns([header, *rows]))
    if not settings:
        put("\nno setting differs")
    for caution in cautions(runs):
        put(f"\nnote: {caution}")


def _samples(runs: list[ComparedRun], wishes: dict[str, Any]) -> list[dict[str, Any]]:
    """A text of each run, or why there is none; all with the sampling of the first."""
    import torch

    from engine.sampling.from_run import load_sampler

    samples: list[dict[str, Any]] = []
    settings = dataclasses.replace(runs[0].sampling(), **wishes)
    for run in runs:
        try:
            run_sampler = load_sampler(run.path, "best", warn)
            torch.set_num_threads(run_sampler.threads)
            samples.append(_sample(run_sampler, settings))
        except InputError as error:
            samples.append({"problem": str(error)})
    return samples


def _sample(run_sampler: RunSampler, settings: SampleConfig) -> dict[str, Any]:
    from engine.sampling.from_run import BROKEN_WEIGHTS

    try:
        text = run_sampler.write(settings)
    except FloatingPointError:
        return {"step": run_sampler.step, "problem": BROKEN_WEIGHTS}
    return {
        "step": run_sampler.step,
        "prompt": settings.prompt,
        "seed": settings.seed,
        "text": settings.prompt + text.text,
        "tokens": text.tokens,
    }


def _facts(runs: list[ComparedRun], samples: list[dict[str, Any]] | None) -> dict[str, Any]:
    """What ``--json`` prints; lists are in the order of the runs."""
    return {
        "runs": [{"run": str(run.path), "name": run.name, **run.figures()} for run in runs],
        "settings": {
            key: [list(one) for one in values] for key, values in differing_settings(runs).items()
        },
        "cautions": cautions(runs),
    } | ({} if samples is None else {"samples": samples})
