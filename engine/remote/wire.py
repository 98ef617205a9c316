"""What goes through the socket of an engine: one line of JSON for each message.

From a client comes ``Hello`` and then commands (``engine.protocol``), from the engine ``Welcome``
and then events and ``Update``. A message is tagged with the name of its class as ``type``. Nothing
received is ever executed or unpickled.
"""

from __future__ import annotations

import functools
import json
import operator
from math import nan
from typing import Any, get_type_hints

import msgspec
import numpy as np
from msgspec import Struct, structs

from engine.metrics import Mark, Steps, Values
from engine.protocol import Command, Event, Inspect, Inspected, RunOpened, Status
from engine.remote.packing import pack, unpack

PROTOCOL = 3  # raised when older programs could not understand a message
MOST_BYTES = 1 << 20  # of a line from a client


class Hello(Struct, frozen=True, tag=True):
    """The first line of a client.

    Attributes:
        who: The user, the machine and the process, as others are told.
        role: ``control``, ``watch``, ``take`` (control, from whoever has it) or ``tell`` (a
            script that sends single commands, beside whoever has control).
        token: Of a client that comes back after its link was lost, and is in control if it was.
    """

    protocol: int
    who: str
    role: str = "control"
    token: str = ""


class Welcome(Struct, frozen=True, tag=True):
    """The first line to a client.

    Attributes:
        controller: Who has control; empty if that is the client.
    """

    protocol: int
    pid: int
    host: str
    version: str
    opened: RunOpened
    status: Status
    controller: str = ""


class Goodbye(Struct, frozen=True, tag=True):
    """The last line to a client that cannot stay."""

    why: str


class Rows(Struct, frozen=True):
    """Rows of a curve from ``first`` on; see ``rows_to_bytes``.

    With a ``first`` of 0 they replace what is there.
    """

    name: str
    first: int
    steps: bytes
    values: bytes


def rows_to_bytes(steps: Steps, values: Values) -> tuple[bytes, bytes]:
    """Return steps as int64 and values as float64, little-endian.

    Of steps without a gap it is the first alone, which is half of a long curve.
    """
    follow = len(steps) > 1 and steps[-1] - steps[0] == len(steps) - 1
    told = steps[:1] if follow else steps
    return told.astype("<i8").tobytes(), values.astype("<f8").tobytes()


def rows_from_bytes(steps: bytes, values: bytes) -> tuple[Steps, Values]:
    """Return the steps and values of ``rows_to_bytes``.

    Raises:
        ValueError: They are none.
    """
    all_values = np.frombuffer(values, "<f8").astype(np.float64)
    all_steps = np.frombuffer(steps, "<i8").astype(np.int64)
    if len(all_steps) == 1:
        all_steps = np.arange(all_steps[0], all_steps[0] + len(all_values))
    if len(all_steps) != len(all_values):
        raise ValueError("a curve has more or fewer values than steps")
    return all_steps, all_values


class Marks(Struct, frozen=True):
    """All that is marked in charts; see ``MetricStore``."""

    marks: list[Mark]
    events: list[Mark]
    bests: list[Mark]
    references: dict[str, float]


class Update(Struct, frozen=True, tag=True):
    """The status, and what is new in the curves."""

    status: Status
    rows: list[Rows] = []
    marks: Marks | None = None


class Points(Struct, frozen=True):
    """More of a curve of a branch; see ``rows_to_bytes``."""

    branch: int
    name: str
    steps: bytes
    values: bytes


class Records(Struct, frozen=True, tag=True):
    """What is new in a run's folder, for a client on another machine.

    Attributes:
        config: The file of its settings.
        meta: All facts of its database.
        branches, samples, journal: Rows of its tables, as they are stored.
        curves: Of the losses on all branches.
        checkpoints: The manifest of each, by its name; None if they are as before.
        pinned: Those that are kept for good.
    """

    config: str
    meta: dict[str, Any]
    branches: list[tuple[int, int | None, int, float]]
    samples: list[tuple[int, int, int, float | None, str, str, float]]
    journal: list[tuple[int, int, int, str, str, float]]
    curves: list[Points]
    checkpoints: dict[str, str] | None = None
    pinned: list[str] = []


EVENTS = Event.__subclasses__()
ToEngine = functools.reduce(operator.or_, [Hello, *Command.__subclasses__()])
ToClient = functools.reduce(operator.or_, [Welcome, Goodbye, Update, Records, *EVENTS])

Told = Welcome | Goodbye | Update | Records | Event  # from an engine

_encode = msgspec.json.Encoder().encode


def encode(message: Struct) -> bytes:
    """Return a message as a line."""
    if isinstance(message, Inspected):
        message = structs.replace(message, found=pack(message.found))
    elif isinstance(message, Inspect):
        message = structs.replace(message, options=pack(message.options))
    try:
        return _encode(message) + b"\n"
    except UnicodeEncodeError:  # a path that is not UTF-8, which msgspec does not write
        return json.dumps(msgspec.to_builtins(message)).encode() + b"\n"


def from_client(line: bytes) -> Hello | Command:
    """Read a line of a client.

    Raises:
        ValueError: It is no message; in one line why.
    """
    told: Hello | Command = _decoded(line, ToEngine)
    if isinstance(told, Inspect):
        options = unpack(told.options)
        if not isinstance(options, dict):
            raise ValueError("options are no table")
        return structs.replace(told, options=options)
    return told


def from_engine(line: bytes) -> Told:
    """Read a line of an engine.

    Raises:
        ValueError: It is no message; in one line why.
    """
    told: Told = _decoded(line, ToClient)
    if isinstance(told, Inspected):
        return structs.replace(told, found=unpack(told.found))
    return told


def _decoded(line: bytes, kinds: Any) -> Any:
    try:
        return msgspec.convert(_with_nan(_parsed(line)), kinds)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ValueError(str(error).replace("\n", " ")) from None


def _parsed(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        return json.loads(line)  # which reads half of a surrogate pair, as of such a path


def _with_nan(told: Any) -> Any:
    """Put NaN where a number is missing: JSON has none, and msgspec writes null for it."""
    if not isinstance(told, dict):
        return told
    lists = told["marks"].values() if isinstance(told.get("marks"), dict) else ()
    marks = [mark for one in lists if isinstance(one, list) for mark in one]
    places = [(told, name) for name in _numbers(told.get("type"))]
    places += [(mark, "value") for mark in marks if isinstance(mark, dict)]
    for place, name in places:
        if name in place and place[name] is None:
            place[name] = nan
    return told


@functools.cache
def _fields_of_floats() -> dict[str, tuple[str, ...]]:
    return {
        kind.__name__: tuple(k for k, v in get_type_hints(kind).items() if v is float)
        for kind in EVENTS
    }


def _numbers(kind: Any) -> tuple[str, ...]:
    return _fields_of_floats().get(kind, ()) if isinstance(kind, str) else ()
