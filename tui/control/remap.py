"""The keys in force: those of the table, but for what the preferences change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from textual.keys import Keys, _character_to_key

from engine.program import program
from tui.control.keymap import DEFAULTS, GROUPS, HELP, Key, display, id_of

if TYPE_CHECKING:
    from textual.dom import DOMNode

NAMED = 3  # of the actions that have a key already
MODIFIERS = frozenset({"ctrl", "shift", "alt", "super"})
NAMES = frozenset(one.value for one in Keys)
PLACEHOLDER = re.compile(r"\{([a-z_]+\.[a-z_0-9]+)\}")
PRINTED = {display(name): name for name in sorted(NAMES)}  # as a footer has it


class Keymap:
    """Keys by action.

    Args:
        changes: ``{"cockpit.train": "space,f5"}``.

    Attributes:
        changes: Those that are valid, for Textual's ``App.set_keymap``.
        problems: One sentence for each that is not, and for each key that two actions have.
    """

    def __init__(self, changes: Mapping[str, object] | None = None) -> None:
        self.changes: dict[str, str] = {}
        self.problems: list[str] = []
        for id, keys in (changes or {}).items():
            try:
                self.changes[id] = _checked(id, keys)
            except ValueError as error:
                self.problems.append(str(error))
        self.problems += self._clashes()

    def keys(self, group: str, key: Key) -> str:
        """Return the keys of an action, with commas between them."""
        return self.changes.get(id_of(group, key), key.keys)

    def shown(self, group: str, key: Key) -> str:
        """Return the keys of an action as they are printed."""
        return display(self.keys(group, key))

    def first(self, id: str, typing: bool = False) -> str:
        """Return the first key of an action, as ``cockpit.train``, as it is printed.

        Args:
            typing: Whether that is to be one which types nothing in a field, if it has one.
        """
        keys = (self.changes.get(id) or DEFAULTS[id]).split(",")
        silent = (key for key in keys if typing and len(display(key)) > 1)
        return display(next(silent, keys[0]))

    def in_words(self, text: str) -> str:
        """Return a text with the keys in force in place of ``{cockpit.train}``."""
        return PLACEHOLDER.sub(lambda found: self.first(found[1]), text)

    def _clashes(self) -> Iterator[str]:
        everywhere = [key for key in GROUPS["app"].keys if key is not HELP]
        for id, keys in self.changes.items():
            for key in everywhere if not id.startswith("app.") else ():
                for one in set(keys.split(",")) & set(self.keys("app", key).split(",")):
                    yield (
                        f"keys: {id} has the key {display(one)}, which is app.{key.name} on "
                        f"every screen: give it another"
                    )
        yield from self._clashes_of_app()
        changed = {id.partition(".")[0] for id in self.changes}
        for name in sorted(changed):
            taken: dict[str, str] = {}
            for key in GROUPS[name].keys:
                for one in self.keys(name, key).split(","):
                    other = taken.setdefault(one, key.name)
                    if other != key.name:
                        yield (
                            f"keys: {name}.{other} and {name}.{key.name} both have the key "
                            f"{display(one)}, so that one of them has none: give it another"
                        )

    def _clashes_of_app(self) -> Iterator[str]:
        """Compare keys that the app has now with those of every screen and widget."""
        for id in [id for id in self.changes if id.startswith("app.")]:
            for one in self.changes[id].split(","):
                # the page of help has those of help by default, to be closed with
                if one in DEFAULTS[id].split(","):
                    continue
                owners = [
                    id_of(name, key)
                    for name, group in GROUPS.items()
                    for key in (group.keys if name != "app" else ())
                    if one in self.keys(name, key).split(",")
                    # else it was told of that; the key of help may be a screen's by default
                    and (id_of(name, key) not in self.changes or id == id_of("app", HELP))
                ]
                if owners:
                    yield (
                        f"keys: {id} has the key {display(one)} on every screen, which is "
                        f"{_some(owners)}: give it another"
                    )


def _some(ids: list[str]) -> str:
    """Return the first of many, and how many more there are."""
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more


USUAL = Keymap()


def key_in_force(node: DOMNode, id: str, typing: bool = False) -> str:
    """Return the first key of an action, as ``cockpit.train``, in the app that has the widget.

    Args:
        typing: Whether that is to be one which types nothing in a field.
    """
    keymap: Keymap = getattr(node.app, "keymap", USUAL)
    return keymap.first(id, typing)


def _checked(id: str, keys: object) -> str:
    if id not in DEFAULTS:
        raise ValueError(f"keys: there is no action {id!r}; {program()} keys lists them")
    if not isinstance(keys, str) or not keys.strip():
        raise ValueError(f'keys: {id} must be a key, or several as in "space,ctrl+t", not {keys!r}')
    names = (
        ["comma"] if keys.strip() == "," else [_named(id, one.strip()) for one in keys.split(",")]
    )
    return ",".join(names)


def _named(id: str, key: str) -> str:
    """Return Textual's name of a key, which may also be written as it is printed."""
    *modifiers, last = [key] if len(key) == 1 else key.split("+")
    if len(last) == 1:
        name = _character_to_key(last)
    else:
        name = PRINTED.get(last, last)
        if name not in NAMES and not _is_named_character(name):
            raise ValueError(
                f'keys: {id} has the unknown key {key!r}; keys are as "a", "f5", "ctrl+t"'
            )
    if not MODIFIERS.issuperset(modifiers):
        raise ValueError(f'keys: {id} has the unknown key {key!r}; keys are as "a", "f5", "ctrl+t"')
    return "+".join((*modifiers, name))


def _is_named_character(name: str) -> bool:
    return len(display(name)) == 1
