"""``gpt-tui ladder``: train the models of Karpathy's lecture one after the other."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from data.errors import InputError, suggest
from data.paths import utf8_text
from engine.config.changes import with_one_end
from engine.config.presets import LADDER, preset_config
from engine.protocol import Start
from engine.runs.summary import read_summary
from tui import EXIT_DONE, EXIT_SIGNAL
from tui.commands.headless import train
from tui.commands.ladder_report import Rung, described, facts, page
from tui.commands.options import (
    DATA_HELP,
    AlsoText,
    Parser,
    add_set_option,
    command_line,
    finite_number,
    parse_assignments,
    path_argument,
    runs_dir_of,
    say_started,
)
from tui.terminal.stdout import complain, output_to, print_last, say
from tui.text.numbers import format_estimate
from tui.text.tables import format_json

BUDGET_SECONDS = 300.0
NAMES = [rung.name for rung in LADDER]


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    rungs = _chosen(args)
    _check_writable(args.write)
    typed = command_line("gpt-tui ladder", argv)
    code = _train(rungs, runs_dir_of(args), args.budget, typed)
    try:
        print_last(format_json(facts(rungs)) if args.json else described(rungs))
    finally:  # after so much training the page is written even if nothing can be printed
        if args.write is not None:
            _write(args.write, rungs, typed, code)
    return code


def _parser() -> Parser:
    parser = Parser(
        "gpt-tui ladder",
        "Train the models of Karpathy's lecture (the rungs) one after the other, and compare their "
        "losses with the video's. Ctrl-C saves the current run and stops.",
    )
    parser.add_argument("rungs", nargs="*", metavar="RUNG", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--data", action=AlsoText, metavar="SPEC", help=DATA_HELP)
    parser.add_argument("--steps", metavar="N", help="steps of every rung, instead of its own")
    add_set_option(parser)
    parser.add_argument(
        "--budget",
        type=finite_number,
        default=BUDGET_SECONDS,
        metavar="S",
        help="skip rungs that would train for more seconds than this (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON on stdout")
    parser.add_argument(
        "--write", type=path_argument, metavar="FILE", help="write a page in Markdown"
    )
    return parser


def _chosen(args: argparse.Namespace) -> list[Rung]:
    """Return the requested rungs, in the order of the lecture.

    Raises:
        InputError: All problems of the options at once.
    """
    problems = [_unknown(name) for name in args.rungs if name not in NAMES]
    if not args.budget > 0:
        problems.append(f"--budget must be above 0 seconds, not {args.budget:g}")
    changes, found = parse_assignments(args.set)
    problems += found
    if args.data is not None:
        changes.setdefault("data.corpus", args.data)
    if args.steps is not None:
        changes["train.max_steps"] = args.steps
    rungs = []
    for preset in LADDER:
        if not args.rungs or preset.name in args.rungs:
            config, found = preset_config(preset.name).check(with_one_end(changes))
            problems += found
            rungs.append(Rung(preset, config))
    if problems:
        raise InputError(*dict.fromkeys(problems))
    return rungs


def _unknown(name: str) -> str:
    return f"there is no rung {name!r}: {suggest(name, NAMES)}"


def _check_writable(page: Path | None) -> None:
    if page is None:
        return
    if not page.absolute().parent.is_dir():
        raise InputError(f"--write {page}: there is no folder {page.parent}, make it first")
    if page.is_dir():
        raise InputError(f"--write {page} is a folder: name a file in it")


def _write(path: Path, rungs: list[Rung], typed: str, code: int) -> None:
    if code != EXIT_DONE:
        complain(f"{path} is not written, because the ladder was stopped")
        return
    with output_to(path) as file:
        file.write(utf8_text(page(rungs, typed)))


def _train(rungs: list[Rung], runs_dir: Path, budget: float, typed: str) -> int:
    """Train one rung after the other; store each result in the list.

    Raises:
        InputError: None of them can be trained.
    """
    refused: list[InputError] = []
    for i, rung in enumerate(rungs):
        try:
            say(f"\n{rung.preset.name} ({i + 1} of {len(rungs)})")
            rungs[i] = rung = _estimate(rung, budget)
            if rung.problem:
                say(rung.fate)
                continue
            start = Start(rung.config.to_dict(), str(runs_dir), None, typed)
            outcome = train(start, sys.stderr)
        except KeyboardInterrupt:  # between two runs; within one it is the run's to handle
            return EXIT_SIGNAL
        except InputError as error:
            refused.append(error)
            rungs[i] = replace(rung, problem=" ".join(error.problems))
            continue
        if outcome.run is None:
            return outcome.code
        rungs[i] = replace(rung, run=read_summary(outcome.run))
        if outcome.code != EXIT_DONE:
            return outcome.code
    if len(refused) == len(rungs):
        raise InputError(*dict.fromkeys(problem for one in refused for problem in one.problems))
    return EXIT_DONE


def _estimate(rung: Rung, budget: float) -> Rung:
    """Return the rung with its size and training time, and a problem if that is too long."""
    from data.download import Watcher
    from engine.inspect.summary import summarize
    from engine.runs.text import load_text
    from engine.training.runtime import training_seconds

    _, tokenizer, split = load_text(rung.config, Watcher(say_started, lambda: False))
    parameters = summarize(rung.config, tokenizer.vocab_size).without_positions
    say_started("estimating the time of the training")
    seconds = training_seconds(
        rung.config,
        split,
        tokenizer.vocab_size,
        lambda message: None,
        lambda message: None,  # the run itself will warn
    )
    problem = ""
    if seconds > budget:
        problem = (
            f"about {format_estimate(seconds)} of training here, and --budget is {budget:g} seconds"
        )
    return replace(rung, parameters=parameters, estimate=seconds, problem=problem)
