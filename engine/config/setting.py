"""The definition of a setting: type, bounds, help, and when it may change."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, TypeAlias

from msgspec import Struct

from data.errors import brief, suggest
from data.specs import join_specs
from engine.config.escapes import escape, unescape

Value: TypeAlias = bool | int | float | str

TRUE_WORDS = ("true", "yes", "on", "1")
FALSE_WORDS = ("false", "no", "off", "0")
MOST_IN_FULL = 10**15  # larger numbers are shown as powers of ten


class When(StrEnum):
    """When a setting of an existing run may change."""

    LIVE = "live"
    RESUME = "at resume"
    NEW_RUN = "new run"


class Setting(Struct, frozen=True):
    """A setting of the command line, ``config.toml`` and the app's panels."""

    section: str
    name: str
    type: type
    default: Value
    help: str
    when: When
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    zero: str = ""  # the meaning of 0 ("off", "auto" …), which is accepted as a value, too
    unset: str = ""  # the meaning of -1, for settings where 0 is an ordinary value
    escaped: bool = False  # text of several lines, typed and shown on one with \n
    several: bool = False  # a list of texts, too, which ``data.specs`` joins
    seldom: bool = False  # hidden in the panel until it is expanded
    source: str = ""  # the paper or project it comes from

    @property
    def key(self) -> str:
        """The full name, e.g. ``optim.learning_rate``."""
        return f"{self.section}.{self.name}"

    @property
    def bounds(self) -> str:
        """The allowed values, e.g. ``1 to 128`` or ``cpu, cuda``."""
        if self.choices:
            return ", ".join(self.choices)
        if self.type is bool:
            return "on or off"
        low = _number(self.minimum if self.above is None else self.above)
        low = low if self.above is None else f"above {low}"
        high = _number(self.maximum)
        if low and high:
            return f"{low}, at most {high}" if self.above is not None else f"{low} to {high}"
        return low or (f"at most {high}" if high else "")

    @property
    def special(self) -> dict[int, str]:
        """Numbers with a special meaning, which the bounds do not apply to, and their names."""
        return {number: word for number, word in ((0, self.zero), (-1, self.unset)) if word}

    def parse(self, text: str) -> Value:
        """Parse a value that was typed.

        Raises:
            ValueError: The text is not a valid value; the message is one sentence.
        """
        if self.type is str:
            return self.check(unescape(text, self.key) if self.escaped else text)
        word = text.strip().lower()
        for special, stands_for in self.special.items():
            if word == stands_for:
                return self.check(self.type(special))
        if self.type is bool:
            if word in TRUE_WORDS:
                return True
            if word in FALSE_WORDS:
                return False
            raise ValueError(f"{self.key} must be on or off, not {brief(text.strip())}")
        return self.check(parse_number(text, self.key, whole=self.type is int))

    def check(self, value: object) -> Value:
        """Convert a value to this setting's type and check the bounds.

        Raises:
            ValueError: Wrong type or out of bounds; the message is one sentence.
        """
        value = self._coerce(value)
        if self.choices and value not in self.choices:
            hint = suggest(str(value), self.choices, f"choose one of {self.bounds}")
            raise ValueError(f"{self.key} cannot be {value!r}: {hint}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self._check_bounds(value)
        return value

    def _coerce(self, value: object) -> Value:
        if self.type is bool and isinstance(value, bool):
            return value
        if self.several and isinstance(value, list) and all(isinstance(v, str) for v in value):
            value = join_specs(value) if value else ""
        if self.type is str and isinstance(value, str):
            if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise ValueError(f"{self.key} must be text in Unicode, not {value!r}")
            return value
        if self.type in (int, float) and isinstance(value, (int, float)):
            if isinstance(value, bool) or not _is_finite(value):
                told = value if isinstance(value, bool | float) else "one of hundreds of digits"
                raise ValueError(f"{self.key} must be a finite number, not {told}")
            if self.type is int and value != int(value):
                raise ValueError(f"{self.key} must be a whole number, not {format_float(value, 6)}")
            return int(value) if self.type is int else float(value)
        if isinstance(value, str):
            return self.parse(value)
        kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        raise ValueError(f"{self.key} must be {kinds[self.type]}, not {value!r}")

    def _check_bounds(self, value: float) -> None:
        if value in self.special:
            return
        too_low = (self.minimum is not None and value < self.minimum) or (
            self.above is not None and value <= self.above
        )
        if too_low or (self.maximum is not None and value > self.maximum):
            words = "".join(f", or {word!r} ({n})" for n, word in self.special.items())
            raise ValueError(f"{self.key} must be {self.bounds}{words}, not {_number(value)}")

    def format(self, value: Value) -> str:
        """Format a value so that ``parse`` reads it back."""
        if isinstance(value, bool):
            return "on" if value else "off"
        if not isinstance(value, str) and value in self.special:
            return self.special[int(value)]
        if isinstance(value, float):
            short = format_float(value, 6)
            return short if float(short) == value else repr(value)
        return escape(str(value)) if self.escaped else str(value)


def format_float(value: float, digits: int) -> str:
    """``0.001``, ``0.00435``, ``1e-5``, ``12345``, ``1.23e6``: in so many digits, at least.

    It is as ``g`` does, but without the zero before the power, and numbers below a million are
    written out. Numbers look like this everywhere but at evenly spaced ticks of an axis, which have
    decimals in common.
    """
    text = f"{value:.{digits}g}"
    mantissa, power, exponent = text.partition("e")
    if not power:
        return text
    return f"{value:.0f}" if 0 < int(exponent) < 6 else f"{mantissa}e{int(exponent)}"


def parse_number(text: str, what: str, whole: bool) -> int | float:
    """Parse a number that was typed, as Python writes it: ``5``, ``1e-3``, ``1_000``.

    Args:
        what: Its name in the message.
        whole: Whether the number is to be a whole one; ``1e3`` is.

    Raises:
        ValueError: It is not a number, or not finite; the message is one sentence.
    """
    word = text.strip().replace("_", "")
    shown = brief(text.strip())
    try:
        number = float(word)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{what} must be {kind}, not {shown}") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} must be a finite number, not {shown}")
    if not whole:
        return number
    if number != int(number):
        raise ValueError(f"{what} must be a whole number, not {format_float(number, 6)}")
    is_exact = abs(number) <= MOST_IN_FULL or not word.lstrip("+-").isdecimal()
    return int(number) if is_exact else int(word)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number larger than any float
        return False


def _number(value: float | None) -> str:
    if value is None:
        return ""
    whole = value == int(value) and abs(value) <= MOST_IN_FULL
    return f"{int(value):,}" if whole else format_float(value, 6)


def setting(default: Value, help: str, **details: Any) -> Any:
    """Declare a field of a configuration section as a setting, with details of ``Setting``."""
    return dataclasses.field(default=default, metadata={"setting": {"help": help} | details})


def settings_of(section: str, cls: type, when: When) -> Iterator[Setting]:
    """Yield the settings that a section's dataclass declares; ``when`` is their default."""
    types = {"int": int, "float": float, "bool": bool, "str": str}
    for field in dataclasses.fields(cls):
        if "setting" not in field.metadata:
            raise TypeError(f"{section}.{field.name} is declared without setting(...)")
        details = {"when": when} | field.metadata["setting"]
        default: Any = field.default
        yield Setting(section, field.name, types[str(field.type)], default, **details)
