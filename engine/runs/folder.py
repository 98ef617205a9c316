"""Where runs live on disk, how they are named, found and locked."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import platformdirs
import tomli_w

from data.errors import InputError, reason_of, suggest
from data.files import remove_tree, write_atomically
from data.paths import (
    check_may_be_read,
    describe_os_error,
    no_room,
    own_folder,
    quoted_path,
    real_path,
    typed_path,
)
from data.reading import open_regular, read_regular
from engine.config.schema import MOST_BYTES, SECTIONS, Config, read_config
from engine.program import program
from engine.runs.checkpoint_names import (
    CHECKPOINTS_FOLDER,
    is_checkpoint,
    list_checkpoints,
    list_snapshots,
)
from engine.runs.own_files import check_own_files

CONFIG_FILE, DATABASE_FILE, LOG_FILE, LOCK_FILE = "config.toml", "run.db", "log.txt", "lock"
LOCK_ATTEMPTS, LOCK_SECONDS = 5, 0.02
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SQLITE_HEADER, FORMATS = b"SQLite format 3\0", range(1, 100)  # newer ones are runs, too
SECTION = re.compile(rb"^\s*\[\s*(\w+)\s*\]", re.MULTILINE)


def default_runs_dir() -> Path:
    """Return ``$GPT_TUI_RUNS``, else a folder in the user's data folder.

    Raises:
        InputError: The path cannot be used, or there is no home folder.
    """
    return own_folder(
        "GPT_TUI_RUNS",
        lambda: platformdirs.user_data_path("gpt-tui", appauthor=False) / "runs",
        option="--runs-dir",
    )


def is_default(runs_dir: Path) -> bool:
    """Return whether runs in this folder are found by their names."""
    try:
        return os.path.realpath(runs_dir) == os.path.realpath(default_runs_dir())
    except InputError:  # there is no default
        return False


def typed_name(run: Path) -> str:
    """Return the argument for a run: its name in the default runs folder, else its path."""
    return quoted_path(run.name if is_default(run.parent) else run)


def in_runs_dir(runs_dir: Path) -> str:
    """Return the ``--runs-dir`` option with a space before it; empty for the default folder."""
    return "" if is_default(runs_dir) else f" --runs-dir {quoted_path(runs_dir)}"


def find_run(run: str, runs_dir: Path | None = None) -> Path:
    """Find the folder of a run, given its name in the runs folder or its path.

    Raises:
        InputError: There is none; the sentence names the nearest.
    """
    runs_dir = runs_dir or default_runs_dir()
    path = _find(run, runs_dir)
    if path:
        _check_readable(path)
        return real_path(path)
    from engine.runs.transfer import way_back  # imports this module

    if back := way_back(run, runs_dir):
        raise InputError(f"the run {run!r} is in the trash: {back} brings it back")
    lists = f"{program()} runs{in_runs_dir(runs_dir)} lists what is there."
    hint = suggest(run, [path.name for path in list_runs(runs_dir)], lists)
    raise InputError(f"there is no run {run!r} in {runs_dir}: {hint}")


def _check_readable(run: Path) -> None:
    """Check that a run's folders may be read: its checkpoints would seem to be missing.

    Raises:
        InputError: They may not be.
    """
    for folder in (run, run / CHECKPOINTS_FOLDER):
        try:
            os.scandir(folder).close()
            os.lstat(folder / CONFIG_FILE)  # which a folder that may be listed, alone, refuses
        except PermissionError as error:
            raise InputError(describe_os_error(error)) from None
        except OSError:  # what is wrong with it is told by who reads it
            continue


def find_own_run(run: str, runs_dir: Path | None = None) -> Path:
    """Find a run whose folder is to be moved; as ``find_run``, but a link to one is refused."""
    runs_dir = runs_dir or default_runs_dir()
    found, path = find_run(run, runs_dir), _find(run, runs_dir)
    if path:
        _refuse_link(path, found)
    return found


def check_own_run(run: Path, runs_dir: Path) -> None:
    """Check that a run in a runs folder is not a link to a folder elsewhere, before it is moved.

    Raises:
        InputError: It is.
    """
    _refuse_link(path_in(runs_dir, run), run)


def path_in(runs_dir: Path, run: Path) -> Path:
    """Return the path of a run in a runs folder, which may be a link to it; else its own."""
    if run.parent != real_path(runs_dir):
        for path in list_runs(runs_dir):
            if os.path.realpath(path) == str(run):
                return path
    return run


def _refuse_link(path: Path, found: Path) -> None:
    if os.path.islink(path):
        raise InputError(
            f"{path} is a link to the run {found}: give that path to move the run itself, or "
            f"remove the link: rm {quoted_path(path)}"
        )


def _find(run: str, runs_dir: Path) -> Path | None:
    path = typed_path(runs_dir / run)
    if not run or not is_run(path):
        path = typed_path(run)
    return path if is_run(path) else None


def list_runs(runs_dir: Path) -> list[Path]:
    """List the folders of all runs, by name; hidden folders are the trash and unfinished copies.

    Folders that may not be looked into are among them, as they may be runs.
    """
    try:
        names = sorted(os.listdir(runs_dir))
    except (OSError, ValueError):
        return []
    paths = (runs_dir / name for name in names if name[0] != ".")
    return [path for path in paths if is_run(path)]


def is_run(path: Path) -> bool:
    """Return whether a folder is a run, even if its settings or its database are damaged or gone.

    Any other program may have a ``config.toml`` or a ``run.db``, too: their content decides.
    """
    try:
        if _is_database(path) or _is_config(path):
            return True
    except PermissionError:  # reading it says what may not be read; beware of lost+found
        return bool(NAME_PATTERN.fullmatch(path.name))
    return any(map(is_checkpoint, list_snapshots(path)))


def _is_database(run: Path) -> bool:
    """Return whether a run's database is there.

    Raises:
        PermissionError: It, or the run, may not be looked into.
    """
    try:
        with open(open_regular(f"{run}/{DATABASE_FILE}"), "rb", buffering=0) as file:
            header = file.read(100)
    except OSError as error:
        if isinstance(error, PermissionError):
            raise
        return False
    version = int.from_bytes(header[60:64], "big")
    return header.startswith(SQLITE_HEADER) and version in FORMATS


def _is_config(run: Path) -> bool:
    try:
        text = read_regular(run / CONFIG_FILE, MOST_BYTES)
    except OSError:
        return False
    return SECTIONS.keys() <= {name.decode() for name in SECTION.findall(text)}


def read_run_config(path: Path) -> Config:
    """Read the settings of a run.

    Raises:
        InputError: They cannot be read; the sentence says how they come back, if they can.
    """
    try:
        return read_config(path / CONFIG_FILE)
    except InputError as error:
        check_may_be_read(path / CONFIG_FILE)
        if not list_checkpoints(path):
            raise
        hint = f"{program()} verify {typed_name(path)} --repair writes it anew from a checkpoint"
        raise InputError("; ".join((*error.problems, hint))) from None


def check_word(name: str, what: str) -> None:
    """Check that a name can be used for a folder.

    Raises:
        InputError: It has other characters or too many of them, or begins with a sign.
    """
    if NAME_PATTERN.fullmatch(name):
        return
    rule = "use letters (a to z), digits, '.', '_' and '-' (100 at most)"
    if name[:1] in (".", "_", "-"):
        rule = f"begin with a letter or a digit, not with {name[0]!r}"
    raise InputError(f"{name!r} cannot name a {what}: {rule}")


def check_name(name: str, folder: Path, way_out: str = "") -> Path:
    """Check the name of a new run; returns the path it will have.

    Raises:
        InputError: The name is taken or invalid.
    """
    check_word(name, "run")
    path = folder / name
    if os.path.lexists(path):
        resume = f"continue it: {program()} train --resume {typed_name(path)}"
        way_out = way_out or f"choose another --name, or {resume}"
        what = "a run" if is_run(path) else "something"
        raise InputError(f"there is already {what} {name!r} in {folder}: {way_out}")
    return path


def create_run(
    config: Config, runs_dir: Path, name: str | None = None, stem: str | None = None
) -> Path:
    """Create the folder of a run with its ``config.toml``.

    Args:
        name: None takes ``stem`` and the next free number.
        stem: None takes the preset's name.

    Raises:
        InputError: The name is taken or invalid, or the folder cannot be written.
    """
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        if name:
            check_name(name, runs_dir)
        wanted = stem or config.preset
        stem = wanted if NAME_PATTERN.fullmatch(wanted) else "run"
        path = _make_folder(runs_dir, name, stem)
        try:
            write_atomically(path / CONFIG_FILE, tomli_w.dumps(config.to_toml()).encode())
        except BaseException:
            delete_run(path)
            raise
    except OSError as error:
        raise cannot_write(runs_dir, error) from None
    return real_path(path)


def cannot_write(
    runs_dir: Path, error: Exception, way_out: str = ", or choose another with --runs-dir"
) -> InputError:
    """Return what to raise where a run could not be created."""
    reason = getattr(error, "why", None) or reason_of(error)
    return InputError(
        f"cannot write the runs folder {runs_dir} ({reason}): allow it or make room{way_out}"
    )


def _make_folder(runs_dir: Path, name: str | None, stem: str) -> Path:
    names = [name] if name else (f"{stem}-{number}" for number in itertools.count(1))
    for candidate in names:
        path = runs_dir / candidate
        try:
            path.mkdir()
        except FileExistsError:
            if name:
                check_name(name, runs_dir)  # another program took it this very moment
            continue
        return path
    raise AssertionError("unreachable: the numbers do not end")


def delete_run(path: Path) -> None:
    """Delete the folder of a run that could not be created."""
    remove_tree(path)


class RunIsTaken(InputError):
    """Another program is writing the run."""


class RunLock:
    """The exclusive lock of a run for writing; the operating system releases it with the process.

    Raises:
        RunIsTaken: Another program holds it.
        InputError: The folder cannot be written.
    """

    def __init__(self, run: Path) -> None:
        check_own_files(run)
        try:
            file = _lock(run / LOCK_FILE)
        except OSError as error:
            if error.errno == errno.EINVAL:  # something else is in its place
                raise InputError(
                    f"{run / LOCK_FILE} cannot be used ({error.strerror}): remove it: "
                    f"rm -r {quoted_path(run / LOCK_FILE)}"
                ) from None
            raise InputError(
                f"the run folder {run} cannot be written ({error.strerror}): "
                f"{'make room' if no_room(error) else 'allow it'}, or copy the run elsewhere and "
                f"open the copy"
            ) from None
        if file is None:
            raise RunIsTaken(
                f"the run {run.name!r} is being trained by another program: stop it there first, "
                f"or {program()} attach {typed_name(run)} takes part in it"
            )
        self._file = file

    def release(self) -> None:
        self._file.close()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _lock(path: Path) -> BinaryIO | None:
    """Lock a file, which is made if need be; return it, None if another program holds it."""
    for _ in range(LOCK_ATTEMPTS):
        file = os.fdopen(open_regular(path, os.O_RDWR | os.O_CREAT), "r+b", buffering=0)
        if _has_locked(file):
            found = os.fstat(file.fileno())
            with suppress(FileNotFoundError):
                if found.st_nlink == 1 and os.path.samestat(found, os.lstat(path)):
                    return file
                path.unlink()  # shared with a copy of the run, by hard links
        else:
            time.sleep(LOCK_SECONDS)  # is_locked holds it for a moment
        file.close()
    return None


def _has_locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        file.close()
        raise
    return True


def is_locked(run: Path) -> bool:
    """Return whether some program is writing this run now."""
    try:
        descriptor = open_regular(f"{run}/{LOCK_FILE}")  # without a Path: it is done often
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(descriptor)
    return False
