"""Tags and a note that the user gives a run, and its former names.

They live in a small file of their own beside ``run.db``, replaced as a whole, so that they can be
changed while another program trains the run.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tomli_w

from data.errors import InputError, brief
from data.files import write_atomically
from data.paths import is_unicode, no_room
from data.reading import convert, parse_toml, read_regular

NOTES_FILE = "notes.toml"
MOST_BYTES = 2**17
TAG_PATTERN = re.compile(r"[\w][\w.:+-]{0,39}")


@dataclass(frozen=True)
class Notes:
    tags: tuple[str, ...] = ()
    note: str = ""  # one line
    formerly: tuple[str, ...] = ()  # names, the oldest first


def read_notes(run: Path) -> Notes:
    """Read the notes of a run.

    Raises:
        InputError: The file is damaged.
    """
    file = f"{run}/{NOTES_FILE}"  # no Path: it is done often
    try:
        found = convert(parse_toml(read_regular(file, MOST_BYTES)), Notes, "notes")
    except FileNotFoundError:
        return Notes()
    except OSError as error:
        raise _damaged(file, str(error.strerror)) from None
    except ValueError as error:
        raise _damaged(file, str(error)) from None
    return replace(found, note=one_line(found.note))


def change_notes(run: Path, change: Callable[[Notes], Notes]) -> Notes:
    """Change the notes of a run, even while it is trained; returns the new ones.

    Raises:
        InputError: The file is damaged (and left as it is), or cannot be written.
    """
    try:
        with _one_at_a_time(run):
            before = read_notes(run)
            after = change(before)
            if after != before:
                write_atomically(run / NOTES_FILE, tomli_w.dumps(asdict(after)).encode())
            return after
    except OSError as error:
        way_out = "make room" if no_room(error) else f"allow writing in {run}"
        raise InputError(
            f"the notes of the run {run.name!r} cannot be written ({error.strerror}): "
            f"{way_out}, or copy the run elsewhere"
        ) from None


def set_note(run: Path, text: str) -> Notes:
    """Replace the note; an empty text removes it. As ``change_notes``."""
    if not is_unicode(text):
        raise InputError(f"a note is text in UTF-8, which {brief(text)} is not: type it anew")
    return change_notes(run, lambda notes: replace(notes, note=one_line(text)))


def set_tags(run: Path, tags: Iterable[str]) -> Notes:
    """Replace all tags. As ``change_notes``; invalid tags are refused."""
    wanted = check_tags(tags)
    return change_notes(run, lambda notes: replace(notes, tags=wanted))


def change_tags(run: Path, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Notes:
    """Add and remove some tags. As ``change_notes``; invalid tags are refused."""
    added, removed = check_tags(add), set(remove)

    def changed(notes: Notes) -> Notes:
        tags = dict.fromkeys((*notes.tags, *added))
        return replace(notes, tags=tuple(tag for tag in tags if tag not in removed))

    return change_notes(run, changed)


def split_tags(text: str) -> list[str]:
    """Split a line into tags, at spaces and commas."""
    return text.replace(",", " ").split()


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Validate tags; returns each of them once.

    Raises:
        InputError: Some are not valid tags.
    """
    tags = tuple(dict.fromkeys(tags))
    unfit = [tag for tag in tags if not TAG_PATTERN.fullmatch(tag)]
    if unfit:
        raise InputError(
            f"{unfit[0]!r} cannot be a tag: use a word of letters, digits, '.', ':', '+', '_' and "
            f"'-' (40 at most)"
        )
    return tags


def one_line(text: str) -> str:
    """Replace line breaks and runs of spaces by single spaces."""
    return " ".join(text.split())


@contextmanager
def _one_at_a_time(run: Path) -> Iterator[None]:
    """Lock the notes, so that two programs change them one after the other."""
    folder = os.open(run, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _damaged(file: str, why: str) -> InputError:
    return InputError(f"{file} cannot be read ({why}): repair it by hand, or move it away")
