"""``gpt-tui queue``: show the queue, change it, train its runs."""

from __future__ import annotations

import argparse
import sys

from data.errors import InputError
from engine.program import program
from engine.protocol import Open, Start
from engine.runs.folder import in_runs_dir
from engine.sweeps.grid import format_changes
from engine.sweeps.queue import Entry, EntryState, Queue
from tui import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED, EXIT_SIGNAL
from tui.commands.options import Parser, runs_dir_of, whole_number
from tui.terminal.stdout import complain, print_last, say
from tui.text.leaderboard import entry_facts, format_queue
from tui.text.numbers import format_count
from tui.text.tables import format_json

ACTIONS = ("list", "run", "cancel", "retry", "first", "clear")
WITH_ENTRIES = ("cancel", "retry", "first")
DESCRIPTION = """The queue: runs of sweeps, and runs that were added in the app.

  list         show the entries (the default)
  run          train one run after the other; Ctrl-C saves and stops
  cancel ID    do not train these entries; what they have trained is kept
  retry ID     queue failed or cancelled entries again
  first ID     move waiting entries to the front
  clear        hide entries that are over; their runs and leaderboards are kept"""


def main(argv: list[str]) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if bool(args.ids) != (args.action in WITH_ENTRIES):
        takes = "the ids of entries" if args.action in WITH_ENTRIES else "no ids"
        parser.error(f"{args.action} takes {takes}")
    queue = Queue(runs_dir_of(args))
    code = EXIT_DONE
    if args.action == "run":
        code = train_queue(queue)
    elif args.action == "clear":
        queue.clear()
    elif args.action == "first":
        for id in reversed(args.ids):
            queue.move(id, -len(queue.entries()))
    else:
        for id in args.ids:
            queue.cancel(id) if args.action == "cancel" else queue.retry(id)
    _print(queue, args.all, args.json)
    return code


def _print(queue: Queue, cleared: bool, as_json: bool) -> None:
    entries = queue.entries(cleared=cleared)
    if as_json:
        print_last(format_json([entry_facts(entry, queue.runs_dir) for entry in entries]))
    elif not entries:
        adds = f"{program()} sweep model.n_layer=1,2 --queue-only{in_runs_dir(queue.runs_dir)}"
        print_last(f"nothing is queued in {queue.runs_dir}: {adds} adds two runs")
    else:
        left = sum(not entry.is_over for entry in entries)
        go_on = f"{program()} queue run{in_runs_dir(queue.runs_dir)}"
        more = f"\n{format_count(left, 'run')} to go: {go_on}" if left else ""
        print_last(format_queue(entries) + more)


def _parser() -> Parser:
    parser = Parser(
        "gpt-tui queue", DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", nargs="?", default="list", choices=ACTIONS)
    parser.add_argument(
        "ids", nargs="*", type=whole_number, metavar="ID", help="of an entry in the list"
    )
    parser.add_argument("--all", action="store_true", help="include cleared entries")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    return parser


# -- training ------------------------------------------------------------------------------------


def train_queue(queue: Queue, sweep: str | None = None) -> int:
    """Train until no entry (of a sweep) is pending or a signal arrives; return the exit code.

    It is that of the first run that failed, if there is one.
    """
    code = EXIT_DONE
    try:
        while (taken := queue.take(sweep)) is not None:
            ended = _train(queue, *taken, len(queue.pending(sweep)))
            if ended == EXIT_SIGNAL:
                return ended
            code = code or ended
    except KeyboardInterrupt:  # between two runs; during a run, `train` handles it
        return EXIT_SIGNAL
    return code


def _train(queue: Queue, entry: Entry, command: Start | Open, others: int) -> int:
    """Train an entry, record its state in the queue, and return its exit code."""
    from tui.commands.headless import train  # imports the engine's session

    more = f", {others} more to come" if others else ""
    say(f"\n{entry.run}: {format_changes(entry.changes)}{more}")
    state, problem = EntryState.INTERRUPTED, ""
    try:
        outcome = train(command, sys.stderr)
        if outcome.code == EXIT_DONE:
            state = EntryState.DONE
            return EXIT_DONE
        if outcome.problem:
            state, problem = EntryState.FAILED, outcome.problem
            return EXIT_FAILED
        return EXIT_SIGNAL  # the outcome's own code tells whether all is saved
    except InputError as error:
        state, problem = EntryState.FAILED, str(error)
        for line in error.problems:
            complain(line)
        return EXIT_BAD_INPUT
    finally:
        queue.end(entry.id, state, problem)
