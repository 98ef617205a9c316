"""Keys of the user's own: in force everywhere, and told where they are wrong."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Static

import tui
from engine.protocol import State
from tests.tui.conftest import Open, Person
from tui.control.keymap import GROUPS, display
from tui.control.preferences import Preferences
from tui.control.remap import Keymap
from tui.screens.help import TextScreen
from tui.widgets.keys_footer import KeysFooter


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("f6", "f6"),
        ("space, ctrl+t", "space,ctrl+t"),
        ("?", "question_mark"),
        (",", "comma"),
        ("+", "plus"),
        ("pgup", "pageup"),
        ("less_than_sign,G", "less_than_sign,G"),
        ("ctrl+/", "ctrl+slash"),
        ("ü", "ü"),
    ],
)
def test_keys_are_written_as_they_are_printed_or_as_textual_has_them(
    typed: str, means: str
) -> None:
    keymap = Keymap({"cockpit.train": typed})
    assert keymap.changes == {"cockpit.train": means}
    assert not any("unknown" in problem for problem in keymap.problems)


@pytest.mark.parametrize(
    ("id", "keys", "problem"),
    [
        ("cockpit.fly", "f", "keys: there is no action 'cockpit.fly'; gpt-tui keys lists them"),
        ("cockpit.train", "spacebar", "keys: cockpit.train has the unknown key 'spacebar'"),
        ("cockpit.train", "strg+t", "keys: cockpit.train has the unknown key 'strg+t'"),
        ("cockpit.train", "", "keys: cockpit.train must be a key, or several as in"),
        ("cockpit.train", 5, "keys: cockpit.train must be a key, or several as in"),
        (
            "cockpit.train",
            "s",
            "keys: cockpit.train and cockpit.sample both have the key s, so that one of them has "
            "none: give it another",
        ),
        (
            "app.palette",
            "s,f6",
            "keys: app.palette has the key s on every screen, which is cockpit.sample, runs.sort, "
            "compare.sample and 4 more: give it another",
        ),
        ("app.help", "e", "keys: app.help has the key e on every screen, which is cockpit.settin"),
    ],
)
def test_what_is_wrong_is_told(id: str, keys: object, problem: str) -> None:
    (told,) = Keymap({id: keys}).problems
    assert told.startswith(problem)


# a key before a verb or in brackets; single letters that are no keys are units and axes
KEY = re.compile(r"(?<![\w'’`/.=\-\[])([b-zB-HJ-Z]|space|esc|enter|del|ctrl\+p)(?=[ ):.,]|$)")
NO_KEYS = (
    "log x",
    "ln V",
    "enter: change · ",
    "name=a,b",
    'as in "space',
    '= "space',
)


@pytest.mark.parametrize("room", ["control", "screens", "widgets", "text/notices.py", "app.py"])
def test_sentences_name_the_keys_in_force_not_the_default_ones(room: str) -> None:
    where = Path(tui.__file__).parent / room
    for path in [where] if where.is_file() else sorted(where.glob("*.py")):
        if path.name != "keymap.py":
            named = [one for one in _sentences(path) if KEY.search(_without(one))]
            assert not named, f"{path}: ask key_of for the key in {named}"


def _sentences(path: Path) -> Iterator[str]:
    """The texts of a module that are not docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = [node.body[0].value for node in ast.walk(tree) if isinstance(node, documented)
            and node.body and isinstance(node.body[0], ast.Expr)]  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docs:
            yield node.value if " " in node.value else ""


def _without(sentence: str) -> str:
    sentence = re.sub(r"^ s\b", "", sentence)  # seconds, behind a number
    for one in NO_KEYS:
        sentence = sentence.replace(one, "")
    return sentence


async def test_why_a_key_does_nothing_names_the_keys_of_ones_own(open_app: Open) -> None:
    async with open_app() as person:
        person.app.preferences.set_key("cockpit.train", "f6")
        await person.press("v")
        assert person.told() == "there is no run yet: f6 starts one"
        await person.press("question_mark")
        assert isinstance(person.app.screen, TextScreen)
        assert "f6 skips the batch" in person.app.screen._more


