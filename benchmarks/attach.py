"""``benchmarks attach``: a run in another process: how soon one is there, and what it costs.

A run is trained in the background. The app attaches to it some times, and keys are pressed: the one
of ``benchmarks overhead``, which changes the chart, and space, until the screen acknowledges it and
until it shows that the other process has carried it out. Training with three watchers and one in
control, who read all they are told, takes turns with training alone. Curves of a million steps are
sent to a new client through a socket. Last, a run's process, one of several or their launcher is
killed at any moment, its socket removed, its client killed, and the run resumed, and its weights
compared with those of a replay.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shlex
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness, programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.overhead import press_keys
from benchmarks.programs import PROGRAM, BenchmarkError
from benchmarks.pty_app import PtyApp
from benchmarks.report import Row, Spread, abba
from engine.metrics import MetricStore
from engine.protocol import Command, Describe, RunOpened, State, Status, Stop
from engine.remote.address import read_address
from engine.remote.client import Connection, connect, welcomed
from engine.remote.server import EngineServer
from engine.remote.wire import Update, rows_from_bytes
from engine.repair.replay import replay
from engine.runs.folder import is_locked
from engine.runs.summary import read_summary
from tui.commands.tell import tell

PAINT_GOAL, KEY_GOAL, RATIO_GOAL, HISTORY_GOAL = 0.7, 0.05, 0.98, 1.5
SSH_GOAL = 0.1  # beside the round trip
WATCHERS = 3
KEYS_PRESSED = 12  # in each app
KEYS_TOLD = (
    "a key of the chart to its effect",
    "space to its acknowledgement",
    "space to what the other process has done",
)
HISTORY = ("train_loss", "val_loss", "learning_rate", "grad_norm")
PATIENCE_SECONDS = 120.0
SEED = 1  # of the moments at which something is killed


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser("attach", "attaching to a run that another process trains", "fast")
    made.add_settings()
    made.add_count("--runs", 5, "times that the app attaches")
    made.add_count("--rounds", 6, "rounds, each with clients and without", "R")
    made.add_count("--seconds", 10, "of training in each half of a round", "S")
    made.add_count("--steps", 1_000_000, "steps of the history")
    made.add_count("--kills", 50, "of an engine, a client or a socket")
    made.add_count("--procs", 1, "processes of the run that is killed")
    made.add_argument("--host", help="this machine as ssh knows it: attach through ssh, too")
    return made


def measure(args: argparse.Namespace) -> Report:
    """Measure one after the other."""
    options = harness.new_run_options(args)
    with harness.runs_folder(args) as runs_dir:
        with background(runs_dir, "attach", options) as run:
            paints, keys = _attach(runs_dir, [str(run)], args.runs)
            by_ssh = None
            if args.host:
                by_ssh = _attach(runs_dir, _through_ssh(args.host, run), args.runs)
            ratios = _ratios(run, args.rounds, args.seconds)
        machine = programs.machine(run)
        history = Spread.of([_history_seconds(runs_dir, args.steps) for _ in range(args.runs)])
        survived = _killed(runs_dir, options, args.kills, args.procs)
    return _summary(args, paints, keys, by_ssh, ratios, history, survived, machine)


@contextmanager
def background(runs_dir: Path, name: str, options: list[str]) -> Iterator[Path]:
    """Train a run in the background; end it at last."""
    endless = programs.settings(train__max_steps=10**6, eval__interval=0)
    _detach(programs.train_command(runs_dir, name, [*options, *endless]))
    try:
        yield runs_dir / name
    finally:
        if is_locked(runs_dir / name):
            tell(runs_dir / name, Stop())


def _detach(command: list[str]) -> None:
    done = subprocess.run([*command, "--detach"], env=programs.environment(), capture_output=True)
    if done.returncode:
        raise BenchmarkError(done.stderr.decode().strip())


@dataclass
class Keys:
    """Seconds from keys to what they do on the screen."""

    chart: list[float] = field(default_factory=list)
    acknowledged: list[float] = field(default_factory=list)
    carried_out: list[float] = field(default_factory=list)


def _through_ssh(host: str, run: Path) -> list[str]:
    """Return what names a run of this machine as if it were another one."""
    same = {"GPT_TUI_RUNS": str(run.parent)}
    if folder := os.environ.get("XDG_RUNTIME_DIR"):
        same["XDG_RUNTIME_DIR"] = folder
    words = [f"{name}={value}" for name, value in same.items()]
    program = shlex.join(["env", "-C", os.getcwd(), *words, *PROGRAM])
    return [f"{host}:{run.name}", "--program", program]


def _attach(runs_dir: Path, names: list[str], times: int) -> tuple[list[float], Keys]:
    """Return the seconds to the run's first painted screen, and of keys."""
    paints, keys = [], Keys()
    command = [*PROGRAM, "attach", *names]
    for number in range(times + 1):
        with PtyApp(command, programs.app_environment(runs_dir, "attach")) as app:
            painted = app.read_until(lambda text: "which trains this run" in text, 60)
            if number:  # the first one warms up
                paints.append(painted - app.started)
                programs.note(f"attached in {paints[-1]:.2f} s")
            app.rest(2.0)
            if not number:
                continue
            keys.chart += press_keys(app)
            for press in range(KEYS_PRESSED):
                pressed = time.time()
                app.send(" ")
                first, then = ("resuming", "training") if press % 2 else ("pausing", "paused")
                either = re.compile(f"{first}|{then}")
                for words, found in (
                    (either, keys.acknowledged),
                    (re.compile(then), keys.carried_out),
                ):
                    found.append(app.read_until(words.search, 30) - pressed)
                app.rest(0.5)
    return paints, keys


