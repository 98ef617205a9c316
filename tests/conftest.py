"""A small world for every test: a real text, and folders of its own for runs and cache."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LONGEST = (  # files that take more than some twenty seconds, the longest first
    "tests/tui/test_panels.py",
    "tests/engine/session/test_rewind.py",
    "tests/faults/test_fuzz.py",
    "tests/tui/test_terminal.py",
    "tests/tui/test_inside.py",
    "tests/tui/test_themes.py",
    "tests/tui/test_queue.py",
    "tests/tui/test_runs_screen.py",
    "tests/tui/test_timeline.py",
    "tests/tui/test_selecting.py",
    "tests/tui/test_settings.py",
    "tests/tui/test_hostile_runs.py",
    "tests/tui/test_cockpit.py",
    "tests/tui/test_compare.py",
    "tests/tui/test_monkey.py",
    "tests/tui/inside/test_inside_snapshots.py",
    "tests/tui/test_every_key.py",
    "tests/tui/test_hostile_text.py",
    "tests/engine/kernels/test_cpu_kernels.py",
    "tests/benchmarks/test_training.py",
)


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # of xdist: the files with the most tests first
    # hundreds of programs are started, and each would compile all modules
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that no process ends long after the others."""
    places = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection_finish() -> None:
    """Have the collector come seldom, and look at nothing that stays: it took a tenth of the time.

    What stays are torch, Textual and the tests themselves.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture
def sockets(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private folder for the sockets of engines; a test's own would have too long a path."""
    folder = tmp_path_factory.mktemp("r")
    folder.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the person's runs or cache, or waits for a network."""
    monkeypatch.setenv("GPT_TUI_OFFLINE", "1")
    monkeypatch.setenv("GPT_TUI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GPT_TUI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("GPT_TUI_PREFERENCES", str(tmp_path / "preferences.toml"))


@pytest.fixture(scope="session", autouse=True)
def kernels_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All tests, and the programs they start, share one folder of compiled kernels.

    It stays for the next time, as pytest's folder of this user does: a name has a hash of what was
    compiled, and what is damaged is compiled again.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    if shared.parent.name.startswith("pytest-of-"):
        shared = shared.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPT_TUI_KERNELS", str(shared / "kernels"))
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_waits_for_the_disk() -> Iterator[None]:
    """No test cuts the power; those that look at the flushing replace it by their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda file: None)
        yield


@pytest.fixture(autouse=True)
def the_device_has_a_known_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run that trains for a second measures what the processor can do, which takes as long."""
    monitor = sys.modules.get("engine.session.monitor")
    if monitor:  # else nothing in this process has trained yet
        monkeypatch.setattr(monitor, "peak_flops", lambda device, precision: 1e11)


@pytest.fixture(scope="session")
def small_text() -> str:
    """Some 20,000 characters of Python's own documentation."""
    from pydoc_data.topics import topics

    return "".join(topics[name] for name in sorted(topics))[:20_000]


@pytest.fixture(scope="session")
def small_text_file(small_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file."""
    path = tmp_path_factory.mktemp("text") / "small.txt"
    path.write_text(small_text, encoding="utf-8")
    return path


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """Where new runs go."""
    return tmp_path / "runs"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch computes in one thread, as every run of these tests asks for."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
