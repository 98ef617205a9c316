"""What the views of a model's inside look like, with answers that are always the same."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tui.inside.answers import TEXT, look_inside, patterns, steps_of_a_head
from tests.tui.test_snapshots import PAUSED, Snap, StillApp, after, still
from tui.inside.attention import Heads, draw_ranking
from tui.inside.health import aligned
from tui.inside.steps import draw_steps
from tui.inside.words import WORDS
from tui.screens.inside import InsideScreen

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


async def test_no_sentence_is_cut() -> None:
    app = StillApp(PAUSED)
    async with app.run_test() as pilot:
        await look_inside()(pilot)
        screen = app.screen
        assert isinstance(screen, InsideScreen)
        for size in SIZES.values():
            await pilot.resize_terminal(*size)
            for number, view in enumerate(VIEWS, 1):
                await pilot.press(str(number))
                check_sentences(screen, view)


def check_sentences(screen: InsideScreen, view: str) -> None:
    """Fail unless the explanation is on the screen in whole sentences, and no other is cut."""
    width, height = screen.picture.size
    words, rows = WORDS[view], screen.picture.picture.rows
    why = ["".join(text for text, _ in row) for row in screen._why(width, height).rows]
    told = " ".join(line.strip() for line in why).strip()
    assert f"{words.explanation} {words.source}".startswith(told) and told.endswith(".")
    shown = ["".join(text for text, _ in row) for row in rows]
    assert len(shown) == height and shown[-len(why) :] == why
    dim = [text.rstrip() for row in rows for text, style in row if style == "dim"]
    assert [text for text in dim if text.endswith("…") and text != "…"] == [], view


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_note_of_a_head_step_by_step_is_cut(width: int) -> None:
    found = steps_of_a_head()
    heads = Heads(patterns(), patterns()[0, 0], (), tuple(TEXT), 0, 0, query=9, key=4)
    rows = draw_steps(heads, found, width, 18, "pixels").rows
    told = "\n".join("".join(text for text, _ in row).rstrip() for row in rows)
    assert "keeps the variance of scores at 1 for any head size" in told
    assert "times the largest\n" in told and "…" not in told


def test_figures_stand_below_each_other_by_their_points() -> None:
    assert [one.strip() for one in aligned(["0.5", "12.25", "3%", "–"])] == [
        "0.5",
        "12.25",
        "3%",
        "–",
    ]
    columns = [one.index(".") for one in aligned(["0.5", "12.25", "0.00125"])]
    assert len(set(columns)) == 1 and len({len(one) for one in aligned(["7", "1e-05"])}) == 1


def test_the_head_that_does_a_thing_most_is_named_whatever_it_is_called() -> None:
    scores = {"previous token": np.array([[0.1, 0.2], [0.34, 0.3]], np.float32)}
    heads = Heads(patterns()[:2, :2], patterns()[0, 0], (), tuple(TEXT), 0, 0, 9, 4, scores)
    rows = draw_ranking(heads, 40, "pixels").rows
    told = ["".join(text for text, _ in row) for row in rows]
    assert len(told) == 2 and told[1].split()[:5] == ["one", "back", "L1", "H0", "0.34"]
