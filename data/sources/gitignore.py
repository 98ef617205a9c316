"""What a ``.gitignore`` excludes, by git's rules (``man gitignore``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data.errors import InputError
from data.reading import read_regular

NAME = ".gitignore"
IGNORED = f"in {NAME}"
MOST_BYTES = 1 << 20
SEGMENT = re.compile(r"\\.|\[!?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)


@dataclass(frozen=True)
class Rule:
    """A line of it."""

    pattern: str  # a regular expression for a path relative to the folder of the file
    excludes: bool  # else it includes again what an earlier line excluded
    folders_only: bool

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.DOTALL)

    def matches(self, path: str, is_folder: bool) -> bool:
        return (is_folder or not self.folders_only) and bool(self._compiled.fullmatch(path))


class Ignored:
    """The rules that hold in a folder: its own file's, and those of the folders above it."""

    def __init__(self, files: tuple[tuple[Path, tuple[Rule, ...]], ...] = ()) -> None:
        self._files = files

    def within(self, folder: Path) -> Ignored:
        """Return the rules that hold in a folder of this one."""
        try:
            text = read_regular(folder / NAME, MOST_BYTES).decode("utf-8", "surrogateescape")
        except (OSError, ValueError):
            return self
        return Ignored((*self._files, (folder, parse(text))))

    def excludes(self, path: Path, is_folder: bool) -> bool:
        """Return whether it is ignored: the last rule that matches decides."""
        for folder, rules in reversed(self._files):
            relative = path.relative_to(folder).as_posix()
            for rule in reversed(rules):
                if rule.matches(relative, is_folder):
                    return rule.excludes
        return False


def rules_above(folder: Path) -> Ignored:
    """Return the rules of the folders above one, up to that of its repository, if it is in one."""
    above: list[Path] = []
    for here in (folder, *folder.parents):
        if here != folder:
            above.insert(0, here)
        if (here / ".git").exists():
            rules = Ignored()
            for one in above:
                rules = rules.within(one)
            return rules
    return Ignored()


def parse(text: str) -> tuple[Rule, ...]:
    """Return the rules of a ``.gitignore``; what is no valid pattern is left out."""
    return tuple(rule for line in text.split("\n") if (rule := _rule(line.removesuffix("\r"))))


def _rule(line: str) -> Rule | None:
    while line.endswith(" ") and not line.endswith("\\ "):
        line = line[:-1]
    if not line or line.startswith("#"):
        return None
    excludes = not line.startswith("!")
    line = line if excludes else line[1:]
    folders_only = line.endswith("/")
    line = line.rstrip("/") if folders_only else line
    if not line:
        return None
    parts = line.removeprefix("/").split("/")
    if "/" not in line:  # matches at any depth
        parts.insert(0, "**")
    pattern = _expression(parts)
    try:
        re.compile(pattern)
    except re.error:
        return None
    return Rule(pattern, excludes, folders_only)


def _expression(parts: Sequence[str]) -> str:
    return "".join(_levels(part, number, len(parts)) for number, part in enumerate(parts))


def pattern_of(parts: Sequence[str]) -> re.Pattern[str]:
    """Return what matches the relative paths that a pattern means, ``**`` being any folders.

    Raises:
        InputError: It is no valid pattern.
    """
    try:
        return re.compile(_expression(parts), re.DOTALL)
    except re.error:
        raise InputError(f"{'/'.join(parts)!r} is no valid pattern: check its brackets") from None


def _levels(part: str, number: int, count: int) -> str:
    is_last = number == count - 1
    if part == "**":
        return r".+" if is_last else r"(?:.*/)?"
    return _name(part) + ("" if is_last else "/")


def _name(part: str) -> str:
    """Return the regular expression of one name.

    What stands between two stars is taken where it comes first (an atomic group): that finds every
    match, and takes no longer for a name that was made to take long.
    """
    pieces = [""]
    for token in SEGMENT.findall(part):
        if token == "*":
            pieces.append("")
        else:
            pieces[-1] += _token(token)
    first, *others = pieces
    if not others:
        return first
    middle = "".join(f"(?>[^/]*?{one})" for one in others[:-1] if one)
    return f"{first}{middle}[^/]*{others[-1]}"


def _token(token: str) -> str:
    if token == "?":
        return "[^/]"
    if token.startswith("[") and len(token) > 1:
        inner = token[1:-1]
        inner = f"^{inner[1:]}" if inner.startswith("!") else inner
        return f"(?!/)[{inner.replace('[', chr(92) + '[')}]"
    return re.escape(token[-1])
