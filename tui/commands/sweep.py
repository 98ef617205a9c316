"""``gpt-tui sweep``: train the same run with different settings, one after the other."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from data.errors import InputError, suggest
from engine.config.setting import Value
from engine.program import program
from engine.runs.folder import in_runs_dir
from engine.sweeps.grid import Axis, Plan, draw, format_changes, grid, parse_axes, plan
from engine.sweeps.median_rule import AFTER_RUNS, MedianRule, rule_warnings
from engine.sweeps.queue import Queue
from tui import EXIT_DONE
from tui.commands.options import (
    Parser,
    add_config_options,
    command_line,
    config_of,
    gathering,
    runs_dir_of,
    say_started,
    whole_number,
)
from tui.commands.queue import train_queue
from tui.terminal.stdout import complain, print_last, say
from tui.text.leaderboard import format_key, format_leaderboard, format_value, place_facts
from tui.text.numbers import format_count
from tui.text.tables import format_json, format_table

EXAMPLES = """examples:
  gpt-tui sweep "optim.learning_rate=1e-4..1e-2 log x5" model.n_layer=2,4
  gpt-tui sweep optim.weight_decay=0..0.3 "optim.learning_rate=1e-4..1e-2 log" --random 20
  gpt-tui sweep "optim.learning_rate=1e-4..1e-1 log" --random 16 --stop median
  gpt-tui sweep --resume             # continue an interrupted sweep
  gpt-tui sweep NAME --leaderboard   # the runs so far, the best first"""


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    queue = Queue(runs_dir_of(args))
    if args.resume is not None or args.leaderboard:
        name = _existing_sweep(args, queue)
    else:
        planned, rule = _plan(args, queue), None
        if args.stop:
            rule = MedianRule(args.stop_after_runs or AFTER_RUNS, args.stop_after_steps or 0)
        idle = rule_warnings(rule, [trial.config for trial in planned.trials]) if rule else []
        for warning in planned.ineffective_settings() + idle:
            complain(warning)
        if args.dry_run:
            _print_plan(planned, queue, None, args.json)
            return EXIT_DONE
        name = queue.add(planned.trials, command_line("gpt-tui sweep", argv), args.name or "", rule)
        if args.queue_only:
            _print_plan(planned, queue, name, args.json)
            return EXIT_DONE
        say(f"sweep {name}\n{format_plan(planned)}")
    code = EXIT_DONE if args.leaderboard else train_queue(queue, name)
    _print_leaderboard(queue, name, args.json)
    return code


def _parser() -> Parser:
    parser = Parser(
        "gpt-tui sweep",
        "Train the same run with different settings, one after the other, and rank them. Ctrl-C "
        "saves and stops.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="name=VALUES",
        help="a,b,c or LOW..HIGH with xN values, spaced evenly or, with 'log', logarithmically",
    )
    add_config_options(parser)
    parser.add_argument(
        "--random", type=whole_number, metavar="N", help="draw N combinations, not all"
    )
    parser.add_argument(
        "--seed", type=whole_number, metavar="S", help="of the random draws (default: 0)"
    )
    parser.add_argument(
        "--stop", choices=("median",), help="stop runs that are worse than half of the others"
    )
    parser.add_argument(
        "--stop-after-runs",
        type=whole_number,
        metavar="N",
        help=f"but only when N others have reached the same step (default: {AFTER_RUNS})",
    )
    parser.add_argument(
        "--stop-after-steps",
        type=whole_number,
        metavar="N",
        help="and never before step N (default: a quarter of the steps)",
    )
    parser.add_argument("--name", help="of the sweep; its runs are NAME-1, NAME-2 …")
    parser.add_argument("--dry-run", action="store_true", help="only list the runs")
    parser.add_argument("--queue-only", action="store_true", help="queue the runs, train later")
    parser.add_argument(
        "--resume", nargs="?", const="", metavar="NAME", help="a sweep (default: the newest)"
    )
    parser.add_argument("--leaderboard", action="store_true", help="only rank a sweep's runs")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON on stdout")
    return parser


# -- planning ------------------------------------------------------------------------------------


def _plan(args: argparse.Namespace, queue: Queue) -> Plan:
    """Return the runs that are asked for.

    Raises:
        InputError: Options are invalid, all problems at once, or no run is possible.
    """
    axes, problems = parse_axes(args.settings)
    if not args.settings:
        problems.append(
            'say what to sweep, as in gpt-tui sweep "optim.learning_rate=1e-4..1e-2 log x5"'
        )
    if args.seed is not None and args.random is None:
        problems.append("--seed goes with --random N")
    for option in ("--stop-after-runs", "--stop-after-steps"):
        number = getattr(args, option[2:].replace("-", "_"))
        if number is not None and args.stop is None:
            problems.append(f"{option} goes with --stop median")
        elif number is not None and number < 1:
            problems.append(f"{option} takes 1 or more, not {number:,}")
    if args.name is not None:
        with gathering(problems):
            queue.check_name(args.name)
    with gathering(problems):  # --name is the sweep's here, not a run's
        config = config_of(argparse.Namespace(**{**vars(args), "name": None}))
    if problems:
        raise InputError(*problems)
    return _fitting(plan(config, _combinations(axes, args.random, args.seed or 0)))


