"""What the views of a model's inside say of single tokens, chosen figures and long lists."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from engine.inspect.health import findings, matrix
from engine.metric_catalogue import FAMILIES, GRAD_NORM, member, short_part
from engine.metrics import MetricStore
from engine.runs.database import Curve
from tests.tui.inside.answers import answers, look_inside
from tests.tui.test_snapshots import PAUSED, StillApp, still
from tui.control.inside import Inside
from tui.inside.health import Health, draw_health
from tui.inside.layers import Layers, draw_effect, draw_worth
from tui.inside.layout import Picture
from tui.inside.tokens import draw_tokens
from tui.screens.inside import InsideScreen
from tui.screens.inside_views import HealthView
from tui.widgets.field import Field
from tui.widgets.keys_footer import KeysFooter

__all__ = ["still"]  # a fixture


def still_app() -> StillApp:
    app = StillApp(PAUSED)
    app.control.store = MetricStore()  # type: ignore[attr-defined]  # its own
    return app


def told(picture: Picture) -> list[str]:
    return ["".join(text for text, _ in row).rstrip() for row in picture.rows]


def layers(T: int = 4) -> Layers:
    found = np.full((3, T), 0.5, np.float32)
    parts = (0, 1, "layer")
    worth = {(layer, part): 0.039 for layer in range(2) for part in parts}
    bits = 1.0 if T > 1 else math.nan
    return Layers(
        tokens="abcd"[:T],
        position=T - 1,
        guesses=["abcd"[:T]] * 3,
        probability=found,
        truth=found,
        stream=found,
        added=np.ones((2, 2, T), np.float32),
        parts=parts,
        worth=worth,
        off=frozenset({(0, 1)}),
        cursor=(0, 0),
        bits=(bits, bits),
        goes_on=("on", "off"),
    )


def test_one_token_has_no_loss() -> None:
    assert told(draw_effect(layers(1), 80, "pixels"))[0] == (
        "loss of this text –, as one token has none"
    )
    assert told(draw_effect(layers(4), 80, "pixels"))[0].startswith("loss of this text 0.693")


def test_a_part_that_is_off_keeps_what_it_is_worth() -> None:
    _, head, *rows = told(draw_worth(layers(), 80, 9, "pixels"))
    assert rows[0].split() == ["L0", "+0.039", "+0.039", "off", "+0.039"]
    assert len(rows[0]) == len(rows[1]) == len(head)


def test_the_cursor_begins_where_the_next_token_is_known_if_it_is_shown() -> None:
    state = Inside(lambda command: 0)
    state.main.answers = answers()
    last = len(state.tokens) - 1
    state.show("attention")
    assert state.position == last
    state.show("layers")
    assert state.position == last - 1
    state.move(1)
    assert state.position == last
    state.show("attention")
    state.show("layers")
    assert state.position == last  # it was moved


def health_of(layers: int, name: str = "previous_embeddings.{}.weight") -> Health:
    steps = np.arange(0, 500, 100)
    curves = {
        member(GRAD_NORM, name.format(layer)): Curve(steps, np.full(5, 1.0))
        for layer in range(layers)
    }
    return Health(
        map=matrix(curves, GRAD_NORM),
        findings=findings(curves),
        cursor=0,
        short=short_part,
        format=lambda one: "1",
    )


def test_rows_of_the_map_without_room_are_counted_and_long_names_differ() -> None:
    one = health_of(9)
    rows = told(draw_health(one, 80, 19, "pixels"))
    *shown, under = rows[rows.index(next(row for row in rows if "strongest" in row)) + 1 :]
    names = [row.split()[0] for row in shown]
    assert len(set(names)) == len(names) and all("…" in name for name in names)
    assert under.startswith(f"… {9 - len(names)} more, ↓")
    last = told(draw_health(dataclasses.replace(one, cursor=8), 80, 19, "pixels"))[-1]
    assert last.startswith(f"… {9 - len(names)} more, ↑ ")
    assert "more" not in told(draw_health(one, 80, 40, "pixels"))[-1]


async def test_the_list_and_what_is_healthy_are_of_the_figure_that_is_shown() -> None:
    app = still_app()
    async with app.run_test() as pilot:
        await look_inside("6")(pilot)
        screen = app.screen
        assert isinstance(screen, InsideScreen) and isinstance(screen.view, HealthView)
        found = screen.view._findings()
        begun = found[0].family
        seen = []
        for _ in FAMILIES:
            await pilot.press("m")
            rows = told(screen.picture.picture)
            family = found[screen.view._cursor].family
            seen.append(family.name)
            assert any(row.startswith(family.title) for row in rows)
            assert any(f" {family.short or family.title} " in row for row in rows[3:9])
            healthy = " ".join(" ".join(rows).split())
            assert f"healthy: {found[screen.view._cursor].healthy.told}" in healthy
        assert seen[-1] == begun.name and sorted(seen) == sorted(one.name for one in FAMILIES)


@pytest.mark.parametrize(("factor", "is_suspicious"), [(17.0, False), (150.0, True)])
def test_what_is_called_healthy_of_gradients_is_what_they_are_judged_by(
    factor: float, is_suspicious: bool
) -> None:
    steps = np.arange(0, 500, 100)
    sizes = (1.19, 1.19, 1.19 / factor)
    curves = {member(GRAD_NORM, f"blocks.{layer}"): Curve(steps, np.full(5, size))
              for layer, size in enumerate(sizes)}  # fmt: skip
    least = next(one for one in findings(curves) if one.part == "blocks.2")
    assert least.is_suspicious == is_suspicious
    assert "100 times" in least.healthy.told


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("  ", "␣␣"), (" a b ", "␣a b␣"), ("\t a", "→ a"), ("a\n ", "a↵␣"), ("a b", "a b"),
    ],
)  # fmt: skip
def test_blanks_at_the_ends_of_a_text_can_be_seen(text: str, seen: str) -> None:
    for tokens in (list(text), [text]):
        assert "".join(told(draw_tokens(tokens, ["ink"] * len(tokens), 80, 9))) == seen


VIEWS_OF_KEYS = {
    "1": {"Enlarge"}, "2": {"Take", "Setting", "Larger", "Smaller"}, "3": set(),
    "4": {"Off / on"}, "5": {"Go to"}, "6": {"Setting"},
}  # fmt: skip


async def test_the_footer_of_80_columns_has_the_keys_of_each_view() -> None:
    app = still_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await look_inside()(pilot)
        footer = app.screen.query_one(KeysFooter)
        own = set().union(*VIEWS_OF_KEYS.values())
        for key, labels in VIEWS_OF_KEYS.items():
            await pilot.press(key)
            await pilot.pause()
            shown = {one.description for one in footer.keys}
            assert own & shown == labels, key
        assert not {"Left", "Now", "Text"} & shown  # health is of no text


async def test_while_a_text_is_typed_keys_are_part_of_it() -> None:
    app = still_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await look_inside("4", "t")(pilot)
        screen = app.screen
        assert isinstance(screen, InsideScreen)
        footer = screen.query_one(KeysFooter)
        assert [one.description for one in footer.keys] == ["Accept", "Back", "Help"]
        await pilot.press("slash", "tab", "1")
        assert screen.query_one(Field).value == r"/\t1"
        assert screen.state.view == "layers"
