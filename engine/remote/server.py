"""Let other processes watch and control the run that this one trains.

One thread serves all clients. What training costs is handing over each event and, ten times a
second, reading the status and the ends of the curves. A client that reads too slowly is given
everything anew once it has caught up, and one that does not read at all is dropped.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from msgspec import Struct, structs

from data.errors import InputError
from engine.metrics import MetricStore
from engine.program import PROGRAM, VERSION
from engine.protocol import (
    Command,
    Controlled,
    Describe,
    Event,
    FindLearningRate,
    Inspect,
    Inspected,
    Open,
    Refused,
    RunOpened,
    SampleFinished,
    SampleStarted,
    SampleText,
    Start,
    Status,
    TakeControl,
    Warned,
)
from engine.remote.address import (
    host_name,
    is_own,
    listen,
    remove_address,
    socket_of,
    write_address,
)
from engine.remote.wire import (
    MOST_BYTES,
    PROTOCOL,
    Goodbye,
    Hello,
    Marks,
    Rows,
    Update,
    Welcome,
    encode,
    from_client,
    rows_to_bytes,
)
from engine.runs.folder import typed_name

UPDATE_SECONDS = 0.1
LOOK_SECONDS = 5.0  # between two looks whether the socket is still there
HELLO_SECONDS = 10.0  # for the first line of a client
MOST_BUFFERED = 1 << 22  # bytes on their way to a client; beyond it is behind
CLOSE_SECONDS = 1.0  # for clients to read what is left, at the end
STUCK_SECONDS = 60.0  # after which a client that reads nothing is dropped
MOST_CLIENTS = 32
MOST_FOUND = 1 << 25  # bytes of one answer about the inside of the model
MOST_PATTERNS = 1 << 22  # bytes of attention patterns in it; of more, one head's are given
SIDES = 1 << 10  # more than a screen has
OWN_REQUESTS = 1 << 40  # ids from here on are none that the owner of the engine uses
ROLES = ("control", "watch", "take", "tell")
HERE_ALONE = Start, Open, FindLearningRate  # commands for the engine of one's own process


class Served(Protocol):
    """What is served: an ``EngineLoop``."""

    @property
    def status(self) -> Status: ...

    @property
    def metrics(self) -> MetricStore: ...

    def send(self, command: Command) -> None: ...


class EngineServer:
    """Serves the open run of an engine, until it is closed.

    Raises:
        InputError: There is no place for the socket.
        OSError: It cannot be made, or the run's folder cannot be written.
    """

    def __init__(self, engine: Served, run: Path) -> None:
        self._engine, self._run = engine, run
        self._attach = f"{PROGRAM} attach {typed_name(run)}"
        self._clients: list[_Client] = []
        self._controller: _Client | None = None
        self._writing: dict[int, list[Event]] = {}  # what was told of each text that is written
        # of requests to the engine: whose they are, and which they are of that client
        self._asked: dict[int, tuple[_Client, int]] = {}
        self._numbers = itertools.count(OWN_REQUESTS)
        self._client_numbers = itertools.count(1)
        self._path = socket_of(run)
        self._socket = listen(self._path)
        try:
            write_address(run, self._path)
        except OSError:
            self._socket.close()
            raise
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="server", daemon=True)
        self._thread.start()

    @property
    def has_controller(self) -> bool:
        """Whether somebody is there who can resume a paused run."""
        return self._controller is not None

    def hear(self, event: Event) -> bool:
        """Pass an event on; return whether it concerns clients alone. Called by the engine."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._pass_on, event)
        return event.request_id >= OWN_REQUESTS and _is_for_one(event)

    def close(self) -> None:
        """Tell all clients what is left to tell, and end."""
        remove_address(self._run, self._path)
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(5)

    # -- in the server's thread ------------------------------------------------------------------

    def _serve(self) -> None:
        with suppress(OSError):  # whatever happens to a socket, training goes on
            self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        server = await asyncio.start_unix_server(self._meet, sock=self._socket, limit=MOST_BYTES)
        looked = time.monotonic()
        while not self._ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), UPDATE_SECONDS)
            self._update_all()
            if time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                if not self._path.exists():  # temporary folders are cleaned up now and then
                    server.close()
                    server = await self._listen_again() or server
        server.close()
        for client in self._clients:
            client.writer.close()
        closing = [asyncio.ensure_future(one.writer.wait_closed()) for one in self._clients]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_SECONDS)

    async def _listen_again(self) -> asyncio.Server | None:
        with suppress(OSError, InputError):
            self._path = socket_of(self._run)
            self._socket = listen(self._path)
            write_address(self._run, self._path)
            return await asyncio.start_unix_server(self._meet, sock=self._socket, limit=MOST_BYTES)
        return None

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = None
        try:
            hello = await self._greeted(reader, writer)
            if hello is None:
                return
            client = _Client(writer, hello, next(self._client_numbers))
            self._clients.append(client)
            self._describe(client)
            while line := await reader.readline():
                self._obey(client, line)
        except (OSError, ValueError):  # gone, or a line of more than MOST_BYTES
            pass
        finally:
            if client:
                self._leave(client)
            writer.close()

    async def _greeted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Hello | None:
        """Return the first line of a client that may stay; tell another one why not."""
        why, hello = "", None
        try:
            line = await asyncio.wait_for(reader.readline(), HELLO_SECONDS)
            told = from_client(line)
            hello = told if isinstance(told, Hello) else None
        except (TimeoutError, ValueError):
            pass
        if hello is None or hello.role not in ROLES:
            why = "the first line must be a Hello"
        elif hello.protocol != PROTOCOL:
            why = (
                f"the run is trained by gpt-tui {VERSION}, which speaks version {PROTOCOL} of the "
                f"protocol, and this program speaks {hello.protocol}: use the same version for both"
            )
        elif not is_own(writer.get_extra_info("socket")):
            why = "the run is trained by another user"
        elif len(self._clients) >= MOST_CLIENTS:
            why = f"{MOST_CLIENTS} programs are attached to this run already"
        if why:
            writer.write(encode(Goodbye(why)))
            return None
        return hello

    def _describe(self, client: _Client) -> None:
        """Ask the engine for a description of the run, with which the client begins anew."""
        client.joined = client.behind = False
        self._ask(client, Describe())

    def _ask(self, client: _Client, command: Command) -> None:
        number = next(self._numbers)
        self._asked[number] = client, command.request_id
        if isinstance(command, Inspect):  # a newer one replaces only those of the same client
            options = {**command.options, "most_bytes": MOST_PATTERNS}
            key = command.view, command.side
            self._asked.pop(client.looks.get(key, 0), None)
            client.looks[key] = number
            side = SIDES * client.number + command.side
            command = structs.replace(command, options=options, side=side)
        self._engine.send(structs.replace(command, request_id=number, sender=client.who))

    def _obey(self, client: _Client, line: bytes) -> None:
        try:
            command = from_client(line)
        except ValueError as error:
            client.write(Refused("", f"that is no command: {error}"))
            return
        if isinstance(command, Hello):
            return
        why = ""
        looks = isinstance(command, Inspect)
        if isinstance(command, HERE_ALONE) or (isinstance(command, Inspect) and _is_far(command)):
            why = "this run is open in another process, which has no other"
        elif looks:  # it changes nothing
            pass
        elif client.role == "watch":
            why = f"this is only watched: {self._attach} takes control"
        elif client.role == "tell":  # a script, beside whoever is in control
            pass
        elif self._controller in (client, None) or isinstance(command, TakeControl):
            self._give_control(client)
        else:
            why = f"{self._controller.who} is in control: {self._attach} --take takes over"
        if why:
            client.write(command.refused(why))
        elif isinstance(command, TakeControl):
            client.write(self._control_of(client, command.request_id))
        else:
            self._ask(client, command)

    def _give_control(self, client: _Client | None) -> None:
        """Put a client in control, or nobody, and tell all of them."""
        before, self._controller = self._controller, client
        if before is client:
            return
        if before and client:
            before.write(Warned(f"{client.who} has taken control of this run: here it is watched"))
        for one in self._clients:
            if one.joined:
                one.write(self._control_of(one))

    def _control_of(self, client: _Client, request_id: int = 0) -> Controlled:
        """Return who is in control, as a client is told."""
        other = self._controller if self._controller is not client else None
        return Controlled(
            other.who if other else "", watches=client.role == "watch", request_id=request_id
        )

    def _leave(self, client: _Client) -> None:
        self._clients.remove(client)
        self._asked = {n: of for n, of in self._asked.items() if of[0] is not client}
        if self._controller is client:
            self._give_control(None)

    # -- what clients are told -------------------------------------------------------------------

    def _pass_on(self, event: Event) -> None:
        owner, request_id = self._asked.get(event.request_id, (None, 0))
        if not (isinstance(event, Inspected) and event.share < 1):  # the rest of it follows
            self._asked.pop(event.request_id, None)
        if owner and isinstance(event, RunOpened):
            self._welcome(owner, structs.replace(event, request_id=0))
            return
        if _is_for_one(event):
            if owner and owner.joined:
                owner.answer(structs.replace(event, request_id=request_id))
            return
        others = structs.replace(event, request_id=0) if event.request_id else event
        self._keep_text(others)
        for client in self._clients:
            if client.joined and client.knows(event):
                if not isinstance(event, SampleText):  # there are many, and they change no status
                    client.update(self._engine)
                own = client is owner
                client.write(structs.replace(event, request_id=request_id) if own else others)

    def _keep_text(self, event: Event) -> None:
        """Keep what a client is told that comes while a text is being written."""
        if isinstance(event, SampleStarted):
            self._writing[event.sample] = [event]
        elif isinstance(event, SampleText) and event.sample in self._writing:
            self._writing[event.sample].append(event)
        elif isinstance(event, SampleFinished):
            self._writing.pop(event.sample, None)

    def _welcome(self, client: _Client, opened: RunOpened) -> None:
        if client not in self._clients:
            return
        before = self._controller
        # it comes back: that its link was lost is noticed here later than there
        is_free = before is None or bool(client.token and client.token == before.token)
        if client.role == "take" or (client.role == "control" and is_free):
            self._give_control(client)
        if client.role == "take":
            client.role = "control"  # described again later, it takes nothing
        told = self._control_of(client)
        client.begin(
            Welcome(
                PROTOCOL,
                os.getpid(),
                host_name(),
                VERSION,
                opened,
                self._engine.status,
                told.who,
            )
        )
        client.write(told)
        client.update(self._engine)
        for event in itertools.chain.from_iterable(self._writing.values()):
            if client.knows(event):
                client.write(event)

    def _update_all(self) -> None:
        for client in list(self._clients):
            if client.is_stuck:
                client.writer.transport.abort()
            elif client.behind and client.has_caught_up:
                self._describe(client)
            elif client.joined and not client.behind:
                client.update(self._engine)


