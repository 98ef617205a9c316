"""The list of texts on the data screen: choose, download, prepare, delete."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from data import packages
from data.corpora import catalogue
from data.corpora.catalogue import TINYSHAKESPEARE, PublicText
from data.corpora.obtain import is_here
from data.prepared import store
from data.prepared.texts import known_texts
from tests.data.conftest import Server, send, server
from tests.tui.conftest import Open, Person
from tests.tui.test_data_screen import look, seen, until_read
from tui.corpus.texts import draw_texts
from tui.screens.data import DataScreen
from tui.screens.data_texts import RemoveTextDialog

__all__ = ["server"]  # a fixture

BODY = b"First Citizen:\nBefore we proceed any further, hear me speak.\n" * 100
NAME = "tinyshakespeare"


@pytest.fixture
def elsewhere(server: Server, monkeypatch: pytest.MonkeyPatch) -> PublicText:
    """A text that is not here, but at an address."""
    server.answer = send(BODY)
    sha256 = hashlib.sha256(BODY).hexdigest()
    short = replace(TINYSHAKESPEARE, size=len(BODY), sha256=sha256, url=server.url)
    monkeypatch.setitem(catalogue.CATALOGUE, NAME, short)
    monkeypatch.setattr(packages, "has_pip", lambda: False)
    monkeypatch.delenv("GPT_TUI_OFFLINE", raising=False)
    return short


async def listed(person: Person, screen: DataScreen, name: str) -> None:
    """Show the list, with the cursor on a text."""
    await person.press("5")
    await person.until(lambda: screen._texts.listed, "the list")
    found = screen._texts.listed
    assert found
    await person.press("home", *["down"] * [one.name for one in found].index(name))


def row_of(screen: DataScreen, name: str) -> str:
    return next(line for line in seen(screen).splitlines() if line[2:].startswith(f"{name} "))


async def test_a_text_that_is_not_here_is_downloaded_when_asked_and_never_else(
    open_app: Open, elsewhere: PublicText, server: Server
) -> None:
    async with open_app({"data.corpus": NAME}, size=(120, 40)) as person:
        await person.press("D")
        await person.until(lambda: person.shows(DataScreen))
        screen = person.app.screen
        assert isinstance(screen, DataScreen)
        await until_read(person, screen)
        assert "is not on this machine yet" in seen(screen) and "f downloads it" in seen(screen)
        await listed(person, screen, "counting")
        await person.press("enter")
        await until_read(person, screen)
        await person.press("escape")
        await until_read(person, screen)
        assert not server.requests and not is_here(elsewhere)
        await person.press("f")
        await until_read(person, screen)
        assert "First Citizen" in seen(screen) and is_here(elsewhere)


async def test_a_download_in_the_list_is_told_and_can_be_cancelled(
    open_app: Open, elsewhere: PublicText, server: Server
) -> None:
    async with open_app(size=(120, 40)) as person:
        screen = await look(person)
        await listed(person, screen, NAME)
        assert "no, 6.1" in row_of(screen, NAME)
        server.answer = server.keep_waiting
        await person.press("f")
        await person.until(lambda: f"downloading {NAME}" in seen(screen), "that it downloads")
        assert "cancels what is being done" in screen.why_not("prepare", ())
        await person.press("escape")
        await person.until(lambda: not screen.jobs.is_running("job"), "that it ends")
        assert person.app.screen is screen and not is_here(elsewhere)
        server.answer = send(BODY)
        await person.press("f")
        await person.until(lambda: "yes" in row_of(screen, NAME), "that it is here")


async def test_a_text_is_prepared_then_its_tokens_are_deleted_and_then_itself(
    open_app: Open, elsewhere: PublicText, server: Server
) -> None:
    async with open_app(size=(120, 40)) as person:
        screen = await look(person)
        await listed(person, screen, NAME)
        assert "it is not here yet: f downloads it" in screen.why_not("prepare", ())
        await person.press("f")
        await person.until(lambda: "yes" in row_of(screen, NAME), "that it is here")
        await person.press("p")
        await person.until(lambda: "kB" in row_of(screen, NAME), "that it is prepared")
        (made,) = [one for one in store.entries() if one.name == NAME]
        assert made.tokens == len(BODY)
        for key, is_left in (("t", True), ("a", False)):
            await person.press("x")
            await person.until(lambda: person.shows(RemoveTextDialog), "the question")
            await person.press(key)
            await person.until(lambda is_left=is_left: is_here(elsewhere) == is_left)  # type: ignore[misc]
            await person.until(lambda: "none yet" in row_of(screen, NAME), "that they are gone")
        assert NAME not in [one.name for one in store.entries()]


async def test_a_chosen_text_is_that_of_the_next_run(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as person:
        screen = await look(person)
        await listed(person, screen, "copying")
        await person.press("enter")
        await until_read(person, screen)
        assert "what would be: copying" in seen(screen)
        await person.press("enter")
        assert person.app.screen is person.cockpit
        assert person.app.control.draft.next_value("data.corpus") == "copying"


async def test_of_a_file_whose_tokens_are_kept_they_can_be_deleted(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as person:
        screen = await look(person)  # which has prepared the small text
        (own,) = [one for one in known_texts() if not one.in_catalogue]
        await listed(person, screen, own.name)
        assert "only tokens known" in row_of(screen, own.name)
        assert "o names its file" in screen.why_not("look", ())
        await person.press("x")
        await person.until(lambda: person.shows(RemoveTextDialog), "the question")
        await person.press("escape")
        assert store.entries()
        await person.press("x")
        await person.until(lambda: person.shows(RemoveTextDialog), "the question")
        await person.press("t")
        await person.until(lambda: not store.entries(), "that they are deleted")


def test_the_row_at_the_cursor_is_marked_from_edge_to_edge() -> None:
    texts = known_texts()
    picture = draw_texts(texts, 1, "", 120, 30)
    for number, row in enumerate(picture.rows[1 : len(texts) + 1]):
        assert sum(len(text) for text, _ in row) == 120
        assert {style for text, style in row if text.strip()} == (
            {"cursor"} if number == 1 else {"ink", "dim"}
        )
