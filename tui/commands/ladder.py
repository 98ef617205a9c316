"""``gpt-tui ladder``: the rungs of the lecture, trained one after the other."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.errors import InputError
from engine.config import Config
from engine.presets import LADDER, Preset, preset_config
from engine.protocol import Start, State
from engine.run.reader import RunSummary, read_summary
from tui.commands import EXIT_DONE, EXIT_SIGNAL
from tui.commands.headless import train
from tui.commands.options import (
    Parser,
    add_set_option,
    command_line,
    parse_assignments,
    runs_dir_of,
)
from tui.commands.output import print_last, table, to_json
from tui.wording import amount, duration, loss, roughly

BUDGET_SECONDS = 300.0
NAMES = [rung.name for rung in LADDER]
LECTURE_TEXT = "tinyshakespeare"
OTHER_TEXT = f"The video's losses are of {LECTURE_TEXT}: beside another text's they say nothing."
HEADER = ("rung", "parameters", "ours", "video", "time", "what changes")
RIGHT = (1, 2, 3, 4)


@dataclass(frozen=True)
class Rung:
    """A rung, and what became of it."""

    preset: Preset
    config: Config
    parameters: int | None = None
    estimate: float | None = None  # seconds of training
    run: RunSummary | None = None
    problem: str = ""  # why it was not run

    @property
    def whole_split_loss(self) -> float | None:
        """The validation loss of its last weights, if it came so far."""
        finished = self.run is not None and self.run.state == State.FINISHED
        return self.run.val_loss if finished and self.run else None


def main(argv: list[str]) -> int:
    """Train the rungs, then set them beside the lecture."""
    args = _parser().parse_args(argv)
    rungs = _chosen(args)
    _check_writable(args.write)
    typed = command_line("gpt-tui ladder", argv)
    code = _climb(rungs, runs_dir_of(args), args.budget, typed)
    print_last(to_json(_facts(rungs)) if args.json else in_words(rungs))
    if args.write is not None:
        _write(args.write, rungs, typed, code)
    return code


def _parser() -> Parser:
    parser = Parser(
        "gpt-tui ladder",
        "Train the rungs of Karpathy's lecture one after the other, as runs of their own, and "
        "set their losses beside the video's. Ctrl-C keeps what is trained.",
    )
    parser.add_argument("rungs", nargs="*", metavar="RUNG", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--data", metavar="SPEC", help="tinyshakespeare, python-docs or a file")
    parser.add_argument("--steps", metavar="N", help="steps of every rung, instead of its own")
    add_set_option(parser)
    parser.add_argument(
        "--budget",
        type=float,
        default=BUDGET_SECONDS,
        metavar="S",
        help="leave out a rung that would train for longer (default: %(default)g seconds)",
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON on stdout")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write a page in Markdown")
    return parser


def _chosen(args: argparse.Namespace) -> list[Rung]:
    """The rungs asked for, from the bottom up.

    Raises:
        InputError: All that is wrong with the options, at once.
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
            config, found = preset_config(preset.name).check(changes)
            problems += found
            rungs.append(Rung(preset, config))
    if problems:
        raise InputError(*dict.fromkeys(problems))
    return rungs


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, NAMES, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(NAMES)}."
    return f"there is no rung {name!r}: {hint}"


def _check_writable(page: Path | None) -> None:
    if page is not None and not page.absolute().parent.is_dir():
        raise InputError(f"--write {page}: there is no folder {page.parent}, make it first")


