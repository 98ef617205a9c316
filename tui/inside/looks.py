"""How the names of styles in pictures look: one table of colours, for the screen and for files.

Names are ``ink``, ``dim``, ``title`` and the like; ``heat U L`` of the two pixels of a cell,
``shade L`` of text on a heat and ``diff D`` on a difference; ``apart 0`` and ``apart 1`` of tokens
by turns; with ``mark`` before one of these for signs in that colour, and ``cursor`` behind a name
for the place of the cursor.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from rich.color import Color
from rich.color_triplet import ColorTriplet as Triplet
from rich.style import Style

from tui.charts.heatmap import LEVELS
from tui.terminal.colors import TEXT_CONTRAST, contrast, legible

DIFFERENCES = 8  # of the highest level of a difference
ENDS = Triplet(0, 0, 0), Triplet(255, 255, 255)
APART = 0.5  # of the way from the background to the hue
DIM = 0.4  # of the way from the text to the background


class Colours(NamedTuple):
    """The colours of pictures; those of heat go from ``background`` by ``hue`` to ``text``."""

    background: Triplet
    text: Triplet
    hue: Triplet
    less: Triplet
    more: Triplet
    bar: Triplet


DARK = Colours(
    Triplet(18, 18, 24),
    Triplet(238, 238, 238),
    Triplet(38, 108, 181),
    Triplet(48, 160, 90),
    Triplet(200, 70, 60),
    Triplet(38, 108, 181),
)
LIGHT = DARK._replace(background=Triplet(255, 255, 255), text=Triplet(24, 24, 32))


class Look(NamedTuple):
    """How a stretch of text looks; None is the colour around it."""

    front: Triplet | None = None
    behind: Triplet | None = None
    bold: bool = False
    dim: bool = False
    reverse: bool = False
    underline: bool = False


@lru_cache(4096)
def look_of(name: str, colours: Colours) -> Look:
    """Return what the name of a style stands for; text has its contrast to what is behind it."""
    kind, *rest = name.split()
    if kind == "mark":
        behind = look_of(" ".join(rest), colours).behind
        return Look(behind and _readable(behind, colours))
    if kind == "cursor" or "cursor" in rest:
        return Look(bold=True, reverse=True)
    if kind == "heat" and len(rest) == 2:
        upper, lower = (_heat(int(level), colours) for level in rest)
        return Look(upper, lower)
    if kind == "shade":
        return _on(_heat(int(rest[0]), colours), colours)
    if kind == "apart":  # neighbours by turns: not by their colour alone
        behind = blend(colours.background, colours.hue, APART)
        return _on(behind, colours)._replace(underline=True) if rest[0] == "1" else Look()
    if kind == "diff":
        level = int(rest[0])
        towards = colours.less if level < 0 else colours.more
        return _on(blend(colours.background, towards, abs(level) / DIFFERENCES), colours)
    looks = {
        "dim": Look(dim=True),
        "future": Look(dim=True),
        "title": Look(_readable(colours.hue, colours), bold=True),
        "bar": Look(_readable(colours.bar, colours)),
        "good": Look(_readable(colours.less, colours), bold=True),
        "bad": Look(_readable(colours.more, colours), bold=True),
    }
    return looks.get(kind, Look())


def drawn_in(name: str, colours: Colours) -> tuple[Triplet, Triplet]:
    """Return the two colours that are seen: of the text, and behind it."""
    look = look_of(name, colours)
    front, behind = look.front or colours.text, look.behind or colours.background
    if look.reverse:
        front, behind = behind, front
    if look.dim:
        front = legible(blend(front, behind, DIM), behind, TEXT_CONTRAST)
    return front, behind


@lru_cache(4096)
def style_of(name: str, colours: Colours, known: bool = True) -> Style:
    """Return the name of a style for a terminal.

    Args:
        known: Whether the text and the background around it have these colours, too; else they
            are the terminal's own, which nobody knows.
    """
    look = look_of(name, colours)
    if known:
        front, behind = (Color.from_triplet(one) for one in drawn_in(name, colours))
        return Style(color=front, bgcolor=behind, bold=look.bold, underline=look.underline)
    color, bgcolor = (one and Color.from_triplet(one) for one in (look.front, look.behind))
    return Style(
        color=color,
        bgcolor=bgcolor,
        bold=look.bold,
        dim=look.dim,
        reverse=look.reverse,
        underline=look.underline,
    )


def blend(one: Triplet, other: Triplet, share: float) -> Triplet:
    return Triplet(*(round(a + (b - a) * share) for a, b in zip(one, other, strict=True)))


def _heat(level: int, colours: Colours) -> Triplet:
    share = 2 * level / (LEVELS - 1)
    if share <= 1:
        return blend(colours.background, colours.hue, share)
    return blend(colours.hue, colours.text, share - 1)


def _readable(color: Triplet, colours: Colours) -> Triplet:
    return legible(color, colours.background, TEXT_CONTRAST)


def _on(behind: Triplet, colours: Colours) -> Look:
    front = colours.text
    if contrast(front, behind) < TEXT_CONTRAST:  # far from the limit rather than at it
        front = max(ENDS, key=lambda end: contrast(end, behind))
    return Look(front, behind)
