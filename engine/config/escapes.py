r"""Escape sequences, which write text of several lines on one: ``\n``, ``\t`` and ``\\``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

ESCAPES = {"n": ("\n", "is a new line"), "t": ("\t", "a tab"), "\\": ("\\", "a backslash")}
BAR = "|"  # between stop strings, and between prompts
MOST_PROBES = 8
ESCAPES_OF_STOPS = {"n": ESCAPES["n"], "t": ESCAPES["t"], BAR: (BAR, "a bar"), "\\": ESCAPES["\\"]}


def escape(text: str) -> str:
    """Escape a text; ``unescape`` reverses it."""
    for letter in ("\\", "n", "t"):  # the backslash first, as the others add backslashes
        text = text.replace(ESCAPES[letter][0], f"\\{letter}")
    return text


def unescape(written: str, name: str) -> str:
    """Replace the escape sequences by what they stand for.

    Args:
        name: The setting to name in the error message.

    Raises:
        ValueError: Any other character follows a backslash; the message is one sentence.
    """
    return "".join(letter for letter, _ in _read(written, name, ESCAPES))


def parse_stops(written: str) -> tuple[str, ...]:
    r"""Parse ``sample.stop``: stop strings separated by ``|``, where ``\|`` is a bar.

    Raises:
        ValueError: The syntax is invalid; the message is one sentence.
    """
    return _parse_several(written, "sample.stop", "to stop at a bar")


def parse_probes(written: str) -> tuple[str, ...]:
    r"""Parse ``sample.probes``: prompts separated by ``|``, where ``\|`` is a bar.

    Raises:
        ValueError: The syntax is invalid, or there are too many; the message is one sentence.
    """
    probes = _parse_several(written, "sample.probes", "for a bar in a prompt")
    if len(probes) > MOST_PROBES:
        raise ValueError(
            f"sample.probes has {len(probes)} prompts, and {MOST_PROBES} at most are sampled: "
            f"remove some"
        )
    return probes


def join_probes(prompts: Iterable[str]) -> str:
    """Write prompts as ``parse_probes`` reads them."""
    return BAR.join(escape(prompt).replace(BAR, rf"\{BAR}") for prompt in prompts)


def _parse_several(written: str, name: str, meaning: str) -> tuple[str, ...]:
    texts = [""] if written else []
    for letter, was_escaped in _read(written, name, ESCAPES_OF_STOPS):
        if letter == BAR and not was_escaped:
            texts.append("")
        else:
            texts[-1] += letter
    if "" in texts:
        raise ValueError(
            rf"{name} has no text on one side of a bar: remove the bar, or write \| {meaning}"
        )
    return tuple(texts)


def _read(
    written: str, name: str, escapes: dict[str, tuple[str, str]]
) -> Iterator[tuple[str, bool]]:
    """Yield each character, and whether it was escaped."""
    letters = iter(written)
    for letter in letters:
        if letter != "\\":
            yield letter, False
            continue
        letter = next(letters, "")
        if letter not in escapes:
            where = f"has a backslash before {letter!r}" if letter else "ends in a single backslash"
            *first, last = (rf"\{one} {means}" for one, (_, means) in escapes.items())
            raise ValueError(f"{name} {where}: {', '.join(first)} and {last}")
        yield escapes[letter][0], True
