"""A stranger's run executes nothing: audited while it is opened, sampled and verified."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.engine.conftest import MakeConfig, Rig

ROOT = Path(__file__).parents[2]

# It does all that one does with a run: with an honest one first, so that all is imported, then with
# the others under audit. Whatever code is made, loaded or started from then on is told.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import contextlib, io, warnings
from pathlib import Path
import torch
from data.errors import InputError
from engine.metrics import MetricStore
from data.download import Watcher
from engine.runs.open import open_run
from engine.runs.summary import read_summary
from engine.runs.timeline import read_samples
from engine.session.session import Session
from tui.cli import main
import engine, pickle

def open_it(run):
    files = open_run(run, Watcher(lambda message: None, lambda: False))
    try:
        session = Session(files, MetricStore(), lambda event: None, lambda message: None)
        session.open(running=True)
        for _ in range(30):
            session.advance()
        session.close(save=True)
    finally:
        files.close()

def live(run):
    uses = [
        lambda: read_summary(run), lambda: read_samples(run), lambda: engine.load(run),
        lambda: main(["sample", str(run), "--max-tokens", "3"]),
        lambda: main(["model", "--run", str(run)]),
        lambda: main(["verify", str(run), "--replay"]), lambda: main(["fork", str(run)]),
        lambda: open_it(run),
    ]
    done = 0
    for use in uses:
        try:
            use()
            done += 1
        except InputError:
            pass
    return done

WATCHED = ("exec", "compile", "import", "pickle.find_class", "marshal.loads", "os.system",
           "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "ctypes.dlopen",
           "sqlite3.load_extension", "sqlite3.enable_load_extension", "socket.connect")
OWN_PROCESS = "(None,)"  # not a library, but what is loaded already: the allocator's settings
told, current = [], ""
def audit(event, arguments):
    if event in WATCHED and current and str(arguments) != OWN_PROCESS:
        told.append((current, event, str(arguments)[:200]))

said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    done = live(Path(sys.argv[2]))
    sys.addaudithook(audit)
    for run in sys.argv[4:]:
        current = run
        live(Path(run))
    current = ""
print("honest", done)
for one in told:
    print("EVENT", *one)
current = "control"
pickle.loads(Path(sys.argv[3]).read_bytes())
print("control", sorted({event for _, event, _ in told}))
"""


class Payload:
    """What a pickle would do."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def hostile_pickle(run: Path, command: str) -> None:
    """The weights are a pickle, behind hashes that fit."""
    _replace_weights(run, pickle.dumps(Payload(command)))


def hostile_torch_file(run: Path, command: str) -> None:
    """The weights are a file of ``torch.save`` with a pickle in it."""
    file = run / "weights.pt"
    torch.save(Payload(command), file)
    _replace_weights(run, file.read_bytes())


def hostile_state(run: Path, command: str) -> None:
    """Wherever the state names a kind of thing, it names code."""
    code = f"__import__('os').system({command!r})"
    for path in (run / "checkpoints").glob("step-*"):
        state = json.loads((path / "state.json").read_text())
        state["tokenizer"] = {"kind": code, "__reduce__": ["os.system", [command]], "name": code}
        state["config"]["model"]["architecture"] = code
        (path / "state.json").write_text(json.dumps(state))
        _seal(path)


def hostile_config(run: Path, command: str) -> None:
    """A setting that a shell or an ``eval`` would carry out."""
    file = run / "config.toml"
    lines = [
        f"corpus = {json.dumps(f'$({command})')}" if line.startswith("corpus") else line
        for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines))


def hostile_database(run: Path, command: str) -> None:
    """The journal is a view that loads a library; a trigger does so at every entry."""
    database = sqlite3.connect(run / "run.db")
    database.executescript(
        f"""CREATE TRIGGER evil AFTER INSERT ON journal BEGIN
              SELECT load_extension('{run}/evil.so'); END;
            ALTER TABLE samples RENAME TO texts;
            CREATE VIEW samples AS SELECT *, load_extension('{run}/evil.so') FROM texts;"""
    )
    database.close()
    (run / "evil.so").write_bytes(b"\x7fELF")


def hostile_modules(run: Path, command: str) -> None:
    """Files that Python would import, were it to look here."""
    code = f"import os; os.system({command!r})"
    for name in ("torch", "data", "engine", "tui", "sitecustomize", "safetensors", "conftest"):
        (run / f"{name}.py").write_text(code)
        (run / "checkpoints" / f"{name}.py").write_text(code)


def _replace_weights(run: Path, content: bytes) -> None:
    for path in (run / "checkpoints").glob("step-*"):
        for name in ("model.safetensors", "optimizer.safetensors"):
            (path / name).write_bytes(content)
        _seal(path)


def _seal(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    for name in manifest["sha256"]:
        manifest["sha256"][name] = hashlib.sha256((path / name).read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


HOSTILE: list[Callable[[Path, str], None]] = [
    hostile_pickle,
    hostile_torch_file,
    hostile_state,
    hostile_config,
    hostile_database,
    hostile_modules,
]


@pytest.fixture
def honest(rig: Rig, make_config: MakeConfig) -> Path:
    session = rig.new(make_config(train__max_steps=9, checkpoint__interval=2))
    rig.to_step(session, 5)
    return rig.close(session)


def test_a_strangers_run_executes_nothing(honest: Path, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    command = f"touch {trace}"
    runs = []
    for spoil in HOSTILE:
        run = honest.with_name(spoil.__name__)
        shutil.copytree(honest, run)
        spoil(run, command)
        runs.append(run)
    program, control = tmp_path / "program.py", tmp_path / "control.pickle"
    program.write_text(PROGRAM)
    control.write_bytes(pickle.dumps(Payload(f"touch {trace}-control")))
    used = subprocess.run(
        [sys.executable, program, ROOT, honest, control, *runs],
        cwd=runs[-1],  # where its modules would be found first
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert used.returncode == 0, used.stderr[-3000:]
    said = used.stdout.splitlines()
    assert [line for line in said if line.startswith("EVENT")] == []
    assert not trace.exists()
    assert said[0] == "honest 8"  # all that was tried works with a run that is as it should be
    assert said[-1] == "control ['os.system', 'pickle.find_class']"  # and the trap does catch
    assert trace.with_name("executed-control").exists()
