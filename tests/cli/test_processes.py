"""``gpt-tui train --procs``: one run, trained by several processes, whichever of them is killed."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.machine import limits
from engine.runs.checkpoint_names import list_checkpoints, step_of
from engine.runs.folder import LOG_FILE
from engine.runs.summary import read_summary
from tests.cli.conftest import ROOT, Cli, start_process, train_command, until
from tui.control import detaching, launching

SHARED = ["--set", "train.shards=2", "--set", "eval.interval=0", "--set", "checkpoint.interval=20"]
pytestmark = [
    pytest.mark.usefixtures("sockets"),
    pytest.mark.skipif(not limits.PROC.exists(), reason="processes are found in /proc"),
]


def members(launcher: subprocess.Popen[str]) -> dict[int, int]:
    """The processes that train: number in the run -> id."""
    found = {}
    for place in Path(f"/proc/{launcher.pid}/task").glob("*/children"):
        for child in place.read_text().split():
            about = Path(f"/proc/{child}/environ").read_bytes().decode().split("\0")
            ranks = [word.partition("=")[2] for word in about if word.startswith("RANK=")]
            found.update({int(rank): int(child) for rank in ranks})
    return found


def lose_each(launcher: subprocess.Popen[str], run: Path) -> None:
    """Kill both processes of a run, one after the other has been started again."""
    for lost in (1, 0):
        before = max(steps(run), default=0)
        until(lambda: max(steps(run), default=0) > before)  # noqa: B023
        os.kill(members(launcher)[lost], signal.SIGKILL)
        until(lambda: "were started again" in (launcher.stderr.readline()))  # type: ignore[union-attr]


def steps(run: Path) -> list[int]:
    return [step_of(one) for one in list_checkpoints(run)]


def weights(run: Path, step: int) -> bytes:
    return (run / f"checkpoints/step-{step:08}/model.safetensors").read_bytes()


def test_a_run_survives_the_loss_of_any_process_and_ends_with_the_bits_of_one_left_alone(
    cli: Cli, text: Path, runs_dir: Path
) -> None:
    options = [*train_command(text), *SHARED, "--set", "train.max_steps=300"]
    launcher = start_process(*options, "--name", "a", "--procs", "2")
    run = runs_dir / "a"
    lose_each(launcher, run)
    _, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 0, said
    assert read_summary(run).processes == 2
    assert not (run / LOG_FILE).exists()  # no traceback: one sentence said all
    assert cli(*options, "--name", "b").code == 0
    assert read_summary(runs_dir / "b").processes == 1
    assert weights(run, 300) == weights(runs_dir / "b", 300)
    assert "the same bits" in cli("verify", "a", "--replay").out


def test_windows_within_documents_are_shared_out_to_the_same_bits(
    cli: Cli, text: Path, runs_dir: Path, tmp_path: Path
) -> None:
    rows = [json.dumps({"text": line}) for line in text.read_text().split("\n") if line]
    documents = tmp_path / "rows.jsonl"
    documents.write_text("\n".join(rows))
    options = [*train_command(documents), *SHARED, "--set", "data.within_documents=on"]
    options += ["--set", "train.max_steps=20"]
    shared = start_process(*options, "--name", "a", "--procs", "2")
    assert cli(*options, "--name", "b").code == 0
    _, said = shared.communicate(timeout=60)
    assert shared.returncode == 0, said
    assert weights(runs_dir / "a", 20) == weights(runs_dir / "b", 20)


def test_in_the_background_the_process_is_named_that_messages_and_ps_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver, sender = os.pipe()
    told = tmp_path / "told.json"
    monkeypatch.setenv(launching.LAUNCH, str(told))
    launching.tell_opened(tmp_path)  # in process 0
    monkeypatch.setattr(detaching, "say_in", lambda log: None)
    launching._pass_on(told, sender, threading.Event())  # in the one that starts all of them
    with open(receiver, encoding="utf-8") as answer:
        opened = json.load(answer)
    assert opened == {"run": str(tmp_path), "process": os.getpid()}
    background = detaching.Background(opened["process"], 7, tmp_path)
    monkeypatch.setattr(detaching, "start_in_background", lambda words: background)
    detaching.train_detached([])
    said = f"trained by process {os.getpid()} and others, started by process 7, in the background"
    assert said in capsys.readouterr().out


def test_a_signal_saves_and_ends_all_of_them(text: Path, runs_dir: Path) -> None:
    words = [word for word in train_command(text) if word != "--json"]
    options = [*words, *SHARED, "--set", "train.max_steps=1000000"]
    launcher = start_process(*options, "--name", "a", "--procs", "2")
    until(lambda: steps(runs_dir / "a"))
    processes = members(launcher)
    assert sorted(processes) == [0, 1]
    launcher.terminate()
    told, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 130, said
    assert "torch" not in said.lower().replace("loading pytorch", "")
    run = read_summary(runs_dir / "a")
    assert run.step == max(steps(runs_dir / "a"))
    assert "train --resume a --procs 2" in told
    assert not any(Path(f"/proc/{one}").exists() for one in processes.values())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--procs", "3"], "take 2 or 4"),
        (["--procs", "0"], "--procs is 0: give it 1, 2, 4 or 8"),
        (["--procs", "2", "--set", "train.batch_size=7"], "set train.batch_size to 8"),
        (["--procs", "2", "--set", "train.shards=1"], "set it to 2, or leave it out"),
        (["--procs", "2", "--torchrun=--bogus 3"], "unrecognized arguments: --bogus"),
        (["--procs", "2", "--torchrun='"], "--torchrun"),
    ],
)
def test_what_several_processes_cannot_do_is_said_before_they_start(
    cli: Cli, text: Path, runs_dir: Path, options: list[str], told: str
) -> None:
    assert told in cli(*train_command(text), *options).problem
    assert not list(runs_dir.glob("*"))


def script_of(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("```bash\n")[2].partition("```")[0]


def test_the_job_for_slurm_begins_a_run_on_two_nodes_and_continues_it(
    text: Path, tmp_path: Path, runs_dir: Path
) -> None:
    """``srun`` and ``scontrol`` are stand-ins: two nodes on one machine, with a process each."""
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    programs = tmp_path / "bin"
    programs.mkdir()
    settings = " ".join(map(shlex.quote, [*train_command(text)[1:], *SHARED]))
    stand_ins = {
        "scontrol": "echo localhost",
        "srun": '"$@" & first=$!; "$@"; code=$?; wait $first && exit $code',
        "gpt-tui": f'exec {sys.executable} -m tui "$@"',
    }
    for name, body in stand_ins.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    script = script_of(ROOT / "docs/slurm.md")
    for before, here in (
        ("--procs 8", "--procs 1"),
        (":29500", f":{port}"),
        ("--preset gpt2", settings),
        ("$HOME/runs", str(runs_dir)),
        ("$HOME/gpt-tui-cache", str(tmp_path / "cache")),
    ):
        assert before in script
        script = script.replace(before, here)
    nodes = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "7"}
    found = {"PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

    def submit() -> None:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT,
            env=os.environ | nodes | found,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr

    submit()
    run = read_summary(runs_dir / "big")
    assert (run.state, run.processes) == ("finished", 2)
    submit()  # it is finished, which is no error
    assert [one.name for one in runs_dir.iterdir() if one.is_dir()] == ["big"]
