"""Through the real ssh to a real sshd on this machine, where one is installed."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from engine.protocol import Evaluate, Evaluated, Open, Pause, RunOpened, State, StateChanged, Warned
from engine.remote.client import Unreachable
from engine.remote.host import Host
from engine.session import elsewhere
from engine.session.elsewhere import Elsewhere
from tests.cli.conftest import until
from tests.engine.conftest import MakeConfig
from tests.engine.session.test_worker import Talk
from tests.ssh import PROGRAM

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.usefixtures("sockets"),
    pytest.mark.skipif(SSHD is None, reason="sshd is not installed (apt install openssh-server)"),
]
CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/key
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PidFile none
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Of an sshd that lets in whoever has the key in ``tmp_path``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    make_key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")]
    subprocess.run(make_key, check=True)
    config = tmp_path / "sshd_config"
    config.write_text(CONFIG.format(port=number, folder=tmp_path))
    assert SSHD
    with suppress(OSError):  # which sshd wants, and only its service makes
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=subprocess.PIPE)
    try:
        until(lambda: server.poll() is not None or is_open(number))
        if server.poll() is not None:
            assert server.stderr
            pytest.skip(f"sshd does not start here: {server.stderr.read().decode().strip()}")
        yield number
    finally:
        server.kill()
        server.wait()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def box(port: int, tmp_path: Path, runs_dir: Path) -> Host:
    options = ["-p", str(port), "-i", str(tmp_path / "key"), "-o", "StrictHostKeyChecking=no"]
    options += ["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-F", "none"]
    here = f"XDG_RUNTIME_DIR='{os.environ['XDG_RUNTIME_DIR']}' GPT_TUI_RUNS='{runs_dir}'"
    return Host(f"{getpass.getuser()}@127.0.0.1", tuple(options), f"export {here}; {PROGRAM}")


def test_a_run_is_controlled_through_ssh_and_the_link_made_again(
    box: Host, runs_dir: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "PAUSES", (0.05,))
    trains = Talk(runs_dir, serves=True)
    run = Path(trains.start(make_config, train__max_steps=10**6, system__threads=1).path)
    there = Elsewhere(box, run.name)
    looks = Talk(runs_dir, elsewhere=there)
    assert looks.ask(Open(str(there.folder), request_id=1), RunOpened).elsewhere.endswith(
        f":{run.name}"
    )
    assert looks.state(Pause(), State.PAUSED)
    assert looks.ask(Evaluate(), Evaluated).val_loss > 0
    session = looks.engine._session
    os.kill(session._connection._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    looks.wait(Warned, lambda event: "trying again" in event.message)
    looks.wait(RunOpened, lambda event: not event.request_id)
    looks.wait(StateChanged, lambda event: event.state is State.PAUSED)
    assert looks.ask(Evaluate(), Evaluated).val_loss > 0  # still in control
    assert looks.engine.join(30) and trains.engine.join(30)
    there.close()


def test_a_key_that_is_not_let_in_is_told_with_the_command_that_shows_why(
    box: Host, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key.pub").write_text("")
    with pytest.raises(Unreachable) as caught:
        Elsewhere(box, "night")
    assert "Permission denied" in capfd.readouterr().err  # what ssh says is seen
    told = re.fullmatch(r"ssh does not reach \S+: see what '(ssh .* true)' says", str(caught.value))
    assert told
    tried = subprocess.run(shlex.split(told[1]), capture_output=True, text=True, check=False)
    assert "Permission denied" in tried.stderr
