"""What the views of a model's inside look like, with answers that are always the same."""

from __future__ import annotations

import pytest

from tests.tui.inside.answers import look_inside
from tests.tui.test_snapshots import PAUSED, Snap, StillApp, after, still

__all__ = ["still"]  # a fixture

SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x50": (200, 50)}
VIEWS = {
    "attention": ("1",),
    "prediction": ("2", "down", "m", "plus", "plus", "plus", "plus"),
    "surprise": ("3",),
    "layers": ("4", "down", "down"),
    "embeddings": ("5",),
    "health": ("6",),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
def test_view(snap_compare: Snap, view: str, size: str) -> None:
    prepare = after(then=look_inside(*VIEWS[view]))
    assert snap_compare(StillApp(PAUSED), terminal_size=SIZES[size], run_before=prepare)


def test_surprise_beside_the_untrained_model(snap_compare: Snap) -> None:
    prepare = after(then=look_inside("3", beside=True))
    assert snap_compare(StillApp(PAUSED), terminal_size=(120, 40), run_before=prepare)
