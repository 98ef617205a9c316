"""The file of preferences: declared once, read whatever is in it, changed line by line."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from textual.widgets import OptionList, Static

from data.errors import InputError
from tests.faults.hostile_files import INSTEAD, TOML_VALUES
from tests.tui.conftest import Open
from tui.control.preferences import (
    FOLDERS,
    PREFERENCES,
    SECTIONS,
    UNSET,
    VARIABLE,
    Preferences,
    comes_first,
    preferences_file,
    use_folders,
)
from tui.screens.cockpit import CockpitScreen
from tui.screens.key_preferences import KeyPreferencesScreen
from tui.screens.preferences import PreferencesScreen
from tui.screens.queue_dialog import QueueDialog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "preferences.toml"  # which the environment names, too


def test_what_was_set_is_there_after_a_restart(path: Path) -> None:
    before = Preferences.load()
    assert not path.exists()  # until something is changed
    before.set("screen.theme", "dracula")
    before.set("screen.settings_width", 52)
    before.set("chart.smoothing", "0.5")  # as it was typed
    before.set_key("app.help", "f1,question_mark")
    after = Preferences.load()
    assert after.get("screen.theme") == "dracula"
    assert after.get("screen.settings_width") == 52
    assert after.get("chart.smoothing") == 0.5
    assert after.keys == {"app.help": "f1,question_mark"}
    assert not after.problems


def test_the_file_says_what_each_preference_is(path: Path) -> None:
    Preferences.load().set("notify.bell", False)
    text = path.read_text()
    for one in PREFERENCES.values():
        assert f"# {one.help}" in text
    assert tomllib.loads(text) == {section: {} for section in SECTIONS} | {
        "notify": {"bell": False}
    }


def test_a_change_replaces_one_line(path: Path) -> None:
    mine = "# mine\n[screen]\ntheme = 'nord' # the best\nfuture = 3\n[chart]\nsmoothing = 0.5\n"
    path.write_text(mine)
    preferences = Preferences.load()
    assert preferences.problems == [f"{path}: there is no preference 'screen.future'"]
    preferences.set("screen.theme", "dracula")
    preferences.set("chart.smoothing", 0.9)  # the default
    preferences.set("screen.text", False)
    assert path.read_text() == (
        '# mine\n[screen]\ntheme = "dracula"\nfuture = 3\ntext = false\n[chart]\n'
        "# smoothing = 0.9\n"
    )


def test_nothing_is_written_that_is_the_same(path: Path) -> None:
    preferences = Preferences.load()
    preferences.set("screen.theme", "auto")
    assert not path.exists()
    preferences.set("screen.theme", "nord")
    written = path.stat()
    preferences.set("screen.theme", "nord")
    assert path.stat() == written


def test_two_apps_keep_what_the_other_has_changed(path: Path) -> None:
    one, other = Preferences.load(), Preferences.load()
    one.set("screen.theme", "nord")
    other.set("notify.bell", False)
    assert Preferences.load().get("screen.theme") == "nord"


def test_a_text_of_any_kind_comes_back(path: Path) -> None:
    for text in ('say "done" \\ \t', "ü € 🎉", "\x7f\x1b[31m", "# no comment", "[chart]"):
        Preferences.load().set("notify.command", text)
        assert Preferences.load().get("notify.command") == text


@pytest.mark.parametrize("value", TOML_VALUES, ids=lambda value: value[:12])
@pytest.mark.parametrize("key", ["screen.theme", "chart.smoothing", "keys.app.help", "screen", "x"])
def test_what_does_not_fit_is_told_and_has_its_default(path: Path, key: str, value: str) -> None:
    text = f"notify.bell = false\n{key} = {value}\n"
    path.write_text(text * 2 if value == "twice" else text)
    preferences = Preferences.load()
    told = preferences.problems
    for name, one in PREFERENCES.items():
        assert one.check(preferences.get(name)) == preferences.get(name)
    assert all(isinstance(keys, str) for keys in preferences.keys.values())
    assert all("\n" not in problem and str(path) in problem for problem in told)
    if not any("all preferences have their defaults" in problem for problem in told):
        assert preferences.get("notify.bell") is False  # the others are taken


@pytest.mark.parametrize("instead", INSTEAD)
def test_something_else_in_its_place_is_told_and_left_alone(path: Path, instead: str) -> None:
    INSTEAD[instead](path)
    before = os.lstat(path) if os.path.lexists(path) else None
    preferences = Preferences.load()
    assert len(preferences.problems) <= 5
    if preferences.problems:
        with pytest.raises(InputError, match=path.name):
            preferences.set("screen.theme", "nord")
        after = os.lstat(path)
        assert before and (before.st_ino, before.st_size) == (after.st_ino, after.st_size)
        assert preferences.get("screen.theme") == "nord"  # until the app ends


def test_a_file_that_cannot_be_written_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("tui.control.preferences.write_atomically", full)
    preferences = Preferences.load()
    with pytest.raises(InputError, match="No space left on device"):
        preferences.set("screen.theme", "nord")
    assert preferences.get("screen.theme") == "nord"


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "p.toml"
    target.parent.mkdir()
    target.write_text("")
    path.symlink_to(target)
    Preferences.load().set("screen.theme", "nord")
    assert path.is_symlink()
    assert 'theme = "nord"' in target.read_text()


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert preferences_file() == tmp_path / "gpt-tui/preferences.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # which the specification says to ignore
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert preferences_file() == tmp_path / "me/.config/gpt-tui/preferences.toml"


WEBHOOK = "it must be an https address, as https://example.org/hook (http for localhost alone)"
CHARACTERS = "has characters that no address can have: write a blank as %20, and others so, too"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("notify.webhook", "http://example.org/hook", WEBHOOK),
        ("notify.webhook", "http://localhost.example.org/", WEBHOOK),
        ("notify.webhook", "http://[::1].example.org/", WEBHOOK),
        ("notify.webhook", "file:///etc/passwd", WEBHOOK),
        ("notify.webhook", "example.org/hook", WEBHOOK),
        ("notify.webhook", "https://", WEBHOOK),
        ("notify.webhook", "https://me:secret@example.org/", WEBHOOK),
        ("notify.webhook", "https://example.org:99999/", WEBHOOK),
        ("notify.webhook", "https://a b.example.org/", WEBHOOK),
        ("notify.webhook", "https://a..example.org/", WEBHOOK),
        ("notify.webhook", "https://[::1/", WEBHOOK),
        ("notify.webhook", "https://example.org/a b", CHARACTERS),
        ("notify.webhook", "https://example.org/\n", CHARACTERS),
        ("notify.webhook", "https://example.org/\u00fc", CHARACTERS),
        ("notify.command", "'unfinished", "it is no command line (no closing quotation)"),
        ("notify.command", "unfinished \\", "it is no command line (no escaped character)"),
        ("notify.command", "  ", "it names no program: write one first, or leave it empty"),
        ("notify.command", "'' done", "it names no program"),
        ("notify.command", "say \0", "a command cannot have the character NUL: remove it"),
        ("folders.runs", "runs", "write a whole path, as /mnt/runs or ~/runs"),
        ("folders.cache", "~nosuchuser/x", "there is no user 'nosuchuser'"),
        ("folders.cache", __file__, f"{__file__} is not a folder: choose another"),
        ("folders.runs", f"{__file__}/runs", f"{__file__} is not a folder: choose another"),
        ("runs.sort", "-bset", "runs cannot be sorted by 'bset': did you mean 'best'?"),
        ("runs.sort", "--best", "runs cannot be sorted by '-best'"),
        ("runs.columns", "name,bset", "no column 'bset': did you mean 'best'?"),
        ("runs.columns", "settings", "no column 'settings'"),
        ("chart.limits", "2..3", "write the chart first, as loss=2..3.5"),
        ("chart.limits", "loss=3..2", "the lower limit must be below the upper one"),
    ],
)
def test_what_would_fail_later_is_refused_when_set_and_when_read(
    path: Path, name: str, value: str, told: str
) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(name)}: .*{re.escape(told)}"):
        Preferences.load().set(name, value)
    assert not path.exists()
    path.write_text(f"{name} = {json.dumps(value)}\nnotify.bell = false\n")
    preferences = Preferences.load()
    (problem,) = preferences.problems
    assert problem.startswith(f"{path}: {name}: ")
    assert told in problem
    assert preferences.get(name) == PREFERENCES[name].default
    assert preferences.get("notify.bell") is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("notify.webhook", "https://example.org:8443/a%20b?c=d#e"),
        ("notify.webhook", "https://b\u00fccher.example/"),
        ("notify.webhook", "HTTP://LOCALHOST:8080"),
        ("notify.webhook", "http://[::1]:80/"),
        ("runs.sort", "-model.n_layer"),
        ("runs.sort", "disk"),
        ("runs.columns", "name, lr,n_layer,optim.weight_decay,speed"),
        ("runs.columns", ""),
    ],
)
def test_what_works_is_taken(name: str, value: str) -> None:
    Preferences.load().set(name, value)
    assert Preferences.load().get(name) == value


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_of_the_environment_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    variable = FOLDERS[name]
    Preferences.load().set(name, str(tmp_path / "preferred"))
    monkeypatch.setenv(variable, "/named")
    use_folders()
    assert os.environ[variable] == "/named"
    monkeypatch.setenv(variable, "")
    use_folders()
    assert os.environ[variable] == str(tmp_path / "preferred")
    file = preferences_file()
    file.write_text(file.read_text().replace(str(tmp_path / "preferred"), "relative"))
    monkeypatch.setenv(variable, "")
    assert use_folders() == [f"{file}: {name}: write a whole path, as /mnt/runs or ~/runs"]
    assert os.environ[variable] == ""


async def test_a_theme_is_applied_at_once_and_at_the_next_start(open_app: Open) -> None:
    preferences = Preferences.load()
    async with open_app(preferences=preferences) as person:
        assert person.app.theme == "textual-dark"
        preferences.set("screen.theme", "nord")
        assert person.app.theme == "nord"
    async with open_app(preferences=Preferences.load()) as person:
        assert person.app.theme == "nord"
    async with open_app(preferences=Preferences.load(), theme="dracula") as person:
        assert person.app.theme == "dracula"
        person.app.theme = "gruvbox"  # as the command palette does
        await person.until(lambda: Preferences.load().get("screen.theme") == "gruvbox")


def test_what_may_be_empty_says_what_that_means() -> None:
    texts = {name for name, one in PREFERENCES.items() if one.type is str and one.default == ""}
    assert texts == UNSET.keys()


async def test_the_screen_says_what_empty_means_and_what_comes_first(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPT_TUI_RUNS", "/named")
    monkeypatch.delenv("GPT_TUI_CACHE", raising=False)
    async with open_app() as person:
        await person.press("O")
        await person.until(lambda: person.shows(PreferencesScreen))
        shown = person.app.screen.query_one("#preferences", OptionList)
        rows = {str(one.id): str(one.prompt) for one in shown.options}
        assert rows["notify.command"].split() == ["command", "off"]
        assert rows["folders.cache"].endswith("the cache folder")
        assert rows["folders.runs"].endswith("the data folder  GPT_TUI_RUNS comes first")
        shown.highlighted = shown.get_option_index("folders.runs")
        told = person.app.screen.query_one("#told", Static)
        await person.until(lambda: "has GPT_TUI_RUNS=/named" in str(told.content))


def test_a_folder_that_the_preferences_chose_does_not_come_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GPT_TUI_RUNS", "")
    Preferences.load().set("folders.runs", str(tmp_path))
    use_folders()
    assert os.environ["GPT_TUI_RUNS"] == str(tmp_path) and not comes_first("folders.runs")
    monkeypatch.setenv("GPT_TUI_RUNS", "/named")
    assert comes_first("folders.runs") == "GPT_TUI_RUNS"


async def test_a_click_on_a_value_shows_it_and_the_second_takes_it(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("O")
        await person.until(lambda: person.shows(PreferencesScreen))
        rows = person.app.screen.query_one("#preferences", OptionList)
        rows.highlighted = rows.get_option_index("chart.grid")
        await person.press("enter")
        for times in range(2):
            assert person.app.preferences.get("chart.grid") == "auto", times
            await person.pilot.click("#values", offset=(2, 1))
            await person.pilot.pause(0)
        assert person.app.preferences.get("chart.grid") == "loss"


async def test_another_key_for_an_action_is_pressed_and_works_at_once(
    open_app: Open, path: Path
) -> None:
    async with open_app(preferences=Preferences.load(path)) as person:
        await person.press("O", "end", "enter")
        await person.until(lambda: person.shows(KeyPreferencesScreen), "the actions")
        screen = person.app.screen
        assert isinstance(screen, KeyPreferencesScreen)
        told = screen.query_one("#told", Static)

        async def find(words: str) -> None:
            await person.press("slash", *words, "enter")
            await person.until(lambda: screen.rows.has_focus, "the list")

        await find("add queue")
        assert "cockpit.add_to_queue  a" in str(told.content)
        await person.press("enter", "space")  # what trains
        assert "cockpit.train and cockpit.add_to_queue both have the key space" in str(told.content)
        await person.press("enter", "escape")
        assert person.shows(KeyPreferencesScreen) and person.app.preferences.keys == {}
        await person.press("enter", "f9")
        assert "cockpit.add_to_queue  f9 · by default a" in str(told.content)
        await person.press("plus", "ctrl+t")
        assert Preferences.load(path).keys == {"cockpit.add_to_queue": "f9,ctrl+t"}
        await person.press("escape", "escape", "escape")
        assert person.shows(CockpitScreen)
        await person.press("a")
        assert "no key here" in person.told()
        await person.press("f9")
        assert person.shows(QueueDialog)
        await person.press("escape", "O", "end", "enter")
        await person.until(lambda: person.shows(KeyPreferencesScreen), "the actions")
        await person.press("slash", *"add queue", "enter", "backspace")
        assert Preferences.load(path).keys == person.app.preferences.keys == {}


def test_a_key_that_is_the_apps_everywhere_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match=r"app\.palette on every screen"):
        Preferences.load(path).set_key("cockpit.train", "ctrl+p")