def _ratios(run: Path, rounds: int, seconds: float) -> list[float]:
    """Return the steps per second with clients over those without, of each round."""
    ratios = []
    for order in abba(rounds):
        speeds = {}
        for arm in order:
            with ExitStack() as clients:
                for number in range((WATCHERS + 1) * arm):
                    client = connect(run, "watch" if number else "take")
                    welcomed(client)
                    clients.callback(client.close)
                speeds[arm] = _speed(run, seconds)
        ratios.append(speeds[1] / speeds[0])
        programs.note(f"with clients over without: {ratios[-1]:.3f}")
    return ratios


def _speed(run: Path, seconds: float) -> float:
    """Return the steps per second of training for some time."""
    first, began = tell(run, None)["step"], time.perf_counter()
    time.sleep(seconds)
    last = tell(run, None)["step"]
    return float(last - first) / (time.perf_counter() - began)


class _Still:
    """An engine that is asked for nothing but what it has."""

    def __init__(self, steps: int) -> None:
        self.status = Status(State.PAUSED, step=steps)
        self.metrics = MetricStore()
        self.server: EngineServer | None = None
        for name in HISTORY:
            self.metrics.extend(
                name, np.arange(1, steps + 1), np.random.default_rng(1).random(steps)
            )

    def send(self, command: Command) -> None:
        if isinstance(command, Describe) and self.server:
            opened = RunOpened("/a", {}, {}, "", "", 1, 5, 10, 0, request_id=command.request_id)
            self.server.hear(opened)


def _history_seconds(runs_dir: Path, steps: int) -> float:
    """Return the seconds until a new client has all curves of a long run."""
    folder = runs_dir / "history"
    folder.mkdir(exist_ok=True)
    engine = _Still(steps)
    engine.server = EngineServer(engine, folder)
    try:
        began = time.perf_counter()
        connection = connect(folder, "watch")
        welcomed(connection)
        _read_rows(connection, steps)
        return time.perf_counter() - began
    finally:
        connection.close()
        engine.server.close()


def _read_rows(connection: Connection, steps: int) -> None:
    rows: dict[str, int] = {}
    while any(rows.get(name, 0) < steps for name in HISTORY):
        told = connection.take(PATIENCE_SECONDS)
        if isinstance(told, Update):
            for one in told.rows:
                rows[one.name] = one.first + len(rows_from_bytes(one.steps, one.values)[0])


