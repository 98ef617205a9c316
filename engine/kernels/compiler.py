"""Compile the C++ sources in this folder to a library for this processor."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data.corpus import cache_folder
from data.errors import InputError
from data.paths import own_folder

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


class NoKernels(Exception):
    """Native kernels are not available; the message has the reason and a way out."""


def compiled() -> Path:
    """Return the path of the compiled library, compiling it if necessary.

    The file name contains a hash of the sources, the compiler and its predefined macros for this
    processor, so that different machines can share a home folder.

    Raises:
        NoKernels: There is no GNU compiler, it fails, or the folder is not writable.
    """
    command, target = _compiler()
    folder, key = kernels_folder(), _key(command, target)
    try:
        found = _find(folder, key)
        if found is None:
            folder.mkdir(parents=True, exist_ok=True)
            found = _compile(command, folder, key)
    except OSError as error:
        raise NoKernels(
            f"native kernels cannot be stored in {folder} ({error.strerror}): set GPT_TUI_KERNELS "
            f"to another folder"
        ) from None
    return found


def are_compiled() -> bool:
    """Return whether ``compiled`` would return without compiling."""
    try:
        return _find(kernels_folder(), _key(*_compiler())) is not None
    except (NoKernels, OSError):
        return False


def _key(command: list[str], target: bytes) -> str:
    made_of = [(FOLDER / name).read_bytes() for name in (*SOURCES, *HEADERS)]
    return _digest(b"\0".join([*made_of, repr(command).encode(), target]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:24]


def _find(folder: Path, key: str) -> Path | None:
    """Find an intact library of a key; loading a truncated one would crash the process."""
    for path in folder.glob(f"{key}-*.so"):
        if path.stem == f"{key}-{_digest(path.read_bytes())}":
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
    names = [os.environ["CXX"]] if os.environ.get("CXX") else list(COMPILERS)
    found = [path for name in names if (path := shutil.which(name))]
    if not found:
        raise NoKernels(f"no {' or '.join(names)} was found to compile the kernels: install g++")
    for path in found:
        for processor in FOR_THIS_PROCESSOR:
            command = [path, *FLAGS, processor]
            macros = _run([*command, "-E", "-dM", "-x", "c++", os.devnull], SECONDS_FOR_MACROS)
            known = macros.stdout
            if macros.returncode == 0 and b"__GNUC__" in known and b"__clang__" not in known:
                return command, known
    raise NoKernels(f"{found[0]} is not a GNU compiler with OpenMP: install g++")


def _compile(command: list[str], folder: Path, key: str) -> Path:
    """Compile the sources in parallel, link them, and move the library into place atomically."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="compiling-") as made:

        def an_object(source: str) -> str:
            target = str(Path(made) / f"{source}.o")
            _succeed([*command, "-c", str(FOLDER / source), "-o", target])
            return target

        with ThreadPoolExecutor(len(SOURCES)) as pool:
            objects = list(pool.map(an_object, SOURCES))
        library = Path(made) / "kernels.so"
        _succeed([*command, "-shared", *objects, "-o", str(library)])
        path = folder / f"{key}-{_digest(library.read_bytes())}.so"
        os.replace(library, path)
    return path


def _succeed(command: list[str]) -> None:
    done = _run(command)
    if done.returncode:
        lines = done.stdout.decode(errors="replace").splitlines()
        errors = [line for line in lines if "error" in line] or lines or ["no error message"]
        raise NoKernels(
            f"{command[0]} could not compile the kernels ({errors[0].strip()}): {ANOTHER}"
        )


def _run(command: list[str], seconds: float = SECONDS) -> subprocess.CompletedProcess[bytes]:
    """Run a compiler; on a timeout, also kill the processes it has started."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise NoKernels(f"{command[0]} cannot be started ({error.strerror}): {ANOTHER}") from None
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise NoKernels(f"{command[0]} took more than {seconds:g} seconds: {ANOTHER}") from None
    return subprocess.CompletedProcess(command, process.returncode, output)