def _combinations(axes: Sequence[Axis], count: int | None, seed: int) -> list[dict[str, Value]]:
    if count is None:
        return grid(axes)
    drawn = draw(axes, count, seed)
    if len(drawn) < count:
        say(f"there are only {len(drawn)} different combinations")
    return drawn


def _fitting(planned: Plan) -> Plan:
    """Leave out the runs that need a longer text or more memory.

    Raises:
        InputError: A text is not available, or no run is possible.
    """
    from data.download import Watcher
    from engine.runs.text import check_fit, read_text

    watcher = Watcher(say_started, lambda: False)
    wanted = dict.fromkeys(trial.config.data for trial in planned.trials)
    texts = {data: read_text(data, watcher) for data in wanted}
    fitting, impossible = [], list(planned.impossible)
    for trial in planned.trials:
        corpus, tokenizer, split = texts[trial.config.data]
        try:
            check_fit(trial.config.model, tokenizer, split, corpus.validation is None)
            fitting.append(trial)
        except InputError as error:
            impossible.append(replace(trial, problems=tuple(error.problems)))
    if not fitting:
        raise InputError(*dict.fromkeys(p for one in impossible for p in one.problems))
    return Plan(tuple(fitting), tuple(impossible))


def _print_plan(planned: Plan, queue: Queue, name: str | None, as_json: bool) -> None:
    if as_json:
        runs = [{"number": i, "settings": one.changes} for i, one in enumerate(planned.trials, 1)]
        impossible = [
            {"settings": one.changes, "problems": list(one.problems)} for one in planned.impossible
        ]
        print_last(format_json({"sweep": name, "runs": runs, "impossible": impossible}))
        return
    print_last(format_plan(planned))
    if name is not None:
        print_last(f"queued as {name}: {_resume_command(name, queue)} trains them")


def format_plan(planned: Plan) -> str:
    """Return a table of the runs, and the combinations that are left out."""
    keys = list(planned.trials[0].changes)
    rows = [
        (str(number), *(format_value(key, trial.changes[key]) for key in keys))
        for number, trial in enumerate(planned.trials, start=1)
    ]
    lines = [
        format_table(("", *map(format_key, keys)), rows, right=range(len(keys) + 1)),
        format_count(len(rows), "run"),
    ]
    if planned.impossible:
        lines.append(f"left out, because they are not possible: {len(planned.impossible)}")
    for one in planned.impossible:
        lines.append(f"  {format_changes(one.changes)}: {'; '.join(one.problems)}")
    return "\n".join(lines)


# -- existing sweeps -----------------------------------------------------------------------------


def _existing_sweep(args: argparse.Namespace, queue: Queue) -> str:
    """Return the name of the sweep to resume or to rank.

    Raises:
        InputError: There is no such sweep, or options of a new one were given.
    """
    names: list[str] = args.settings + ([args.resume] if args.resume else [])
    given = (
        *("preset", "config", "data", "set", "name", "random", "seed", "dry_run", "queue_only"),
        *("stop", "stop_after_runs", "stop_after_steps"),
    )
    extra = any(getattr(args, name) for name in given)
    if extra or len(names) > 1 or any("=" in name for name in names):
        raise InputError(
            "--resume and --leaderboard take the name of one sweep and no option of a new one: "
            "leave the rest out"
        )
    sweeps = queue.sweeps()
    if not sweeps:
        begins = f"{program()} sweep model.n_layer=1,2 --queue-only{in_runs_dir(queue.runs_dir)}"
        raise InputError(f"there is no sweep in {queue.runs_dir} yet: {begins} queues one")
    if not names:
        entries = queue.entries(cleared=True)
        unfinished = {entry.sweep for entry in entries if not entry.is_over}
        to_resume = [sweep for sweep in sweeps if sweep in unfinished]
        return (to_resume if to_resume and args.resume is not None else sweeps)[-1]
    if names[0] not in sweeps:
        raise InputError(f"there is no sweep {names[0]!r}: {suggest(names[0], sweeps)}")
    return names[0]


def _print_leaderboard(queue: Queue, name: str, as_json: bool) -> None:
    from engine.sweeps.leaderboard import leaderboard  # imports numpy

    entries = queue.entries(name)
    places = leaderboard(queue, entries)
    if as_json:
        runs = [place_facts(place, queue.runs_dir) for place in places]
        print_last(format_json({"sweep": name, "runs": runs}))
        return
    left = sum(not entry.is_over for entry in entries)
    more = f"\n{format_count(left, 'run')} to go: {_resume_command(name, queue)}" if left else ""
    print_last(f"sweep {name}\n{format_leaderboard(places)}{more}")


def _resume_command(name: str, queue: Queue) -> str:
    return f"{program()} sweep --resume {name}{in_runs_dir(queue.runs_dir)}"
