"""``gpt-tui sweep``: the same run with different settings, one after the other."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError
from engine.config.setting import Value
from engine.program import program
from engine.runs.folder import in_runs_dir
from engine.sweeps.grid import (
    Axis,
    Impossible,
    Plan,
    Trial,
    draw,
    format_changes,
    grid,
    parse_axes,
    plan,
)
from engine.sweeps.median_rule import AFTER_RUNS, MedianRule, rule_warnings
from engine.sweeps.queue import Queue
from engine.sweeps.queue_entry import RunRequest
from tui.commands import EXIT_DONE
from tui.commands.options import (
    Parser,
    add_config_options,
    command_line,
    config_of,
    gathering,
    runs_dir_of,
)
from tui.terminal.stdout import complain, print_last
from tui.text.leaderboard import leaderboard_table, place_facts, short, shown
from tui.text.numbers import counted
from tui.text.tables import table, to_json

if TYPE_CHECKING:
    from engine.config.schema import Config

EXAMPLES = """examples:
  gpt-tui sweep "optim.learning_rate=1e-4..1e-2 log x5" model.n_layer=2,4
  gpt-tui sweep optim.weight_decay=0..0.3 "optim.learning_rate=1e-4..1e-2 log" --random 20
  gpt-tui sweep "optim.learning_rate=1e-4..1e-1 log" --random 16 --stop median
  gpt-tui sweep --resume             # what was stopped or is still to come
  gpt-tui sweep NAME --leaderboard   # the runs so far, the best first"""


def main(argv: list[str]) -> int:
    """Fill the queue with a sweep and train it, or go on with one."""
    args = _parser().parse_args(argv)
    queue = Queue(runs_dir_of(args))
    if args.resume is not None or args.leaderboard:
        name = _known_sweep(args, queue)
    else:
        planned = _fitting(_planned(args))
        rule = _rule(args)
        for told in planned.ineffective_settings() + _idle_rule(rule, planned):
            complain(told)
        if args.dry_run:
            _print_plan(args, planned, None)
            return EXIT_DONE
        wishes = [RunRequest(trial.config, trial.changes) for trial in planned.trials]
        name = queue.add(wishes, command_line("gpt-tui sweep", argv), args.name or "", rule)
        if args.queue_only:
            _print_plan(args, planned, name)
            return EXIT_DONE
        print(f"sweep {name}\n{_format_plan(planned)}", file=sys.stderr)
    code = EXIT_DONE
    if not args.leaderboard:
        from tui.commands.queue_worker import work_off

        code = work_off(queue, name)
    _report(queue, name, args.json)
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
        metavar="section.name=VALUES",
        help="a,b,c or LOW..HIGH with xN values, evenly spaced or 'log'",
    )
    add_config_options(parser)
    parser.add_argument("--random", type=int, metavar="N", help="draw N runs, not the whole grid")
    parser.add_argument("--seed", type=int, metavar="S", help="of what is drawn (default: 0)")
    parser.add_argument(
        "--stop", choices=("median",), help="stop runs that are worse than half of the others"
    )
    parser.add_argument(
        "--stop-after-runs",
        type=int,
        metavar="N",
        help=f"only once N others came as far (default: {AFTER_RUNS})",
    )
    parser.add_argument(
        "--stop-after-steps",
        type=int,
        metavar="N",
        help="and never before step N (default: a quarter of the steps)",
    )
    parser.add_argument("--name", help="of the sweep; its runs are NAME-1, NAME-2 …")
    parser.add_argument("--dry-run", action="store_true", help="only list the runs")
    parser.add_argument("--queue-only", action="store_true", help="queue the runs, train later")
    parser.add_argument(
        "--resume", nargs="?", const="", metavar="NAME", help="go on (default: the newest sweep)"
    )
    parser.add_argument("--leaderboard", action="store_true", help="only rank a sweep's runs")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON on stdout")
    return parser


# -- planning ------------------------------------------------------------------------------------


def _planned(args: argparse.Namespace) -> Plan:
    """The runs that are asked for.

    Raises:
        InputError: All that is wrong with the words, at once.
    """
    axes, problems = parse_axes(args.settings)
    if not args.settings:
        problems.append(
            'say what to sweep, as in gpt-tui sweep "optim.learning_rate=1e-4..1e-2 log x5"'
        )
    if args.seed is not None and args.random is None:
        problems.append("--seed goes with --random N")
    problems += _problems_of_rule(args)
    if args.name:
        with gathering(problems):
            Queue(runs_dir_of(args)).check_name(args.name)
    config: Config | None = None
    with gathering(problems):
        config = config_of(argparse.Namespace(**{**vars(args), "name": None}))
    if problems or config is None:
        raise InputError(*problems)
    return plan(config, _combinations(axes, args.random, args.seed or 0))


def _problems_of_rule(args: argparse.Namespace) -> list[str]:
    given = {"--stop-after-runs": args.stop_after_runs, "--stop-after-steps": args.stop_after_steps}
    problems = []
    for option, number in given.items():
        if number is not None and args.stop is None:
            problems.append(f"{option} goes with --stop median")
        elif number is not None and number < 1:
            problems.append(f"{option} takes 1 or more, not {number:,}")
    return problems


