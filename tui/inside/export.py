"""Pictures outside the app: on a terminal, as SVG, and as a page of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from rich.color import Color, ColorSystem
from rich.color_triplet import ColorTriplet as Triplet
from rich.style import Style

from tui.charts.export import escaped
from tui.charts.heatmap import LEVELS
from tui.inside.layout import Row
from tui.terminal.cells import clusters
from tui.terminal.colors import is_light, legible

DIFFERENCES = 8  # of the highest level of a difference
WIDTH, HEIGHT = 8.4, 18  # of a cell of an SVG
MARGIN = 16
FONTS = "DejaVu Sans Mono, Menlo, Consolas, Liberation Mono, monospace"
TEXT_CONTRAST = 4.5


class Colours(NamedTuple):
    """The colours of a picture; those of heat go from ``background`` by ``hue`` to ``text``."""

    background: Triplet
    text: Triplet
    hue: Triplet
    less: Triplet
    more: Triplet


DARK = Colours(
    Triplet(18, 18, 24),
    Triplet(238, 238, 238),
    Triplet(38, 108, 181),
    Triplet(48, 160, 90),
    Triplet(200, 70, 60),
)
LIGHT = DARK._replace(background=Triplet(255, 255, 255), text=Triplet(24, 24, 32))


class Look(NamedTuple):
    """How a stretch of text looks; None is the colour around it."""

    front: Triplet | None = None
    behind: Triplet | None = None
    bold: bool = False
    dim: bool = False
    reverse: bool = False


@lru_cache(4096)
def look_of(name: str, colours: Colours) -> Look:
    """Return what the name of a style stands for; see ``tui.widgets.picture_view``."""
    kind, *rest = name.split()
    if rest and rest[-1] == "cursor":
        return look_of(" ".join([kind, *rest[:-1]]), colours)._replace(bold=True, reverse=True)
    if kind == "mark":
        behind = look_of(" ".join(rest), colours).behind
        return Look(behind and legible(behind, colours.background, TEXT_CONTRAST))
    if kind == "heat" and len(rest) == 2:
        upper, lower = (_heat(int(level), colours) for level in rest)
        return Look(upper, lower)
    if kind == "shade":
        return _on(_heat(int(rest[0]), colours))
    if kind == "diff":
        level = int(rest[0])
        towards = colours.less if level < 0 else colours.more
        return _on(_blend(colours.background, towards, abs(level) / DIFFERENCES))
    looks = {
        "dim": Look(dim=True),
        "future": Look(dim=True),
        "title": Look(bold=True),
        "cursor": Look(bold=True, reverse=True),
        "bar": Look(legible(colours.hue, colours.background, TEXT_CONTRAST)),
        "good": Look(legible(colours.less, colours.background, TEXT_CONTRAST), bold=True),
        "bad": Look(legible(colours.more, colours.background, TEXT_CONTRAST), bold=True),
    }
    return looks.get(kind, Look())


def _heat(level: int, colours: Colours) -> Triplet:
    share = 2 * level / (LEVELS - 1)
    if share <= 1:
        return _blend(colours.background, colours.hue, share)
    return _blend(colours.hue, colours.text, share - 1)


def _blend(one: Triplet, other: Triplet, share: float) -> Triplet:
    return Triplet(*(round(a + (b - a) * share) for a, b in zip(one, other, strict=True)))


def _on(behind: Triplet) -> Look:
    light = is_light(*behind)
    return Look(Triplet(0, 0, 0) if light else Triplet(255, 255, 255), behind)


def terminal_lines(
    rows: Iterable[Row], colours: Colours, depth: ColorSystem | None
) -> Iterator[str]:
    """Yield rows as lines, with escape sequences if there are colours.

    Args:
        depth: Of the terminal; None for plain text.
    """
    for row in rows:
        if depth is None:
            yield "".join(text for text, _ in row).rstrip()
        else:
            yield "".join(
                _style(name, colours).render(text, color_system=depth) for text, name in row
            )


@lru_cache(4096)
def _style(name: str, colours: Colours) -> Style:
    look = look_of(name, colours)
    front, behind = (one and Color.from_triplet(one) for one in (look.front, look.behind))
    return Style(color=front, bgcolor=behind, bold=look.bold, dim=look.dim, reverse=look.reverse)


def svg(rows: Sequence[Row], columns: int, colours: Colours = LIGHT) -> str:
    """Return rows as a picture; pixels of heat maps are drawn, not written."""
    wide, high = columns * WIDTH + 2 * MARGIN, len(rows) * HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high}" '
        f'font-family="{FONTS}" font-size="14">',
        f'<rect width="{wide:.0f}" height="{high}" fill="{colours.background.hex}"/>',
    ]
    for number, row in enumerate(rows):
        column, top = 0, MARGIN + number * HEIGHT
        for text, name in row:
            look = look_of(name, colours)
            places = list(clusters(text))
            cells = sum(size for _, _, size in places)
            parts += _stretch(look, places, MARGIN + column * WIDTH, top, cells, colours)
            column += cells
    return "\n".join([*parts, "</svg>\n"])


def _stretch(
    look: Look,
    places: Sequence[tuple[int, str, int]],
    left: float,
    top: float,
    cells: int,
    colours: Colours,
) -> Iterator[str]:
    front, behind = look.front or colours.text, look.behind
    if look.reverse:
        front, behind = behind or colours.background, front
    if look.dim:
        front = _blend(front, colours.background, 0.4)
    if cells and all(shown == "▀" for _, shown, _ in places) and behind:
        yield _rect(left, top, cells, HEIGHT / 2, front)
        yield _rect(left, top + HEIGHT / 2, cells, HEIGHT / 2, behind)
        return
    if behind:
        yield _rect(left, top, cells, HEIGHT, behind)
    x, at, letters = [], left, ""
    for _, shown, size in places:
        if shown.strip():
            # a place for each letter: the font may have another width
            x.append(f"{at:.1f}")
            letters += shown[:1]
        at += size * WIDTH
    if letters:
        bold = ' font-weight="bold"' if look.bold else ""
        yield (
            f'<text x="{" ".join(x)}" y="{top + 13:.1f}" fill="{front.hex}"{bold}>'
            f"{escaped(letters)}</text>"
        )


def _rect(left: float, top: float, cells: int, height: float, colour: Triplet) -> str:
    # a little wider, or thin lines appear between neighbours
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{cells * WIDTH + 0.3:.1f}" '
        f'height="{height + 0.3:.1f}" fill="{colour.hex}"/>'
    )


def page(title: str, told: Sequence[str], picture: str, facts: str) -> str:
    """Return a page of HTML that needs nothing else.

    Args:
        title: Of the page.
        told: Paragraphs below it.
        picture: An SVG.
        facts: JSON, which the page carries for programs.
    """
    paragraphs = "\n".join(f"<p>{escaped(one)}</p>" for one in told)
    data = facts.replace("<", "\\u003c")  # so that no text in it ends the script
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{escaped(title)}</title>\n"
        "<style>body{font-family:sans-serif;max-width:64em;margin:2em auto;padding:0 1em}"
        "svg{width:100%;height:auto}</style>\n"
        f"<h1>{escaped(title)}</h1>\n{paragraphs}\n{picture}"
        f'<script type="application/json" id="facts">{data}</script>\n</html>\n'
    )
