"""Imports run downwards only, and the heavy ones wait until they are needed."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import data
import engine
import tui

ROOT = Path(__file__).parents[1]


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


def test_the_engine_is_cheap_to_import() -> None:
    loaded = loaded_by("import engine, engine.config.schema, engine.session.worker")
    assert not loaded & {"torch", "textual", "tui"}


def test_the_engine_knows_no_screen() -> None:
    loaded = loaded_by(all_modules(engine))
    assert "torch" in loaded
    assert not loaded & {"textual", "tui", "plotext"}


def test_data_knows_no_model() -> None:
    assert not loaded_by(all_modules(data)) & {"torch", "engine", "tui", "textual"}


def test_the_screen_touches_no_tensor_when_it_is_imported() -> None:
    assert "torch" not in loaded_by(all_modules(tui))


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_short_answers_load_nothing_heavy(option: str) -> None:
    code = f"import tui.cli\ntry: tui.cli.main(['{option}'])\nexcept SystemExit: pass"
    heavy = {"torch", "textual", "numpy", "platformdirs", "engine.config.schema"}
    assert not loaded_by(code) & heavy
