"""Colours that can be told apart on this terminal, whatever the theme.

A theme, a widget or a chart chooses a colour; here it is moved away from its background until it
reaches a contrast (WCAG 2), and on terminals of 256 or 16 colours the nearest of those is taken
that does, by hue first. `Legible` does so for each piece of text as it is drawn.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, MutableMapping, Sequence
from functools import cache, lru_cache
from typing import Any, Generic, TypeAlias

from rich.color import Color as RichColor
from rich.color import ColorSystem
from rich.color_triplet import ColorTriplet as Triplet
from rich.palette import Palette
from rich.segment import Segment
from rich.style import Style
from textual.app import App, ReturnType
from textual.color import Color
from textual.filter import LineFilter
from textual.screen import ModalScreen
from textual.widget import Widget

TRUECOLOR, STANDARD = ColorSystem.TRUECOLOR, ColorSystem.STANDARD
TEXT_CONTRAST, GRAPHICS_CONTRAST = 4.5, 3.0
PROJECTOR_CONTRAST = 10.0, 7.0  # of text and of graphics
CURSOR_CONTRAST = 1.25  # of the row of a cursor that is not in use
KEY_COLOUR = "footer-key-foreground"
GREY, TINT = 0.03, 0.09  # chroma, at most
SLACK = 0.05  # above a contrast, as colours are rounded
PIXELS = re.compile("▀+")  # on a background of its own: two colours that are a value each
GRAPHICS = re.compile(r"[\s─-▟■-◿⠀-⣿]*")  # boxes, blocks, shapes, braille
DEPTHS = {
    "truecolor": ColorSystem.TRUECOLOR,
    "256": ColorSystem.EIGHT_BIT,
    "standard": ColorSystem.STANDARD,
}
# terminals whose TERM says no number of colours, and that have all of them
TRUECOLOR_TERMS = (  # compiled where it is needed, as the first paint waits
    r"alacritty|foot|contour|wezterm|iterm2|mintty|xterm-(ghostty|kitty)|.*-direct"
)
WHITE, BLACK = Triplet(255, 255, 255), Triplet(0, 0, 0)
# what terminals show for the 16 colours: VGA and Linux, xterm
PALETTES = [
    [Triplet(*bytes.fromhex(color)) for color in palette.split()]
    for palette in (
        "000000 aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa aaaaaa"
        " 555555 ff5555 55ff55 ffff55 5555ff ff55ff 55ffff ffffff",
        "000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5"
        " 7f7f7f ff0000 00ff00 ffff00 5c5cff ff00ff 00ffff ffffff",
    )
]
Lab: TypeAlias = tuple[float, float, float]


def correct_colorterm(environ: MutableMapping[str, str] = os.environ) -> None:
    """Have ``COLORTERM`` say what is so, as far as the environment tells.

    GNU screen hands on that of the terminal around it, but shows 256 colours at most.
    """
    if "STY" in environ:
        environ.pop("COLORTERM", None)
    elif re.fullmatch(TRUECOLOR_TERMS, environ.get("TERM", "")):
        environ.setdefault("COLORTERM", "truecolor")


def is_light(red: int, green: int, blue: int) -> bool:
    """Return whether a background is a light one: black is read better on it than white."""
    background = Triplet(red, green, blue)
    return contrast(BLACK, background) > contrast(WHITE, background)


def has_light_background(environ: Mapping[str, str] = os.environ) -> bool:
    """Return what ``COLORFGBG``, which some terminals set, says of the background."""
    number = environ.get("COLORFGBG", "").rpartition(";")[2]
    return number in ("7", "15")


# -- contrast --------------------------------------------------------------------------------------


@lru_cache(4096)
def luminance(color: Triplet) -> float:
    """Return the relative luminance, 0 to 1."""
    red, green, blue = map(_linear, color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Triplet, other: Triplet) -> float:
    """Return the contrast of two colours, 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@lru_cache(4096)
