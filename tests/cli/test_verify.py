"""``gpt-tui verify``: what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Cli
from tests.engine.run_folders import forget_prepared_texts


def test_a_whole_run_is_said_to_be_so(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    answer = cli("verify", "tiny-1")
    assert answer.code == 0
    lines = [line.split(maxsplit=2) for line in answer.out.splitlines()[1:]]
    assert [(part, mark) for part, mark, _ in lines] == [
        ("config", "ok"),
        ("database", "ok"),
        ("checkpoint", "ok"),
    ]
    assert lines[1][2] == "6 steps, each recorded once"


def test_a_replay_is_compared_to_the_bit(quick_train: Cli, cli: Cli) -> None:
    quick_train("--set", "model.dropout=0.2", "--set", "optim.optimizer=muon")
    answer = cli("verify", "tiny-1", "--replay", "--json")
    assert answer.code == 0
    assert answer.json["fine"] is True
    replay = answer.json["replay"]
    assert (replay["last_step"], replay["differs_at"]) == (6, None)
    assert replay["checkpoints"] == [3, 6]
    assert "steps 1 to 6 and the weights of 2 checkpoints: the same bits" in answer.out


def test_damage_is_named_and_ends_with_1(quick_train: Cli, cli: Cli, runs_dir: Path) -> None:
    quick_train()
    weights = runs_dir / "tiny-1/checkpoints/step-00000003/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    answer = cli("verify", "tiny-1")
    assert answer.code == 1
    assert "BAD" in answer.out and "model.safetensors does not match its hash" in " ".join(
        answer.out.split()
    )
    assert cli("verify", "tiny-1", "--json").json["fine"] is False


def test_another_text_cannot_be_replayed_but_nothing_is_damaged(
    quick_train: Cli, cli: Cli, text: Path
) -> None:
    quick_train()
    text.write_text("another text altogether, and rather long. " * 50)
    forget_prepared_texts()
    assert cli("verify", "tiny-1").code == 0
    answer = cli("verify", "tiny-1", "--replay")
    assert answer.code == 1
    assert "its hash differs" in " ".join(answer.out.split())


def test_a_run_that_is_not_there(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    assert "did you mean 'tiny-1'?" in cli("verify", "tiny-2").problem


def test_a_damaged_config_is_written_anew(quick_train: Cli, cli: Cli, runs_dir: Path) -> None:
    quick_train("--set", "model.dropout=0.2")
    cli("train", "--resume", "tiny-1", "--set", "train.max_steps=8", "--set", "optim.beta1=0.8")
    config = runs_dir / "tiny-1/config.toml"
    whole = config.read_text()
    cut = whole[: whole.index("dropout")]
    for damaged, told in (
        (cut, "model.dropout is 0.0 and was 0.2"),
        (whole[:-9] + "=", "--repair"),
    ):
        config.write_text(damaged)
        answer = cli("verify", "tiny-1")
        assert answer.code == 1
        assert told in " ".join(answer.out.split())
        answer = cli("verify", "tiny-1", "--repair", "--replay")
        assert answer.code == 0, answer
        assert config.read_text() == whole
        asides = [path.read_text() for path in config.parent.glob("damaged-config.toml*")]
        assert damaged in asides
    config.write_text("[")
    assert "gpt-tui verify tiny-1 --repair" in cli("train", "--resume", "tiny-1", *LONGER).problem


def test_a_run_without_its_config_is_still_a_run(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    quick_train()
    config = runs_dir / "tiny-1/config.toml"
    whole = config.read_text()
    config.unlink()
    (listed,) = json.loads(cli("runs", "--json").out)
    assert (listed["name"], listed["state"]) == ("tiny-1", "damaged")
    assert "gpt-tui verify tiny-1 --repair" in cli("train", "--resume", "tiny-1", *LONGER).problem
    answer = cli("verify", "tiny-1", "--repair")
    assert answer.code == 0, answer
    assert config.read_text() == whole
    assert not config.with_name("damaged-config.toml").exists()


def test_a_database_that_is_gone_is_told_and_no_empty_one_takes_its_place(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    quick_train()
    database = runs_dir / "tiny-1/run.db"
    database.unlink()
    (listed,) = json.loads(cli("runs", "--json").out)
    told = listed["problem"]
    assert (
        "run.db cannot be read: opening the run, or gpt-tui verify tiny-1 --repair, restores it"
        in told
    )
    assert told.endswith("(it does not exist)")
    assert listed["state"] == "damaged"
    assert told in cli("runs", "export", "tiny-1").problem
    assert not database.exists()
    answer = cli("verify", "tiny-1", "--repair")
    assert answer.code == 0, answer
    assert answer.err.startswith("run.db is restored from its copy in step-00000006: ")
    assert "6 steps, each recorded once" in answer.out
    database.unlink()
    answer = cli("train", "--resume", "tiny-1", *LONGER)
    assert answer.code == 0, answer
    assert "run.db is restored from its copy in step-00000006: " in answer.err
    assert cli("verify", "tiny-1").code == 0


def test_a_damaged_database_is_told_everywhere_and_restored(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    quick_train()
    database = runs_dir / "tiny-1/run.db"
    whole = database.read_bytes()
    database.write_bytes(bytes(4096) + whole[4096:])
    assert "gpt-tui verify tiny-1 --repair" in cli("runs", "export", "tiny-1").problem
    command: tuple[str, ...]
    for command in (("runs",), ("runs", "show", "tiny-1"), ("verify", "tiny-1")):
        answer = cli(*command)
        told = " ".join((answer.out + answer.err).split())
        assert "gpt-tui verify tiny-1 --repair" in told, command
    answer = cli("verify", "tiny-1", "--repair", "--replay", "--json")
    assert answer.code == 0, answer
    assert answer.json["replay"]["differs_at"] is None
    assert "the damaged one is kept as damaged-run.db" in answer.err
    assert database.with_name("damaged-run.db").read_bytes() == bytes(4096) + whole[4096:]


def test_runs_show_tells_how_a_damaged_config_comes_back(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    quick_train()
    (runs_dir / "tiny-1/config.toml").write_text("[")
    told = cli("runs", "show", "tiny-1").out
    assert "gpt-tui verify tiny-1 --repair writes it anew from a checkpoint" in told


LONGER = ("--set", "train.max_steps=9")


def test_a_run_in_the_trash_is_told_with_the_way_back(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    quick_train()
    cli("runs", "rm", "tiny-1")
    (trashed,) = (runs_dir / ".trash").iterdir()
    way_back = f"is in the trash: gpt-tui runs restore {trashed.name} brings it back"
    assert cli("verify", "tiny-1").problem == f"the run 'tiny-1' {way_back}"
    assert way_back in cli("verify", trashed).err
    assert cli("runs", "restore", trashed.name).code == 0
