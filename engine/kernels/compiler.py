"""From the C++ sources beside this file to a library for this processor."""

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

FOLDER = Path(__file__).parent
SOURCES = (
    "attention.cpp",
    "muon.cpp",
    "linear.cpp",
    "clipping.cpp",
    "gelu.cpp",
)  # those that take longest first
HEADERS = ("panels.h", "products.h", "vectors.h")
# as fast as -O3 here, and compiled in half the time
OPTIMIZE = ("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-fno-math-errno")
FLAGS = ("-std=c++17", *OPTIMIZE, "-fopenmp", "-fPIC", "-w")
FOR_THIS_PROCESSOR = ("-march=native", "-mcpu=native")  # the second one on ARM
COMPILERS = ("g++", "c++")
ANOTHER = "install another g++"
SECONDS = 120.0  # after which a compiler is given up
SECONDS_FOR_A_QUESTION = 10.0


class NoKernels(Exception):
    """There are no native kernels on this machine; the text is the reason and the way out."""


def compiled() -> Path:
    """The compiled kernels; compiled now, unless that was done before.

    They are kept by what they were made from, of and for: the sources, the compiler and all that
    it knows of this processor. So a home folder may be shared by different machines.

    Raises:
        NoKernels: There is no GNU compiler, it cannot compile them, or they cannot be kept.
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
            f"those cannot be kept in {folder} ({error.strerror}): set GPT_TUI_KERNELS to a folder "
            f"for them"
        ) from None
    return found


def are_compiled() -> bool:
    """Whether ``compiled`` would answer at once."""
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
    """The library of a key, if it is whole: to load a part of one would end the program."""
    for path in folder.glob(f"{key}-*.so"):
        if path.stem == f"{key}-{_digest(path.read_bytes())}":
            return path
        path.unlink(missing_ok=True)
    return None


def kernels_folder() -> Path:
    """Where compiled kernels are kept; GPT_TUI_KERNELS moves it."""
    chosen = os.environ.get("GPT_TUI_KERNELS")
    return Path(chosen).expanduser() if chosen else cache_folder() / "kernels"


@functools.cache
def _compiler() -> tuple[list[str], bytes]:
    """A command that compiles for this processor, and what it predefines for it.

    PyTorch's own threads are to do the work, and on Linux those are GNU OpenMP's: another
    compiler would bring a second set, which gets into their way.
    """
    names = [os.environ["CXX"]] if os.environ.get("CXX") else list(COMPILERS)
    found = [path for name in names if (path := shutil.which(name))]
    if not found:
        raise NoKernels(f"no {' or '.join(names)} was found to compile those with: install g++")
    for path in found:
        for processor in FOR_THIS_PROCESSOR:
            command = [path, *FLAGS, processor]
            macros = _run([*command, "-E", "-dM", "-x", "c++", os.devnull], SECONDS_FOR_A_QUESTION)
            known = macros.stdout
            if macros.returncode == 0 and b"__GNUC__" in known and b"__clang__" not in known:
                return command, known
    raise NoKernels(f"{found[0]}, no GNU compiler with OpenMP, cannot compile those: install g++")


def _compile(command: list[str], folder: Path, key: str) -> Path:
    """Compile the sources side by side, and put the library into its place in one piece."""
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
        errors = [line for line in lines if "error" in line] or lines or ["it says nothing"]
        raise NoKernels(f"{command[0]} could not compile those ({errors[0].strip()}): {ANOTHER}")


def _run(command: list[str], seconds: float = SECONDS) -> subprocess.CompletedProcess[bytes]:
    """Run a compiler, which starts programs of its own: all of them end with it."""
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
        raise NoKernels(f"{command[0]} was not done after {seconds:g} seconds: {ANOTHER}") from None
    return subprocess.CompletedProcess(command, process.returncode, output)
