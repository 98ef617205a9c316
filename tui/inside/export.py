"""Pictures outside the app: on a terminal, as SVG, and as a page of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.color import ColorSystem
from rich.color_triplet import ColorTriplet as Triplet

from tui.charts.export import escaped
from tui.inside.layout import Row
from tui.inside.looks import LIGHT, Colours, drawn_in, look_of, style_of
from tui.terminal.cells import clusters

WIDTH, HEIGHT = 8.4, 18  # of a cell of an SVG
MARGIN = 16
FONTS = "DejaVu Sans Mono, Menlo, Consolas, Liberation Mono, monospace"


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
                style_of(name, colours, known=False).render(text, color_system=depth)
                for text, name in row
            )


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
            places = list(clusters(text))
            cells = sum(size for _, _, size in places)
            parts += _stretch(name, places, MARGIN + column * WIDTH, top, cells, colours)
            column += cells
    return "\n".join([*parts, "</svg>\n"])


def _stretch(
    name: str,
    places: Sequence[tuple[int, str, int]],
    left: float,
    top: float,
    cells: int,
    colours: Colours,
) -> Iterator[str]:
    front, behind = drawn_in(name, colours)
    if cells and all(shown == "▀" for _, shown, _ in places):
        yield _rect(left, top, cells, HEIGHT / 2, front)
        yield _rect(left, top + HEIGHT / 2, cells, HEIGHT / 2, behind)
        return
    if behind != colours.background:
        yield _rect(left, top, cells, HEIGHT, behind)
    x, at, letters = [], left, ""
    for _, shown, size in places:
        if shown.strip():
            # a place for each letter: the font may have another width
            x.append(f"{at:.1f}")
            letters += shown[:1]
        at += size * WIDTH
    if letters:
        bold = ' font-weight="bold"' if look_of(name, colours).bold else ""
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
