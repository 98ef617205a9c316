"""The source of the model's functions, as it is installed, without importing PyTorch."""

from __future__ import annotations

import ast
import functools
import textwrap
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Excerpt:
    """The source of a function or class.

    Attributes:
        where: Its file, as ``engine/model/block.py``, and the line it begins in.
        name: As ``Block.forward``.
    """

    where: str
    name: str
    text: str


@functools.cache
def read_excerpt(named: str) -> Excerpt:
    """Read the source of an object, as ``inspect.getsource`` would, dedented.

    Args:
        named: Its module and its name there, as ``engine.model.block:Block.forward``.

    Raises:
        LookupError: There is no such object.
        OSError: The source is not installed.
    """
    module, name = named.split(":")
    package, *rest = module.split(".")
    source = files(package).joinpath(*rest[:-1], f"{rest[-1]}.py").read_text(encoding="utf-8")
    node: ast.AST = ast.parse(source)
    for part in name.split("."):
        node = _child(node, part, named)
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    lines = source.splitlines()[first - 1 : node.end_lineno]
    where = f"{module.replace('.', '/')}.py, line {first}"
    return Excerpt(where, name, textwrap.dedent("\n".join(lines)))


def _child(node: ast.AST, name: str, named: str) -> ast.AST:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and child.name == name:
            return child
    raise LookupError(f"{named}: there is no {name}")


FOLDED = "↪ "  # begins what a line goes on with
FEWEST = 20  # columns that a part of a line has, however deep it is indented


def fold(line: str, width: int) -> list[tuple[str, int, int]]:
    """Fold a line of code that is wider than a page, before a comment or behind a blank.

    Returns:
        For each row what stands before it, and where its part of the line begins and ends.
    """
    indent = len(line) - len(line.lstrip())
    lead = " " * min(indent + 2, max(0, width - FEWEST)) + FOLDED
    rows, begin, before = [], 0, ""
    while len(before) + len(line) - begin > width:
        room = begin + max(1, width - len(before))
        comment = line.rfind("  # ", max(begin, indent) + 1, room)
        blank = line.rfind(" ", max(begin, indent) + 1, room + 1)
        end = comment if comment > begin else blank if blank > begin else room
        rows.append((before, begin, end))
        begin, before = end + len(line[end:]) - len(line[end:].lstrip()), lead
    return [*rows, (before, begin, len(line))]
