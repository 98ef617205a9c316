"""``gpt-tui lr-finder``: suggest a learning rate, by a short training with a rising rate."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from data.paths import quoted
from engine.program import program
from engine.runs.folder import in_runs_dir
from tui import EXIT_DONE
from tui.commands.headless import CLEAR_LINE
from tui.commands.options import (
    Parser,
    add_config_options,
    config_of,
    finite_number,
    gathering,
    runs_dir_of,
    say_started,
    warn_of_unused,
    whole_number,
)
from tui.terminal.stdout import complain, print_last, say
from tui.terminal.visible import Control
from tui.text.numbers import format_loss, format_rate
from tui.text.tables import format_json

if TYPE_CHECKING:
    from engine.config.schema import Config
    from engine.config.setting import Value
    from engine.lr_finder.finder import LRFinder
    from engine.lr_finder.ramp import Ramp, Suggestion
    from engine.metrics import Column

WIDEST, CHART_ROWS = 100, 16


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    config, ramp = _asked(args)
    warn_of_unused(config, args.set)

    from engine.lr_finder.finder import prepare
    from engine.metrics import Column

    losses = Column(ramp.smoothing)
    test = prepare(config, ramp, losses, say_started, complain, lambda: False)
    suggestion = _find(test)
    settings = suggestion.changes(config)
    go_on = _go_on(args, config, settings)
    if args.json:
        print_last(format_json(_facts(test, suggestion, settings, go_on)))
    else:
        print_last(_described(ramp, losses, suggestion, settings, go_on))
    return EXIT_DONE


def _parser() -> Parser:
    parser = Parser(
        "gpt-tui lr-finder",
        "Train a temporary model while its learning rate rises, and suggest a rate "
        "(Smith 2017, section 3.3). No run is created.",
    )
    add_config_options(parser)
    parser.add_argument(
        "--from",
        dest="first",
        type=finite_number,
        default=1e-6,
        metavar="LR",
        help="first rate (default: 1e-6)",
    )
    parser.add_argument(
        "--to", dest="last", type=finite_number, metavar="LR", help="last rate (default: 1)"
    )
    parser.add_argument(
        "--steps",
        type=whole_number,
        default=100,
        metavar="N",
        help="number of steps (default: 100)",
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON on stdout")
    parser.set_defaults(name=None)
    return parser


def _asked(args: argparse.Namespace) -> tuple[Config, Ramp]:
    """Return the configuration to train, and its rates.

    Raises:
        InputError: All problems of the options at once.
    """
    from data.errors import InputError
    from engine.config.schema import Config
    from engine.lr_finder.ramp import Ramp, ramp_for

    problems: list[str] = []
    config, ramp = Config(), Ramp()
    with gathering(problems):
        config = config_of(args)
    with gathering(problems):
        ramp = ramp_for(config, args.first, args.last, args.steps)
    with gathering(problems):
        runs_dir_of(args)  # the suggested command contains it
    if problems:
        raise InputError(*problems)
    return config, ramp


def _find(test: LRFinder) -> Suggestion:
    """Run the finder; on a terminal, show its progress."""
    quanta, on_terminal = test.quanta(), sys.stderr.isatty()
    try:
        while True:
            next(quanta)
            if on_terminal and len(test.losses):
                _show(_how_far(test))
    except StopIteration as stop:
        suggestion: Suggestion = stop.value
        return suggestion
    finally:
        if on_terminal:
            _show("")


def _show(line: str) -> None:
    say(Control(CLEAR_LINE + line), end="")


def _how_far(test: LRFinder) -> str:
    ramp, losses = test.ramp, test.losses
    rate = ramp.rate(len(losses) - 1)
    loss = format_loss(losses.last_smoothed)
    return f"step {len(losses)}/{ramp.steps} · rate {format_rate(rate)} · loss {loss}"


# -- the report ----------------------------------------------------------------------------------


def _go_on(args: argparse.Namespace, config: Config, settings: dict[str, Value]) -> str:
    """Return the command that trains with the suggestion; empty if there is none."""
    if not settings:
        return ""
    from engine.config.schema import SETTINGS

    kept = [pair for pair in args.set if pair.partition("=")[0].strip() not in settings]
    kept += [f"{key}={SETTINGS[key].format(value)}" for key, value in settings.items()]
    options = [
        ("--preset", args.preset if args.config else config.preset),  # the file may name another
        ("--config", args.config),
        ("--data", args.data),
        ("--val", args.val),
        *(("--set", pair) for pair in kept),
    ]
    words = [str(word) for option in options if option[1] is not None for word in option]
    return f"{program()} train {' '.join(map(quoted, words))}{in_runs_dir(runs_dir_of(args))}"


def _facts(
    test: LRFinder, suggestion: Suggestion, settings: dict[str, Value], go_on: str
) -> dict[str, Any]:
    ramp, runtime = test.ramp, test.runtime
    steps, raw, smoothed = test.losses.snapshot()
    return {
        "learning_rate": suggestion.learning_rate,
        "why": suggestion.why,
        "settings": settings,
        "command": go_on or None,
        "preset": test.config.preset,
        "from": ramp.first,
        "to": ramp.last,
        "steps": ramp.steps,
        "device": runtime.device,
        "precision": runtime.precision,
        "threads": runtime.threads,
        "rates": [ramp.rate(step) for step in steps.tolist()],
        "losses": raw.tolist(),
        "smoothed": smoothed.tolist(),
    }


def _described(
    ramp: Ramp, losses: Column, suggestion: Suggestion, settings: dict[str, Value], go_on: str
) -> str:
    from engine.config.schema import SETTINGS

    rows = [*_picture(ramp, losses, suggestion), "", *_sentence(suggestion.why)]
    if len(losses) < ramp.steps:
        rate = format_rate(ramp.rate(len(losses) - 1))
        ended = f"ended at {rate}, step {len(losses)} of {ramp.steps}"
        rows += _sentence(f"the test {ended}: the loss had risen far above its minimum")
    if not settings:
        return "\n".join(rows)
    words = " and ".join(f"{key} {SETTINGS[key].format(value)}" for key, value in settings.items())
    return "\n".join([*rows, f"suggestion: {words}", "", f"  {go_on}"])


def _sentence(why: str) -> list[str]:
    return textwrap.wrap(f"{why[0].upper()}{why[1:]}.", _width())


def _width() -> int:
    return min(shutil.get_terminal_size().columns, WIDEST)


def _picture(ramp: Ramp, losses: Column, suggestion: Suggestion) -> list[str]:
    from tui.charts.chart import draw
    from tui.charts.lr_finder import rate_chart

    chart = rate_chart(ramp, losses, suggestion.learning_rate)
    frame = draw(chart, _width(), CHART_ROWS).frame
    texts = ("".join(text for text, _ in frame.row(y)) for y in range(CHART_ROWS))
    return ["training loss over learning rate", *(text.rstrip() for text in texts)]
