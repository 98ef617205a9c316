"""``gpt-tui queue``: the runs that are to come."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from engine.program import program
from engine.runs.folder import in_runs_dir
from engine.sweeps.queue import Queue
from tui.commands import EXIT_DONE
from tui.commands.options import Parser, runs_dir_of
from tui.terminal.stdout import print_last
from tui.text.leaderboard import entry_facts, queue_table
from tui.text.numbers import counted
from tui.text.tables import to_json

ACTIONS = ("list", "run", "cancel", "retry", "first", "clear")
WITH_ENTRIES = ("cancel", "retry", "first")
DESCRIPTION = """The runs that are to come: sweeps, and what was queued in the app.

  list         what is there (the default)
  run          train one after the other; Ctrl-C saves and stops
  cancel ID    take entries out of turn; what they have trained is kept
  retry ID     have failed or cancelled entries trained after all
  first ID     let entries wait no longer than the one that is trained now
  clear        take what is over out of the list; its runs and leaderboards stay"""


def main(argv: list[str]) -> int:
    """Show the queue, change it or work it off."""
    parser = _parser()
    args = parser.parse_args(argv)
    if bool(args.ids) != (args.action in WITH_ENTRIES):
        parser.error(
            f"{args.action} takes the ids of entries"
            if args.action in WITH_ENTRIES
            else f"{args.action} takes no ids"
        )
    queue = Queue(runs_dir_of(args))
    code = EXIT_DONE
    if args.action == "run":
        from tui.commands.queue_worker import work_off

        code = work_off(queue)
    elif args.action == "clear":
        queue.clear()
    elif args.ids:
        change: Callable[[int], None] = {
            "cancel": queue.cancel,
            "retry": queue.retry,
            "first": lambda id: queue.move(id, -len(queue.entries())),
        }[args.action]
        for id in reversed(args.ids) if args.action == "first" else args.ids:
            change(id)
    _print(queue, args.all, args.json)
    return code


def _print(queue: Queue, also_cleared: bool, as_json: bool) -> None:
    entries = queue.entries(cleared=also_cleared)
    if as_json:
        print_last(to_json([entry_facts(one, queue.runs_dir) for one in entries]))
    elif not entries:
        print_last(f"nothing is queued in {queue.runs_dir}: gpt-tui sweep fills the queue")
    else:
        left = sum(not one.is_over for one in entries)
        go_on = f"{program()} queue run{in_runs_dir(queue.runs_dir)}"
        more = f"\n{counted(left, 'run')} to go: {go_on}" if left else ""
        print_last(queue_table(entries) + more)


def _parser() -> Parser:
    parser = Parser(
        "gpt-tui queue", DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", nargs="?", default="list", choices=ACTIONS)
    parser.add_argument("ids", nargs="*", type=int, metavar="ID", help="of an entry in the list")
    parser.add_argument("--all", action="store_true", help="also what was cleared away")
    parser.add_argument("--json", action="store_true", help="as one line of JSON")
    return parser
