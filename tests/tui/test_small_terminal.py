"""A terminal a few cells high or wide, or a key before the first layout, ends nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.command import CommandPalette

from tests.engine.run_folders import write_run
from tests.tui.conftest import Open
from tui.screens.dialogs import TakeControlDialog

MOVES = ("pagedown", "pageup", "end", "home", "down", "up")
SCREENS = ("ctrl+p", "e", "r", "Q", "question_mark")
SIZES = ((80, 1), (80, 3), (1, 24))


async def test_every_list_can_be_paged_at_any_size(open_app: Open, runs_dir: Path) -> None:
    for name in "ab":
        write_run(runs_dir, name)
    async with open_app() as person:
        for size in SIZES:
            await person.pilot.resize_terminal(*size)
            for screen in SCREENS:
                await person.press(screen, *MOVES, "escape")
                assert person.app.is_running, (screen, size)


async def test_keys_may_follow_the_palette_at_once(open_app: Open) -> None:
    async with open_app() as person:
        for key in ("pagedown", "pageup"):
            person.app.action_command_palette()
            await person.until(lambda: isinstance(person.app.screen, CommandPalette))
            person.app.simulate_key(key)
            await person.press("escape")
            assert person.app.is_running, key


@pytest.mark.parametrize("size", [(60, 16), (80, 24)])
async def test_a_question_is_whole_in_a_narrow_terminal(
    open_app: Open, size: tuple[int, int]
) -> None:
    async with open_app(size=size) as person:
        dialog = TakeControlDialog("somebody@a-machine-of-a-long-name.example.org (process 12345)")
        person.app.push_screen(dialog)
        await person.until(lambda: person.shows(TakeControlDialog), "the question")
        frame = dialog.query_one("#dialog").content_region
        question = dialog.query_one("#question").region
        assert question.width <= frame.width and question.height > 1
