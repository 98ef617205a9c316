"""``gpt-tui runs ACTION``: on run folders that nothing was trained for."""

from __future__ import annotations

import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyarrow import parquet

from engine.runs.folder import RunLock
from engine.runs.summary import read_summary
from tests.cli.conftest import Cli
from tests.engine.run_folders import write_run


@pytest.fixture(autouse=True)
def runs(runs_dir: Path) -> None:
    """Two runs, the second of them in another state and better."""
    write_run(runs_dir, "first", steps=20)
    parent = {"run": "first", "step": 300, "branch": 0}
    write_run(runs_dir, "second", 1.8e9, parent, state="failed", best_val_loss=1.5, step=700)


def names(cli: Cli, *options: str) -> list[str]:
    return [run["name"] for run in cli("runs", "--json", *options).json]


def test_the_list_is_sorted_and_filtered(cli: Cli) -> None:
    assert names(cli) == ["first", "second"]
    assert names(cli, "--sort", "best") == ["second", "first"]
    assert names(cli, "--sort", "step", "--reverse") == ["first", "second"]
    assert names(cli, "--filter", "state:failed") == ["second"]
    assert names(cli, "--filter=-failed") == ["first"]
    assert "none of the 2 runs" in cli("runs", "--filter", "nothing").out
    assert "cannot be sorted by 'loss'" in cli("runs", "--sort", "loss").problem


def test_an_action_that_there_is_not(cli: Cli) -> None:
    assert "did you mean 'show'" in cli("runs", "shwo").problem
    assert "there are show, diff" in cli("runs", "first").problem


@pytest.mark.parametrize(
    "action", ["show", "diff", "tag", "note", "rename", "rm", "copy", "export"]
)
def test_a_run_that_there_is_not(cli: Cli, action: str) -> None:
    more = {"rename": ["new"], "copy": ["/tmp/x"], "diff": ["second"]}.get(action, [])
    assert "did you mean 'first'?" in cli("runs", action, "frist", *more).problem


def test_show_tells_all_there_is(cli: Cli) -> None:
    cli("runs", "tag", "second", "good")
    cli("runs", "note", "second", "the better one")
    told = dict(line.split(maxsplit=1) for line in cli("runs", "show", "second").out.splitlines())
    assert told["state"] == "failed"
    assert told["tags"] == "good"
    assert told["note"] == "the better one"
    assert told["steps"] == "700 of 1,000, 384k tokens"
    assert told["loss"] == "".join(sorted(told["loss"], reverse=True))  # it falls
    assert (told["loss"][0], told["loss"][-1], len(told["loss"])) == ("█", "▁", 40)
    assert told["forked"] == "from  first at step 300"
    facts = cli("runs", "show", "second", "--json").json
    assert (facts["parent"], facts["parent_step"], facts["steps"]) == ("first", 300, 700)
    assert facts["bytes"] > 700
    cli("runs", "rename", "first", "mother")
    assert "mother at step 300" in cli("runs", "show", "second").out
    cli("runs", "rm", "mother")
    assert "first (not here any more) at step 300" in cli("runs", "show", "second").out


def test_tags_are_added_and_removed(cli: Cli) -> None:
    assert cli("runs", "tag", "first").out == "no tags\n"
    assert cli("runs", "tag", "first", "a", "b").out == "a b\n"
    assert cli("runs", "tag", "first", "c", "--remove", "a", "--json").json["tags"] == ["b", "c"]
    assert "has no tag 'a': it has b, c" in cli("runs", "tag", "first", "--remove", "a").problem
    assert "cannot be a tag" in cli("runs", "tag", "first", "two words").problem
    assert names(cli, "--filter", "tag:c") == ["first"]
    assert "b c" in cli("runs").out.splitlines()[1]


def test_a_note_is_written_read_and_removed(cli: Cli, runs_dir: Path) -> None:
    assert cli("runs", "note", "first").out == "no note\n"
    lock = RunLock(runs_dir / "first")  # in training
    assert cli("runs", "note", "first", "watch this").out == "watch this\n"
    lock.release()
    assert cli("runs", "note", "first", "--json").json["note"] == "watch this"
    assert cli("runs", "note", "first", "").out == "no note\n"


def test_a_run_is_renamed(cli: Cli) -> None:
    assert cli("runs", "rename", "first", "third").out == "first is now third\n"
    assert names(cli) == ["third", "second"]
    assert "already a run 'second'" in cli("runs", "rename", "third", "second").problem


def test_deleted_runs_come_back(cli: Cli, runs_dir: Path) -> None:
    answer = cli("runs", "rm", "first", "second")
    assert "in the trash: first, second" in answer.out
    assert names(cli) == []
    assert [one["name"] for one in cli("runs", "trash", "--json").json] == ["first", "second"]
    assert cli("runs", "trash").out.splitlines()[1].startswith("first ")
    assert cli("runs", "restore", "first").out == "restored: first\n"
    (again,) = cli("runs", "restore", "second", "--name", "again", "--json").json
    assert again["name"] == "again"
    assert names(cli) == ["first", "again"]
    assert "it is empty" in cli("runs", "restore", "first").problem
    assert "is empty" in cli("runs", "trash").out


def test_several_runs_come_back_at_once(cli: Cli, runs_dir: Path) -> None:
    cli("runs", "rm", "first", "second")
    assert "no run 'third'" in cli("runs", "restore", "first", "third").problem
    assert (
        "--name can name one run"
        in cli("runs", "restore", "first", "second", "--name", "x").problem
    )
    assert names(cli) == []
    assert cli("runs", "restore", "second", "first").out == "restored: second, first\n"
    assert names(cli) == ["first", "second"]


