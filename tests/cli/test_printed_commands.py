"""Each command that a message names can be typed: the command and its options exist."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import pytest

from engine.runs.folder import find_run
from tests.cli.conftest import Cli, train_command
from tests.engine.run_folders import forget_prepared_texts, write_run
from tui.cli import main
from tui.commands import COMMANDS
from tui.commands.data import ACTIONS as DATA_ACTIONS
from tui.commands.runs import ACTIONS

ROOT = Path(__file__).parents[2]
PROGRAM, CALLED, VALUE = "gpt-tui", "\0", "@"
NAMES_IT = re.compile(r"\{\s*(?:program\(|command\b)")
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def printed() -> Iterator[tuple[str, str]]:
    """What stands behind every `program()` of the program, values as ``@``, and where that is."""
    for file in (one for room in ("data", "engine", "tui") for one in (ROOT / room).rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        if not NAMES_IT.search(source):  # to parse all modules takes seconds
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.JoinedStr):
                for found in "".join(map(_written, node.values)).split(CALLED)[1:]:
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", found


def _written(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    match part.value:
        case ast.Call(func=ast.Name(id="program")) | ast.Name(id="command"):
            return CALLED
        case ast.Call(func=ast.Name(id="in_runs_dir")):
            return " --runs-dir @"
    return VALUE


PRINTED = sorted(set(printed()))
ACTIONS_OF = {"runs": tuple(ACTIONS), "data": tuple(DATA_ACTIONS)}


@cache
def options_of(*command: str) -> set[str]:
    with redirect_stdout(StringIO()) as told, pytest.raises(SystemExit):
        main([*command, "--help"])
    return set(OPTION.findall(told.getvalue()))


@pytest.mark.parametrize(("where", "text"), PRINTED, ids=[where for where, _ in PRINTED])
def test_the_command_and_its_options_exist(where: str, text: str) -> None:
    first, *rest = text.split() or [VALUE]
    command: tuple[str, ...] = ()
    if (name := first.rstrip(",.;:@")) in COMMANDS:
        command = (name,)
        if rest and rest[0] in ACTIONS_OF.get(name, ()):
            command = (name, rest[0])
    else:
        assert first.startswith((VALUE, "--")), text
    assert set(OPTION.findall(text)) <= options_of(*command), text


def test_what_installs_an_extra_is_asked_for_and_not_written_out() -> None:
    files = [one for room in ("data", "engine", "tui") for one in (ROOT / room).rglob("*.py")]
    assert not [one for one in files if f"{PROGRAM}[" in one.read_text(encoding="utf-8")]


def _trash(cli: Cli, runs_dir: Path) -> str:
    cli("runs", "rm", "a")
    return cli("verify", "a").problem


def _taken(cli: Cli, runs_dir: Path) -> str:
    cli("runs", "rm", "a")
    write_run(runs_dir, "a")
    return cli("runs", "restore", "a").problem.replace("NAME", "b")


def _damaged(cli: Cli, runs_dir: Path) -> str:
    (runs_dir / "a/run.db").write_bytes(b"no database at all" * 99)
    return cli("runs", "show", "a").out


def _no_settings(cli: Cli, runs_dir: Path) -> str:
    (runs_dir / "a/config.toml").write_text("[[[")
    return cli("train", "--resume", "a", "--set", "train.max_steps=7").problem


def _moved(cli: Cli, runs_dir: Path) -> str:
    text = runs_dir.parent / "rhyme.txt"
    text.rename(runs_dir.parent / "other.txt")
    forget_prepared_texts()
    told = cli("train", "--resume", "a", "--set", "train.max_steps=7").problem
    return told.replace("PATH", str(runs_dir.parent / "other.txt"))


def _damaged_text(cli: Cli, runs_dir: Path) -> str:
    path = runs_dir.parent / "caf\xe9.txt"
    path.write_bytes("na\xefve caf\xe9\n".encode() * 99 + b"\xff\n")
    return cli("train", "--data", path).problem


MISHAPS: dict[Callable[[Cli, Path], str], str] = {
    _trash: "runs restore @",
    _taken: "runs restore @ --name b",
    _damaged: "verify a --repair",
    _no_settings: "verify a --repair",
    _moved: "train --resume a --data @",
    _damaged_text: "convert @ @",
    lambda cli, _: cli("train", "--set", "zzz=1").problem: "settings",
    lambda cli, _: cli("train", "--name", "a").problem: "train --resume a",
    lambda cli, _: cli("runs", "show", "zzz").problem: "runs",
    lambda cli, _: cli("queue").out: "sweep model.n_layer=1,2 --queue-only",
    lambda cli, _: cli("sweep", "--resume").problem: "sweep model.n_layer=1,2 --queue-only",
    lambda cli, _: cli("runs", "--runs-dir", "nowhere").out.replace("gpt-tui ", "gpt-tui runs "): (
        "runs --runs-dir @"
    ),
    lambda cli, _: cli("train", "--resume", "a").out: "sample a",
    lambda cli, _: cli("fork", "a", "--at", "3").out: "train --resume a-fork-1",
}


def test_typed_as_it_stands_it_works(
    cli: Cli, text: Path, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*train_command(text), "--name", "a"]) == 0
    shutil.copytree(runs_dir, whole := tmp_path / "whole")
    for mishap, command in MISHAPS.items():
        shutil.rmtree(runs_dir)
        shutil.copytree(whole, runs_dir)
        told = mishap(cli, runs_dir)
        pattern = re.escape(f"{PROGRAM} {command}").replace("@", r"(?:'[^']+'|[^\s']+)")
        found = re.search(pattern, " ".join(told.split()))
        assert found, (command, told)
        answer = cli(*shlex.split(found[0])[1:])
        assert answer.code == 0, (found[0], answer)
        text.exists() or (tmp_path / "other.txt").rename(text)
    assert find_run("a")
