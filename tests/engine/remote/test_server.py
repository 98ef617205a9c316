"""Clients of all kinds: the engine hears what it should, and none slows it down."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from engine.metrics import MetricStore
from engine.protocol import (
    Command,
    Describe,
    Event,
    Pause,
    Refused,
    RunOpened,
    SampleFinished,
    SampleStarted,
    SampleText,
    Start,
    State,
    StateChanged,
    Status,
    Warned,
)
from engine.remote import address, server
from engine.remote.address import read_address, socket_of, sockets_folder
from engine.remote.client import (
    Connection,
    Unreachable,
    connect,
    found_engines,
    welcomed,
)
from engine.remote.server import EngineServer
from engine.remote.wire import PROTOCOL, Hello, Told, Update, encode


class Engine:
    """Stands for an engine: answers what describes it, and remembers the other commands."""

    def __init__(self) -> None:
        self.status = Status(State.RUNNING, step=5)
        self.metrics = MetricStore()
        self.commands: list[Command] = []
        self.server: EngineServer | None = None

    def send(self, command: Command) -> None:
        if isinstance(command, Describe):
            opened = RunOpened("/a", {}, {}, "text", "", 1, 5, 10, 0, request_id=command.request_id)
            assert self.server
            assert self.server.hear(opened)  # it concerns the client alone
        else:
            self.commands.append(command)

    def say(self, event: Event) -> None:
        assert self.server
        assert not self.server.hear(event)


@pytest.fixture
def run(sockets: Path, tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def engine(run: Path) -> Iterator[Engine]:
    engine = Engine()
    engine.server = EngineServer(engine, run)
    yield engine
    engine.server.close()


class Person:
    """A client that waits for what it is told."""

    def __init__(self, run: Path, role: str = "control") -> None:
        self.connection: Connection = connect(run, role)
        self.welcome = welcomed(self.connection)
        self.told: list[Told | None] = []

    def hears(self, matching: Callable[[Any], bool]) -> Any:
        """Wait for a message, and return it."""
        while True:
            self.told.append(self.connection.take(10))
            if matching(self.told[-1]):
                return self.told[-1]
            assert self.told[-1] is not None

    def sends(self, command: Command) -> None:
        self.connection.send(command)


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_client_learns_what_is_trained_and_what_follows(engine: Engine, run: Path) -> None:
    for step in range(3):
        engine.metrics.append("train_loss", step, 2.0 - step)
    person = Person(run)
    assert person.welcome.opened.path == "/a"
    assert person.welcome.status == engine.status
    assert person.welcome.controller == ""
    (rows,) = person.hears(lambda told: isinstance(told, Update)).rows
    assert (rows.name, rows.first, len(rows.values)) == ("train_loss", 0, 24)
    engine.metrics.append("train_loss", 3, 0.5)
    (rows,) = person.hears(lambda told: isinstance(told, Update)).rows
    assert (rows.first, len(rows.values)) == (3, 8)
    engine.metrics.truncate(1)  # it goes back, and is told anew
    (rows,) = person.hears(lambda told: isinstance(told, Update)).rows
    assert (rows.first, len(rows.values)) == (0, 16)
    engine.say(Warned("a sentence"))
    assert person.hears(lambda told: isinstance(told, Warned)) == Warned("a sentence")
    engine.metrics.add_mark(1, "lr")
    assert person.hears(lambda told: isinstance(told, Update)).marks.marks[0].label == "lr"


def test_answers_go_to_who_asked(engine: Engine, run: Path) -> None:
    one, other = Person(run), Person(run, "watch")
    one.sends(Pause(request_id=3))
    until(lambda: bool(engine.commands))
    (command,) = engine.commands
    assert command.request_id != 3
    assert f"(process {os.getpid()})" in command.sender
    engine.say(StateChanged(State.PAUSED, 5, request_id=command.request_id))
    assert one.hears(lambda told: isinstance(told, StateChanged)).request_id == 3
    assert other.hears(lambda told: isinstance(told, StateChanged)).request_id == 0


def test_one_has_control_and_another_may_take_it(engine: Engine, run: Path) -> None:
    first, second = Person(run), Person(run)
    assert first.welcome.controller == ""
    assert f"process {os.getpid()}" in second.welcome.controller
    second.sends(Pause(request_id=1))
    refused = second.hears(lambda told: isinstance(told, Refused))
    assert refused.request_id == 1 and refused.command == "Pause"
    assert "in control" in refused.message and "--take" in refused.message
    third = Person(run, "take")
    assert third.welcome.controller == ""
    assert "has taken control" in first.hears(lambda told: isinstance(told, Warned)).message
    third.sends(Pause())
    until(lambda: len(engine.commands) == 1)
    first.sends(Pause(request_id=2))
    assert first.hears(lambda told: isinstance(told, Refused)).request_id == 2
    third.connection.close()  # nobody has it then, and who is there may act
    until(lambda: engine.server is not None and not engine.server.has_controller)
    first.sends(Pause())
    until(lambda: len(engine.commands) == 2)


def test_a_script_may_command_beside_a_person_and_a_watcher_not(engine: Engine, run: Path) -> None:
    Person(run)
    Person(run, "tell").sends(Pause())
    until(lambda: len(engine.commands) == 1)
    watcher = Person(run, "watch")
    watcher.sends(Pause(request_id=4))
    assert watcher.hears(lambda told: isinstance(told, Refused)).request_id == 4


def test_no_client_opens_another_run(engine: Engine, run: Path) -> None:
    person = Person(run)
    person.sends(Start({}, "/elsewhere", request_id=1))
    assert person.hears(lambda told: isinstance(told, Refused)).command == "Start"
    assert not engine.commands


def test_who_comes_while_a_text_is_written_is_told_its_beginning(engine: Engine, run: Path) -> None:
    engine.say(SampleStarted(1, 5, True, {}))
    engine.say(SampleText(1, "over"))
    engine.say(SampleFinished(1, 1, 1.0))
    engine.say(SampleStarted(2, 5, True, {}))
    engine.say(SampleText(2, "once upon"))
    person = Person(run)
    engine.say(SampleText(2, " a time"))
    person.hears(lambda told: isinstance(told, SampleStarted) and told.sample == 2)
    texts = [person.hears(lambda told: isinstance(told, SampleText)).text for _ in range(2)]
    assert texts == ["once upon", " a time"]


def test_the_last_words_reach_everybody(engine: Engine, run: Path) -> None:
    person = Person(run)
    engine.say(StateChanged(State.STOPPED, 7))
    assert engine.server
    engine.server.close()
    assert person.hears(lambda told: isinstance(told, StateChanged)).step == 7
    assert person.hears(lambda told: told is None) is None
    with pytest.raises(Unreachable, match="takes no commands"):
        connect(run, "control")
    assert not socket_of(run).exists()


# Hostile clients


def raw(run: Path, *lines: bytes) -> socket.socket:
    """A connection that says whatever it likes."""
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(10)
    made.connect(str(socket_of(run)))
    for line in lines:
        made.sendall(line)
    return made


HELLO = encode(Hello(PROTOCOL, "somebody"))


@pytest.mark.parametrize(
    "first", [b"\n", b"GET / HTTP/1.1\r\n\r\n", b"\xff\xfe\n", encode(Pause()),
              encode(Hello(PROTOCOL, "x", "root"))],
)  # fmt: skip
def test_what_does_not_greet_is_sent_away(engine: Engine, run: Path, first: bytes) -> None:
    with raw(run, first) as rude, rude.makefile("rb") as answer:
        assert json.loads(answer.readline())["why"] == "the first line must be a Hello"
        assert not answer.read()
    assert Person(run).welcome


def test_another_protocol_is_told(engine: Engine, run: Path) -> None:
    with raw(run, encode(Hello(99, "x"))) as newer, newer.makefile("rb") as answer:
        assert "use the same version for both" in json.loads(answer.readline())["why"]


def test_what_a_client_calls_itself_controls_no_terminal(engine: Engine, run: Path) -> None:
    with raw(run, encode(Hello(PROTOCOL, "\x1b[31mred\n" + "x" * 1000))):
        until(lambda: engine.server is not None and engine.server.has_controller)
        controller = Person(run).welcome.controller
    assert controller.startswith("[31mred") and controller.isprintable() and len(controller) <= 200


def test_garbage_after_the_greeting_is_answered_and_does_no_harm(engine: Engine, run: Path) -> None:
    lines = [HELLO, b"garbage\n", b'{"type": "Pin", "step": []}\n', encode(Pause(request_id=8))]
    with raw(run, *lines):
        until(lambda: len(engine.commands) == 1)
    assert Person(run).welcome


def test_a_line_without_an_end_is_cut_off(engine: Engine, run: Path) -> None:
    with raw(run, HELLO) as endless:
        with suppress(OSError):
            for _ in range(64):
                endless.sendall(b"x" * 65536)
        until(lambda: engine.server is not None and not engine.server.has_controller)
    assert Person(run).welcome


def test_who_never_reads_costs_the_engine_nothing_and_gets_all_anew(
    engine: Engine, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_BUFFERED", 10_000)
    with raw(run, HELLO) as stuck, stuck.makefile("rb") as told:
        assert json.loads(told.readline())["type"] == "Welcome"
        began = time.monotonic()
        for _ in range(3000):
            engine.say(Warned("x" * 1000))
        assert time.monotonic() - began < 1  # it waits for nobody
        person = Person(run, "tell")
        assert person.welcome
        kinds: list[str] = []
        while kinds.count("Welcome") < 1:  # it reads at last
            kinds.append(json.loads(told.readline())["type"])
        assert kinds.count("Warned") < 3000


def test_who_reads_nothing_for_long_is_dropped(
    engine: Engine, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STUCK_SECONDS", 0.3)
    with raw(run, HELLO) as stuck:
        until(lambda: engine.server is not None and engine.server.has_controller)
        for _ in range(2000):
            engine.say(Warned("x" * 1000))
        until(lambda: engine.server is not None and not engine.server.has_controller)
        assert stuck


def test_too_many_are_sent_away(engine: Engine, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CLIENTS", 2)
    people = [Person(run), Person(run)]
    with pytest.raises(Unreachable, match="2 programs are attached"):
        Person(run)
    assert people


# The place


def test_only_its_owner_can_reach_a_socket(engine: Engine, run: Path) -> None:
    path = socket_of(run)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    told = read_address(run)
    assert told and (told.pid, told.socket) == (os.getpid(), str(path))


def test_where_the_runtime_folder_is_not_private_another_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    tmp_path.chmod(0o755)
    assert sockets_folder() == tmp_path / f"gpt-tui-{os.getuid()}"
    sockets_folder().chmod(0o755)
    with pytest.raises(InputError, match="not a private folder"):
        sockets_folder()
    sockets_folder_path = tmp_path / f"gpt-tui-{os.getuid()}"
    sockets_folder_path.rmdir()
    (tmp_path / "theirs").mkdir(mode=0o700)
    sockets_folder_path.symlink_to(tmp_path / "theirs")
    with pytest.raises(InputError, match="not a private folder"):
        sockets_folder()


def test_a_path_too_long_for_a_socket_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with pytest.raises(InputError, match="too long"):
        socket_of(tmp_path)


def test_a_socket_left_by_a_killed_program_is_replaced(run: Path) -> None:
    address.listen(socket_of(run)).close()
    assert socket_of(run).exists()
    engine = Engine()
    engine.server = EngineServer(engine, run)
    assert Person(run).welcome
    engine.server.close()


def test_engines_are_found_and_stale_sockets_removed(engine: Engine, run: Path) -> None:
    stale = sockets_folder() / "0123.sock"
    address.listen(stale).close()
    (found,) = found_engines()
    assert (found.opened.path, found.pid) == ("/a", os.getpid())
    assert not stale.exists()


def test_of_a_run_on_another_machine_the_machine_is_named(run: Path) -> None:
    (run / "engine.json").write_text('{"host": "there", "pid": 1, "socket": "/x"}')
    with pytest.raises(Unreachable, match="trained on there"):
        connect(run, "control")


@pytest.mark.parametrize("body", ["", "[]", '{"host": 1}', "\0", "x" * 5000])
def test_a_damaged_note_is_no_address(run: Path, body: str) -> None:
    (run / "engine.json").write_text(body)
    assert read_address(run) is None