def test_what_cannot_come_back_keeps_nothing_else(cli: Cli, runs_dir: Path) -> None:
    cli("runs", "rm", "first", "second")
    (runs_dir / "first").mkdir()
    answer = cli("runs", "restore", "first", "second")
    assert (answer.code, answer.out) == (2, "restored: second\n")
    assert "there is already something 'first'" in answer.err


def test_what_cannot_be_deleted_keeps_nothing_else(cli: Cli, runs_dir: Path) -> None:
    lock = RunLock(runs_dir / "first")
    answer = cli("runs", "rm", "first", "second")
    lock.release()
    assert answer.code == 2
    assert "'first' is being trained by another program" in answer.err
    assert names(cli) == ["first"]
    assert "no run 'third'" in cli("runs", "rm", "first", "third").problem  # before anything else
    assert names(cli) == ["first"]


def test_the_trash_is_emptied_only_on_purpose(cli: Cli, runs_dir: Path) -> None:
    cli("runs", "rm", "first")
    assert "1 run" in cli("runs", "trash", "--empty").problem
    assert len(cli("runs", "trash", "--json").json) == 1
    assert cli("runs", "trash", "--empty", "--yes").out.startswith("deleted for good: 1 run")
    assert list((runs_dir / ".trash").iterdir()) == []


def test_a_run_is_copied(cli: Cli, tmp_path: Path) -> None:
    answer = cli("runs", "copy", "first", tmp_path / "copy", "--json")
    assert read_summary(Path(answer.json["copy"])).step == 1000
    assert "choose another folder" in cli("runs", "copy", "first", tmp_path / "copy/run.db").problem


def test_metrics_go_to_standard_output(cli: Cli) -> None:
    rows = list(csv.reader(cli("runs", "export", "first").out.splitlines()))
    assert rows[0] == ["step", "train_loss", "val_loss"]
    assert rows[10] == ["10", "0.4", "0.5"]
    lines = cli("runs", "export", "first", "--to", "jsonl", "--long", "--metric", "val_loss").out
    assert [json.loads(line)["value"] for line in lines.splitlines()] == [0.5, 0.25]


def test_metrics_go_to_a_file(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "first.parquet"
    answer = cli("runs", "export", "first", "--to", "parquet", "-o", file, "--json")
    assert answer.json["metrics"] == ["train_loss", "val_loss"]
    assert parquet.read_table(file).num_rows == answer.json["steps"] == 20
    assert "add --force" in cli("runs", "export", "first", "-o", file).problem
    assert cli("runs", "export", "first", "-o", file, "--force").code == 0
    assert file.read_text().startswith("step,train_loss")
    assert sorted(tmp_path.glob(".*.tmp")) == []


def test_an_export_leaves_links_pipes_and_devices_what_they_are(cli: Cli, tmp_path: Path) -> None:
    (link := tmp_path / "link.csv").symlink_to(file := tmp_path / "file.csv")
    file.write_text("old")
    os.mkfifo(pipe := tmp_path / "pipe")
    assert "add --force" in cli("runs", "export", "first", "-o", link).problem
    assert cli("runs", "export", "first", "-o", link, "--force").code == 0
    assert link.is_symlink()
    assert file.read_text().startswith("step,train_loss")

    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(pipe.read_text)
        assert cli("runs", "export", "first", "-o", pipe).code == 0
        assert heard.result(60) == file.read_text()
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_an_export_to_standard_output_by_any_of_its_names(cli: Cli, name: str) -> None:
    answer = cli("runs", "export", "first", "-o", name)
    assert answer == cli("runs", "export", "first")
    assert answer.out.startswith("step,train_loss")
    assert not Path("-").exists()
    assert cli("runs", "export", "first", "--to", "parquet", "-o", name).code == 0  # no terminal


def test_an_export_to_a_pipe_that_has_a_number_alone(cli: Cli) -> None:
    reader, writer = os.pipe()
    assert cli("runs", "export", "first", "-o", f"/dev/fd/{writer}").code == 0
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == cli("runs", "export", "first").out


def test_an_export_does_not_wait_for_a_reader(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.terminal.stdout.READER_SECONDS", 0.1)
    os.mkfifo(pipe := tmp_path / "pipe")
    problem = cli("runs", "export", "first", "-o", pipe).problem
    assert problem == f"{pipe} is a pipe that nobody reads: start its reader first"


def test_an_export_replaces_nothing_that_a_run_consists_of(cli: Cli, runs_dir: Path) -> None:
    for name in ("run.db", "config.toml"):
        file = runs_dir / "first" / name
        before = file.read_bytes()
        problem = cli("runs", "export", "first", "-o", file, "--force").problem
        assert problem == f"{file} belongs to the run 'first': choose another file"
        assert file.read_bytes() == before
    table = runs_dir / "first/metrics.csv"
    for _ in range(2):
        assert cli("runs", "export", "first", "-o", table, "--force").code == 0


def test_exports_that_cannot_be(cli: Cli, tmp_path: Path) -> None:
    assert "is binary" in cli("runs", "export", "first", "--to", "parquet").problem
    assert "-o FILE" in cli("runs", "export", "first", "--json").problem
    assert "csv, jsonl, parquet" in cli("runs", "export", "first", "--to", "xls").problem
    assert "no metric 'loss'" in cli("runs", "export", "first", "--metric", "loss").problem
    nowhere = tmp_path / "no/such/folder.csv"
    assert "cannot be written" in cli("runs", "export", "first", "-o", nowhere).problem