def _rule(args: argparse.Namespace) -> MedianRule | None:
    """What stops hopeless runs, if that is asked for."""
    if args.stop is None:
        return None
    return MedianRule(args.stop_after_runs or AFTER_RUNS, args.stop_after_steps or 0)


def _idle_rule(rule: MedianRule | None, planned: Plan) -> list[str]:
    return rule_warnings(rule, [trial.config for trial in planned.trials]) if rule else []


def _combinations(axes: Sequence[Axis], count: int | None, seed: int) -> list[dict[str, Value]]:
    drawn = grid(axes) if count is None else draw(axes, count, seed)
    if count is not None and len(drawn) < count:
        print(f"there are only {len(drawn)} different combinations", file=sys.stderr)
    return drawn


def _fitting(planned: Plan) -> Plan:
    """The plan without the runs that their text or the memory is too small for.

    Raises:
        InputError: A text cannot be used, or none of the runs fits.
    """
    from data.download import Watcher
    from engine.runs.open import check_fit, read_text

    watcher = Watcher(lambda line: print(f"{line} …", file=sys.stderr), lambda: False)
    wanted = dict.fromkeys(trial.config.data for trial in planned.trials)
    texts = {data: read_text(data, watcher) for data in wanted}
    fitting, impossible = [], list(planned.impossible)
    for trial in planned.trials:
        _, tokenizer, split = texts[trial.config.data]
        try:
            check_fit(trial.config.model, tokenizer, split)
            fitting.append(trial)
        except InputError as error:
            impossible.append(Impossible(trial.changes, tuple(error.problems)))
    if not fitting:
        raise InputError(*dict.fromkeys(p for one in impossible for p in one.problems))
    return Plan(tuple(fitting), tuple(impossible))


def _print_plan(args: argparse.Namespace, planned: Plan, name: str | None) -> None:
    if args.json:
        runs = [{"number": i, "settings": one.changes} for i, one in enumerate(planned.trials, 1)]
        impossible = [
            {"settings": one.changes, "problems": list(one.problems)} for one in planned.impossible
        ]
        print_last(to_json({"sweep": name, "runs": runs, "impossible": impossible}))
        return
    print_last(_format_plan(planned))
    if name is not None:
        print_last(f"queued as {name}: {_go_on(name, runs_dir_of(args))} trains them")


def _format_plan(planned: Plan) -> str:
    lines = [_trial_table(planned.trials), counted(len(planned.trials), "run")]
    if planned.impossible:
        lines.append(f"left out, because they cannot be: {len(planned.impossible)}")
        lines += [_refusal(one) for one in planned.impossible]
    return "\n".join(lines)


def _trial_table(trials: Sequence[Trial]) -> str:
    keys = list(trials[0].changes)
    rows = [
        (str(number), *(shown(key, trial.changes[key]) for key in keys))
        for number, trial in enumerate(trials, start=1)
    ]
    return table(("", *map(short, keys)), rows, right=range(len(keys) + 1))


def _refusal(one: Impossible) -> str:
    return f"  {format_changes(one.changes)}: {'; '.join(one.problems)}"


# -- going on ------------------------------------------------------------------------------------


def _known_sweep(args: argparse.Namespace, queue: Queue) -> str:
    """The sweep to go on with or to rank.

    Raises:
        InputError: There is none of that name, or words that describe a new one were given.
    """
    named = list(args.settings)
    if args.resume:
        named.append(args.resume)
    given = (
        *("preset", "config", "data", "set", "name", "random", "seed", "dry_run", "queue_only"),
        *("stop", "stop_after_runs", "stop_after_steps"),
    )
    extra = [f"--{name.replace('_', '-')}" for name in given if getattr(args, name)]
    if extra or len(named) > 1 or any("=" in one for one in named):
        raise InputError(
            "--resume and --leaderboard take the name of one sweep and nothing that describes a "
            "new one: leave the rest out"
        )
    sweeps = queue.sweeps()
    if not sweeps:
        raise InputError(f"there is no sweep in {queue.runs_dir} yet: gpt-tui sweep begins one")
    name = named[0] if named else _newest(sweeps, queue, unfinished=args.resume is not None)
    if name not in sweeps:
        raise InputError(f"there is no sweep {name!r}: there are {', '.join(sweeps)}")
    return name


def _newest(sweeps: list[str], queue: Queue, unfinished: bool) -> str:
    """The newest sweep; of those that are not over, if there are such and they are asked for."""
    left = [one for one in sweeps if not all(entry.is_over for entry in queue.entries(one))]
    return (left if left and unfinished else sweeps)[-1]


def _report(queue: Queue, name: str, as_json: bool) -> None:
    from engine.sweeps.leaderboard import leaderboard

    runs_dir: Path = queue.runs_dir
    entries = queue.entries(name)
    places = leaderboard(entries, runs_dir)
    if as_json:
        runs = [place_facts(place, runs_dir) for place in places]
        print_last(to_json({"sweep": name, "runs": runs}))
        return
    left = sum(not entry.is_over for entry in entries)
    more = f"\n{counted(left, 'run')} to go: {_go_on(name, runs_dir)}" if left else ""
    print_last(f"sweep {name}\n{leaderboard_table(places)}{more}")


def _go_on(name: str, runs_dir: Path) -> str:
    return f"{program()} sweep --resume {name}{in_runs_dir(runs_dir)}"
