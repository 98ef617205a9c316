"""A key that has nothing to do says why; messages stand where they cover no text."""

from __future__ import annotations

import errno
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Markdown

from engine.metric_catalogue import CHARTS
from engine.protocol import Event, RunOpened, State
from engine.runs.folder import RunLock
from engine.session.outlet import Outlet
from engine.session.worker import EngineLoop
from tests.engine.run_folders import write_run
from tests.tui.conftest import PATIENCE, Open
from tui.app import summary
from tui.control.run import RunControl
from tui.screens.dialogs import Dialog
from tui.screens.help import TextScreen
from tui.screens.keyed import KeyedScreen
from tui.screens.runs import RunsScreen
from tui.text.notices import seconds_to_read
from tui.widgets.keys_footer import KeysFooter


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("full_stop", "there is no run yet: space starts one"),
        ("s", "there is no run yet: space starts one"),
        ("v", "there is no run yet: space starts one"),
        ("t", "there is no run yet: space starts one"),
        ("n", "there is no run yet: space starts one with these settings"),
        ("u", "no setting was changed yet"),
        ("Y", "there is no advice to follow"),
        ("exclamation_mark", "! is no key here: ? lists them"),
        ("9", "9 is no key here: ? lists them"),
        ("escape", "no message is shown, and no chart is maximised"),
    ],
)
async def test_before_there_is_a_run(open_app: Open, key: str, why: str) -> None:
    async with open_app() as person:
        await person.press(key)
        assert person.told() == why
        assert key not in person.footer()


async def test_space_while_a_run_is_prepared(open_app: Open, preparation: threading.Event) -> None:
    async with open_app() as person:
        await person.press("space")
        await person.until_state(State.PREPARING)
        assert person.footer()["space"] == "Pause"
        await person.press("space")
        assert person.told() == "the run is opened paused: space trains it"
        assert person.footer()["space"] == "Resume"
        preparation.set()
        await person.until_state(State.PAUSED)