def _killed(runs_dir: Path, options: list[str], kills: int, processes: int) -> int:
    """Kill what belongs to a run, some times; return how many it survived with the same bits."""
    chance, name, run = random.Random(SEED), "killed", runs_dir / "killed"
    steps = programs.settings(train__max_steps=10**6, eval__interval=0, checkpoint__interval=20)
    several = ["--procs", str(processes), "--max-restarts", str(kills)] if processes > 1 else []
    _detach([*programs.train_command(runs_dir, name, [*options, *steps]), *several])
    kinds = ["engine", "engine", "client", "socket"]
    if several:
        kinds += ["process", "process", "launcher"]
    for number in range(kills):
        client = connect(run, "control")
        welcomed(client)
        before = tell(run, None)["step"]
        time.sleep(chance.uniform(0.2, 2.0))
        what = chance.choice(kinds)
        address = read_address(run)
        assert address
        client.close()
        launcher = _parent(address.pid) if several else 0
        others = [one for one in _children(launcher) if one != address.pid]
        victim = {"process": chance.choice(others or [address.pid]), "launcher": launcher}
        if what == "socket":
            os.unlink(address.socket)
        if what != "client" and victim.get(what, address.pid) > 1:
            # without a socket, the only way to end it
            ends = signal.SIGTERM if what == "socket" else signal.SIGKILL
            os.kill(victim.get(what, address.pid), ends)
            if what != "launcher":  # the run goes on without it
                _wait_or_resume(run, address.pid, launcher, several)
        programs.note(f"killed the {what}, {number + 1} of {kills}: step {before:,}")
    tell(run, Stop())
    while is_locked(run):
        time.sleep(0.02)
    programs.note(f"replaying {read_summary(run).step:,} steps")
    return kills if replay(run, lambda told: None).differs_at is None else 0


def _wait_or_resume(run: Path, before: int, launcher: int, several: list[str]) -> None:
    """Wait until another process leads the run; resume it if nobody starts one."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.02)
        now = read_address(run)
        if is_locked(run) and now and now.pid != before and Path(now.socket).exists():
            return
        if not is_locked(run) and not _is_alive(launcher):
            _detach([*PROGRAM, "train", "--resume", str(run), *several])
            return
    raise BenchmarkError(f"{run.name} was not trained again within {PATIENCE_SECONDS:.0f} seconds")


def _parent(process: int) -> int:
    return int(_state(process)[1])


def _is_alive(process: int) -> bool:
    return process > 1 and _state(process)[0] not in "ZX"


def _state(process: int) -> list[str]:
    """Return what the system tells of a process after its name: its state, its parent and so on."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it is gone
        return ["X", "0"]


def _children(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children") if process > 1 else []
    return [int(one) for task in tasks for one in task.read_text().split()]


def _late(keys: Keys) -> list[float]:
    """Return the seconds after which 95 of 100 keys of each kind had their effect."""
    return [float(np.percentile(one, 95)) for one in (keys.chart, keys.acknowledged,
                                                      keys.carried_out)]  # fmt: skip


def _summary(
    args: argparse.Namespace,
    paints: list[float],
    keys: Keys,
    by_ssh: tuple[list[float], Keys] | None,
    ratios: list[float],
    history: Spread,
    survived: int,
    machine: dict[str, Any],
) -> Report:
    paint = Spread.of(paints)
    late = _late(keys)
    ratio = statistics.median(ratios)
    rows = [
        Row("attach to the run on the screen", f"≤ {PAINT_GOAL} s", paint.described("s"),
            paint.median <= PAINT_GOAL),
        *(Row(f"{what}, 95 of 100", f"≤ {KEY_GOAL} s", f"{one:.3f} s", one <= KEY_GOAL)
          for what, one in zip(KEYS_TOLD, late, strict=True)),
        Row(f"training with {WATCHERS} watchers and 1 in control, over alone", f"≥ {RATIO_GOAL}",
            Spread.of(ratios).described("", 3), ratio >= RATIO_GOAL),
        Row(f"{args.steps:,} steps to a new client", f"≤ {HISTORY_GOAL} s", history.described("s"),
            history.median <= HISTORY_GOAL),
        Row("kills survived with the same bits", f"{args.kills}", f"{survived}",
            survived == args.kills),
    ]  # fmt: skip
    if by_ssh:
        rows.append(Row("attach through ssh", "", Spread.of(by_ssh[0]).described("s")))
        rows += [
            Row(f"… {what}, 95 of 100", f"≤ {SSH_GOAL} s", f"{one:.3f} s", one <= SSH_GOAL)
            for what, one in zip(KEYS_TOLD, _late(by_ssh[1]), strict=True)
        ]
    result = {
        "bench": "attach",
        "paint_seconds": paint.to_dict(),
        "key_seconds_p95": dict(zip(KEYS_TOLD, (round(one, 4) for one in late), strict=True)),
        "ssh_key_seconds_p95": [round(one, 4) for one in _late(by_ssh[1])] if by_ssh else None,
        "ratio": Spread.of(ratios).to_dict(),
        "history_seconds": history.to_dict(),
        "kills_survived": survived,
        "reached": all(row.reached for row in rows if row.goal),
        "machine": machine,
    }
    return rows, result
