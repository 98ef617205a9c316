from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from data.errors import InputError
from engine.metrics import MetricStore, sparkline
from engine.runs.folder import RunLock
from engine.runs.notes import (
    NOTES_FILE,
    Notes,
    change_tags,
    read_notes,
    set_note,
    set_tags,
    split_tags,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "first"
    folder.mkdir()
    return folder


def test_a_run_without_notes_has_none(run: Path) -> None:
    assert read_notes(run) == Notes()
    assert list(run.iterdir()) == []


def test_tags_and_note_are_kept_beside_each_other(run: Path) -> None:
    set_tags(run, ["baseline", "à-voir"])
    set_note(run, "a higher\n learning rate")
    assert read_notes(run) == Notes(("baseline", "à-voir"), "a higher learning rate")
    assert change_tags(run, add=["good", "baseline"], remove=["à-voir"]).tags == (
        "baseline",
        "good",
    )
    assert set_note(run, "") == Notes(("baseline", "good"))
    assert read_notes(run) == Notes(("baseline", "good"))


def test_a_live_run_can_be_written_on(run: Path) -> None:
    lock = RunLock(run)
    set_note(run, "still going")
    lock.release()
    assert read_notes(run).note == "still going"


def test_two_programs_that_write_at_once_lose_nothing(run: Path) -> None:
    def add(first: int) -> None:
        for number in range(first, first + 25):
            change_tags(run, add=[f"t{number}"])

    threads = [threading.Thread(target=add, args=(25 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_notes(run).tags) == {f"t{number}" for number in range(100)}


@pytest.mark.parametrize("tag", ["", "two words", "a,b", "x" * 41, "-minus"])
def test_what_cannot_be_a_tag_is_refused(run: Path, tag: str) -> None:
    with pytest.raises(InputError, match="cannot be a tag"):
        set_tags(run, ["good", tag])
    assert read_notes(run) == Notes()


@pytest.mark.parametrize("text", ["tags = [", "tags = 3", 'note = ["a"]', "tags = [1]"])
def test_a_damaged_file_is_named_and_left_as_it_is(run: Path, text: str) -> None:
    (run / NOTES_FILE).write_text(text)
    attempt: Callable[[], object]
    for attempt in (lambda: read_notes(run), lambda: set_note(run, "new")):
        with pytest.raises(InputError, match=r"notes\.toml cannot be read"):
            attempt()
    assert (run / NOTES_FILE).read_text() == text


def test_a_line_of_tags() -> None:
    assert split_tags(" a, b c,,d ") == ["a", "b", "c", "d"]


def test_a_sparkline_goes_from_the_first_step_to_the_last() -> None:
    metrics = MetricStore(smoothing=0.0)
    assert sparkline(metrics, "train_loss") == []
    assert metrics.names() == []
    metrics.extend("train_loss", range(1, 1001), [math.nan, *map(float, range(2, 1001))])
    points = sparkline(metrics, "train_loss", points=4)
    assert points == [None, 334.0, 667.0, 1000.0]
    assert len(sparkline(metrics, "train_loss")) == 64
    metrics.extend("val_loss", [5, 10], [2.123456, 1.0])
    assert sparkline(metrics, "val_loss") == [2.1235, 1.0]
