"""Imports run downwards only, and the heavy ones wait until they are needed."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

import benchmarks
import data
import engine
import tui
from engine.config.schema import Config
from engine.runs.database import RunDatabase
from engine.runs.folder import DATABASE_FILE, create_run

ROOT = Path(__file__).parents[1]
# Each room may import those before it and no others: there is no circle, and no import upwards.
FLOORS = (
    ("data",),
    ("data.sources",),
    ("data.corpora",),
    ("data.tokenizers",),
    ("data.prepared",),
    ("engine.program", "engine.rng", "engine.bits", "engine.config", "engine.states"),
    ("engine.metrics", "engine.protocol"),
    ("engine.metric_catalogue",),
    ("engine.kernels", "engine.machine", "engine.model", "engine.distributed"),
    ("engine.optim", "engine.training"),
    ("engine.runs", "engine.checkpoint", "engine.sampling"),
    ("engine.sweeps", "engine.diagnostics", "engine.lr_finder", "engine.inspect"),
    ("engine.remote",),
    ("engine.session",),
    ("engine.repair",),
    ("engine",),
    ("tui",),
    ("tui.terminal", "tui.text", "tui.charts", "tui.inside", "tui.corpus"),
    ("tui.browser",),
    ("tui.control", "tui.widgets"),
    ("tui.screens", "tui.app"),
    ("tui.commands", "tui.cli", "tui.__main__"),
    ("benchmarks",),
)
ROOMS = [room for floor in FLOORS for room in floor]


def loaded_by(code: str) -> set[str]:
    """The modules in memory after some code, in a fresh process."""
    script = f"import sys\n{code}\nprint('loaded:', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.rpartition("loaded:")[2].split())


def all_modules(package: object) -> str:
    """An import of every module of a package."""
    path, name = package.__path__, package.__name__  # type: ignore[attr-defined]
    names = [module.name for module in pkgutil.walk_packages(path, f"{name}.")]
    if find_spec("triton") is None:  # it comes with PyTorch's CUDA builds
        names = [one for one in names if not one.endswith(".triton_kernels")]
    return "\n".join(f"import {one}" for one in (name, *names))


def room_of(module: str) -> str:
    """The longest room that a module is in."""
    return max((one for one in ROOMS if f"{module}.".startswith(f"{one}.")), key=len)


def imported_by(file: Path, modules: Collection[str]) -> Iterator[str]:
    """The modules of ours that a file names, at its top, in its functions or for types alone."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{one.name}" for one in node.names]
            yield from (name if name in modules else node.module for name in names)
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names)


def test_every_room_imports_those_below_it_alone() -> None:
    modules = {
        one.name: Path(str(one.module_finder.path), *one.name.split(".")[-1:])  # type: ignore[union-attr]
        for package in (data, engine, tui, benchmarks)
        for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    }
    wrong = []
    for module, path in modules.items():
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for other in imported_by(file, modules):
            if other.split(".")[0] in ("data", "engine", "tui", "benchmarks"):
                here, there = room_of(module), room_of(other)
                if ROOMS.index(there) > ROOMS.index(here):
                    wrong.append(f"{module} ({here}) imports {other} ({there})")
    assert not wrong


def test_there_is_no_room_that_the_table_forgets() -> None:
    places = [place for top in (data, engine, tui) for place in Path(top.__path__[0]).iterdir()]
    rooms = {f"{one.parent.name}.{one.name}" for one in places if (one / "__init__.py").exists()}
    assert rooms <= set(ROOMS)


def test_the_engine_is_cheap_to_import() -> None:
    loaded = loaded_by(
        "import engine, engine.config.schema, engine.config.presets, engine.protocol\n"
        "import engine.session.worker"
    )
    assert not loaded & {"torch", "textual", "tui"}


def test_the_engine_knows_no_screen() -> None:
    loaded = loaded_by(all_modules(engine))
    assert "torch" in loaded
    assert not loaded & {"textual", "tui", "plotext", "rich"}


def test_data_knows_no_model() -> None:
    assert not loaded_by(all_modules(data)) & {"torch", "engine", "tui", "textual"}


def test_the_screen_touches_no_tensor_when_it_is_imported() -> None:
    assert "torch" not in loaded_by(all_modules(tui))


@pytest.mark.parametrize("opened", ["", "a"])
def test_nothing_heavy_is_loaded_before_the_first_paint(runs_dir: Path, opened: str) -> None:
    """Of the app, on a new run or an existing one."""
    create_run(Config(), runs_dir, "a")
    arguments = [str(runs_dir / opened)] if opened else []
    code = (
        "import os, tui.app\nfrom tui.commands import app\n"
        "app.has_terminal, os.environ['TERM'] = lambda: True, 'xterm'\n"
        "load = tui.app.Preferences.load\n"
        "tui.app.run_app = lambda launch: tui.app.GptTuiApp(launch, preferences=load()) and 0\n"
        f"assert app.main({arguments}) == 0"
    )
    assert not loaded_by(code) & {"torch", "numpy", "plotext"}


def test_a_list_of_runs_loads_no_numbers(runs_dir: Path) -> None:
    """It is read as often as ``ls``."""
    with closing(RunDatabase(create_run(Config(), runs_dir, "a") / DATABASE_FILE)) as database:
        database.set_meta(summary={"state": "finished", "sparkline": [1.0]})
    code = f"import tui.cli\nassert tui.cli.main(['runs', '--runs-dir', {str(runs_dir)!r}]) == 0"
    assert not loaded_by(code) & {"torch", "textual", "numpy", "engine.protocol"}


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_short_answers_load_nothing_heavy(option: str) -> None:
    code = f"import tui.cli\ntry: tui.cli.main(['{option}'])\nexcept SystemExit: pass"
    heavy = {"torch", "textual", "numpy", "platformdirs", "engine.config.schema"}
    assert not loaded_by(code) & heavy
