"""Every theme is legible: each text and curve of each screen, in however many colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.color_triplet import ColorTriplet as Triplet
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.theme import BUILTIN_THEMES

from engine.config.presets import preset_config
from engine.protocol import Status
from engine.sweeps.queue import Queue
from tests.tui.inside.answers import look_inside
from tests.tui.test_queue_snapshots import app_on, queue
from tests.tui.test_runs_snapshots import runs_after, still_runs
from tests.tui.test_snapshots import PAUSED, StillApp, after, edit_wrongly, leave, still
from tests.tui.test_timeline_snapshots import moments, moved
from tui.app import GptTuiApp
from tui.charts.heatmap import LEVELS
from tui.control.run import Launch
from tui.inside.looks import DARK as DARK_PICTURES
from tui.inside.looks import LIGHT as LIGHT_PICTURES
from tui.inside.looks import drawn_in
from tui.terminal.colors import (
    DEPTHS,
    GRAPHICS,
    GRAPHICS_CONTRAST,
    PALETTES,
    TEXT_CONTRAST,
    Legible,
    contrast,
    correct_colorterm,
    has_light_background,
    is_light,
    legible,
    nearest,
)
from tui.widgets.picture_view import colours_of

__all__ = ["moments", "queue", "still", "still_runs"]  # fixtures

# those of the terminal's own colours are as legible as it has them
THEMES = [name for name, theme in BUILTIN_THEMES.items() if not theme.ansi]
DARK, LIGHT, EIGHT_BIT = Triplet(18, 18, 18), Triplet(239, 239, 239), ColorSystem.EIGHT_BIT


async def with_notices(pilot: Pilot[int]) -> None:
    cockpit = pilot.app.screen
    cockpit.say("the validation loss has not fallen for 500 steps", "warning")  # type: ignore[attr-defined]
    await pilot.press("e")


async def with_an_error(pilot: Pilot[int]) -> None:
    cockpit = pilot.app.screen
    cockpit.say("the disk is full", "error")  # type: ignore[attr-defined]
    pilot.app.notify("saved step 500")
    await pilot.pause()


PLACES: dict[str, Callable[..., Any]] = {
    "cockpit": after(then=with_notices),
    "error": after(then=with_an_error),
    "editing": after(then=edit_wrongly),
    "help": after("question_mark"),
    "dialog": after(then=leave),
    "palette": after("ctrl+p"),
    "runs": runs_after("down", "space", "up"),
    "timeline": moved("left", "left"),
    "queue": after("Q", "down"),
    "attention": after(then=look_inside("1")),
    "surprise": after(then=look_inside("3", beside=True)),
    "layers": after(then=look_inside("4")),
    "health": after(then=look_inside("6")),
}


def faults(app: StillApp, depth: ColorSystem) -> Iterator[str]:
    """Every text and curve on the screen that cannot be read."""
    drawn = Legible(depth)
    for y, strip in enumerate(app.screen._compositor.render_strips(app.size)):
        x = 0
        for segment in drawn.apply(list(strip), app.screen.background_colors[1]):
            text, style, _ = segment
            at, x = x, x + cell_len(text)
            if style is None or not text.strip(" ▀") or not is_in_use(app, at, y):
                continue  # ▀ is two pixels of a heat map, whose colours are its values
            needed = GRAPHICS_CONTRAST if GRAPHICS.fullmatch(text) else TEXT_CONTRAST
            reached = contrast_of(style, depth)
            if reached < needed - 0.01:
                yield f"{app.theme}, row {y}: {text.strip()[:30]!r} has {reached:.2f}, {style}"


def is_in_use(app: StillApp, x: int, y: int) -> bool:
    """Whether a place is of the screen in front, not behind a dialog."""
    screen = app.screen
    return not isinstance(screen, ModalScreen) or any(
        child.region.contains(x, y) for child in screen.children
    )


def contrast_of(style: Style, depth: ColorSystem) -> float:
    """What a terminal of this depth shows, whatever palette it has."""
    assert style.color and style.bgcolor
    colors = style.color, style.bgcolor
    if depth is ColorSystem.STANDARD:
        numbers = [color.number for color in colors]
        return min(
            contrast(*(palette[n] for n in numbers if n is not None)) for palette in PALETTES
        )
    assert depth is ColorSystem.TRUECOLOR or all(color.number for color in colors)
    return contrast(*(Triplet(*color.get_truecolor()) for color in colors))


async def walk(place: str, themes: list[str], app: StillApp) -> list[str]:
    """Show a screen in these themes; returns what cannot be read."""
    found: list[str] = []
    app._filters[-1].enabled = False  # the colours as the theme has them
    async with app.run_test(size=(80, 24)) as pilot:
        await PLACES[place](pilot)
        for theme in themes:
            app.theme = theme
            await pilot.pause()
            for depth in DEPTHS.values():
                found += faults(app, depth)
    return found


SOME = ["textual-light", "solarized-light", "dracula"]


@pytest.mark.parametrize("place", PLACES)
async def test_every_text_and_curve_is_legible(place: str, queue: Queue) -> None:
    themes = THEMES if place == "cockpit" else SOME
    assert await walk(place, themes, app_on(queue, PAUSED)) == []


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
async def test_every_theme_is_legible_on_every_screen(place: str, queue: Queue) -> None:
    assert await walk(place, THEMES, app_on(queue, PAUSED)) == []


@pytest.mark.parametrize("place", ["cockpit", "error", "editing", "queue"])
async def test_the_terminals_own_colours_are_legible_on_one_another(
    place: str, queue: Queue
) -> None:
    app = app_on(queue, PAUSED)
    async with app.run_test(size=(80, 24)) as pilot:
        await PLACES[place](pilot)
        for theme in ("ansi-dark", "ansi-light"):
            app.theme = theme
            await pilot.pause()
            behind = app.screen.background_colors[1]
            on_a_colour = [
                (text, style)
                for strip in app.screen._compositor.render_strips(app.size)
                for text, style, _ in Legible().apply(list(strip), behind)
                if style and style.bgcolor and style.bgcolor.number is not None and text.strip()
            ]
            assert on_a_colour, theme
            for text, style in on_a_colour:
                assert style.color and style.color.number is not None, text
                assert contrast_of(style, ColorSystem.STANDARD) >= GRAPHICS_CONTRAST, text


def test_keys_of_the_footer_have_a_colour_of_their_own() -> None:
    app = GptTuiApp(Launch(preset_config("tiny"), Path("/home/you/runs")))
    for theme in THEMES:
        app.theme = theme
        variables = app.get_css_variables()
        assert variables["footer-key-foreground"] != variables["footer-description-foreground"], (
            theme
        )


STYLES = [
    *("ink", "dim", "future", "title", "cursor", "bar", "good", "bad"),
    *(f"{kind} {level}" for kind in ("shade", "mark shade") for level in range(LEVELS)),
    *(f"{kind} {level}" for kind in ("diff", "mark diff") for level in range(-8, 9)),
]


@pytest.mark.parametrize("theme", THEMES)
def test_the_text_of_pictures_is_legible(theme: str) -> None:
    app = StillApp(Status())
    app.theme = theme
    for colours in (colours_of(app.get_css_variables()), DARK_PICTURES, LIGHT_PICTURES):
        for name in (*STYLES, *(f"{one} cursor" for one in STYLES)):
            assert contrast(*drawn_in(name, colours)) >= TEXT_CONTRAST, name
        heat = [drawn_in(f"heat {level} 0", colours)[0] for level in range(LEVELS)]
        assert len(set(heat)) == LEVELS  # each level has a colour


@pytest.mark.parametrize("depth", DEPTHS.values(), ids=DEPTHS)
@pytest.mark.parametrize("theme", THEMES)
def test_scrollbars_and_cursors_are_told_apart(theme: str, depth: ColorSystem) -> None:
    app = StillApp(Status())
    app.theme = theme
    app.use_colors(depth)
    variables = app.get_css_variables()

    def shown(name: str) -> Triplet:
        color = Color.parse(variables["background"]) + Color.parse(variables[name])
        return nearest(Triplet(*color.rgb), depth)

    for state in ("", "-hover", "-active"):
        bar, track = shown(f"scrollbar{state}"), shown(f"scrollbar-background{state}")
        assert contrast(bar, track) >= GRAPHICS_CONTRAST
    assert contrast(shown("block-cursor-background"), shown("background")) >= GRAPHICS_CONTRAST
    assert shown("block-cursor-blurred-background") != shown("background")


# -- single colours --------------------------------------------------------------------------------


@given(*[st.tuples(*[st.integers(0, 255)] * 3)] * 2, st.sampled_from(list(DEPTHS.values())))
def test_any_colour_on_any_background_reaches_its_contrast(
    color: tuple[int, int, int], background: tuple[int, int, int], depth: ColorSystem
) -> None:
    behind = nearest(Triplet(*background), depth)
    for ratio in (TEXT_CONTRAST, GRAPHICS_CONTRAST):
        front = legible(Triplet(*color), behind, ratio, depth)
        assert contrast(front, behind) >= ratio
        assert legible(front, behind, ratio, depth) == front  # and stays as it is


@pytest.mark.parametrize("behind", [DARK, LIGHT])
@pytest.mark.parametrize("depth", DEPTHS.values(), ids=DEPTHS)
@pytest.mark.parametrize(
    ("color", "hue"), [((230, 60, 60), 0), ((70, 200, 90), 1), ((40, 90, 230), 2)]
)
def test_a_hue_survives(
    color: tuple[int, int, int], hue: int, depth: ColorSystem, behind: Triplet
) -> None:
    front = legible(Triplet(*color), nearest(behind, depth), GRAPHICS_CONTRAST, depth)
    is_hue = max(range(3), key=lambda channel: front[channel]) == hue
    is_grey = len(set(front)) == 1  # of 16 there is no green that can be read on white
    assert is_hue or (is_grey and (depth, behind) == (ColorSystem.STANDARD, LIGHT))


@pytest.mark.parametrize("panel", ["#1e2530", "#272f3c", "#2b3040", "#24202c"])
def test_a_dark_panel_does_not_turn_navy(panel: str) -> None:
    red, green, blue = nearest(Triplet(*Color.parse(panel).rgb), EIGHT_BIT)
    assert max(red, green, blue) - min(red, green, blue) < 20


def test_what_is_legible_stays_as_it_is() -> None:
    style = Style.parse("#ffffff on #000000")
    segment = Segment("text", style)
    assert Legible().apply([segment], Color(0, 0, 0)) == [segment]


# -- what a terminal has ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"TERM": "screen-256color", "STY": "1.pts", "COLORTERM": "truecolor"}, None),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "COLORTERM": "truecolor"}, "truecolor"),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "alacritty"}, "truecolor"),
        ({"TERM": "xterm-kitty"}, "truecolor"),
        ({"TERM": "foot", "COLORTERM": "24bit"}, "24bit"),
    ],
)
def test_colorterm_says_what_is_so(environ: dict[str, str], told: str | None) -> None:
    correct_colorterm(environ)
    assert environ.get("COLORTERM") == told


@pytest.mark.parametrize(
    ("value", "light"), [("0;15", True), ("0;default;15", True), ("15;0", False), ("", False)]
)
def test_what_colorfgbg_says(value: str, light: bool) -> None:
    assert has_light_background({"COLORFGBG": value}) is light


@pytest.mark.parametrize(
    ("color", "light"), [((253, 246, 227), True), ((0, 43, 54), False), ((255, 255, 255), True)]
)
def test_which_backgrounds_are_light(color: tuple[int, int, int], light: bool) -> None:
    assert is_light(*color) is light


async def test_no_color_leaves_no_hue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = StillApp(PAUSED)
    async with app.run_test(size=(80, 24)) as pilot:
        await PLACES["cockpit"](pilot)
        for strip in app.screen._compositor.render_strips(app.size):
            for _, style, _ in strip:
                for color in (style.color, style.bgcolor) if style else ():
                    assert color is None or len(set(color.get_truecolor())) == 1
