"""Addresses: downloaded once to the cache, in pieces that an interruption does not lose."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from data.download import DownloadError, Watcher, fetch_file, is_offline
from data.errors import InputError
from data.paths import cache_folder, no_room
from data.program import named

FOLDER = "downloads"
ODD = re.compile(r"[^\w.+-]")
MOST_NAME = 80  # characters of a file's name


def downloaded(
    url: str, watcher: Watcher, *, sha256: str = "", name: str = "", size: int = 0
) -> Path:
    """Return the file at an address: from the cache, or downloaded to it.

    Args:
        sha256: Its hash; empty if that is not known.
        name: What it is called in messages; the address if empty.
        size: Its bytes, about; 0 if they are not known.

    Raises:
        InputError: It is not available, or there is no room for it.
        Cancelled: `watcher.cancelled` returned true; what has arrived is kept.
    """
    path, name = place_of(url), name or named(url)
    if path.exists():
        return path
    if is_offline():
        raise InputError(
            f"{name} is not in the cache, and GPT_TUI_OFFLINE is set: unset that (env -u "
            "GPT_TUI_OFFLINE), or name a file"
        )
    watcher.check_may_download(name, size)
    watcher.report(f"downloading {name}…")
    try:
        fetch_file(url, path, watcher, sha256=sha256)
    except DownloadError as error:
        raise InputError(
            f"{name} could not be downloaded ({error}): try again, or save it to a file and "
            "name that"
        ) from None
    except OSError as error:
        raise cannot_keep(name, path, error) from None
    return path


def cannot_keep(name: str, path: Path, error: OSError) -> InputError:
    """Return what to say of something whose file in the cache cannot be written."""
    room = "make room" if no_room(error) else "allow it"
    return InputError(
        f"{name} cannot be kept in {path.parent} ({error.strerror}): {room}, or set "
        "GPT_TUI_CACHE to another folder"
    )


def place_of(url: str) -> Path:
    """Return where the file at an address is kept; its suffix stays.

    Raises:
        InputError: There is no cache folder, or it is no address.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise InputError(f"{named(url)} is no address: write it as https://host/file.txt")
    name = ODD.sub("_", unquote(parts.path).rpartition("/")[2])[-MOST_NAME:] or "index"
    folder = hashlib.sha256(url.encode(errors="surrogateescape")).hexdigest()[:16]
    return cache_folder() / FOLDER / folder / name
