"""Compile the C++ sources in this folder to a library for this processor."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from data.errors import InputError, shortage_of_files
from data.paths import cache_folder, own_folder
from data.reading import read_regular

FOLDER = Path(__file__).parent
SOURCES = (
    "attention.cpp",
    "muon.cpp",
    "linear.cpp",
    "clipping.cpp",
    "gelu.cpp",
)  # the slowest to compile first
HEADERS = ("panels.h", "products.h", "vectors.h")
# the code is as fast as with -O3, and compiles in half the time
OPTIMIZE = ("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-fno-math-errno")
FLAGS = ("-std=c++17", *OPTIMIZE, "-fopenmp", "-fPIC", "-w")
FOR_THIS_PROCESSOR = ("-march=native", "-mcpu=native")  # the second one on ARM
COMPILERS = ("g++", "c++")
ANOTHER = "install another g++"
SECONDS = 120.0  # timeout of the compiler
SECONDS_FOR_MACROS = 10.0  # timeout of listing its predefined macros
POLL_SECONDS = 0.05
LARGEST_LIBRARY = 64 * 2**20  # bytes; the real one has 0.2 MB
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
TEMPORARY = "compiling-"  # the names of the folders that the compiler works in begin with this

# Run a command, and kill it with all it has started once standard input is closed, which also
# happens when this program is killed.
SUPERVISED = 'exec 3<&0; (read _ <&3; kill -KILL 0) >/dev/null 2>&1 & exec "$@" 3<&- </dev/null'

Report = Callable[[str], None]


class NoKernels(Exception):
    """Native kernels are not available; the message has the reason and a way out.

    If too many files are open, it says that instead, as ``InputError`` does.
    """

    def __init__(self, told: str) -> None:
        super().__init__(shortage_of_files(sys.exc_info()[1]) or told)


_report: ContextVar[Report] = ContextVar("report", default=lambda line: None)


@contextmanager
def reporting_to(report: Report) -> Iterator[None]:
    """Call ``report`` several times a second while a compiler runs; what it raises ends it."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def compiled() -> Path:
    """Return the path of the compiled library, compiling it if necessary.

    The file name contains a hash of the sources, the compiler and its predefined macros for this
    processor, so that different machines can share a home folder.

    Raises:
        NoKernels: There is no GNU compiler, it fails, or the folder is not writable or not safe.
    """
    command, target = _compiler()
    folder, key = kernels_folder(), _key(command, target)
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        _check_owner(folder)
        return _find(folder, key) or _compile(command, folder, key)
    except OSError as error:
        room = "make room there, or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise NoKernels(
            f"native kernels cannot be stored in {folder} ({error.strerror}): {room}set "
            f"GPT_TUI_KERNELS to another folder"
        ) from None


