"""What a folder has that is no text: what the system tells of itself; and how far one has come."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from data.corpora.corpus import Options
from data.corpora.load import load_corpus
from data.download import NOBODY, Watcher
from data.errors import Cancelled, InputError
from data.prepared.known import Reading
from data.sources import folder, meter
from data.sources.folder import files_of
from data.sources.tally import Tally
from engine.config.schema import DataConfig


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has others of the system in it, as ``/`` has."""
    for name in ("home", "proc/1", "dev/shm"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.txt").write_text(f"what is in {name}\n")
    monkeypatch.setattr(folder, "KERNEL", (tmp_path / "proc",))
    monkeypatch.setattr(folder, "NO_TEXTS", (tmp_path / "proc", tmp_path / "dev"))
    return tmp_path


def test_folders_of_the_system_are_left_out_and_told(root: Path) -> None:
    corpus = load_corpus(str(root))
    assert corpus.text == "what is in home\n"
    assert "left out: 2 virtual file systems" in corpus.told[0]


@pytest.mark.parametrize("name", ["proc", "proc/1", "dev"])
def test_one_that_is_named_is_refused(root: Path, name: str) -> None:
    with pytest.raises(InputError, match="is of the system, and no folder of texts: name another"):
        load_corpus(str(root / name))


def test_files_in_memory_are_a_folder_as_any_other(root: Path) -> None:
    assert load_corpus(str(root / "dev/shm")).text == "what is in dev/shm\n"


def test_the_usual_ones_are_known() -> None:
    for name in ("/proc", "/proc/self", "/sys", "/dev"):
        with pytest.raises(InputError, match="is of the system"):
            files_of(Path(name), name, Tally(), NOBODY)


def _after(calls: list[int]) -> bool:
    return not (calls and not calls.pop())


def test_looking_for_files_is_told_and_can_be_cancelled(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "REPORT_SECONDS", 0.0)
    (root / "home/b.txt").write_text("more of it\n")
    told: list[str] = []
    load_corpus(str(root), Options(), Watcher(told.append))
    assert any(one.startswith("looking for texts in ") for one in told)
    assert any(one.startswith("looking at the files of ") for one in told)
    for calls in range(4):
        with pytest.raises(Cancelled):
            load_corpus(str(root), Options(), Watcher(cancelled=partial(_after, [0] * calls)))
    with pytest.raises(Cancelled):  # nor is it looked for again
        Reading(DataConfig(corpus=str(root)), Watcher(cancelled=lambda: True))
