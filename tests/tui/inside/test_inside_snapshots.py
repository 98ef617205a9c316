"""What the views of a model's inside look like, with answers that are always the same."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pytest
from msgspec import structs

from engine.inspect.over_moments import OverMoments
from engine.metrics import MetricStore
from tests.tui.inside.answers import (
    TEXT,
    answers,
    look_inside,
    patterns,
    steps_of_a_head,
    surprise_of,
    wave,
)
from tests.tui.test_snapshots import PAUSED, Snap, StillApp, StillControl, after, still
from tui.control.inside import Side
from tui.inside.attention import (
    PLACES,
    Heads,
    draw_attention,
    draw_overview,
    draw_pattern,
    draw_ranking,
    name_of,
)
from tui.inside.columns import draw_columns
from tui.inside.health import aligned
from tui.inside.layers import Layers, draw_layers
from tui.inside.layout import Row, width_of
from tui.inside.steps import draw_steps
from tui.inside.surprise import Surprises, draw_surprise
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
    heads = Heads(
        maps=patterns(),
        pattern=patterns()[0, 0],
        names=(),
        tokens=tuple(TEXT),
        layer=0,
        head=0,
        query=9,
        key=4,
    )
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
    assert len(set(columns)) == 1 and len({len(one) for one in aligned(["7", "1e-5"])}) == 1


def test_the_head_that_does_a_thing_most_is_named_whatever_it_is_called() -> None:
    scores = {"previous token": np.array([[0.1, 0.2], [0.34, 0.3]], np.float32)}
    heads = Heads(
        maps=patterns()[:2, :2],
        pattern=patterns()[0, 0],
        names=(),
        tokens=tuple(TEXT),
        layer=0,
        head=0,
        query=9,
        key=4,
        scores=scores,
    )
    rows = draw_ranking(heads, 40, "pixels").rows
    told = ["".join(text for text, _ in row) for row in rows]
    assert len(told) == 2 and told[1].split()[:5] == ["one", "back", "L1", "H0", "0.34"]


def texts_of(rows: Iterable[Row]) -> list[str]:
    return ["".join(text for text, _ in row) for row in rows]


def heads_with_scores(layers: int, count: int, T: int) -> Heads:
    """Heads of a model of a size, each of which does something most."""
    scores = {name: wave(layers, count, seed=3.0 + at) for at, name in enumerate(PLACES)}
    names = [[("recent tokens", 0.54)] * count] * layers
    maps = wave(layers, count, min(T, 32), min(T, 32))
    return Heads(
        maps=maps,
        pattern=patterns()[0, 0, :T, :T],
        names=names,
        tokens=TEXT[:T],
        layer=0,
        head=0,
        query=T - 3,
        key=T - 5,
        scores=scores,
    )


@pytest.mark.parametrize("shape", [(4, 2, 64), (4, 4, 64), (3, 4, 8), (12, 12, 64), (1, 1, 8)])
@pytest.mark.parametrize("is_enlarged", [False, True])
def test_which_head_looks_is_whole_wherever_it_is_shown(
    shape: tuple[int, int, int], is_enlarged: bool
) -> None:
    heads = heads_with_scores(*shape)
    # alone and beside: 59 columns are a half of 120, 8 rows one of 24
    for width, height in ((80, 19), (120, 33), (200, 43), (59, 32), (80, 8), (99, 42)):
        told = texts_of(draw_attention(heads, width, height, "pixels", is_enlarged).rows)
        shown = "\n".join(told)
        if is_enlarged and height < 19:
            continue  # the pattern of one head has that room
        assert "which head looks most" in shown, (width, height)
        for words in PLACES.values():
            found = [re.search(rf" {re.escape(one)} +L\d+ H\d+ +\d\.\d\d", shown) for one in words]
            assert any(found), (width, height, words)
        assert "…" not in shown.replace(" …", "")  # the text itself may go on


def test_the_name_of_a_head_is_whole_or_short_and_has_a_score_that_says_something() -> None:
    names = {"recent tokens 0.54", "recent tokens", "recent", ""}
    assert {name_of(("recent tokens", 0.54), width) for width in range(30)} == names
    assert {name_of(("mixed", 0.14), width) for width in range(30)} == {"mixed", ""}


def test_few_tokens_have_some_pixels_each() -> None:
    heads = heads_with_scores(3, 4, 8)
    pattern = draw_pattern(heads, 60, 33, "pixels")
    assert max(map(width_of, pattern.rows)) == 3 + 6 * 8 and len(pattern.rows) == 2 + 3 * 8
    assert pattern.target_at(2, 3) == ("key", 0) == pattern.target_at(2, 8)
    assert pattern.target_at(2, 9) == ("key", 1)
    overview = draw_overview(heads, 80, 33, "pixels")
    assert max(map(width_of, overview.rows)) == 3 + 4 * (16 + 1)


@pytest.mark.parametrize("size", ["80x24", "120x40"])
async def test_two_moments_are_laid_out_alike_below_what_they_are(
    size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StillControl, "store", MetricStore())
    app = StillApp(PAUSED)
    async with app.run_test(size=SIZES[size]) as pilot:
        await look_inside()(pilot)
        screen = app.screen
        assert isinstance(screen, InsideScreen)
        earlier = {view: structs.replace(one, step=0) for view, one in answers().items()}
        screen.state.sides.append(Side(moment=750, answers=earlier))
        for keys in (["1"], ["1", "enter"], ["1", "enter", "enter"], ["2"], ["5"]):
            await pilot.press(*keys)
            width, height = screen.picture.size
            body = screen._body(width, height - 5)
            half = (width - 2) // 2
            told = texts_of(body.rows)
            if width >= 120:
                first, second = ([row[:half] for row in told], [row[half + 2 :] for row in told])
            else:
                rows = len(told) // 2
                first, second = told[:rows], told[rows : 2 * rows]
            assert first[0].split() == ["step", "1,250"], keys
            assert second[0].split() == ["step", "750,", "kept"], keys
            assert [row.rstrip() for row in first[1:]] == [row.rstrip() for row in second[1:]]
            assert not [row for row in first if row.rstrip().endswith("…") and " …" not in row]
            await pilot.press("escape") if "enter" in keys else None


def test_a_kind_of_token_without_room_is_counted() -> None:
    found = surprise_of(7.0)
    for height in (10, 12, 19, 33):
        one = Surprises(measured=found.measured, kinds=found.kinds, position=20)
        shown = "\n".join(texts_of(draw_surprise(one, 80, height, "pixels").rows))
        kinds = [one.kind for one in found.kinds]
        missing = [kind for kind in kinds if not re.search(rf"{kind} +\d+\.\d\d bits", shown)]
        assert f"and {len(missing)} more" in shown if missing else "more" not in shown
        assert not missing or height < 19


def test_next_to_no_bits_look_like_none() -> None:
    rows = texts_of(draw_columns(np.full(8, 0.03, np.float32), 40, 4, "pixels").rows)
    assert rows[0].split() == ["1.0"] and not set("█▇▆▅") & set("".join(rows))


def test_a_course_is_drawn_once_where_a_token_is_the_only_one_of_its_kind() -> None:
    found, T = surprise_of(7.0), len(TEXT)
    costs = wave(5, T)
    for other, is_once in ((costs, True), (wave(5, T, seed=2.0), False)):
        course = OverMoments(tuple(range(5)), costs, other)
        one = Surprises(
            measured=found.measured, kinds=found.kinds, position=20, course=course, kind="space"
        )
        shown = "\n".join(texts_of(draw_surprise(one, 120, 33, "pixels").rows))
        assert "this " in shown and ("any space" not in shown) == is_once


def test_layers_of_few_tokens_fill_the_screen() -> None:
    found, T = answers()["layers"].found, 8
    one = Layers(
        tokens=TEXT[:T],
        position=5,
        guesses=[row[:T] for row in found.guesses],
        probability=found.lens.probability[:, :T],
        truth=found.lens.truth[:, :T],
        stream=found.norms.stream[:, :T],
        added=found.norms.added[:, :, :T],
        parts=found.parts,
        worth={},
        measured=0.0,
        cursor=(0, 0),
        bits=(2.31, 2.31),
        goes_on=("he", "he"),
        guide=WORDS["layers"].reading,
    )
    told = texts_of(draw_layers(one, 120, 33, "pixels").rows)
    assert "by layer " in "\n".join(told) and len(told) > 25
    (written,) = (at for at, row in enumerate(told) if row.startswith("written "))
    assert told[written + 1].count("▀") >= 7 * T