def legible(
    color: Triplet, background: Triplet, ratio: float, depth: ColorSystem = TRUECOLOR
) -> Triplet:
    """Return a colour of this depth near to `color` that has a contrast to a background.

    Args:
        background: One of this depth.
    """
    if depth is not TRUECOLOR:
        choices = _with_contrast(background, ratio, depth)
        return min(choices, key=lambda one: _distance(color, one, lightness=0.3, hue=0.2))
    if contrast(color, background) >= ratio:
        return color
    ends = sorted((WHITE, BLACK), key=lambda end: contrast(end, background))
    if luminance(color) > luminance(background):
        ends = [BLACK, WHITE]  # away from the background, if that is far enough
    end = ends[-1] if contrast(ends[-1], background) >= ratio else ends[0]
    low, high = 0.0, 1.0
    for _ in range(8):
        middle = (low + high) / 2
        if contrast(_blend(color, end, middle), background) >= ratio + SLACK:
            high = middle
        else:
            low = middle
    return _blend(color, end, high)


def distinct(color: Triplet, beside: Triplet, ratio: float, depth: ColorSystem) -> Triplet:
    """Return a background near to `color` that has a contrast to another one."""
    if depth is TRUECOLOR:
        return legible(color, beside, ratio)
    choices = [one for one in _backgrounds(depth) if _reach(one, beside, depth) >= ratio]
    return min(choices, key=lambda one: _distance(color, one, lightness=0.3, hue=0.2))


@lru_cache(4096)
def nearest(color: Triplet, depth: ColorSystem) -> Triplet:
    """Return the nearest colour of this depth that text can be read on."""
    if depth is TRUECOLOR:
        return color
    choices, lightness = _backgrounds(depth), 1.0
    if depth is STANDARD:  # a tinted panel is black rather than navy
        choices = [one for one in choices if len(set(one)) == 1 or _chroma(color) > TINT]
        lightness = 0.25
    return min(choices, key=lambda one: _distance(color, one, lightness))


@lru_cache(4096)
def _nearest(color: Triplet, depth: ColorSystem) -> Triplet:
    return min(_palette(depth), key=lambda one: _distance(color, one, lightness=1.0))


def _reach(one: Triplet, other: Triplet, depth: ColorSystem) -> float:
    """Return the contrast of two colours of a depth, whatever palette a terminal has."""
    if depth is not STANDARD:
        return contrast(one, other)
    numbers = _palette(depth)[one], _palette(depth)[other]
    return min(contrast(*(palette[number] for number in numbers)) for palette in PALETTES)


@cache
def _backgrounds(depth: ColorSystem) -> Sequence[Triplet]:
    """The colours that every hue of text can be read on, or at least one."""
    colors = list(_palette(depth))
    if depth is not STANDARD:
        return colors
    return [
        one for one in colors if any(_reach(text, one, depth) >= TEXT_CONTRAST for text in colors)
    ]


@cache
def _palette(depth: ColorSystem) -> Mapping[Triplet, int]:
    """The colours of a depth, and their numbers; of 256 the first 16 are the terminal's own."""
    from rich._palettes import EIGHT_BIT_PALETTE, STANDARD_PALETTE

    eight_bit = depth is ColorSystem.EIGHT_BIT
    palette: Palette = EIGHT_BIT_PALETTE if eight_bit else STANDARD_PALETTE
    numbers = range(16, 256) if eight_bit else range(16)
    return {Triplet(*palette[number]): number for number in numbers}


@lru_cache(512)
def _with_contrast(background: Triplet, ratio: float, depth: ColorSystem) -> Sequence[Triplet]:
    choices = [one for one in _palette(depth) if _reach(one, background, depth) >= ratio]
    return choices or [max(_palette(depth), key=lambda one: _reach(one, background, depth))]


def _blend(color: Triplet, other: Triplet, share: float) -> Triplet:
    return Triplet(*(round(a + (b - a) * share) for a, b in zip(color, other, strict=True)))


def _linear(channel: int) -> float:
    value = channel / 255
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


