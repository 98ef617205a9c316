from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config.model_size import parameter_count
from engine.config.presets import LADDER, preset_config
from engine.config.presets.published import CHARACTERS
from engine.training import runtime
from tests.cli.conftest import ROOT, Answer, Cli
from tui.commands import headless

SMALL = [
    "--set=system.threads=1",
    "--set=system.micro_batch_size=32",
    "--set=eval.batches=2",
    "--set=sample.max_tokens=5",
]


@pytest.fixture
def ladder(cli: Cli, text: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Climbs two steps a rung."""
    monkeypatch.setattr(runtime, "ESTIMATE_SECONDS", 0.01)

    def call(*arguments: str | Path, text: Path = text) -> Answer:
        return cli("ladder", "--data", text, "--steps", "2", *SMALL, *arguments)

    return call


def rows(answer: Answer) -> dict[str, list[str]]:
    """The table's rows by rung."""
    names = {rung.name for rung in LADDER}
    split = [line.split() for line in answer.out.splitlines()]
    return {words[0]: words[1:] for words in split if words and words[0] in names}


def test_rungs_are_trained_from_the_bottom_up_and_set_beside_the_lecture(
    ladder: Callable[..., Answer], cli: Cli, runs_dir: Path
) -> None:
    answer = ladder("multi-head", "bigram")
    assert answer.code == 0
    table = rows(answer)
    assert list(table) == ["bigram", "multi-head"]
    assert [row[2] for row in table.values()] == ["2.49", "2.28"]
    finals = {run["preset"]: run["val_loss"] for run in cli("runs", "--json").json}
    assert {name: row[1] for name, row in table.items()} == {
        name: f"{finals[name]:.3f}" for name in table
    }
    assert {path.name for path in runs_dir.iterdir()} == {"bigram-1", "multi-head-1"}
    assert "not comparable with those of another text" in answer.out


def test_json_tells_of_each_rung(ladder: Callable[..., Answer], runs_dir: Path) -> None:
    (told,) = ladder("feed-forward", "--json").json["rungs"]
    assert told["rung"] == "feed-forward"
    assert told["run"] == str(runs_dir / "feed-forward-1")
    assert (told["state"], told["steps"], told["lecture_loss"]) == ("finished", 2, 2.24)
    assert 1 < told["val_loss"] < 5
    assert told["estimated_seconds"] > 0 < told["train_seconds"]
    assert told["parameters"] > 5_000


def test_a_rung_that_takes_too_long_is_not_run(
    ladder: Callable[..., Answer], runs_dir: Path
) -> None:
    answer = ladder("bigram", "layer-norm", "--budget", "0.000001", "--json")
    assert answer.code == 0
    assert [told["state"] for told in answer.json["rungs"]] == ["not run", "not run"]
    assert "of training here, and --budget is" in answer.json["rungs"][1]["problem"]
    assert all(told["parameters"] for told in answer.json["rungs"])
    assert not runs_dir.exists()


def test_a_rung_that_cannot_be_leaves_the_others_alone(
    cli: Cli, ladder: Callable[..., Answer], tmp_path: Path
) -> None:
    short = tmp_path / "short.txt"
    short.write_text("one fish, two fish, " * 50)
    answer = ladder("bigram", "lecture", "--json", text=short)
    assert answer.code == 0
    bigram, lecture = answer.json["rungs"]
    assert (bigram["state"], lecture["state"]) == ("finished", "not run")
    assert "The text is too short" in lecture["problem"]
    assert "The text is too short" in ladder("lecture", text=short).err


def test_the_page_has_every_rung_and_what_it_sets(
    ladder: Callable[..., Answer], tmp_path: Path
) -> None:
    page = tmp_path / "ladder.md"
    assert ladder("bigram", "multi-head", "--write", page).code == 0
    written = page.read_text()
    assert "| `multi-head` | 4 heads of size 8. |" in written
    assert "2 steps in 0:00" in written
    assert "| `multi-head` | `model.n_head=4` |" in written
    assert f"--write {page}`" in written


def test_an_interrupted_run_is_kept_and_the_table_shown(
    ladder: Callable[..., Answer],
    runs_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    described, page = headless._evaluation, tmp_path / "ladder.md"

    def interrupt(*arguments: Any) -> str:
        signal.raise_signal(signal.SIGINT)
        return described(*arguments)

    monkeypatch.setattr(headless, "_evaluation", interrupt)
    words = ("--set=eval.interval=2", "--steps", "100000", "--budget", "1e9", "--write", page)
    answer = ladder("bigram", "multi-head", *words)
    assert answer.code == 130
    table = rows(answer)
    assert table["bigram"][1] == table["multi-head"][1] == "–"
    assert "Stopped at step" in " ".join(answer.out.split())
    assert (runs_dir / "bigram-1" / "checkpoints" / "latest").is_file()
    assert not page.exists()


def test_interrupted_between_two_runs_what_is_trained_is_told(
    ladder: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.1])

    def training_seconds(*_: Any) -> float:
        for one in seconds:
            return one
        raise KeyboardInterrupt

    monkeypatch.setattr(runtime, "training_seconds", training_seconds)
    answer = ladder("bigram", "multi-head", "--json")
    assert answer.code == 130
    assert [told["state"] for told in answer.json["rungs"]] == ["finished", "not run"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["bigramm"], "there is no rung 'bigramm': did you mean 'bigram'?"),
        (["--budget", "0"], "--budget must be above 0 seconds, not 0"),
        (["--steps", "0"], "train.max_steps must be 1 to 1,000,000,000, not 0"),
        (["--set", "model.n_haed=3"], "there is no setting 'model.n_haed': did you mean "),
        (["--write", "nowhere/x.md"], "--write nowhere/x.md: there is no folder nowhere"),
        (["--write", "."], "--write . is a folder: name a file in it"),
        (["bigram", "--data", "nothing.txt"], "nothing.txt"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(cli: Cli, arguments: list[str], problem: str) -> None:
    answer = cli("ladder", *arguments)
    assert (answer.code, answer.out) == (2, "")
    told = [line for line in answer.err.splitlines() if line.startswith("gpt-tui: ")]
    assert len(told) == 1
    assert problem in told[0]


def test_the_committed_page_is_of_todays_rungs() -> None:
    page = (ROOT / "docs" / "ladder.md").read_text(encoding="utf-8")
    for rung in LADDER:
        start = f"| `{rung.name}` | {rung.changed} | "
        (row,) = [line for line in page.splitlines() if line.startswith(start)]
        counted, ours, video, training = row.removeprefix(start).strip(" |").split(" | ")
        model = preset_config(rung.name).model
        assert counted == f"{parameter_count(model, CHARACTERS, positions=False):,}"
        assert video == f"{rung.lecture_loss:.2f}"
        if "not run" not in training:
            assert float(ours) == pytest.approx(rung.lecture_loss, abs=0.05)
            assert training.startswith(f"{preset_config(rung.name).train.max_steps:,} steps")