def test_keys_may_change_places() -> None:
    assert Keymap({"cockpit.sample": "e", "cockpit.settings": "s"}).problems == []
    assert Keymap({"cockpit.settings": "f6", "app.help": "e,question_mark"}).problems == []


async def test_a_key_of_ones_own_is_in_force_in_footer_help_palette_and_dispatch(
    open_app: Open,
) -> None:
    async with open_app(size=(120, 40)) as person:
        person.app.preferences.set_key("cockpit.train", "f6")
        person.app.preferences.set_key("app.help", "f2")
        await person.until(lambda: "f6" in person.footer(), "the footer")
        assert "space" not in person.footer()
        commands = {one.title: one for one in person.app.get_system_commands(person.cockpit)}
        assert commands["Start"].help.startswith("f6 · start")
        await person.press("f2")
        await person.until(lambda: person.app.screen is not person.cockpit)
        assert isinstance(person.app.screen, TextScreen)
        assert "f6" in [keys for keys, _ in person.app.screen.keys]
        await person.press("escape", "space")
        assert person.status.state is State.IDLE
        await person.press("f6")
        await person.until(lambda: person.status.step >= 2, "training")
        await person.press("f6")
        await person.until_state(State.PAUSED)


async def test_a_remapped_key_keeps_its_place_in_the_footer(open_app: Open) -> None:
    async with open_app(size=(200, 50)) as person:
        footer = person.cockpit.query_one(KeysFooter)
        await person.until(lambda: footer.keys, "the keys")
        before = [key.action for key in footer.keys]
        person.app.preferences.set_key("cockpit.sample", "f6")
        person.app.preferences.set_key("cockpit.settings", "f7,e")
        person.app.preferences.set_key("app.help", "f2")
        await person.until(lambda: "f7" in [key.key for key in footer.keys], "the new keys")
        assert [key.action for key in footer.keys] == before
        assert before[-2:] == ["app.leave", "app.help"]


async def test_sentences_name_the_keys_in_force(open_app: Open, runs_dir: Path) -> None:
    preferences = Preferences()
    for id, key in {"train": "f6", "sample": "f7", "prompt": "f8", "add_to_queue": "f9"}.items():
        preferences.set_key(f"cockpit.{id}", key)
    async with open_app(size=(120, 40), preferences=preferences) as person:
        cockpit = person.cockpit
        hint = "appears here: f7 samples a text, f8 edits the prompt"
        assert hint in cockpit.samples.view.passages[0].prompt
        assert "Press f6 to train" in str(cockpit.welcome.render())
        await person.press("Q")
        empty = person.app.screen.query_one("#empty", Static)
        assert "In the cockpit, f9 adds the edited settings" in str(empty.render())
        await person.press("enter")
        assert person.told() == "nothing is queued: f9 in the cockpit adds a run"
    damaged = runs_dir / "damaged"
    damaged.mkdir(parents=True)
    async with open_app(run=damaged, preferences=preferences) as person:
        await person.until_state(State.IDLE)
        await person.until(
            lambda: cockpit_chart(person) == "f6 opens and continues the run", "why no curves"
        )


def cockpit_chart(person: Person) -> str:
    """What stands in the place of the curves."""
    return person.cockpit.chart.empty_text


async def test_keys_that_cannot_be_are_told_when_the_app_starts(open_app: Open) -> None:
    file = Path(os.environ["GPT_TUI_PREFERENCES"])
    file.write_text(
        '[screen]\ntheme = "nosuch"\n[keys]\n"nonsense" = "x"\n"cockpit.train" = "s"\n'
        '"app.quit" = "q,f99"\n[chart]\nlimits = "los=1..2"\n'
    )
    async with open_app(preferences=Preferences.load()) as person:
        await person.until(lambda: "no action 'nonsense'" in person.notice, "what is wrong")
        assert "both have the key s" in person.notice
        assert "there is no theme 'nosuch'" in person.notice
        await person.until(lambda: "chart.limits: there is no chart 'los'" in person.notice)
        assert "no action 'nonsense'" in person.notice
        await person.press("question_mark")
        await person.until(lambda: isinstance(person.app.screen, TextScreen))


def test_each_key_has_a_short_display() -> None:
    for group in GROUPS.values():
        for key in group.keys:
            assert all(len(display(one)) <= 9 for one in key.keys.split(","))
