"""``gpt-tui ps``: list the runs that are in training on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.remote.client import found_engines
from engine.remote.wire import Welcome
from engine.runs.folder import typed_name
from tui import EXIT_DONE
from tui.commands.elsewhere import add_ssh_options, carry_out_there, host_of
from tui.commands.options import Parser
from tui.terminal.stdout import put
from tui.text.numbers import format_amount, format_duration, format_loss
from tui.text.tables import format_json, format_table


def main(argv: list[str]) -> int:
    """Ask the engine behind each socket of this user."""
    parser = Parser("gpt-tui ps", "List the runs that you train on this machine, in all terminals.")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each instead")
    parser.add_argument("--host", metavar="HOST", help="on another machine, which ssh reaches")
    add_ssh_options(parser)
    args = parser.parse_args(argv)
    if args.host is not None:
        return carry_out_there(host_of(args.host, args), ["ps", *(["--json"] if args.json else [])])
    found = found_engines()
    if args.json:
        for one in found:
            put(format_json(_facts(one)))
    elif found:
        heads = ["run", "process", "state", "step", "val", "tokens/s", "left", "in control"]
        put(format_table(heads, [_row(one) for one in found]))
    else:
        put("no run is in training")
    return EXIT_DONE


def _facts(one: Welcome) -> dict[str, Any]:
    status = one.status
    return {
        "run": one.opened.path,
        "pid": one.pid,
        "state": str(status.state),
        "step": status.step,
        "total_steps": status.total_steps,
        "train_loss": status.train_loss,
        "val_loss": status.val_loss,
        "tokens_per_second": status.tokens_per_second,
        "seconds_left": status.seconds_left,
        "controller": one.controller,
    }


def _row(one: Welcome) -> list[str]:
    status = one.status
    return [
        typed_name(Path(one.opened.path)),
        str(one.pid),
        str(status.state),
        f"{status.step:,}/{status.total_steps:,}",
        format_loss(status.val_loss),
        format_amount(status.tokens_per_second),
        format_duration(status.seconds_left),
        one.controller,
    ]