@lru_cache(4096)
def _lab(color: Triplet) -> Lab:
    """Return lightness, and red to green and yellow to blue (OKLab: Ottosson 2020)."""
    r, g, b = map(_linear, color)
    l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)  # noqa: E741
    m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
        1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
        0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
    )


def _chroma(color: Triplet) -> float:
    return math.hypot(*_lab(color)[1:])


def _distance(color: Triplet, other: Triplet, lightness: float, hue: float = 0.0) -> float:
    """Return how unlike two colours are.

    Args:
        lightness: Weight of the lightness.
        hue: Weight of the hue; that of grey is like none.
    """
    (l1, a1, b1), (l2, a2, b2) = _lab(color), _lab(other)
    chroma, other_chroma = _chroma(color), _chroma(other)
    if chroma > GREY and other_chroma > GREY:
        unlike = 1 - (a1 * a2 + b1 * b2) / (chroma * other_chroma)
    else:
        unlike = float((chroma > GREY) != (other_chroma > GREY))
    return lightness * (l1 - l2) ** 2 + (a1 - a2) ** 2 + (b1 - b2) ** 2 + hue * unlike


# -- what is drawn ---------------------------------------------------------------------------------


class Legible(LineFilter):
    """Gives each piece of text its contrast, in colours that the terminal has.

    Args:
        depth: How many colours that is.
        text: Contrast of text.
        graphics: Contrast of lines, curves and signs.
    """

    def __init__(
        self,
        depth: ColorSystem = TRUECOLOR,
        text: float = TEXT_CONTRAST,
        graphics: float = GRAPHICS_CONTRAST,
    ) -> None:
        super().__init__()
        self.depth, self._text, self._graphics = depth, text, graphics
        self._known: dict[tuple[Style, Color], tuple[Style, Style]] = {}
        self._known_pixels: dict[Style, Style] = {}

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return segments in legible colours."""
        known, legible = self._known, []
        for segment in segments:
            text, style, control = segment
            if style is None or control:
                legible.append(segment)
                continue
            if style.bgcolor and style.color and PIXELS.fullmatch(text):
                legible.append(segment if self.depth is TRUECOLOR else self._pixels(text, style))
                continue
            found = known.get((style, background))
            if found is None:
                if len(known) > 4096:  # a terminal in which themes are tried
                    known.clear()
                found = known[style, background] = self._styles(style, background)
            as_text, as_graphics = found
            chosen = as_text
            if as_text is not as_graphics and GRAPHICS.fullmatch(text):
                chosen = as_graphics
            legible.append(segment if chosen is style else Segment(text, chosen, None))
        return legible

    def _pixels(self, text: str, style: Style) -> Segment:
        """Return pixels in the nearest colours of this depth, whatever contrast they have."""
        found = self._known_pixels.get(style)
        if found is None:
            colors = [one.triplet if one else None for one in (style.color, style.bgcolor)]
            pair = [self._color(_nearest(one, self.depth)) if one else None for one in colors]
            found = self._known_pixels[style] = Style.from_color(*pair)
        return Segment(text, found, None)

    def _styles(self, style: Style, background: Color) -> tuple[Style, Style]:
        """Return a style for text, and for graphics; the same object where both are the same."""
        below = style.bgcolor
        if below and below.number is not None and below.triplet is None:
            readable = _on_terminal_color(style, below.number)
            return readable, readable
        behind = below.triplet if below else Triplet(*background.rgb)
        front = style.color.triplet if style.color else None
        if behind is None or (below is None and background.ansi is not None):
            return style, style  # the terminal's own colours, which are not known
        behind = nearest(behind, self.depth)
        as_text = self._style(style, front, behind, self._text)
        as_graphics = self._style(style, front, behind, self._graphics)
        return (as_text, as_text) if as_text == as_graphics else (as_text, as_graphics)

    def _style(self, style: Style, front: Any, behind: Triplet, ratio: float) -> Style:
        color = self._color(legible(front, behind, ratio, self.depth)) if front else None
        bgcolor = self._color(behind)
        same = (color is None or color.triplet == front) and style.bgcolor == bgcolor
        return style if same else style + Style.from_color(color, bgcolor)

    def _color(self, triplet: Triplet) -> RichColor:
        """Return a colour that the terminal is told as it is."""
        if self.depth is TRUECOLOR:
            return RichColor.from_triplet(triplet)
        return RichColor.from_ansi(_palette(self.depth)[triplet])


def _on_terminal_color(style: Style, below: int) -> Style:
    """Return a style for one of the terminal's own 16 colours, in one that stands out from it.

    How a terminal shows them is not known, but how most do; of its default colours nothing is.
    """
    front = style.color.number if style.color else None
    if below >= len(PALETTES[0]) or (
        front is not None and _least_contrast(front, below) >= TEXT_CONTRAST
    ):
        return style
    best = max((0, 15), key=lambda one: _least_contrast(one, below))
    return style + Style(color=RichColor.from_ansi(best), dim=False)


def _least_contrast(one: int, other: int) -> float:
    """Return the contrast of two of the 16 colours where they are the least apart."""
    if max(one, other) >= len(PALETTES[0]):
        return 0.0
    return min(contrast(palette[one], palette[other]) for palette in PALETTES)


class LegibleApp(App[ReturnType], Generic[ReturnType]):
    """An app whose colours can be told apart."""

    def __init__(self) -> None:
        super().__init__()
        _leave_modal_backgrounds()
        self._filters += [Legible()]  # it says which colours there are, so it comes last

    def use_colors(self, depth: ColorSystem) -> None:
        """Draw in as many colours; call it before the app runs."""
        self._filters[-1] = Legible(depth)
        self.stylesheet.set_variables(self.get_css_variables())

    def use_high_contrast(self, high: bool) -> None:
        """Draw in a contrast for a projector, or in the usual one again."""
        ratios = PROJECTOR_CONTRAST if high else (TEXT_CONTRAST, GRAPHICS_CONTRAST)
        self._filters[-1] = Legible(self.color_depth, *ratios)
        self.refresh_css(animate=False)

    @property
    def color_depth(self) -> ColorSystem:
        last = self._filters[-1]
        assert isinstance(last, Legible)
        return last.depth

    def get_css_variables(self) -> dict[str, str]:
        """Return the theme's variables; what is a colour beside another is told apart from it."""
        variables = super().get_css_variables()
        if not self.current_theme.ansi:
            depth = self.color_depth if isinstance(self._filters[-1], Legible) else TRUECOLOR
            variables |= _legible_variables(variables, depth)
            if variables[KEY_COLOUR] == variables["footer-description-foreground"]:
                # chosen for a footer in the theme's own colour, which ours has not
                variables[KEY_COLOUR] = variables["accent"]
        return variables


