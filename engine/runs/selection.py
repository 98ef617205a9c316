"""Filter and sort runs, in the app and for the commands alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from data.errors import InputError
from engine.config.schema import SETTINGS
from engine.config.setting import FALSE_WORDS, TRUE_WORDS
from engine.runs.fields import (
    FIELDS,
    WORDS,
    Field,
    Kind,
    known_field,
    similar_field,
    sort_key,
)
from engine.runs.summary import RunSummary

__all__ = [
    "FILTER_EXAMPLE",
    "Filter",
    "matches",
    "parse_filter",
    "sort_by",
    "sort_runs",
]

FILTER_EXAMPLE = "lr>1e-3 best<2 preset:fast -tag:bad | age<2d"

TERM = re.compile(r'(?:[^\s|"]|"[^"]*"?)+|\|')
COMPARISON = re.compile(r"([A-Za-z_][\w.]*)(<=|>=|!=|<|>|=|:)(.*)", re.DOTALL)
AMOUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
FEWEST_DIGITS = 3  # that two numbers have in common to be called equal

Test: TypeAlias = Callable[[RunSummary], bool]


@dataclass(frozen=True)
class Filter:
    """Alternatives, of each of which all tests must hold."""

    text: str
    alternatives: tuple[tuple[Test, ...], ...]

    def matches(self, run: RunSummary) -> bool:
        return any(all(test(run) for test in tests) for tests in self.alternatives)


def parse_filter(text: str) -> Filter:
    """Parse a filter, such as ``lr>1e-3 best<2 preset:fast -tag:bad | age<2d``.

    A word is looked for in all of ``WORDS``, ``field:word`` in one field; figures and settings are
    compared with ``<``, ``>``, ``<=``, ``>=``, ``=``, ``!=`` or ``a..b``. ``-`` before a term
    excludes what matches it, and ``|`` separates alternatives. Case is ignored.

    Raises:
        InputError: A term makes no sense; the sentence says which, and what does.
    """
    alternatives: list[list[Test]] = [[]]
    for term in TERM.findall(text):
        if term == "|":
            alternatives.append([])
        else:
            alternatives[-1].append(_test(term))
    some = [tuple(tests) for tests in alternatives if tests]
    return Filter(text, tuple(some) or ((),))


def matches(run: RunSummary, text: str) -> bool:
    """Return whether a run matches a filter; of many runs, ``parse_filter`` once is faster."""
    return parse_filter(text).matches(run)


def sort_runs(runs: Iterable[RunSummary], by: str, descending: bool = False) -> list[RunSummary]:
    """Sort runs.

    Args:
        by: One of ``SORTS``, or a setting.
        descending: The largest first; those without a value stay last.

    Raises:
        InputError: There is no such order.
    """
    return sort_by(runs, sort_key(by), descending)


def sort_by(
    runs: Iterable[RunSummary], value: Callable[[RunSummary], Any], descending: bool = False
) -> list[RunSummary]:
    """Sort runs by a function, as ``sort_runs``."""
    in_order = sorted(runs, key=lambda run: (run.created, run.name))
    valued = [(value(run), run) for run in in_order]
    known = [pair for pair in valued if _is_known(pair[0])]
    known.sort(key=lambda pair: pair[0], reverse=descending)
    return [run for _, run in known] + [run for one, run in valued if not _is_known(one)]


def _is_known(value: Any) -> bool:
    return value is not None and value == value  # NaN is not itself


# -- one term ------------------------------------------------------------------------------------


def _test(term: str) -> Test:
    if len(term) > 1 and term.startswith("-"):
        test = _test(term[1:])
        return lambda run: not test(run)
    found = COMPARISON.fullmatch(term)
    if found is None:
        return _word(term)
    name, sign, value = found[1].lower(), found[2], found[3].replace('"', "").lower()
    if sign == ":" and name not in FIELDS and not similar_field(name):
        return _word(term)  # such as an address in a note
    field = known_field(name)
    if field.kind is Kind.TEXT:
        return _text(field, name, sign, value)
    if not value:
        raise InputError(f"{name}{sign} needs a value: {name}{sign}{field.example or 'on'}")
    if field.kind is Kind.SWITCH:
        return _switch(field, name, sign, value)
    return _number(field, name, sign, value)


def _word(term: str) -> Test:
    word = term.replace('"', "").lower()
    return lambda run: any(word in of(run).lower() for of in WORDS.values())


def _text(field: Field, name: str, sign: str, wanted: str) -> Test:
    value = field.value
    if sign in ("<", ">", "<=", ">="):
        raise InputError(
            f"{name} is text, which {sign} cannot compare: {name}:{wanted or 'WORD'} finds runs "
            f"with it"
        )
    if sign == ":":
        return lambda run: (one := value(run)) is not None and wanted in one.lower()
    if sign == "=":
        return lambda run: (one := value(run)) is not None and wanted == one.lower()
    return lambda run: (one := value(run)) is not None and wanted != one.lower()


def _switch(field: Field, name: str, sign: str, wanted: str) -> Test:
    if wanted not in (*TRUE_WORDS, *FALSE_WORDS) or sign not in (":", "=", "!="):
        raise InputError(f"{name} is on or off: {name}:on, {name}:off")
    expected = (wanted in TRUE_WORDS) != (sign == "!=")
    return lambda run: field.value(run) is expected


def _number(field: Field, name: str, sign: str, wanted: str) -> Test:
    low, between, high = wanted.partition("..")
    if between and sign in (":", "="):
        least = _parse(field, name, sign, low) if low else -float("inf")
        most = _parse(field, name, sign, high) if high else float("inf")
        return lambda run: _is_known(one := field.value(run)) and least <= one <= most
    number = _parse(field, name, sign, wanted)
    compare = _COMPARE[sign]
    return lambda run: _is_known(one := field.value(run)) and compare(one, number)


def _equal(value: float, number: float) -> bool:
    if isinstance(value, int) and number.is_integer():
        return value == number
    return value == number or float(f"{value:.{_digits(number)}g}") == number


def _digits(number: float) -> int:
    """Return to how many digits a number was typed, which a shown value is rounded to."""
    mantissa = repr(number).partition("e")[0].replace(".", "").lstrip("-0").rstrip("0")
    return max(FEWEST_DIGITS, len(mantissa))


_COMPARE: dict[str, Callable[[Any, float], bool]] = {
    "<": lambda value, number: value < number,
    "<=": lambda value, number: value <= number,
    ">": lambda value, number: value > number,
    ">=": lambda value, number: value >= number,
    "=": _equal,
    ":": _equal,
    "!=": lambda value, number: not _equal(value, number),
}


def _parse(field: Field, name: str, sign: str, text: str) -> float:
    special = SETTINGS[field.setting].special if field.setting else {}
    for number, word in special.items():
        if text == word:
            return float(number)
    units = SECONDS if field.kind is Kind.DURATION else AMOUNTS
    found = re.fullmatch(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)([a-z]*)", text)
    if found is None or found[2] not in units:
        what = "a time in s, m, h or d" if field.kind is Kind.DURATION else "a number"
        raise InputError(
            f"{name} is compared with {what}, not {text!r}: {name}{sign}{field.example}"
        )
    return float(found[1]) * units[found[2]]
