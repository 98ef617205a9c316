"""Text from outside is shown, never obeyed.

Names, notes, samples, paths and settings may come from somebody else, or from a terminal log that
a model was trained on. A control character in them would set the window's title, move the cursor
or change the direction of the text. `visible` replaces each by one character that shows it.
Commands pass through it in `VisibleStream`, the app in `protect_screen`, messages always; standard
output to a file or pipe gets the text as it is.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from textual.content import Content

PICTURES = 0x2400  # where Unicode has a picture of each control character: U+241B is that of ESC
DELETE, DELETE_PICTURE = 0x7F, "\u2421"
REPLACEMENT = "\ufffd"
_CONTROLS = (
    r"\x7f-\x9f"  # delete, and C1: U+009B begins a sequence as ESC [ does
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the direction of text
    r"\u2028\u2029"  # separators of lines and paragraphs
    r"\ud800-\udfff"  # lone surrogates, which UTF-8 cannot encode: bytes of a path, say
)
# compiled where they are needed, as the first paint waits
OUTSIDE_LINES = rf"[\x00-\x08\x0b-\x1f{_CONTROLS}]"  # tabs and new lines stay
ANYWHERE = rf"[\x00-\x1f{_CONTROLS}]"


class Control(str):
    """Text of our own that the terminal is to obey."""

    __slots__ = ()


def visible(text: str) -> str:
    """Replace control characters, except tabs and new lines, by one character each.

    The length stays, so that styles keep their places.
    """
    return text if text.isprintable() else re.sub(OUTSIDE_LINES, sign, text)


def visible_line(text: str) -> str:
    """Do the same for tabs and new lines."""
    return text if text.isprintable() else re.sub(ANYWHERE, sign, text)


def sign(found: re.Match[str]) -> str:
    """Return the character that shows a control character."""
    code = ord(found[0])
    if code == DELETE:
        return DELETE_PICTURE
    return chr(PICTURES + code) if code < 0x20 else REPLACEMENT


class VisibleStream(io.TextIOWrapper):
    """A stream to a terminal that shows the control characters of all but `Control`."""

    def write(self, text: str) -> int:
        return super().write(text if isinstance(text, Control) else visible(text))


def to_terminal(stream: io.TextIOWrapper) -> TextIO:
    """Return a `VisibleStream` on the terminal that a stream writes to."""
    if isinstance(stream, VisibleStream):
        return stream
    stream.flush()
    return VisibleStream(
        stream.buffer,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def protect_screen() -> None:
    """Have Rich and Textual show control characters, and parse no string as markup.

    Each has one function that all text passes, which removes five control characters and is slower
    than `visible`. Widgets that draw segments of their own pass `visible_line` where they are
    drawn. A name such as ``[red]x[/]`` is a name: this program's styles are never markup.
    """
    import rich.text
    import textual.content
    from textual.strip import Strip

    of_rich: Any = rich.text
    of_rich.strip_control_codes = visible
    of_textual: Any = textual.content
    of_textual._strip_control_codes = visible
    of_textual.Content.from_markup = classmethod(_without_markup)
    strips: Any = Strip
    if not hasattr(strips, "render_as_is"):
        strips.render_as_is, strips.render = strips.render, _render


def _without_markup(cls: Any, /, markup: str | Content, **_: object) -> Any:
    return cls(markup) if isinstance(markup, str) else markup


def _render(strip: Any, console: Console) -> str:
    """Render a strip, the last place where text and control sequences are apart."""
    if strip._render_cache is None:
        for index, segment in enumerate(strip._segments):
            if not segment.text.isprintable():
                strip._segments[index] = segment._replace(text=visible_line(segment.text))
    return str(strip.render_as_is(console))