def _legible_variables(variables: dict[str, str], depth: ColorSystem) -> dict[str, str]:
    """Return those of scrollbars and cursors, which are backgrounds beside backgrounds."""
    page = Color.parse(variables["background"])

    def solid(name: str) -> Triplet:
        color = page + Color.parse(variables[name])
        return nearest(Triplet(*color.rgb), depth)

    pairs = [
        (f"scrollbar{state}", f"scrollbar-background{state}", GRAPHICS_CONTRAST)
        for state in ("", "-hover", "-active")
    ]
    pairs += [
        ("block-cursor-background", "background", GRAPHICS_CONTRAST),
        ("block-cursor-blurred-background", "background", CURSOR_CONTRAST),
    ]
    return {
        name: Color(*distinct(solid(name), solid(behind), ratio, depth)).hex
        for name, behind, ratio in pairs
    }


def _leave_modal_backgrounds() -> None:
    """Leave what is behind a dialog as dim as its background makes it: it is not in use."""
    modal: Any = ModalScreen
    modal.get_line_filters = _faint_filters


def _faint_filters(screen: Widget) -> Sequence[LineFilter]:
    return [
        _faint(one.depth) if isinstance(one, Legible) else one
        for one in screen.app.get_line_filters()
    ]


@cache
def _faint(depth: ColorSystem) -> Legible:
    return Legible(depth, text=1.0, graphics=1.0)
