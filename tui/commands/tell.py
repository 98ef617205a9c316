"""``gpt-tui tell RUN …``: send a command to the process that trains a run, and await its answer."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from msgspec import structs

from data.errors import InputError
from engine.protocol import (
    Adjust,
    Adjusted,
    Command,
    Evaluate,
    Evaluated,
    Event,
    Pause,
    Refused,
    Resume,
    Sample,
    SampleFinished,
    SampleStarted,
    SampleText,
    Save,
    Saved,
    State,
    StateChanged,
    Stop,
)
from engine.remote.client import Connection, Unreachable, connect, welcomed
from engine.remote.wire import Goodbye, Records, Update, Welcome
from engine.runs.folder import is_locked
from tui import EXIT_DONE
from tui.commands.elsewhere import AnywhereParser
from tui.commands.options import changes_of
from tui.terminal.stdout import put
from tui.text.notices import nothing_trains
from tui.text.numbers import format_loss
from tui.text.tables import format_json

SECONDS = 600.0  # for the answer: evaluating the whole split can take long
WHAT = ("pause", "resume", "set", "sample", "evaluate", "save", "stop", "status")


def main(argv: list[str]) -> int:
    """Send one command."""
    parser = AnywhereParser(
        "tell",
        "Send a command to the process that trains RUN: pause, resume, set name=value …, "
        "sample [PROMPT], evaluate, save, stop or status.",
    )
    parser.add_argument("what", metavar="COMMAND", choices=WHAT, help=f"one of: {', '.join(WHAT)}")
    parser.add_argument(
        "arguments", nargs="*", metavar="ARG", help="settings for set; a prompt for sample"
    )
    parsed = parser.parse_anywhere(argv)
    if isinstance(parsed, int):
        return parsed
    args, run = parsed
    told = tell(run, command_of(args.what, args.arguments))
    put(format_json(told) if args.json else said(told))
    return EXIT_DONE


def command_of(what: str, arguments: list[str]) -> Command | None:
    """Return the command for some words; None for ``status``.

    Raises:
        InputError: The arguments do not fit it.
    """
    if what == "set":
        if not arguments:
            raise InputError("set needs at least one name=value")
        for one in arguments:
            if "=" not in one:
                raise InputError(f"set takes name=value, not {one!r}")
        return Adjust(dict(changes_of(argparse.Namespace(set=arguments))))
    if what == "sample":
        if len(arguments) > 1:
            raise InputError('sample takes one prompt: put it in quotes, as in sample "To be"')
        return Sample({"prompt": arguments[0]} if arguments else {})
    if arguments:
        raise InputError(f"{what} takes no argument, and {arguments[0]!r} was given")
    simple: dict[str, type[Command]] = {
        "pause": Pause,
        "resume": Resume,
        "evaluate": Evaluate,
        "save": Save,
        "stop": Stop,
    }
    return simple[what]() if what in simple else None


def tell(run: Path, command: Command | None) -> dict[str, Any]:
    """Send a command, and return its answer and the status in plain values.

    Raises:
        InputError: Nothing trains the run, or the command was refused.
    """
    try:
        connection = connect(run, "tell")
        welcome = welcomed(connection)
    except Unreachable as why:
        if is_locked(run):
            raise InputError(f"the run {run.name!r} cannot be reached: {why}") from None
        raise InputError(nothing_trains(run)) from None
    try:
        answered = _answer(connection, command) if command else {}
    finally:
        connection.close()
    status = answered.pop("status", None) or welcome.status
    return {
        "run": str(run),
        "state": str(answered.pop("state", status.state)),
        "step": answered.pop("step", status.step),
        "train_loss": status.train_loss,
        "val_loss": answered.pop("val_loss", status.val_loss),
        **answered,
    }


def _answer(connection: Connection, command: Command) -> dict[str, Any]:
    """Send a command, and wait until it is carried out."""
    connection.send(structs.replace(command, request_id=1))
    told: dict[str, Any] = {}
    texts: dict[int, str] = {}
    until = time.monotonic() + SECONDS
    while True:
        try:
            event = connection.take(max(0.0, until - time.monotonic()))
        except TimeoutError:
            raise InputError(f"no answer came in {SECONDS:.0f} s: try again later") from None
        if event is None or isinstance(event, Goodbye):
            if isinstance(command, Stop):
                return told
            raise InputError("the process that trains the run has ended before it answered")
        if isinstance(event, Update):
            told["status"] = event.status
        elif isinstance(event, SampleText) and event.sample in texts:
            texts[event.sample] += event.text
        elif isinstance(event, SampleFinished) and event.sample in texts:
            return told | {"text": texts[event.sample]}
        elif isinstance(event, Welcome | Records) or event.request_id != 1:
            continue
        elif isinstance(event, Refused):
            raise InputError(*event.message.splitlines())
        elif isinstance(event, SampleStarted):
            texts[event.sample] = ""
        elif not isinstance(event, SampleFinished | SampleText):
            told |= _result(event)
            if not isinstance(command, Stop):
                return told


def _result(event: Event) -> dict[str, Any]:
    match event:
        case StateChanged():
            return {"state": event.state, "step": event.step}
        case Adjusted():
            return {"step": event.step, "changes": event.changes}
        case Evaluated():
            return {"step": event.step, "val_loss": event.val_loss, "measured": event.measured}
        case Saved():
            return {"step": event.step, "saved": event.path}
    return {}


def said(told: dict[str, Any]) -> str:
    """Return an answer in words."""
    if "text" in told:
        return str(told["text"])
    state = State(told["state"])
    lines = [f"{state}, step {told['step']:,}, val {format_loss(told['val_loss'])}"]
    for key, (before, after) in told.get("changes", {}).items():
        lines.append(f"{key}: {before} → {after}")
    if "saved" in told:
        lines.append(f"saved in {told['saved']}")
    return "\n".join(lines)
