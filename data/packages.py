"""Packages that pip downloads, and files in them; nothing is installed.

pip uses the indexes, proxies and certificates that this environment is configured with, so it
often works where a plain request does not.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from data.download import POLL_SECONDS, DownloadError, Watcher

PIP_SECONDS = 60.0


def fetch_from_wheel(
    requirement: str, member: str, watcher: Watcher, *, total_seconds: float = PIP_SECONDS
) -> bytes:
    """Let pip download a wheel, and return one file from it.

    Raises:
        Cancelled: `watcher.cancelled` returned true.
        DownloadError: There is no pip, it failed or took too long, or the file is missing.
    """
    with _downloaded(requirement, "", watcher, total_seconds) as file:
        return _read_member(file, member)


def fetch_source_package(
    requirement: str, sha256: str, watcher: Watcher, *, total_seconds: float = PIP_SECONDS
) -> bytes:
    """Let pip download a source package, and return it; it is not installed.

    Raises:
        Cancelled: `watcher.cancelled` returned true.
        DownloadError: There is no pip, it failed or took too long, or the hash is another one.
    """
    with _downloaded(requirement, sha256, watcher, total_seconds) as file:
        return file.read_bytes()


@contextmanager
def _downloaded(
    requirement: str, sha256: str, watcher: Watcher, total_seconds: float
) -> Iterator[Path]:
    if not has_pip():
        raise DownloadError("this Python environment has no pip")
    with tempfile.TemporaryDirectory(prefix="gpt-tui-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if sha256:  # checked before pip asks the package what it needs
            listed = folder / "requirements.txt"
            listed.write_text(f"{requirement} --hash=sha256:{sha256}\n", "utf-8")
            command = pip_source_command(listed, folder)
        else:
            command = pip_download_command(requirement, folder)
        _run(command, folder, watcher, total_seconds)
        what, pattern = ("source packages", "*.tar.gz") if sha256 else ("wheels", "*.whl")
        files = list(folder.glob(pattern))
        if len(files) != 1:
            raise DownloadError(f"pip left {len(files)} {what} where one was expected")
        yield files[0]


def has_pip() -> bool:
    """Return whether pip is installed; environments created by uv lack it."""
    return bool(sys.executable) and importlib.util.find_spec("pip") is not None


def pip_download_command(requirement: str, folder: Path) -> list[str]:
    what = ["download", "--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement]
    manner = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries=1", "--timeout=10"]
    return [sys.executable, "-m", "pip", *what, *manner]


def pip_source_command(listed: Path, folder: Path) -> list[str]:
    what = ["download", "--no-deps", "--no-binary=:all:", "--require-hashes", "--dest", str(folder)]
    manner = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries=1", "--timeout=10"]
    return [sys.executable, "-m", "pip", *what, *manner, "-r", str(listed)]


def _run(command: list[str], folder: Path, watcher: Watcher, total_seconds: float) -> None:
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            command,
            cwd=folder,  # `python -m` imports from the working folder, which may hold a pip.py
            env={**os.environ, "TMPDIR": str(folder)},  # is deleted even if pip is killed
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,  # not the terminal, where the app may be running
            start_new_session=True,
        ) as process,
    ):
        try:
            for _ in watcher.ticks(total_seconds):
                time.sleep(POLL_SECONDS)
                if process.poll() is not None:
                    break
        finally:
            process.kill()  # does nothing to a process that has ended
        if process.returncode != 0:
            raise DownloadError(_last_line(complaints) or f"exit status {process.returncode}")


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _read_member(wheel: Path, member: str) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)
    except KeyError:
        raise DownloadError(f"{wheel.name} does not contain {member}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise DownloadError(f"{wheel.name} cannot be read: {error}") from error
