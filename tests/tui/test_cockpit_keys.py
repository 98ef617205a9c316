"""Which keys of the cockpit work: one table, looked at when the state changes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.protocol import State
from tests.tui.conftest import Open
from tui.control.availability import WHY_NOT
from tui.control.keymap import GROUPS
from tui.control.run import RunControl


def test_the_table_is_about_actions_that_have_a_key() -> None:
    keys = GROUPS["cockpit"].keys
    actions = {one.action for one in keys} | {action for one in keys for action, _ in one.others}
    assert WHY_NOT.keys() <= actions


async def test_the_table_is_looked_at_once_for_a_state_and_not_for_each_key(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0

    def why_not(now: object) -> str:
        nonlocal looked
        looked += 1
        return ""

    async with open_app() as person:
        await person.start_and_pause()
        status = person.status
        monkeypatch.setattr(RunControl, "status", property(lambda _: status))
        monkeypatch.setitem(WHY_NOT, "step", why_not)
        person.cockpit.refresh_bindings()
        looked = 0
        assert person.footer() and person.footer()
        assert looked == 0
        status = replace(status, state=State.RUNNING)  # as the engine's thread would, any time
        assert person.footer()["space"] == "Pause"
        assert looked == 1
        monkeypatch.undo()
