"""``gpt-tui train``: train without a screen."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from data.program import named
from engine.program import program
from engine.protocol import Open, Start, State
from engine.runs.checkpoint_names import list_checkpoints
from engine.runs.folder import CONFIG_FILE, find_run, typed_name
from engine.runs.summary import RunSummary, read_summary
from tui import EXIT_DONE, EXIT_FAILED
from tui.commands.headless import Outcome, train
from tui.commands.options import (
    NEW_RUN_OPTIONS,
    Parser,
    add_new_run_options,
    changes_of,
    command_line,
    config_of,
    refuse_new_run_options,
    runs_dir_of,
    warn_of_unused,
)
from tui.control.detaching import train_detached
from tui.terminal.stdout import complain, print_last
from tui.text.notices import FOLDER_GONE, SETTINGS_GONE
from tui.text.numbers import format_amount, format_duration, format_loss, format_path
from tui.text.tables import format_json, format_threads, run_facts

NOTHING_KEPT = RunSummary(path="", name="", state=State.STOPPED)


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    if args.detach:
        train_detached([one for one in argv if one != "--detach"])
        return EXIT_DONE
    command = _resume(args) if args.resume is not None else _start(args, argv)
    if command is None:
        outcome = Outcome(EXIT_DONE, find_run(args.resume, runs_dir_of(args)))
    else:
        events = sys.stdout if args.events else None
        outcome = train(command, sys.stderr, events, args.ready_fd)
    run = outcome.run
    if run and not run.is_dir():
        complain(FOLDER_GONE.format(run))
        return EXIT_FAILED
    has_settings = not run or os.path.lexists(run / CONFIG_FILE)
    if run and not has_settings:
        complain(SETTINGS_GONE.format(run / CONFIG_FILE, program(), typed_name(run)))
    if args.events:
        return outcome.code
    if args.json or has_settings:  # without its settings, a run has no summary
        _report(outcome, args.json)
    return outcome.code


def _parser() -> Parser:
    parser = Parser("gpt-tui train", "Train without a screen. Stop it with Ctrl-C: it is saved.")
    add_new_run_options(parser)
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="resume a run: its name or path; --data and --val say where its texts are, if moved",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="end with one line of JSON on stdout")
    how.add_argument(
        "--events", action="store_true", help="write each event as a line of JSON on stdout"
    )
    how.add_argument(
        "--detach",
        action="store_true",
        help="train in the background: gpt-tui attach RUN comes back to it",
    )
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)  # see tui.control.detaching
    return parser


def _start(args: argparse.Namespace, argv: list[str]) -> Start:
    config = config_of(args)
    warn_of_unused(config, args.set)
    words = ["--detach" if word.startswith("--ready-fd=") else word for word in argv]
    typed = command_line("gpt-tui train", words)
    return Start(config.to_dict(), str(runs_dir_of(args)), args.name, typed)


def _resume(args: argparse.Namespace) -> Open | None:
    """Return the command for the engine; None if the run is finished and nothing changes."""
    refuse_new_run_options(args, NEW_RUN_OPTIONS, args.resume)
    run = find_run(args.resume, runs_dir_of(args))
    changes = changes_of(args)
    summary = read_summary(run)
    finished = summary.state == State.FINISHED and not summary.pruned
    if finished and not (summary.live or changes or args.data or args.val):
        return None
    data, val = args.data or "", args.val or ""
    return Open(str(run), running=True, changes=dict(changes), data=data, val=val)


def _report(outcome: Outcome, as_json: bool) -> None:
    run = read_summary(outcome.run) if outcome.run else None
    if as_json:
        print_last(format_json(run_facts(run or NOTHING_KEPT)))
    elif run:
        print_last(described(run))


def described(run: RunSummary) -> str:
    """Describe a run, and the commands to continue with, in a few lines."""
    path, command = Path(run.path), program()
    name = typed_name(path)
    ended_early = run.step < run.total_steps
    longer = "eval.patience" if ended_early else "train.max_steps"
    trained = run.state == State.FINISHED and not run.pruned
    more = f" --set {longer}=N" if trained else ""
    note = "".join(f"\n  {told}" for told in (run.pruned, run.corpus_note) if told)
    sample = f"  sample   {command} sample {name}\n" if list_checkpoints(path) else ""
    effort = (
        f"  {format_duration(run.train_seconds)} of training, "
        f"{format_amount(run.tokens_per_second)} tokens/s "
        f"on {run.device} ({run.precision}, {format_threads(run.threads)})\n"
    )
    return (
        f"run {named(run.name)}: {run.state}, step {run.step:,} of {run.total_steps:,}{note}\n"
        f"  train loss {format_loss(run.train_loss)}, validation loss {format_loss(run.val_loss)}"
        f"{f' ({run.val_measured})' if run.val_measured else ''}, "
        f"best {format_loss(run.best_val_loss)}\n"
        f"{effort if run.device else ''}"  # unknown if the run never got ready to train
        f"  kept in  {format_path(path)}\n"
        f"  go on    {command} train --resume {name}{more}\n"
        f"{sample}"
        f"  look     {command} {name}"
    )