def _write(path: Path, rungs: list[Rung], typed: str, code: int) -> None:
    from tui.commands.ladder_page import page

    if code != EXIT_DONE:
        print(f"gpt-tui: {path} is left as it was, the ladder is not done", file=sys.stderr)
        return
    try:
        path.write_text(page(rungs, typed), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


# -- climbing ------------------------------------------------------------------------------------


def _climb(rungs: list[Rung], runs_dir: Path, budget: float, typed: str) -> int:
    """Train one rung after the other, noting in the list what became of each.

    Raises:
        InputError: None of them can be trained.
    """
    refused: list[str] = []
    for i, rung in enumerate(rungs):
        try:
            print(f"\n{rung.preset.name} ({i + 1} of {len(rungs)})", file=sys.stderr, flush=True)
            rungs[i] = rung = _measured(rung, budget)
            if rung.problem:
                print(f"not run: {rung.problem}", file=sys.stderr)
                continue
            start = Start(rung.config.to_dict(), str(runs_dir), None, typed)
            outcome = train(start, sys.stderr)
        except KeyboardInterrupt:  # between two runs; within one it is the run's to handle
            return EXIT_SIGNAL
        except InputError as error:
            refused += error.problems
            rungs[i] = replace(rung, problem=" ".join(error.problems))
            continue
        if outcome.run is None:
            return outcome.code
        rungs[i] = replace(rung, run=read_summary(outcome.run))
        if outcome.code != EXIT_DONE:
            return outcome.code
    if all(rung.problem in refused for rung in rungs):
        raise InputError(*dict.fromkeys(refused))
    return EXIT_DONE


def _measured(rung: Rung, budget: float) -> Rung:
    """The rung with its size and its time, and whether that is too long."""
    from engine.anatomy import anatomy
    from engine.estimate import training_seconds
    from engine.run.opening import Watcher, load_text

    _, tokenizer, split = load_text(rung.config, Watcher(_say, lambda: False))
    parameters = anatomy(rung.config, tokenizer.vocab_size).total
    _say("trying how long the training would take")
    vocab_size = tokenizer.vocab_size  # what there is to warn of, the run itself will say
    seconds = training_seconds(rung.config, split, vocab_size, _say_nothing, _say_nothing)
    problem = ""
    if seconds > budget:
        problem = f"about {roughly(seconds)} of training here, and --budget is {budget:g} seconds"
    return replace(rung, parameters=parameters, estimate=seconds, problem=problem)


def _say(message: str) -> None:
    print(f"{message} …", file=sys.stderr, flush=True)


def _say_nothing(message: str) -> None:
    pass


# -- telling -------------------------------------------------------------------------------------


def in_words(rungs: list[Rung]) -> str:
    """The table on the terminal."""
    told = table(HEADER, map(_row, rungs), RIGHT, wrap=True)
    return f"{told}\n{OTHER_TEXT}" if is_other_text(rungs) else told


def is_other_text(rungs: Sequence[Rung]) -> bool:
    """Whether any rung learned from something else than the lecture's text."""
    return any(rung.run.corpus != LECTURE_TEXT for rung in rungs if rung.run)


def _row(rung: Rung) -> tuple[str, ...]:
    return (
        rung.preset.name,
        "–" if rung.parameters is None else amount(rung.parameters),
        loss(rung.whole_split_loss),
        f"{rung.preset.lecture_loss:.2f}",
        duration(rung.run.train_seconds if rung.run else None),
        f"{rung.preset.changed}{_fate(rung)}",
    )


def _fate(rung: Rung) -> str:
    if rung.problem:
        return f" Not run: {rung.problem}."
    if rung.run is None:
        return " Not run."
    if rung.run.state != State.FINISHED:
        return f" Stopped at step {rung.run.step:,} of {rung.run.total_steps:,}."
    return ""


def _facts(rungs: list[Rung]) -> dict[str, object]:
    return {"rungs": [_rung_facts(rung) for rung in rungs]}


def _rung_facts(rung: Rung) -> dict[str, object]:
    run = rung.run
    return {
        "rung": rung.preset.name,
        "changed": rung.preset.changed,
        "lecture_loss": rung.preset.lecture_loss,
        "val_loss": rung.whole_split_loss,
        "best_val_loss": run.best_val_loss if run else None,
        "parameters": rung.parameters,
        "state": run.state if run else "not run",
        "problem": rung.problem,
        "steps": run.step if run else 0,
        "train_seconds": run.train_seconds if run else None,
        "estimated_seconds": rung.estimate,
        "corpus": run.corpus if run else rung.config.data.corpus,
        "run": run.path if run else None,
    }
