"""What a library starts and waits for is ended when it hangs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from data.errors import Cancelled
from engine.machine import limits, processes
from engine.machine.processes import TookTooLong, ending_with
from engine.protocol import Warned
from engine.session import build
from engine.training.trainer import Trainer
from tests.engine.conftest import MakeConfig, Rig
from tests.engine.kernels.test_compiler import are_gone


def hang(tmp_path: Path) -> None:
    """Wait for a compiler that hangs, as ``torch.compile`` does."""
    script = f"sleep 79.125 & echo $! $$ > {tmp_path}/pids; wait"
    subprocess.run(["sh", "-c", script], check=True, stdout=subprocess.PIPE)


def test_after_its_time_everything_that_was_started_is_killed(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(TookTooLong), ending_with(told.append, "compiling", 0.3):
        hang(tmp_path)
    assert are_gone(tmp_path / "pids")
    assert told[0] == "compiling: 0 s"


def test_what_a_report_raises_ends_it(tmp_path: Path) -> None:
    def report(line: str) -> None:
        if (tmp_path / "pids").exists():
            raise Cancelled

    bystander = subprocess.Popen(["sleep", "80.125"])
    with pytest.raises(Cancelled), ending_with(report, "compiling", 60):
        hang(tmp_path)
    assert are_gone(tmp_path / "pids")
    assert bystander.poll() is None, "it was started before"
    bystander.kill()
    bystander.wait()


def test_what_does_not_hang_is_left_alone() -> None:
    with ending_with(lambda line: None, "compiling", 60):
        found = subprocess.run(["echo", "done"], capture_output=True, check=True).stdout
    assert found == b"done\n"
    with pytest.raises(ZeroDivisionError), ending_with(lambda line: None, "compiling", 60):
        _ = 1 / 0


def test_without_proc_ps_tells_the_descendants(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "81.125"]) as child:
        for where in (Path("/proc"), Path("/nowhere")):
            monkeypatch.setattr(limits, "PROC", where)
            assert child.pid in processes._descendants()
        child.kill()


def test_a_run_trains_uncompiled_when_torchs_compiler_hangs(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def compile_model(trainer: Any) -> None:
        hang(tmp_path)

    monkeypatch.setattr(Trainer, "compile", compile_model)
    monkeypatch.setattr(build, "COMPILE_SECONDS", 0.3)
    monkeypatch.setenv("CXX", "sleeper")
    session = rig.new(make_config(system__compile=True))
    (warned,) = rig.said(Warned)
    assert warned.message == (
        "the model could not be compiled, so it trains uncompiled: it took more than 0.3 seconds "
        "(CXX is 'sleeper': set it to a C++ compiler, or unset it)"
    )
    assert are_gone(tmp_path / "pids")
    rig.to_step(session, 2)
