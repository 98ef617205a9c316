"""A terminal a few cells high or wide, or a key before the first layout, ends nothing."""

from __future__ import annotations

from pathlib import Path

from textual.command import CommandPalette

from tests.engine.run_folders import write_run
from tests.tui.conftest import Open

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
