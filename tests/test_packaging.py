"""The wheel: built, installed elsewhere and launched from an unfriendly folder."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import sysconfig
import termios
import time
import venv
import zipfile
from pathlib import Path

import pytest

import engine
from engine.kernels.compiler import HEADERS, SOURCES

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this very tree."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel; it borrows the libraries of ours."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    inside = f"lib/python{sysconfig.get_python_version()}/site-packages"
    # a path file is not followed further, so an editable install of this tree stays unseen
    (folder / inside / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = "install --no-deps --no-index --ignore-installed --disable-pip-version-check"
    command = [sys.executable, "-m", "pip", "--python", str(python), *install.split(), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_the_wheel_brings_the_sources_of_the_kernels(wheel: Path) -> None:
    there = set(zipfile.ZipFile(wheel).namelist())
    assert there >= {f"engine/kernels/{name}" for name in (*SOURCES, *HEADERS)}


def test_the_wheel_brings_every_module(wheel: Path) -> None:
    there = set(zipfile.ZipFile(wheel).namelist())
    ours = {file for room in ("data", "engine", "tui") for file in (ROOT / room).rglob("*.py")}
    assert {file.relative_to(ROOT).as_posix() for file in ours} <= there


def test_the_wheel_says_that_it_has_types(wheel: Path) -> None:
    there = set(zipfile.ZipFile(wheel).namelist())
    assert there >= {"data/py.typed", "engine/py.typed", "tui/py.typed"}


@pytest.fixture
def unfriendly(tmp_path: Path) -> Path:
    """A folder with a ``data`` and an ``engine.py`` of its own."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/__init__.py").write_text("raise ImportError('the wrong data')\n")
    (tmp_path / "engine.py").write_text("raise ImportError('the wrong engine')\n")
    return tmp_path


def run_in(folder: Path, *command: str | Path) -> str:
    """What a command prints."""
    settings = {"GPT_TUI_RUNS": str(folder / "runs"), "PYTHONPATH": "", "PYTHONSAFEPATH": ""}
    done = subprocess.run(
        command, cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stylesheets_are_in_the_wheel_and_tests_are_not(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    styles = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tui").rglob("*.tcss")}
    assert styles
    assert styles <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "data", "engine", "tui",
    }  # fmt: skip
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_console_script_answers(environment: Path, unfriendly: Path) -> None:
    program = environment / "bin/gpt-tui"
    assert run_in(unfriendly, program, "--version") == f"gpt-tui {engine.__version__}\n"
    assert json.loads(run_in(unfriendly, program, "runs", "--json")) == []
    assert "optim.learning_rate" in run_in(unfriendly, program, "settings")


def test_the_module_answers_beside_files_of_the_same_names(
    environment: Path, unfriendly: Path
) -> None:
    python = environment / "bin/python"
    assert run_in(unfriendly, python, "-m", "tui", "--version").startswith("gpt-tui ")
    assert json.loads(run_in(unfriendly, python, "-m", "tui", "runs", "--json")) == []


def test_the_app_opens_on_a_terminal(environment: Path, unfriendly: Path) -> None:
    terminal, ours = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    settings = {"GPT_TUI_RUNS": str(unfriendly / "runs"), "TERM": "xterm-256color"}
    settings |= {"COLUMNS": "", "LINES": ""}  # the size is the terminal's
    process = subprocess.Popen(
        [environment / "bin/gpt-tui", "--preset", "tiny"],
        cwd=unfriendly,
        env=os.environ | settings,
        stdin=ours,
        stdout=ours,
        stderr=ours,
        start_new_session=True,
    )
    os.close(ours)
    try:
        screen = read_until(terminal, "n_layer")
        process.send_signal(signal.SIGTERM)
        read_until(terminal, None)
        assert process.wait(timeout=20) == 130
    finally:
        process.kill()
    assert "Traceback" not in screen
    assert not (unfriendly / "runs").exists()  # opening the app begins nothing


def read_until(terminal: int, words: str | None) -> str:
    """What is painted until some words appear; with None, until the program closes."""
    painted, deadline = "", time.monotonic() + 20
    while words is None or words not in painted:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            break
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:  # … and macOS
            break
        painted += piece.decode(errors="replace")
    assert words is None or words in painted, painted
    return painted
