"""The examples run, and the notebook shows what came out of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tui.cli import main

FOLDER = Path(__file__).parents[1] / "examples"
NOTEBOOK = FOLDER / "lecture.ipynb"
TRAIN = ["train", "--preset", "tiny", "--name", "first", "--data=python-docs"]
QUICK = ["--set=train.max_steps=4", "--set=system.threads=1", "--set=system.micro_batch_size=16"]
MACHINE_PATH = re.compile(r"(?<!\w)(/home|/Users|/root|/tmp|/work|/opt|/usr)\b")


def module_of(script: str) -> ModuleType:
    """A script as a module."""
    spec = spec_from_file_location(script, FOLDER / f"{script}.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def lecture() -> ModuleType:
    return module_of("lecture")


@pytest.mark.usefixtures("one_thread")
def test_the_loop_keeps_what_is_better_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = module_of("try_settings")

    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()  # what the loop itself has printed
        code = main(words[len(loop.GPT_TUI) :])
        return subprocess.CompletedProcess(words, code, capsys.readouterr().out)

    monkeypatch.setattr(loop, "subprocess", SimpleNamespace(run=run, PIPE=subprocess.PIPE))
    log = ["--log", str(tmp_path / "tries.tsv"), "--minutes", "0.002"]
    options = ["--preset", "tiny", "--data=python-docs", *QUICK[1:]]
    loop.main([*log, "--tries", "2", *options])
    loop.main([*log, "--tries", "3", *options])
    tried = loop.read(tmp_path / "tries.tsv")
    assert [one.name for one in tried] == ["try-000", "try-001", "try-002"]
    best = loop.best_of(tried[:2])
    assert 0 < best.loss < 10
    changed = [key for key in loop.IDEAS if tried[2].settings[key] != best.settings[key]]
    assert len(changed) <= 1  # of the best so far
    assert loop.train("try-000", {}, 1.0, []).loss == tried[0].loss  # it is finished already
    assert loop.train("bad", {"model.n_layer": -1}, 1.0, options).loss == float("inf")


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
