"""The files of a folder: sorted, without what is hidden, ignored, or no file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from data.download import Watcher
from data.errors import InputError
from data.paths import quoted_path
from data.program import named
from data.sources.gitignore import IGNORED, Ignored, rules_above
from data.sources.meter import Reports
from data.sources.tally import Tally

LINKS = "links to folders"
VIRTUAL = "virtual file systems"
KERNEL = (Path("/proc"), Path("/sys"))  # of which all files seem to be of text, or never end
NO_TEXTS = (*KERNEL, Path("/dev"))  # where /dev/shm may be named
VERSION_CONTROL = ("CVS", "_darcs", "__pycache__")  # others have a name with a dot


def files_of(folder: Path, spec: str, skipped: Tally, watcher: Watcher) -> list[Path]:
    """Return the files in a folder and those below it, in the order of their paths.

    Links to files are followed; those to folders are not, as they may lead in a circle.

    Raises:
        InputError: The folder may not be read, or has what the system tells of itself.
        Cancelled: `watcher.cancelled` returned true.
    """
    if folder in NO_TEXTS or any(one in folder.parents for one in KERNEL):
        raise InputError(f"{named(spec)} is of the system, and no folder of texts: name another")
    found: list[Path] = []
    waiting = [(folder, rules_above(folder))]
    reports = Reports(watcher)
    while waiting:
        reports.tick(lambda: f"looking for texts in {named(spec)}: {len(found):,} files")
        here, above = waiting.pop()
        rules = above.within(here)
        try:
            with os.scandir(here) as entries:
                inside = list(entries)
        except OSError as error:
            if here == folder:
                raise _closed(spec, error) from None
            skipped.add("unreadable", os.path.relpath(here, folder))
            continue
        for entry in inside:
            path = here / entry.name
            if why := _why_not(entry, path, rules):
                skipped.add(why, os.path.relpath(path, folder))
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((path, rules))
            else:
                found.append(path)
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _closed(spec: str, error: OSError) -> InputError:
    return InputError(
        f"the folder {named(spec)} cannot be read ({error.strerror}): allow it "
        f"(chmod u+rx {quoted_path(spec)}), or name another"
    )


def _why_not(entry: os.DirEntry[str], path: Path, rules: Ignored) -> str:
    """Return why an entry of a folder is left out; empty if it is not."""
    if entry.name.startswith("."):
        return "hidden"
    try:
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and entry.name in VERSION_CONTROL:
            return "hidden"
        if is_folder and path in NO_TEXTS:
            return VIRTUAL
        if rules.excludes(path, is_folder):
            return IGNORED
        if is_folder:
            return ""
        mode = entry.stat().st_mode
    except OSError:  # a link to nothing, or in a circle
        return "broken links"
    if stat.S_ISDIR(mode):
        return LINKS
    return "" if stat.S_ISREG(mode) else "no regular files"
