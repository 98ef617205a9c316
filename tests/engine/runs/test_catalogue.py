from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data.errors import InputError
from engine.runs import catalogue
from engine.runs.catalogue import Catalogue, best_earlier, disk_use, find_parent
from engine.runs.database import RunDatabase
from engine.runs.folder import RunLock
from engine.runs.notes import set_note, set_tags
from engine.runs.selection import matches, sort_runs
from engine.runs.summary import RunSummary, read_summaries, read_summary
from engine.runs.transfer import rename_run
from tests.engine.run_folders import SUMMARY, write_run, write_runs


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that the catalogue reads."""
    names: list[str] = []

    def counted(path: Path) -> RunSummary:
        names.append(path.name)
        return read_summary(path)

    monkeypatch.setattr(catalogue, "read_summary", counted)
    return names


def test_a_summary_knows_what_is_written_on_a_run_and_its_curve(runs_dir: Path) -> None:
    run = write_run(runs_dir, "child", parent={"run": "mother", "step": 300, "branch": 0})
    set_tags(run, ["good"])
    set_note(run, "the one")
    summary = read_summary(run)
    assert (summary.tags, summary.note) == (("good",), "the one")
    assert (summary.parent, summary.parent_step) == ("mother", 300)
    assert list(summary.sparkline) == SUMMARY["sparkline"]


def test_a_fork_that_was_never_opened_stands_where_it_was_forked(runs_dir: Path) -> None:
    run = write_run(runs_dir, "child", parent={"run": "mother", "step": 40, "branch": 0}, steps=40)
    database = RunDatabase(run / "run.db")
    database._db.execute("DELETE FROM meta WHERE key = 'summary'")
    database._db.commit()
    database.close()
    summary = read_summary(run)
    assert (summary.state, summary.step, summary.preset) == ("stopped", 40, "tiny")
    assert (summary.sparkline[0], len(summary.sparkline)) == (4.0, 40)


def test_damaged_notes_hide_no_run(runs_dir: Path) -> None:
    run = write_run(runs_dir, "first")
    (run / "notes.toml").write_text("tags = [")
    summary = read_summary(run)
    assert (summary.state, summary.step) == ("finished", 1000)
    assert "notes.toml cannot be read" in summary.problem


def test_only_what_has_changed_is_read_again(runs_dir: Path, reads: list[str]) -> None:
    runs = write_runs(runs_dir, [f"run-{i}" for i in range(200)])
    known = Catalogue(runs_dir)
    assert [run.name for run in known.read()] == sorted(path.name for path in runs)
    assert len(reads) == 200
    reads.clear()
    assert len(known.read()) == 200
    assert reads == []
    set_note(runs[7], "look")
    assert {run.note for run in known.read() if run.name == "run-7"} == {"look"}
    assert reads == ["run-7"]


def test_a_run_with_a_damaged_configuration_is_damaged_at_once_and_keeps_its_place(
    runs_dir: Path,
) -> None:
    for place, name in enumerate(("a", "b", "c")):
        write_run(runs_dir, name, 1.7e9 + place)
    (runs_dir / "b/config.toml").write_text("[model")
    found = Catalogue(runs_dir).read()
    assert [(one.name, one.state) for one in found] == [
        ("a", "finished"), ("b", "damaged"), ("c", "finished"),
    ]  # fmt: skip


def test_runs_that_come_go_and_die_are_noticed(runs_dir: Path) -> None:
    run = write_run(runs_dir, "first", state="training")
    known = Catalogue(runs_dir)
    lock = RunLock(run)
    assert [(one.live, one.state) for one in known.read()] == [(True, "training")]
    lock.release()  # as by kill -9: no file changes
    assert [(one.live, one.state) for one in known.read()] == [(False, "interrupted")]
    write_run(runs_dir, "second", created=2e9)
    assert [one.name for one in known.read()] == ["first", "second"]
    rename_run(run, "renamed")
    assert [one.name for one in known.read()] == ["renamed", "second"]


def test_what_a_program_writes_meanwhile_is_seen(runs_dir: Path) -> None:
    run = write_run(runs_dir, "first", state="training")
    known, lock = Catalogue(runs_dir), RunLock(run)
    database = RunDatabase(run / "run.db")
    for step in (1001, 1002):
        database.set_meta(summary=SUMMARY | {"step": step})
        assert [one.step for one in known.read()] == [step]
    database.close()
    lock.release()


def test_disk_use_follows_the_files(runs_dir: Path) -> None:
    run = write_run(runs_dir, "first")
    known = Catalogue(runs_dir)
    known.read()
    before = known.sizes()[str(run)]
    assert before == disk_use(run) == sum(f.stat().st_size for f in run.rglob("*") if f.is_file())
    (run / "checkpoints/step-00002000").mkdir()
    (run / "checkpoints/step-00002000/model.safetensors").write_bytes(b"x" * 5000)
    assert known.sizes()[str(run)] == before + 5000
    assert disk_use(runs_dir / "nothing") == 0


def test_a_parent_is_found_under_its_new_name(runs_dir: Path) -> None:
    mother = write_run(runs_dir, "mother")
    write_run(runs_dir, "child", 1_700_000_100.0, {"run": "mother", "step": 300, "branch": 0})
    rename_run(mother, "matriarch")
    write_run(runs_dir, "mother", 1_700_000_200.0)  # too young to be it
    runs = {run.name: run for run in read_summaries(runs_dir)}
    assert find_parent(runs["child"], runs.values()) == runs["matriarch"]
    assert find_parent(runs["mother"], runs.values()) is None


def some_run(name: str, **facts: object) -> RunSummary:
    return RunSummary(f"/runs/{name}", name, **{"state": "finished", **facts})  # type: ignore[arg-type]


def test_runs_without_a_value_come_last_in_either_order() -> None:
    runs = [
        some_run("a", best_val_loss=2.0, created=1.0),
        some_run("b", best_val_loss=None, created=2.0),
        some_run("c", best_val_loss=1.0, created=3.0),
        some_run("d", best_val_loss=float("nan"), created=4.0),
    ]
    assert [run.name for run in sort_runs(runs, "best")] == ["c", "a", "b", "d"]
    assert [run.name for run in sort_runs(runs, "best", descending=True)] == ["a", "c", "b", "d"]


def test_numbers_in_names_count_as_numbers() -> None:
    runs = [some_run(name) for name in ("run-10", "run-9", "Alpha", "7")]
    assert [run.name for run in sort_runs(runs, "name")] == ["7", "Alpha", "run-9", "run-10"]


def test_an_order_that_is_none() -> None:
    with pytest.raises(InputError, match="did you mean 'best'"):
        sort_runs([], "bst")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", True),
        ("LSTM shake", False),
        ("first SHAKE", True),
        ("tag:good", True),
        ("tag:bad", False),
        ("note:rate state:finished", True),
        ("-tag:good", False),
        ("-tag:bad", True),
        ("state:live", False),
        ("http://x", False),
    ],
)
def test_a_filter_is_words_that_must_all_be_there(text: str, found: bool) -> None:
    run = some_run(
        "first", corpus="tinyshakespeare", tags=("good", "old"), note="higher learning rate"
    )
    assert matches(run, text) is found


def test_a_damaged_run_says_whether_opening_it_restores_it(runs_dir: Path) -> None:
    saved, unsaved, unset = write_runs(runs_dir, ["saved", "unsaved", "unset"])
    for run in (saved, unsaved):
        (run / "run.db").unlink()  # the runs share the file
        (run / "run.db").write_bytes(b"no database" * 100)
    shutil.rmtree(unsaved / "checkpoints")
    (unset / "config.toml").unlink()
    (unset / "config.toml").write_text("[model")
    found = {run.name: run for run in map(read_summary, (saved, unsaved, unset))}
    assert {run.state for run in found.values()} == {"damaged"}
    assert [name for name, run in found.items() if run.is_restorable] == ["saved"]
    assert "cannot be read: opening the run, or " in found["saved"].problem
    assert "opening the run" not in found["unsaved"].problem


def write_on(runs_dir: Path, name: str, text: str, created: float, loss: float | None) -> Path:
    run = write_run(runs_dir, name, created=created, best_val_loss=loss)
    database = RunDatabase(run / "run.db")
    database.set_meta(corpus={"name": "rhyme.txt", "sha256": text, "note": ""})
    database.close()
    return run


def test_the_best_earlier_run_is_one_on_the_same_text(runs_dir: Path) -> None:
    run = write_on(runs_dir, "now", "a", 50.0, loss=1.0)
    assert best_earlier(run) is None
    write_on(runs_dir, "better", "a", 20.0, loss=1.4)
    write_on(runs_dir, "worse", "a", 10.0, loss=1.6)
    write_on(runs_dir, "other-text", "b", 10.0, loss=0.5)
    write_on(runs_dir, "later", "a", 60.0, loss=0.5)
    write_on(runs_dir, "diverged", "a", 10.0, loss=float("nan"))
    write_on(runs_dir, "not-evaluated", "a", 10.0, loss=None)
    damaged = write_on(runs_dir, "damaged", "a", 10.0, loss=0.5)
    (damaged / "run.db").write_bytes(b"no database")
    assert best_earlier(run) == ("better", 1.4)
    assert best_earlier(damaged) is None
