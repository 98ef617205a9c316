"""The examples run, and the notebook shows what came out of it."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tui.cli import main

FOLDER = Path(__file__).parents[1] / "examples"
NOTEBOOK = FOLDER / "lecture.ipynb"
TRAIN = ["train", "--preset", "tiny", "--name", "first", "--data=python-docs"]
QUICK = ["--set=train.max_steps=4", "--set=system.threads=1", "--set=system.micro_batch_size=16"]
MACHINE_PATH = re.compile(r"(?<!\w)(/home|/Users|/root|/tmp|/work|/opt|/usr)\b")


@pytest.fixture
def lecture() -> ModuleType:
    """The script as a module."""
    spec = spec_from_file_location("lecture", FOLDER / "lecture.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    """The notebook's cells with code."""
    every = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in every if cell["cell_type"] == "code"]


def code_of(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


@pytest.mark.usefixtures("one_thread")
def test_the_script_trains_and_writes(
    lecture: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRAIN, *QUICK]) == 0
    capsys.readouterr()
    lecture.main(["--preset", "tiny", "--steps", "2", "--run", "first"])
    told = capsys.readouterr().out
    assert "-> logits (1, 4, " in told
    assert "block 1, head 0" in told
    assert "step 2: train loss " in told
    assert told.count("\nRome") == 2  # by what was trained just now, and by the run


@pytest.mark.usefixtures("one_thread")
def test_the_cells_of_the_notebook_run(
    cells: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRAIN, *QUICK]) == 0
    names: dict[str, Any] = {}
    for cell in cells:
        code = code_of(cell).replace("steps = 600", "steps = 2").replace("whole=True", "")
        if code.startswith("%%capture\n!gpt-tui "):
            assert code.split("!")[1].split()[1:] == TRAIN[:-1]
        else:
            exec(code, names)
    assert names["evaluation"].step == 2
    assert "ROMEO:" in capsys.readouterr().out
    sys.modules["torch"].set_printoptions(profile="default")


def test_the_notebook_was_executed_from_the_first_cell_to_the_last(
    cells: list[dict[str, Any]],
) -> None:
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    silent = [code_of(cell) for cell in cells if not cell["outputs"]]
    assert [code.splitlines()[0] for code in silent] == ["%%capture"]


def test_the_notebook_is_small_and_tells_nothing_of_the_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text.encode()) < 200_000
    assert not MACHINE_PATH.findall(text)
