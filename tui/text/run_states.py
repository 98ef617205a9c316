"""The sign and colour of each state of a run, on every screen."""

from __future__ import annotations

from engine.states import DAMAGED, INTERRUPTED, State

SIGNS: dict[str, tuple[str, str]] = {  # sign and colour by state
    State.IDLE: ("○", "dim"),
    State.PREPARING: ("◌", "yellow"),
    State.RUNNING: ("●", "green"),
    State.PAUSED: ("‖", "yellow"),
    State.FINISHED: ("✓", "green"),
    State.STOPPED: ("■", "dim"),
    State.FAILED: ("✗", "red"),
    INTERRUPTED: ("!", "yellow"),
    DAMAGED: ("✗", "red"),
}

UNKNOWN = ("?", "dim")  # a state that a newer version wrote


def format_state(state: str) -> str:
    """``● training``."""
    return f"{SIGNS.get(state, UNKNOWN)[0]} {state}"


def state_colour(state: str) -> str:
    return SIGNS.get(state, UNKNOWN)[1]