def _is_for_one(event: Event) -> bool:
    """Return whether an event concerns only who asked."""
    looked = isinstance(event, Refused) and event.command == Inspect.__name__
    return looked or isinstance(event, RunOpened | Inspected)


def _is_far(command: Inspect) -> bool:
    """Return whether something else than the open run is to be looked into."""
    return bool(command.run) or not 0 <= command.side < SIDES


class _Client:
    """One that is connected, and what it was told."""

    def __init__(self, writer: asyncio.StreamWriter, hello: Hello, number: int) -> None:
        self.number = number  # from 1 on
        self.writer, self.role, self.token = writer, hello.role, hello.token
        self.who = "".join(one for one in hello.who[:200] if one.isprintable())
        self.joined = False  # has had its welcome
        self.behind = False  # has missed something
        self.looks: dict[tuple[str, int], int] = {}  # requests for the inside, by view and side
        self._samples: set[int] = set()  # whose start it was told
        self._rows: dict[str, tuple[int, object]] = {}  # of each curve: how many, and of what
        self._marked = (-1, -1, -1)
        self._status: Status | None = None
        self._written_at = time.monotonic()

    @property
    def has_caught_up(self) -> bool:
        return not self.writer.transport.get_write_buffer_size()

    @property
    def is_stuck(self) -> bool:
        if self.has_caught_up:
            self._written_at = time.monotonic()
        return time.monotonic() - self._written_at > STUCK_SECONDS

    def answer(self, event: Event) -> None:
        """Send what was found inside the model, unless it is too much."""
        if len(line := encode(event)) > MOST_FOUND:
            why = f"this is {len(line) / 1e6:.0f} MB, too much to be sent: look at a shorter text"
            self.write(Refused(Inspect.__name__, why, request_id=event.request_id))
        else:
            self.write(line)

    def write(self, message: Struct | bytes) -> None:
        """Send a message, unless too much is on its way already."""
        if self.writer.transport.get_write_buffer_size() > MOST_BUFFERED:
            self.behind = True
        if not (self.behind or self.writer.is_closing()):
            self.writer.write(message if isinstance(message, bytes) else encode(message))

    def knows(self, event: Event) -> bool:
        """Return whether it can make something of an event: more of a text it has the start of."""
        if isinstance(event, SampleStarted):
            self._samples.add(event.sample)
        return not isinstance(event, SampleText | SampleFinished) or event.sample in self._samples

    def begin(self, welcome: Welcome) -> None:
        self.joined, self._status, self._marked = True, welcome.status, (-1, -1, -1)
        self._rows.clear()
        self._samples.clear()
        self.write(welcome)

    def update(self, engine: Served) -> None:
        """Tell what has changed since the last time."""
        metrics, status = engine.metrics, engine.status
        rows = [one for name in metrics.names() if (one := self._new_rows(metrics, name))]
        marked = len(metrics.marks), len(metrics.events), len(metrics.bests)
        marks = None
        if marked != self._marked:
            marks = Marks(metrics.marks, metrics.events, metrics.bests, metrics.references)
        if rows or marks or status != self._status:
            self._status, self._marked = status, marked
            self.write(Update(status, rows, marks))

    def _new_rows(self, metrics: MetricStore, name: str) -> Rows | None:
        steps, values, history = metrics.column(name).rows()
        sent, of = self._rows.get(name, (0, history))
        first = sent if of is history else 0
        self._rows[name] = len(steps), history
        if first == len(steps) and of is history:
            return None
        new = slice(first, None)
        return Rows(name, first, *rows_to_bytes(steps[new], values[new]))
