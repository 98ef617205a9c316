"""Which keys of the cockpit work: one table, looked at when the state changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.binding import Binding

from engine.protocol import State
from tests.tui.conftest import Open
from tui.control.run import RunControl
from tui.screens.cockpit_keys import BINDINGS, WORKS


def test_the_table_is_about_actions_that_have_a_key() -> None:
    assert WORKS.keys() <= {one.action for one in BINDINGS if isinstance(one, Binding)}


async def test_the_table_is_looked_at_once_for_a_state_and_not_for_each_key(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0

    def works(now: object) -> bool:
        nonlocal looked
        looked += 1
        return True

    async with open_app() as person:
        await person.start_and_pause()
        status = person.status
        monkeypatch.setattr(RunControl, "status", property(lambda _: status))
        monkeypatch.setitem(WORKS, "step", works)
        person.cockpit.refresh_bindings()
        looked = 0
        assert person.footer() and person.footer()
        assert looked == 0
        status = replace(status, state=State.RUNNING)  # as the engine's thread would, any time
        assert person.footer()["space"] == "Pause"
        assert looked == 1
        monkeypatch.undo()
