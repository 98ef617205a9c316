"""A run that another machine trains, controlled from here through ssh."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from engine.protocol import (
    Adjust,
    Adjusted,
    Evaluate,
    Evaluated,
    Inspect,
    Inspected,
    Open,
    Pause,
    Refused,
    Resume,
    RunOpened,
    Sample,
    SampleFinished,
    Save,
    Saved,
    State,
    StateChanged,
    Stop,
    Warned,
)
from engine.remote import server
from engine.remote.client import Unreachable
from engine.remote.host import Host
from engine.remote.relay import BEGINNING, ENDED
from engine.remote.wire import Goodbye, encode
from engine.runs.database import reading
from engine.runs.timeline import read_moments
from engine.session import elsewhere
from engine.session.attached import Attached
from engine.session.elsewhere import Elsewhere
from tests.cli.conftest import until
from tests.engine.conftest import MakeConfig, assert_same_bits
from tests.engine.session.test_worker import Talk
from tests.ssh import PROGRAM, FakeSsh

BOX = Host("box", program=PROGRAM)
Serve = Callable[..., tuple[Talk, Path]]
pytestmark = pytest.mark.usefixtures("sockets", "ssh")


@pytest.fixture
def ssh(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> FakeSsh:
    return FakeSsh(tmp_path_factory.mktemp("ssh"), monkeypatch)


@pytest.fixture
def serve(runs_dir: Path, make_config: MakeConfig) -> Iterator[Serve]:
    """An engine that serves a run."""
    made: list[Talk] = []

    def start(**changes: Any) -> tuple[Talk, Path]:
        made.append(Talk(runs_dir, serves=True))
        config = {"train__max_steps": 10**6, "system__threads": 1, **changes}
        return made[0], Path(made[0].start(make_config, **config).path)

    yield start
    for one in made:
        assert one.engine.join(30)


@pytest.fixture
def attach(runs_dir: Path) -> Iterator[Callable[..., tuple[Talk, Elsewhere]]]:
    """An engine that is attached to a run through ssh."""
    made: list[tuple[Talk, Elsewhere]] = []

    def start(run: Path, role: str = "control") -> tuple[Talk, Elsewhere]:
        there = Elsewhere(BOX, str(run), role)
        made.append((Talk(runs_dir, elsewhere=there), there))
        return made[-1]

    yield start
    for talk, there in made:
        assert talk.engine.join(30)
        there.close()
        assert not there.folder.exists()


Attach = Callable[..., tuple[Talk, Elsewhere]]


def opened(looks: Talk, there: Elsewhere) -> RunOpened:
    return looks.ask(Open(str(there.folder), watch=True, request_id=1), RunOpened)


def test_a_run_elsewhere_is_controlled_and_its_records_are_here(
    serve: Serve, attach: Attach
) -> None:
    trains, run = serve(eval__interval=5, checkpoint__interval=5)
    looks, there = attach(run)
    found = opened(looks, there)
    assert found.elsewhere == f"box:{run}" and "on box" in found.attached
    assert Path(found.path) == there.folder != run and there.folder.name == run.name
    assert looks.state(Pause(), State.PAUSED)
    assert looks.ask(Adjust({"optim.beta1": 0.8}), Adjusted).changes == {"optim.beta1": [0.9, 0.8]}
    whole = looks.ask(Evaluate(whole=True, request_id=4), Evaluated, lambda e: e.request_id == 4)
    assert whole.measured == "whole split"
    looks.ask(Sample({"max_tokens": 5}), SampleFinished)
    looks.ask(Save(), Saved)
    ours, theirs = looks.engine.metrics, trains.engine.metrics
    for name in ("train_loss", "val_loss", "grad_norm"):
        one, other = ours.column(name).snapshot(), theirs.column(name).snapshot()
        assert_same_bits({"steps": one[0], name: one[1]}, {"steps": other[0], name: other[1]})

    def are_same() -> bool:
        with reading(run) as kept, reading(there.folder) as copy:
            same = [kept.stored(one) == copy.stored(one) for one in ("journal", "samples")]
            losses = [str(one.metric(0, "train_loss")) for one in (kept, copy)]
        moments = [str(read_moments(one, 0)) for one in (run, there.folder)]
        return all(same) and len(set(losses)) == 1 == len(set(moments))

    until(are_same)
    for moment in ("now", "untrained", 5):  # none of these weights is here
        seen = looks.ask(Inspect("attention", moment=moment, request_id=8), Inspected)
        assert seen.request_id == 8 and seen.found.maps.ndim == 4
    assert (there.folder / "config.toml").read_text() == (run / "config.toml").read_text()
    assert looks.state(Stop(), State.STOPPED)
    assert trains.engine.status.state is State.PAUSED  # it is left as it was


def test_a_lost_link_is_made_again_with_what_was_missed(
    serve: Serve, attach: Attach, ssh: FakeSsh, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains, run = serve()
    looks, there = attach(run)
    opened(looks, there)
    monkeypatch.setattr(elsewhere, "PAUSES", (0.05,))
    ssh.does_first("sleep 0.3\n")
    os.kill(ssh.last_pid, signal.SIGKILL)
    looks.wait(Warned, lambda event: "trying again, and training goes on there" in event.message)
    assert "no connection to box" in looks.ask(Pause(request_id=7), Refused).message
    assert looks.engine.status.message == "no connection to box"
    looks.wait(RunOpened, lambda event: event.request_id == 0)
    assert "BatchMode=yes" in ssh.calls[-1]  # the app has the terminal
    assert looks.state(Pause(), State.PAUSED)  # still in control
    ours, theirs = looks.engine.metrics, trains.engine.metrics
    until(lambda: len(ours.column("train_loss")) == len(theirs.column("train_loss")))
    assert looks.state(Resume(), State.RUNNING)


def test_processes_that_are_started_again_there_are_attached_to(
    serve: Serve, attach: Attach, ssh: FakeSsh, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains, run = serve()
    looks, there = attach(run)
    opened(looks, there)
    monkeypatch.setattr(elsewhere, "PAUSES", (0.05,))
    session = looks.engine._session
    assert isinstance(session, Attached) and session._welcome and session._connection
    runtime = {**session._welcome.opened.runtime, "processes": 2}
    described = structs.replace(session._welcome.opened, runtime=runtime)
    session._welcome = structs.replace(session._welcome, opened=described)
    not_yet = f"{BEGINNING.decode()}\n{encode(Goodbye('it is not in training')).decode()}"
    ssh.does_first(
        f"if mkdir \"$SSH_FOLDER/asked\"; then cat <<'END'\n{not_yet}\nEND\nexit 0\nfi\n"
    )
    session._connection.put_back([Goodbye(ENDED)])  # as when process 0 is killed
    looks.wait(Warned, lambda event: "all 2 are started again" in event.message)
    looks.wait(RunOpened, lambda event: event.request_id == 0)
    assert len(ssh.calls) == 3  # the second was told that it is not in training
    assert looks.state(Pause(), State.PAUSED)
    assert trains.engine.status.state is State.PAUSED


def test_where_the_engine_has_ended_the_app_stays_and_says_how_to_go_on(
    serve: Serve, attach: Attach
) -> None:
    trains, run = serve()
    looks, there = attach(run)
    opened(looks, there)
    trains.state(Stop(), State.STOPPED)
    looks.wait(StateChanged, lambda event: event.state is State.STOPPED)
    told = looks.ask(Pause(request_id=3), Refused).message
    again = f"gpt-tui attach box:{run}{BOX.typed}"
    assert f"train --resume {run} --detach trains it on, then {again}" in told
    assert len(looks.engine.metrics.column("train_loss"))  # what there is can still be seen
    assert "is not in training" in looks.ask(Open(str(there.folder)), Refused).message


def test_a_second_one_watches_until_it_takes_control(serve: Serve, attach: Attach) -> None:
    _, run = serve()
    first, there = attach(run)
    opened(first, there)
    second, there = attach(run)
    opened(second, there)
    assert "--take takes over" in second.ask(Pause(request_id=2), Refused).message


def test_what_the_shell_says_first_is_skipped(serve: Serve, attach: Attach, ssh: FakeSsh) -> None:
    _, run = serve()
    ssh.does_first('echo "Welcome to the box"; printf "no end of line"; echo noise >&2\n')
    looks, there = attach(run)
    assert opened(looks, there)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'ssh: connect to host box: refused' >&2; exit 255\n", "ssh does not reach box"),
        ("echo 'sh: gpt-tui: not found' >&2; exit 127\n", "install it there, or say where"),
        ("exec sleep 60\n", "box does not answer within 0 s"),
        ("exit 0\n", "the connection to box was lost"),
    ],
)
def test_ssh_that_does_not_get_there_is_one_sentence(
    script: str, told: str, ssh: FakeSsh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "FIRST_SECONDS", 0.4)
    ssh.does_first(script)
    with pytest.raises(Unreachable, match=told):
        Elsewhere(BOX, "night")
    with pytest.raises(ProcessLookupError):
        os.kill(ssh.last_pid, 0)  # nothing lingers


def test_what_ssh_has_said_itself_is_not_said_again(
    ssh: FakeSsh, capfd: pytest.CaptureFixture[str]
) -> None:
    ssh.does_first("echo 'ssh: no such host' >&2; exit 255\n")
    with pytest.raises(Unreachable) as caught:
        Elsewhere(BOX, "night")
    assert str(caught.value) == "ssh does not reach box: see what 'ssh box true' says"
    assert capfd.readouterr().err == "ssh: no such host\n"


def test_another_version_of_the_protocol_is_one_sentence(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = serve()
    monkeypatch.setattr(server, "PROTOCOL", 99)
    with pytest.raises(Unreachable, match="use the same version for both"):
        Elsewhere(BOX, str(run))


def test_a_run_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(Unreachable, match="there is no run 'nigth'"):
        Elsewhere(BOX, "nigth")


def test_ssh_that_is_not_installed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unreachable, match="install OpenSSH"):
        Elsewhere(BOX, "night")
