"""``gpt-tui train``: train without a screen."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from data.errors import InputError
from data.program import named
from engine.config.schema import Config
from engine.distributed.environment import is_follower, started_processes
from engine.program import program
from engine.protocol import Open, Start, State
from engine.runs.checkpoint_names import list_checkpoints
from engine.runs.folder import CONFIG_FILE, find_run, typed_name
from engine.runs.summary import RunSummary, read_summary
from tui import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED
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
from tui.control.detaching import tell_ready, train_detached
from tui.control.launching import launch, run_before, tell_code, tell_opened
from tui.terminal.signals import ending_signals, handle
from tui.terminal.stdout import complain, print_last
from tui.text.notices import FOLDER_GONE, SETTINGS_GONE, going_on
from tui.text.numbers import format_amount, format_duration, format_loss, format_path
from tui.text.tables import format_json, format_threads, run_facts

NOTHING_KEPT = RunSummary(path="", name="", state=State.STOPPED)


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    if args.detach:
        train_detached([one for one in argv if one != "--detach"])
        return EXIT_DONE
    if started_processes() > 1:
        return _train_together(args, argv)
    if args.procs != 1 or args.torchrun:
        if args.resume is None:
            _config(args, args.procs)  # refused before anything is started
        words = [word for word in argv if not word.startswith("--ready-fd=")]
        return launch(args.procs, words, args.torchrun, args.max_restarts, args.ready_fd)
    return _train(args, argv).code


def _train_together(args: argparse.Namespace, argv: list[str]) -> int:
    """Train as one of the processes that torchrun has started."""
    from engine.distributed.team import TEAM, ProcessLost, ToldByLeader
    from engine.machine.memory import described_failure

    lost = ""
    try:
        if is_follower():
            handle(ending_signals(), signal.SIG_IGN)  # process 0 saves, and tells when to end
            TEAM.join()
            from engine.session.follower import follow

            follow()
            return EXIT_DONE
        TEAM.join()
        if before := run_before() or _begun_elsewhere(args):
            complain(f"a process of this run was lost: all {TEAM.size} were started again")
            printed = [f"--{name}" for name in ("json", "events") if getattr(args, name)]
            args = _parser().parse_args(["--resume", before, *printed])
        outcome = _train(args, argv)
        if tell_code(outcome.code) and not TEAM.is_broken:
            return EXIT_DONE  # anything else would have torchrun start all of them again
        return outcome.code
    except ProcessLost as error:
        lost = str(error)
    except (MemoryError, RuntimeError) as error:  # in another process, which has no session
        lost = described_failure(error) or f"it failed: {type(error).__name__}: {error}"
    except ToldByLeader:  # of all processes of this machine one tells the launcher
        return EXIT_DONE if tell_code(EXIT_BAD_INPUT) else EXIT_BAD_INPUT
    except InputError as error:
        if is_follower() or not tell_code(EXIT_BAD_INPUT):
            raise
        complain(str(error))
        return EXIT_DONE
    finally:
        TEAM.leave()
    complain(f"process {os.environ['RANK']} ends: {lost}")
    return EXIT_FAILED


def _begun_elsewhere(args: argparse.Namespace) -> str:
    """Return the run of this name, if process 0 was on another machine before a restart."""
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    run = runs_dir_of(args) / args.name if again and args.name else None
    return str(run) if run and run.is_dir() else ""


def _train(args: argparse.Namespace, argv: list[str]) -> Outcome:
    command = _resume(args) if args.resume is not None else _start(args, argv)
    if command is None:
        outcome = Outcome(EXIT_DONE, find_run(args.resume, runs_dir_of(args)))
    else:
        opened = (
            tell_opened if args.ready_fd is None else partial(tell_ready, descriptor=args.ready_fd)
        )
        outcome = train(command, sys.stderr, sys.stdout if args.events else None, opened)
    run = outcome.run
    if run and not run.is_dir():
        complain(FOLDER_GONE.format(run))
        return replace(outcome, code=EXIT_FAILED)
    has_settings = not run or os.path.lexists(run / CONFIG_FILE)
    if run and not has_settings:
        complain(SETTINGS_GONE.format(run / CONFIG_FILE, program(), typed_name(run)))
    if not args.events and (args.json or has_settings):  # without its settings, no summary
        _report(outcome, args.json)
    return outcome


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
    several = parser.add_argument_group("several processes (docs/scale.md)")
    several.add_argument(
        "--procs",
        type=int,
        default=1,
        metavar="N",
        help="processes on this machine, one for each GPU: 1, 2, 4, 8 …",
    )
    several.add_argument(
        "--max-restarts",
        type=int,
        default=3,
        metavar="N",
        help="how often to start them again from the last checkpoint when one is lost (3)",
    )
    several.add_argument(
        "--torchrun",
        default="",
        metavar="OPTIONS",
        help="options of torchrun, such as '--nnodes 2 --rdzv-backend c10d --rdzv-endpoint HOST'",
    )
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)  # see tui.control.detaching
    return parser


def _config(args: argparse.Namespace, processes: int) -> Config:
    """Return the settings of a new run; its steps can be shared by as many processes."""
    if processes < 1:
        raise InputError(f"--procs is {processes}: give it 1, 2, 4 or 8")
    if processes.bit_count() != 1:
        fewer = 1 << (processes.bit_length() - 1)
        raise InputError(
            f"{processes} processes cannot add up their gradients in pairs: take {fewer} or "
            f"{2 * fewer}"
        )
    config = config_of(args)
    if processes > config.train.shards:
        if any(pair.partition("=")[0].strip() == "train.shards" for pair in args.set):
            raise InputError(
                f"{processes} processes cannot share steps of train.shards {config.train.shards}: "
                f"set it to {processes}, or leave it out"
            )
        config = config.replace({"train.shards": processes})
    return config


def _start(args: argparse.Namespace, argv: list[str]) -> Start:
    config = _config(args, started_processes())
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
    note = "".join(f"\n  {told}" for told in (run.pruned, run.corpus_note) if told)
    sample = f"  sample   {command} sample {name}\n" if list_checkpoints(path) else ""
    threads = format_threads(run.threads, run.processes, run.sharded)
    effort = (
        f"  {format_duration(run.train_seconds)} of training, "
        f"{format_amount(run.tokens_per_second)} tokens/s "
        f"on {run.device} ({run.precision}, {threads})\n"
    )
    return (
        f"run {named(run.name)}: {run.state}, step {run.step:,} of {run.total_steps:,}{note}\n"
        f"  train loss {format_loss(run.train_loss)}, validation loss {format_loss(run.val_loss)}"
        f"{f' ({run.val_measured})' if run.val_measured else ''}, "
        f"best {format_loss(run.best_val_loss)}\n"
        f"{effort if run.device else ''}"  # unknown if the run never got ready to train
        f"  kept in  {format_path(path)}\n"
        f"  go on    {going_on(run)}\n"
        f"{sample}"
        f"  look     {command} {name}"
    )