def _key(command: list[str], target: bytes) -> str:
    made_of = [(FOLDER / name).read_bytes() for name in (*SOURCES, *HEADERS)]
    return _digest(b"\0".join([*made_of, repr(command).encode(), target]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:24]


def _check_owner(folder: Path) -> None:
    """Check that nobody else can put a library into a folder, which would run as this user.

    Raises:
        NoKernels: Somebody else can.
    """
    status, is_default = folder.stat(), not os.environ.get("GPT_TUI_KERNELS")
    # a folder that somebody chose may be shared on purpose; ours was once made as the umask says
    if is_default and status.st_uid == os.geteuid() and status.st_mode & WRITABLE_BY_OTHERS:
        folder.chmod(stat.S_IMODE(status.st_mode) & ~WRITABLE_BY_OTHERS)
        status = folder.stat()
    shared = status.st_mode & WRITABLE_BY_OTHERS and not status.st_mode & stat.S_ISVTX
    if not _is_trusted(status.st_uid) or shared:
        raise NoKernels(
            f"other users can write into the folder {folder}, so no library is loaded from it: set "
            f"GPT_TUI_KERNELS to a folder of your own"
        )


def _is_trusted(owner: int) -> bool:
    return owner in (os.geteuid(), 0)


def _find(folder: Path, key: str) -> Path | None:
    """Find an intact library of a key; loading a truncated one would crash the process.

    Raises:
        NoKernels: There is one that another user has put there.
    """
    for path in folder.glob(f"{key}-*.so"):
        status = path.lstat()
        if not _is_trusted(status.st_uid):
            raise NoKernels(
                f"the library {path} belongs to another user, so it is not loaded: set "
                f"GPT_TUI_KERNELS to a folder of your own"
            )
        try:
            content = read_regular(path, LARGEST_LIBRARY)
        except OSError as error:
            if shortage_of_files(error):  # nothing is wrong with the library
                raise
        else:
            is_intact = path.stem == f"{key}-{_digest(content)}"
            if is_intact and not status.st_mode & WRITABLE_BY_OTHERS:
                return path
        path.unlink(missing_ok=True)
    return None


def kernels_folder() -> Path:
    """Return the folder of compiled kernels: GPT_TUI_KERNELS, or one in the cache folder.

    Raises:
        NoKernels: The path cannot be used, or there is no home folder.
    """
    try:
        return own_folder("GPT_TUI_KERNELS", lambda: cache_folder() / "kernels")
    except InputError as error:
        raise NoKernels(str(error)) from None


@functools.cache
def _compiler() -> tuple[list[str], bytes]:
    """Return a command that compiles for this processor, and its predefined macros.

    It must be a GNU compiler: PyTorch on Linux uses the threads of GNU OpenMP, and another OpenMP
    runtime would start a second thread pool that competes with them.
    """
    chosen = os.environ.get("CXX", "").strip()
    asked = [_split(chosen)] if chosen else [[name] for name in COMPILERS]
    found = [[path, *rest] for name, *rest in asked if (path := shutil.which(name))]
    if not found:
        if chosen:
            raise NoKernels(f"CXX is {chosen!r}, and there is no such program: {_another()}")
        raise NoKernels(
            f"no {' or '.join(COMPILERS)} was found to compile the kernels: install g++"
        )
    for start in found:
        for processor in FOR_THIS_PROCESSOR:
            command = [*start, *FLAGS, processor]
            listing = [*command, "-E", "-dM", "-x", "c++", os.devnull]
            ((code, known),) = _run_all([listing], SECONDS_FOR_MACROS, "asking the compiler")
            if code == 0 and b"__GNUC__" in known and b"__clang__" not in known:
                return command, known
    raise NoKernels(
        f"{_named(found[0])} is not a GNU compiler with OpenMP: {_another('install g++')}"
    )


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # a quotation mark without another
        return [command]


def _another(otherwise: str = ANOTHER) -> str:
    """Return the way out if a compiler is at fault."""
    return "set CXX to a g++, or unset it" if os.environ.get("CXX", "").strip() else otherwise


def _compile(command: list[str], folder: Path, key: str) -> Path:
    """Compile the sources in parallel, link them, and move the library into place atomically."""
    _tidy(folder)
    doing = "compiling the kernels for this processor (takes some seconds, once)"
    _report.get()(doing)
    with tempfile.TemporaryDirectory(dir=folder, prefix=TEMPORARY) as made:
        objects = [str(Path(made) / f"{source}.o") for source in SOURCES]
        parts = zip(SOURCES, objects, strict=True)
        _succeed(
            [[*command, "-c", str(FOLDER / source), "-o", target] for source, target in parts],
            made,
            doing,
        )
        library = Path(made) / "kernels.so"
        _succeed([[*command, "-shared", *objects, "-o", str(library)]], made, doing)
        library.chmod(stat.S_IMODE(library.stat().st_mode) & ~WRITABLE_BY_OTHERS)
        path = folder / f"{key}-{_digest(library.read_bytes())}.so"
        os.replace(library, path)
    return path


def _tidy(folder: Path) -> None:
    """Remove the folders of compilers whose program was killed; their files have known names."""
    for left in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            status = left.lstat()
            is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            if is_ours and time.time() - status.st_mtime > 2 * SECONDS:
                for path in left.iterdir():
                    if path.suffix in (".o", ".s", ".so", ".res", ".le", ".ld"):
                        path.unlink()
                left.rmdir()


def _succeed(commands: Sequence[list[str]], folder: str, doing: str) -> None:
    for code, output in _run_all(commands, SECONDS, doing, folder):
        if code:
            told = output.decode(errors="replace")
            if os.strerror(errno.ENOSPC) in told:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            lines = told.splitlines()
            errors = [line for line in lines if re.search("error|not found", line)]
            reason = (errors or lines or ["no error message"])[0].strip()
            raise NoKernels(
                f"{_named(commands[0])} could not compile the kernels ({reason}): {_another()}"
            )


def _named(command: list[str]) -> str:
    chosen = os.environ.get("CXX", "").strip()
    return f"CXX is {chosen!r}, which" if chosen else command[0]


def _run_all(
    commands: Sequence[list[str]], seconds: float, doing: str, folder: str | None = None
) -> list[tuple[int, bytes]]:
    """Run compilers side by side; return the exit code and the output of each.

    They end, with all they have started, at the deadline, when ``reporting_to`` raises, and with
    this program.

    Args:
        doing: What is reported meanwhile.
        folder: For their temporary files.

    Raises:
        NoKernels: They took too long, or cannot be started.
    """
    environment = {**os.environ, "TMPDIR": folder} if folder else None
    started = told = time.monotonic()
    running: list[subprocess.Popen[bytes]] = []
    try:
        supervised, alive = os.pipe()  # the second end is open for as long as this program lives
    except OSError as error:
        raise NoKernels(f"{_named(commands[0])} cannot be started ({error.strerror})") from None
    try:
        for command in commands:
            running.append(
                subprocess.Popen(
                    ["/bin/sh", "-c", SUPERVISED, "sh", *command],
                    stdin=supervised,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=environment,
                )
            )
        results = []
        for process in running:
            output = None
            while output is None:
                with suppress(subprocess.TimeoutExpired):
                    output, _ = process.communicate(timeout=POLL_SECONDS)
                now = time.monotonic()
                if now - started > seconds:
                    raise NoKernels(
                        f"{_named(commands[0])} took more than {seconds:g} seconds: {_another()}"
                    )
                if now - told > 4 * POLL_SECONDS:
                    told = now
                    _report.get()(f"{doing}: {now - started:.0f} s")
            results.append((process.returncode, output))
        return results
    except OSError as error:
        raise NoKernels(f"{_named(commands[0])} cannot be started ({error.strerror})") from None
    finally:
        os.close(supervised)
        os.close(alive)
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            assert process.stdout
            process.stdout.close()
