"""The compiler: whatever it does, training goes on, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data.errors import Cancelled
from engine.kernels import compiler
from engine.kernels.compiler import NoKernels, compiled, reporting_to

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="native kernels are for Linux"
)

MACROS = "#!/bin/sh\ncase \"$*\" in *-dM*) echo '#define __GNUC__ 13'; exit;; esac\n"
WORKS = 'for last; do :; done; echo library > "$last"'
HANGS = "sleep 78.125 & echo $! >> {pids}; wait"
FULL = "echo 'fatal error: error writing to x.o: No space left on device'; exit 1"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where nothing has been compiled yet."""
    monkeypatch.setenv("GPT_TUI_KERNELS", str(tmp_path / "kernels"))
    compiler._compiler.cache_clear()
    yield tmp_path / "kernels"
    compiler._compiler.cache_clear()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Use a compiler that does what a line of shell says, once it is asked to compile."""

    def make(line: str, beginning: str = MACROS) -> Path:
        script = tmp_path / "compiler"
        script.write_text(beginning + line.format(pids=tmp_path / "pids") + "\n")
        script.chmod(0o755)
        monkeypatch.setenv("CXX", str(script))
        return script

    return make


def are_gone(pids: Path) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not any(Path("/proc", one, "exe").exists() for one in pids.read_text().split()):
            return True
        time.sleep(0.01)
    return False


def test_a_library_is_compiled_once(use: Callable[[str], Path], folder: Path) -> None:
    use(WORKS)
    told: list[str] = []
    with reporting_to(told.append):
        path = compiled()
        assert told == ["compiling the kernels for this processor (takes some seconds, once)"]
        assert compiled() == path
    assert list(folder.iterdir()) == [path] and len(told) == 1


@pytest.mark.parametrize("command", ["env A=1 {}", "'{}' -g"])
def test_cxx_may_have_arguments(
    use: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("CXX", command.format(use(WORKS)))
    assert compiled().exists()


@pytest.mark.parametrize(
    ("line", "beginning", "why"),
    [
        ("", "#!/bin/sh\n", "is not a GNU compiler with OpenMP"),
        ("", "no script\n", "is not a GNU compiler with OpenMP"),
        (HANGS, "#!/bin/sh\n", "took more than 0.3 seconds"),
        (HANGS, MACROS, "took more than 0.4 seconds"),
        ("echo 'error: no such option'; exit 1", MACROS, "(error: no such option)"),
    ],
)
def test_cxx_at_fault_is_named(
    use: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    line: str,
    beginning: str,
    why: str,
) -> None:
    script = use(line, beginning)
    monkeypatch.setattr(compiler, "SECONDS_FOR_MACROS", 0.3)
    monkeypatch.setattr(compiler, "SECONDS", 0.4)
    with pytest.raises(NoKernels) as failed:
        compiled()
    assert f"CXX is '{script}', which " in str(failed.value) and why in str(failed.value)
    assert str(failed.value).endswith(": set CXX to a g++, or unset it")
    assert not folder.exists() or not list(folder.iterdir())
    if line == HANGS:
        assert are_gone(folder.with_name("pids"))


def test_a_compiler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(NoKernels, match=r"CXX is 'no-such-compiler -O2', and there is no such"):
        compiled()


def test_a_full_disk_is_named_and_not_the_compiler(
    use: Callable[[str], Path], folder: Path
) -> None:
    use(FULL)
    with pytest.raises(NoKernels) as failed:
        compiled()
    assert str(failed.value) == (
        f"native kernels cannot be stored in {folder} (No space left on device): make room there, "
        f"or set GPT_TUI_KERNELS to another folder"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("beginning", ["#!/bin/sh\n", MACROS])
def test_waiting_for_a_compiler_that_hangs_can_be_cancelled(
    use: Callable[..., Path], folder: Path, beginning: str
) -> None:
    use(HANGS, beginning)
    told: list[str] = []

    def report(line: str) -> None:
        told.append(line)
        if line.endswith("0 s"):
            raise Cancelled

    started = time.monotonic()
    with pytest.raises(Cancelled), reporting_to(report):
        compiled()
    assert time.monotonic() - started < 5
    assert are_gone(folder.with_name("pids"))
    assert not folder.exists() or not list(folder.iterdir())


def test_a_compiler_ends_with_the_program_that_was_killed(
    use: Callable[[str], Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(HANGS)
    pids = folder.with_name("pids")
    # the file alone: the room would import PyTorch
    code = f"import runpy; runpy.run_path({compiler.__file__!r})['compiled']()"
    program = subprocess.Popen([sys.executable, "-c", code])
    while not pids.exists() or len(pids.read_text().split()) < len(compiler.SOURCES):
        assert program.poll() is None
        time.sleep(0.01)
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert are_gone(pids)
    (left,) = folder.iterdir()
    (left / "linear.cpp.o").write_bytes(b"")
    kept = folder / "compiling-notes"
    kept.mkdir()
    (kept / "notes.txt").write_text("of somebody")
    for path in (left, kept):
        os.utime(path, (0, 0))
    use(WORKS)
    path = compiled()
    assert sorted(folder.iterdir()) == sorted([path, kept])


def foreign(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a file to another user."""
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 65534)


def test_a_library_of_another_user_is_not_loaded(
    use: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(WORKS)
    foreign(compiled(), monkeypatch)
    with pytest.raises(NoKernels, match=r"another user|other users can write"):
        compiled()


def test_a_folder_of_another_user_is_not_used(
    use: Callable[[str], Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(WORKS)
    compiled()
    foreign(folder, monkeypatch)
    with pytest.raises(NoKernels, match=r"other users can write .* to a folder of your own$"):
        compiled()


def test_what_others_could_have_written_is_compiled_again(
    use: Callable[[str], Path], folder: Path
) -> None:
    use(WORKS)
    path = compiled()
    path.chmod(0o777)
    before = path.stat().st_ino
    held = path.open("rb")  # or the inode could be the same
    assert compiled() == path
    assert path.stat().st_ino != before
    held.close()
    assert not (folder.stat().st_mode | path.stat().st_mode) & compiler.WRITABLE_BY_OTHERS


def test_a_chosen_folder_that_others_can_write_into_is_left_as_it_is(
    use: Callable[[str], Path], folder: Path
) -> None:
    use(WORKS)
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(NoKernels, match=r"other users can write into the folder"):
        compiled()
    assert folder.stat().st_mode & 0o777 == 0o777
    folder.chmod(0o1777)  # as /tmp: others cannot replace what is ours
    assert compiled() == compiled()
    assert folder.stat().st_mode & 0o7777 == 0o1777


def test_the_folder_in_the_cache_is_closed_to_others(
    use: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(WORKS)
    monkeypatch.delenv("GPT_TUI_KERNELS")
    folder = tmp_path / "cache" / "kernels"
    folder.mkdir(parents=True)
    folder.chmod(0o775)
    assert compiled().parent == folder
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_link_in_the_folder_is_not_followed(use: Callable[[str], Path], tmp_path: Path) -> None:
    use(WORKS)
    path = compiled()
    elsewhere = tmp_path / path.name
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert not compiled().is_symlink() and elsewhere.exists()
