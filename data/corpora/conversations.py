"""Conversations, as data sets have them and as chat programs export them, as text.

Each turn is a line after who says it, whatever it is called in the file: a list of turns, or
ChatGPT's tree of them, where each answer that was asked for again is another branch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SPEAKERS = ("role", "from", "speaker", "author", "sender_name", "sender", "name")
WORDS = ("content", "value", "text", "message")
SPOKEN = ("user", "assistant")  # not instructions, nor what tools answer
PART = "text"  # type of a part that is a paragraph of its own, not a link in a sentence


def text_of(row: Mapping[str, Any], field: str) -> str | None:
    """Return the text of a field, which may be a conversation; None if it is none."""
    value = row.get(field)
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and _is_tree(value):
        value = _branch(value, row.get("current_node"))
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        return None
    # of a chat some turns are pictures
    return "".join(f"{line}\n" for one in value if (line := _said(one)))


def _is_tree(value: Mapping[str, Any]) -> bool:
    """Return whether it is ChatGPT's tree of turns: nodes by their names."""
    nodes = [*value.values()]
    return any("message" in one for one in nodes if isinstance(one, Mapping)) and all(
        isinstance(one, Mapping) for one in nodes
    )


def _branch(nodes: Mapping[str, Mapping[str, Any]], last: object) -> list[Mapping[str, Any]]:
    """Return what is said in the branch that ends with a node; without one, in the newest."""
    if not isinstance(last, str) or last not in nodes:
        last = next((name for name in reversed([*nodes]) if not nodes[name].get("children")), None)
    branch: list[Mapping[str, Any]] = []
    seen = set[object]()  # a damaged tree may have a circle
    while isinstance(last, str) and last in nodes and last not in seen:
        seen.add(last)
        turn = nodes[last].get("message")
        if isinstance(turn, Mapping) and _is_shown(turn):
            branch.append(turn)
        last = nodes[last].get("parent")
    return branch[::-1]


def _is_shown(turn: Mapping[str, Any]) -> bool:
    """Return whether ChatGPT shows it as a turn: not what it says to its tools, nor they to it."""
    author, notes = turn.get("author"), turn.get("metadata")
    if not isinstance(author, Mapping) or author.get("role") not in SPOKEN:
        return False
    if isinstance(notes, Mapping) and notes.get("is_visually_hidden_from_conversation"):
        return False
    return turn.get("recipient") in ("all", None)


def _said(turn: Mapping[str, Any]) -> str:
    """Return what is said in a turn of a conversation, after who says it; empty if nothing is."""
    words = next((said for key in WORDS if (said := _words(turn.get(key)))), "")
    who = next((name for key in SPEAKERS if (name := _name(turn.get(key)))), "")
    return f"{who}: {words}" if who and words else words


def _words(value: object) -> str:
    """Return a text, which may be in parts as where some of it is a link or a picture."""
    if isinstance(value, Mapping):
        value = value.get("parts")
    if isinstance(value, str):
        return value
    text, is_paragraph = "", False
    for one in value if isinstance(value, list) else []:
        words = one.get("text") if isinstance(one, Mapping) else one
        if isinstance(words, str) and words:
            follows = is_paragraph and text and not text.endswith("\n")
            text += f"\n{words}" if follows else words
            is_paragraph = isinstance(one, Mapping) and one.get("type") == PART
    return text


def _name(value: object) -> str:
    """Return who a speaker is, who may be an object that has a role or a name."""
    if isinstance(value, Mapping):
        value = value.get("role") or value.get("name")
    return value if isinstance(value, str) else ""
