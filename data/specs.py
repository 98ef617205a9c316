"""What names a text: one or several of a name, path, pattern, address, or ``-``.

The setting ``data.corpus`` is one text: a single one stands as it is, several are a JSON list,
which is a list in TOML, too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Sequence
from contextlib import suppress

from data.errors import InputError
from data.paths import absolute, expanded, typed_path
from data.program import named

STANDARD_INPUT = "-"
HUB = "hf:"  # before the name of a dataset of the Hugging Face hub
STREAMED = "hf-stream:"  # the same, and its files are not kept
ADDRESS = re.compile(r"https?://", re.IGNORECASE)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
PATTERN = re.compile(r"[*?\[]")


def specs_of(corpus: str | Sequence[str]) -> tuple[str, ...]:
    """Return what the value of ``data.corpus`` names, each by itself."""
    if not isinstance(corpus, str):
        return tuple(corpus)
    if corpus.startswith("[") and corpus.endswith("]"):
        with suppress(ValueError, RecursionError):
            several = json.loads(corpus)
            if several and all(isinstance(one, str) for one in several):
                return tuple(several)
    return (corpus,)


def join_specs(specs: Sequence[str]) -> str:
    """Return the value of ``data.corpus`` that names all of these."""
    return specs[0] if len(specs) == 1 else json.dumps(list(specs), ensure_ascii=False)


def is_address(spec: str) -> bool:
    return bool(ADDRESS.match(spec))


def is_hub(spec: str) -> bool:
    """Return whether a spec names a dataset of the Hugging Face hub."""
    return spec.lower().startswith((HUB, STREAMED))


def is_streamed(spec: str) -> bool:
    """Return whether a spec names a dataset whose files are not kept."""
    return spec.lower().startswith(STREAMED)


def is_pattern(spec: str) -> bool:
    """Return whether a spec is a pattern such as ``*.txt``, and no path of something."""
    return bool(PATTERN.search(spec)) and is_path(spec) and not _exists(spec)


def is_path(spec: str, names: Collection[str] = ()) -> bool:
    """Return whether a spec is a path or a pattern.

    Args:
        names: Those of the catalogue.
    """
    return not (spec in names or spec == STANDARD_INPUT or is_address(spec) or is_hub(spec))


def anchored(corpus: str, names: Collection[str]) -> str:
    """Return ``data.corpus`` with paths that do not depend on the current folder.

    Args:
        names: Those of the catalogue.

    Raises:
        InputError: A path cannot be used.
    """
    return join_specs([anchored_path(s) if is_path(s, names) else s for s in specs_of(corpus)])


def anchored_path(spec: str) -> str:
    """Return the absolute path of a file, a folder or a pattern.

    Raises:
        InputError: It cannot be used, or is an address of a kind that is not read.
    """
    if (scheme := SCHEME.match(spec)) and not _exists(spec):
        raise InputError(
            f"{named(spec)} is an address that begins with {scheme[0]}, and only https:// and "
            "http:// are read: download it with another program, and name the file"
        )
    return str(absolute(typed_path(spec)))


def called(corpus: str | Sequence[str]) -> str:
    """Return a short name, such as ``notes.txt`` or ``notes.txt and 2 more``."""
    first, *others = specs_of(corpus)
    if is_hub(first):
        return f"{first} and {len(others)} more" if others else first
    path = first.partition("?")[0] if is_address(first) else first
    name = os.path.basename(os.path.normpath(path)) if path else path
    if name in (os.curdir, os.pardir):
        name = os.path.basename(os.path.abspath(path)) or name
    if first == STANDARD_INPUT:
        name = "standard input"
    return f"{name} and {len(others)} more" if others else name


def has_place(source: str) -> bool:
    """Return whether it names a path on this machine, which may move."""
    return any(os.path.isabs(one) for one in specs_of(source))


def _exists(spec: str) -> bool:
    try:
        return os.path.lexists(expanded(spec))
    except (OSError, ValueError, RuntimeError):
        return False
