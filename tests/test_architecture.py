"""The page on the architecture names what is there, and forgets no room."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
TREE = PAGE.split("```")[1]
FILES = sorted(set(re.findall(r"`([\w/]+\.py)`", PAGE)))
WALKS = re.findall(r"^### (.+?)\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE)
STEPS = [step for _, walk in WALKS for step in re.split(r"^\d+\. ", walk, flags=re.MULTILINE)[1:]]


def folders(package: str) -> set[str]:
    """The rooms of a package, itself included; a folder of caches is none."""
    inside = {one.parent for one in (ROOT / package).glob("*/*") if one.suffix in (".py", ".tcss")}
    return {f"{one.relative_to(ROOT).as_posix()}/" for one in inside} | {f"{package}/"}


def test_the_tree_has_every_room_and_no_other() -> None:
    told = [line.split()[0] for line in TREE.strip().splitlines()]
    assert len(told) == len(set(told))
    beside = {"benchmarks/", "tests/", "docs/", "examples/"}
    assert set(told) == folders("data") | folders("engine") | folders("tui") | beside


def test_every_room_has_its_line() -> None:
    assert all(len(line.split()) > 1 for line in TREE.strip().splitlines())


@pytest.mark.parametrize("file", FILES)
def test_every_file_that_is_named_exists(file: str) -> None:
    assert (ROOT / file).is_file()


def test_there_are_four_walks_with_a_file_in_each_step() -> None:
    assert len(WALKS) == 4
    assert all(re.match(r"`[\w/]+\.py`: ", step) for step in STEPS)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.split("`")[1])
def test_what_a_step_calls_is_there(step: str) -> None:
    """Every name in a step that looks like one of ours is defined in a file of that step."""
    files = [*re.findall(r"`([\w/]+\.py)`", step), "engine/protocol.py"]
    defined = {
        getattr(node, "name", "")
        for file in files
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
    }
    named = {one.split(".")[-1] for one in re.findall(r"`([A-Za-z_.]+)`", step)}
    assert not {name for name in named - defined if name != "py"}


def test_every_file_that_code_or_a_page_names_exists() -> None:
    rooms = ("data", "engine", "tui", "benchmarks", "docs", "tests", "examples")
    path = re.compile(rf"\b((?:{'|'.join(rooms)})/[\w/]+\.(?:py|md|cpp|h|tcss))\b")
    sources = [
        file for room in rooms for end in ("py", "md") for file in (ROOT / room).rglob(f"*.{end}")
    ]
    named = {(file, name) for file in sources for name in path.findall(file.read_text("utf-8"))}
    assert not [f"{file}: {name}" for file, name in named if not (ROOT / name).is_file()]


@pytest.mark.parametrize(
    ("walk", "most"), [("A setting", 9), ("A loss", 10), ("A prompt", 11), ("A run", 15)]
)
def test_a_walk_opens_few_files(walk: str, most: int) -> None:
    (steps,) = (text for name, text in WALKS if name.startswith(walk))
    assert len(set(re.findall(r"`([\w/]+\.py)`", steps))) <= most