async def test_space_while_an_existing_run_is_opened(
    open_app: Open, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app() as person:
        step = await person.start_and_pause()
        run = person.run
    begin = RunControl.begin
    monkeypatch.setattr(RunControl, "begin", lambda self: None)  # it takes its time
    async with open_app(run=run) as person:
        await person.press("space")
        assert person.told() == "training begins once the run is open"
        begin(person.app.control)
        await person.until(lambda: person.status.step > step, "training")


@pytest.mark.parametrize("heard", [False, True])
async def test_space_counts_however_late_the_screen_hears_that_a_run_is_open(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """While PyTorch is loaded; and once the screen has heard, but the engine not begun."""
    async with open_app() as person:
        step = await person.start_and_pause()
        run = person.run
    go_on = threading.Event()
    build, tell = EngineLoop._build_session, Outlet.tell

    def wait_and_build(self: EngineLoop, *arguments: Any) -> Any:
        assert go_on.wait(PATIENCE)
        return build(self, *arguments)

    def tell_and_wait(self: Outlet, event: Event) -> None:
        tell(self, event)
        assert not isinstance(event, RunOpened) or go_on.wait(PATIENCE)

    if heard:
        monkeypatch.setattr(Outlet, "tell", tell_and_wait)
    else:
        monkeypatch.setattr(EngineLoop, "_build_session", wait_and_build)
    async with open_app(run=run) as person:
        await person.until(lambda: bool(person.app.control.facts.name) == heard)
        assert person.status.state is State.PREPARING
        await person.press("space")
        go_on.set()
        await person.until(lambda: person.status.step > step, "training")


async def test_of_a_run_that_others_have_open(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        run = person.run
    lock = RunLock(run)
    try:
        async with open_app(run=run) as person:
            await person.until(lambda: person.app.control.watching, "the view")
            assert "another program has this run open" in person.notice
            await person.press("s")
            assert person.told().startswith("this run is read-only here")
            assert not person.footer().keys() & {"space", "s", "v", "c"}
            told = summary(person.app.control)
            assert f"run {run.name}: seen read-only" in told and "continue" not in told
    finally:
        lock.release()


async def test_a_message_goes_with_the_next_key_and_covers_no_help(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("s")
        assert person.told()
        await person.press("question_mark")
        assert isinstance(person.app.screen, TextScreen)
        assert not person.told() and not person.app._notifications
        await person.press("escape", "r")
        await person.until(lambda: person.shows(RunsScreen))
        assert not person.told()


async def test_a_message_longer_than_the_screen_has_more_lines(open_app: Open) -> None:
    async with open_app(size=(60, 16)) as person:
        person.cockpit.notify("a sentence of some length " * 5, severity="warning")
        footer = person.cockpit.query_one(KeysFooter)
        await person.until(lambda: footer.size.height == 3, "three lines")
        await person.press("m")
        await person.until(lambda: footer.size.height == 1, "one line")


async def test_a_dialog_has_its_own_footer_and_its_answers_can_be_clicked(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("n")
        footer = person.app.screen.query_one(KeysFooter)
        await person.until(lambda: bool(footer.keys))
        assert {key.action for key in footer.keys} == {"answer('')", "app.help"}
        await person.press("question_mark")
        assert isinstance(person.app.screen, TextScreen)
        await person.press("escape")
        await person.pilot.click("#answer-no")
        await person.until(lambda: person.app.screen is person.cockpit)


async def test_help_explains_what_has_the_focus(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("e")
        person.cockpit.settings.list.go_to("optim.learning_rate")
        await person.press("question_mark")
        page = person.app.screen
        assert isinstance(page, TextScreen)
        assert page.before.startswith("### optim.learning_rate\n\nPeak learning rate")
        assert page.keys[0] == ("enter", "change the setting, or fold a group")
        await person.press("escape", "escape", "p", "f1")
        page = person.app.screen
        assert isinstance(page, TextScreen) and page.before.startswith("### sample.prompt")


async def test_help_of_a_screen_begins_with_what_it_shows_and_why(open_app: Open) -> None:
    keys = {"t": "timeline", "r": "runs", "Q": "queue", "D": "data", "N": "presets",
            "T": "lr_finder", "L": "lecture", "O": "preferences", "a": "ask_queue"}  # fmt: skip
    async with open_app() as person:
        await person.start_and_pause()
        for key, name in keys.items():
            await person.press(key)
            await person.until(lambda name=name: getattr(person.app.screen, "KEYS", "") == name)  # type: ignore[misc]
            screen = person.app.screen
            assert isinstance(screen, KeyedScreen)
            await person.press("f1")
            page = person.app.screen
            assert isinstance(page, TextScreen)
            assert page.before and page.before == person.app.keymap.in_words(screen.ABOUT)
            await person.until(lambda page=page: page.query("MarkdownParagraph"), "its words")  # type: ignore[misc]
            first = page.query_one("#page").children[0]
            assert isinstance(first, Markdown) and first.source == page.before
            await person.press("escape", "escape")
            await person.until(lambda: person.app.screen is person.cockpit, "the cockpit")


def test_every_screen_that_asks_nothing_says_what_it_is_for() -> None:
    screens = [one for one in _kinds_of(KeyedScreen) if one.KEYS and not issubclass(one, Dialog)]
    names = {one.KEYS for one in screens}
    assert {"compare", "plot", "queue", "timeline", "cockpit", "inside"} <= names
    silent = {one.KEYS for one in screens if one.explain is KeyedScreen.explain and not one.ABOUT}
    assert silent == {"page"}  # a text


def _kinds_of(kind: type[KeyedScreen[Any]]) -> set[type[KeyedScreen[Any]]]:
    for name in ("compare", "inside", "key_preferences", "columns_dialog", "sweep_plot", "lecture"):
        import_module(f"tui.screens.{name}")  # loaded when they are opened
    below = kind.__subclasses__()
    return {*below, *(one for each in below for one in _kinds_of(each))}


async def test_the_help_has_the_message_behind_the_explanation_unless_it_is_cut(
    open_app: Open,
) -> None:
    async with open_app(size=(80, 24)) as person:
        await person.start_and_pause()
        notice = person.cockpit.notice
        for words, is_first in (("saved", False), ("a sentence of some length " * 20, True)):
            person.cockpit.say(words)
            await person.until(lambda cut=is_first: notice.is_cut == cut)  # type: ignore[misc]
            await person.press("question_mark")
            page = person.app.screen.query_one("#page")
            kinds = [one.id or type(one).__name__ for one in page.children]
            expected = ["message", "Markdown"] if is_first else ["Markdown", "message"]
            assert kinds[:3] == [*expected, "keys"]
            await person.press("escape")


async def test_help_explains_the_chart_and_the_idea_behind_it(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("question_mark")
        page = person.app.screen
        assert isinstance(page, TextScreen) and page.before.startswith(
            "### loss\n\nA language model"
        )
        assert "- **val**: Cross-entropy on the validation text" in page.before
        await person.press("escape", "g", "j", "question_mark")
        page = person.app.screen
        assert isinstance(page, TextScreen) and page.before.startswith(
            "### learning rate\n\nA step"
        )
        assert "shift+← reads values" in page.before


def test_each_chart_has_an_idea_behind_it() -> None:
    assert [one.name for one in CHARTS if not one.idea] == []


async def test_a_message_expires_and_an_error_does_not(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.cockpit.NOTICE_SECONDS", 0.01)
    async with open_app(size=(80, 24)) as person:
        notice, footer = person.cockpit.notice, person.cockpit.query_one(KeysFooter)
        person.cockpit.say("the disk is nearly full")
        await person.until(lambda: not notice.text, "the message to expire")
        person.cockpit.say("the disk is full", "error")
        person.cockpit.refresh_bindings()
        await person.until(
            lambda: any(one.action == "dismiss_notice" for one in footer.keys), "the key to hide it"
        )
        assert notice.text == "the disk is full"
        await person.press("escape")
        assert not notice.text


def test_errors_and_long_messages_stay_for_longer() -> None:
    assert seconds_to_read("no", "error") > seconds_to_read("no", "warning")
    assert seconds_to_read("one two three four", "error") > seconds_to_read("one", "error") >= 20


async def test_a_screenshot_says_where_it_is_or_why_it_is_not(
    open_app: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app(size=(120, 40)) as person:
        shown = person.app.deliver_screenshot(path=str(tmp_path))
        assert shown and Path(shown).read_text().startswith("<svg")
        assert "screenshot: " in person.told()

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("tui.app.write_atomically", full)
        assert person.app.deliver_screenshot(path=str(tmp_path)) is None
        assert "no screenshot: " in person.told() and "No space left" in person.told()


async def test_a_run_that_cannot_be_opened_brings_the_last_one_back(
    open_app: Open, runs_dir: Path
) -> None:
    async with open_app() as person:
        step = await person.start_and_pause()
        first = person.run
        other = write_run(runs_dir, "broken")
        (other / "run.db").write_bytes(b"")
        (other / "config.toml").write_text("[model")
        person.app.control.open_run(other)
        await person.until(
            lambda: "first is open again" in person.notice.replace(first.name, "first")
        )
        await person.until(lambda: person.status.state is State.PAUSED, "the first run, paused")
        assert person.run == first and person.status.step == step


async def test_a_new_run_that_cannot_begin_brings_the_last_one_back_and_keeps_the_edits(
    open_app: Open, tmp_path: Path
) -> None:
    short = tmp_path / "short.txt"
    short.write_text("too short")
    async with open_app() as person:
        step = await person.start_and_pause()
        first = person.run
        person.app.control.edit({"data.corpus": str(short)})
        await person.press("n")
        await person.press("enter")
        await person.until(lambda: f"{first.name} is open again" in person.notice)
        assert "The text is too short" in person.notice
        await person.until(lambda: person.status.state is State.PAUSED, "the first run, paused")
        assert person.run == first and person.status.step == step
        assert person.app.control.draft.next_value("data.corpus") == str(short)
        assert f"step {step:,} of" in summary(person.app.control)


@pytest.mark.parametrize("columns", [80, 120])
async def test_the_name_of_the_run_is_in_the_status_bar(open_app: Open, columns: int) -> None:
    async with open_app(size=(columns, 24)) as person:
        await person.start_and_pause()
        bar = person.cockpit.query_one("#status")
        await person.until(lambda: person.run.name in str(bar.render()))


async def test_a_text_to_be_downloaded_is_not_promised(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from engine.config.presets import preset_config

    monkeypatch.setenv("GPT_TUI_CACHE", str(tmp_path / "empty"))
    for offline, told in (("1", "python-docs (stand-in: offline)"), ("", "(to be downloaded)")):
        monkeypatch.setenv("GPT_TUI_OFFLINE", offline)
        async with open_app(config=preset_config("tiny"), size=(120, 40)) as person:
            bar = person.cockpit.query_one("#status")
            await person.until(lambda b=bar, t=told: t in str(b.render()))  # type: ignore[misc]
