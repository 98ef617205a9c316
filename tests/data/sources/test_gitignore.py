"""A ``.gitignore`` excludes what git itself excludes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data.sources.gitignore import Ignored, parse

PATTERNS = [
    *("*.log", "/*.log", "build/", "build", "/build", "a/b", "a/*/c", "**/c", "a/**", "a/**/c"),
    *("!*.log", "*\n!a", "?.py", "[ab].py", "[!ab].py", "[a-c]*", "\\#x", "\\!x", "#x", "x\\ "),
    *("x   ", "a*b*c", "**", "*", "/", "a/", "**/a/**", "*.p[yz]", "[]x].py", "a\\*b", "**.py"),
    *("a**b", "[z-a]x", "\\", "[", "*.log\n!keep.log", "a/*\n!a/b", "foo//bar", "*a*b*", "b*"),
]
PATHS = [
    *("x.log", "a/x.log", "keep.log", "build/x", "a/build/x", "a/b", "a/b/c", "a/c", "c", "b/c"),
    *("a/d/e/c", "a.py", "b.py", "z.py", "#x", "!x", "x ", "x", "aXbXc", "a*b", "aab", "].py"),
    *("build", "a/build", "abc", "ab"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_it_excludes_what_git_excludes(tmp_path: Path, pattern: str) -> None:
    """Files are those of ``PATHS`` that no other path has as a folder."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text(f"{pattern}\n")
    files = [one for one in PATHS if not any(other.startswith(f"{one}/") for other in PATHS)]
    typed = "\0".join(files)
    command = ["git", "check-ignore", "-z", "--stdin", "--no-index"]
    asked = subprocess.run(command, cwd=tmp_path, input=typed, capture_output=True, text=True)
    assert set(filter(None, asked.stdout.split("\0"))) == set(filter(ours(tmp_path), files))


def ours(root: Path) -> Callable[[str], bool]:
    rules = Ignored().within(root)

    def excludes(file: str) -> bool:
        path = root / file
        folders = [one for one in path.parents if one != root and one.is_relative_to(root)]
        return any(rules.excludes(one, True) for one in folders) or rules.excludes(path, False)

    return excludes


def test_a_pattern_made_to_take_long_does_not(tmp_path: Path) -> None:
    (rule,) = parse("*a" * 100 + "b")
    began = time.monotonic()
    assert not rule.matches("a" * 250, False)
    assert time.monotonic() - began < 1
