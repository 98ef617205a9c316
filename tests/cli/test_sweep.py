"""``gpt-tui sweep`` and ``gpt-tui queue``: filling the queue, working it off, ranking."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from engine.runs.checkpoint_names import list_checkpoints
from engine.runs.database import RunDatabase
from engine.sweeps.queue import Queue
from tests.cli.conftest import QUICK, Answer, Cli, Sweep, start_process
from tests.cli.test_signals import wait_for

RATES = "optim.learning_rate=1e-3..1e-2 log x2"
ENDLESS = ("--set", "train.max_steps=1000000")


@pytest.fixture
def options(text: Path) -> list[str]:
    """Everything small."""
    settings = [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}")]
    return ["--preset", "tiny", "--data", str(text), *settings]


def by_number(answer: Answer) -> list[dict[str, Any]]:
    return sorted(answer.json["runs"], key=lambda run: str(run["name"]))


# ---- planning ------------------------------------------------------------------------------------


def test_a_dry_run_lists_the_runs_and_what_cannot_be_and_makes_nothing(
    sweep: Sweep, runs_dir: Path
) -> None:
    answer = sweep("model.n_head=2,3", RATES, "--dry-run")
    assert answer.code == 0
    lines = [line.split() for line in answer.out.splitlines()]
    assert lines[:3] == [["n_head", "learning_rate"], ["1", "2", "0.001"], ["2", "2", "0.01"]]
    assert "2 runs" in answer.out
    assert "left out, because they are not possible: 2" in answer.out
    assert "model.n_embd 64 is not divisible by model.n_head 3" in answer.out
    assert not runs_dir.exists()


def test_a_dry_run_as_json(sweep: Sweep) -> None:
    answer = sweep("model.n_head=2,3", "--dry-run", "--json")
    (impossible,) = answer.json["impossible"]
    assert answer.json["runs"] == [{"number": 1, "settings": {"model.n_head": 2}}]
    assert impossible["settings"] == {"model.n_head": 3}
    assert "not divisible" in impossible["problems"][0]


def test_random_draws_follow_their_seed(sweep: Sweep) -> None:
    def drawn(*more: str) -> list[dict[str, Any]]:
        answer = sweep(
            "optim.learning_rate=1e-3..1e-2 log", "--random", "4", "--dry-run", "--json", *more
        )
        return [run["settings"] for run in answer.json["runs"]]

    assert drawn() == drawn("--seed", "0") != drawn("--seed", "1")
    assert len(drawn()) == 4


def test_a_dry_run_refuses_the_name_of_another_sweep(sweep: Sweep) -> None:
    sweep(RATES, "--name", "mine", "--queue-only")
    for more in ("--dry-run", "--queue-only"):
        assert "already a sweep 'mine'" in sweep(RATES, "--name", "mine", more).err


def test_everything_wrong_is_said_at_once(cli: Cli, runs_dir: Path) -> None:
    answer = cli("sweep", "optim.lr=1", "model.n_layer=4..2", "--preset", "tinny", "--seed", "1")
    assert answer.code == 2
    for words in ("'optim.learning_rate'?", "must ascend", "did you mean 'tiny'?", "--random N"):
        assert words in answer.err
    assert not runs_dir.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say what to sweep"),
        (["optim.learning_rate=1e-4..1e-2 log"], "give the number of values of 0.0001..0.01"),
        (["model.n_head=3", "--preset", "tiny"], "not divisible by model.n_head 3"),
        (["model.n_layer=1,2", "--random", "0"], "--random takes 1 to 1,000 runs, not 0"),
        (["model.n_layer=1,2", "--data", "no/such.txt"], "no/such.txt does not exist"),
        (["model.n_layer=1,2", "--name", "../x", "--data", "python-docs"], "cannot name a sweep"),
        (["model.n_layer=1,2", "--name", "ü x", "--dry-run"], "'ü x' cannot name a sweep: use"),
        (["--resume"], "there is no sweep in"),
        (["--resume", "mine", "--preset", "tiny"], "take the name of one sweep"),
        (["mine", "--leaderboard", "--dry-run"], "take the name of one sweep"),
    ],
)
def test_bad_input_is_one_sentence_and_queues_nothing(
    cli: Cli, runs_dir: Path, arguments: list[str], words: str
) -> None:
    assert words in cli("sweep", *arguments).problem
    assert Queue(runs_dir).entries() == []


# ---- working off ---------------------------------------------------------------------------------


def test_a_sweep_trains_its_runs_and_ranks_them(sweep: Sweep, cli: Cli, runs_dir: Path) -> None:
    answer = sweep(RATES, "--name", "lr", "--json")
    assert answer.code == 0
    assert len(answer.out.splitlines()) == 1
    assert "lr-1: optim.learning_rate=0.001, 1 more to come" in answer.err
    assert "lr-2: optim.learning_rate=0.01\n" in answer.err
    runs = answer.json["runs"]
    assert [run["rank"] for run in runs] == [1, 2]
    losses = [run["best_val_loss"] for run in runs]
    assert losses == sorted(losses)
    first, second = by_number(answer)
    assert (first["settings"], first["state"]) == ({"optim.learning_rate": 0.001}, "done")
    assert (second["run"], second["steps"]) == (str(runs_dir / "lr-2"), 6)

    told = cli("sweep", "lr", "--leaderboard").out.splitlines()
    assert told[0] == "sweep lr"
    assert told[1].split() == ["run", "state", "best", "val", "at", "step", "step", "time",
                               "learning_rate"]  # fmt: skip
    assert told[2].split()[:4] == ["1", runs[0]["name"], "done", f"{losses[0]:.3f}"]

    again = cli("sweep", "--resume", "lr", "--json")
    assert (again.code, again.json) == (0, answer.json)
    assert "step" not in again.err  # there was nothing left to train


def test_runs_of_different_tokens_are_ranked_by_the_figure_that_is_shown(
    sweep: Sweep, cli: Cli
) -> None:
    runs = sweep("data.tokenizer=char,bytes", "--name", "kinds", "--json").json["runs"]
    bits = [run["best_bits_per_byte"] for run in runs]
    assert bits == sorted(bits)
    told = cli("sweep", "kinds", "--leaderboard").out.splitlines()
    assert told[1].split()[:5] == ["run", "state", "bits/byte", "best", "val"]
    assert told[2].split()[3:5] == [f"{bits[0]:.3f}", f"{runs[0]['best_val_loss']:.3f}"]


def test_what_the_text_is_too_short_for_is_left_out(sweep: Sweep) -> None:
    answer = sweep("model.block_size=16,4096", "--dry-run", "--json")
    (impossible,) = answer.json["impossible"]
    assert [run["settings"] for run in answer.json["runs"]] == [{"model.block_size": 16}]
    assert "4,097 in each" in impossible["problems"][0]


def test_a_run_that_cannot_be_is_noted_and_the_others_are_trained(
    sweep: Sweep,
) -> None:
    prompts = "sample.prompt=one,ONE"  # there are no capitals in the text
    answer = sweep(prompts, "--json")
    assert answer.code == 2
    trained, failed = answer.json["runs"]
    assert (trained["state"], trained["steps"]) == ("done", 6)
    assert (failed["state"], failed["rank"], failed["name"]) == ("failed", None, "sweep-1-2")
    assert "'O'" in failed["problem"]


def test_training_that_gives_up_is_noted_with_its_reason(
    sweep: Sweep, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from engine.training.trainer import Trainer

    update = Trainer._update

    def diverge(self: Trainer) -> None:
        if self.config.optim.learning_rate == 0.001:
            for parameter in self.model.parameters():
                parameter.grad = torch.full_like(parameter, torch.nan)
        update(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_update", diverge)
        answer = sweep(RATES, "--json")
    assert answer.code == 1
    failed, trained = by_number(answer)
    assert (failed["state"], trained["state"]) == ("failed", "done")
    assert "is not finite" in failed["problem"]
    assert cli("queue", "retry", "1").code == 0
    assert [run["state"] for run in by_number(cli("sweep", "--resume", "--json"))] == ["done"] * 2


def test_ctrl_c_saves_and_resume_goes_on_there(
    cli: Cli, options: list[str], runs_dir: Path
) -> None:
    process = start_process("sweep", RATES, "--json", *options, *ENDLESS)
    assert process.stderr is not None
    wait_for(process.stderr, "step 3/1,000,000: val")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    stopped, waiting = by_number_or_id(out)
    assert (stopped["state"], waiting["state"]) == ("interrupted", "waiting")
    assert list_checkpoints(runs_dir / "sweep-1-1")[-1].name.endswith(f"{stopped['steps']:08d}")

    shorten(runs_dir, stopped["steps"] + 2, waiting["id"])
    answer = cli("sweep", "--resume", "--json")
    assert answer.code == 0, answer.err
    assert f"from step {stopped['steps']} to {stopped['steps'] + 2}" in answer.err
    assert [run["state"] for run in answer.json["runs"]] == ["done", "done"]


def test_a_killed_sweep_goes_on_with_the_run_it_was_at(
    cli: Cli, options: list[str], runs_dir: Path
) -> None:
    process = start_process("sweep", RATES, *options, *ENDLESS)
    assert process.stderr is not None
    wait_for(process.stderr, "step 9/1,000,000: val")
    assert [run["state"] for run in cli("queue", "--json").json] == ["running", "waiting"]
    assert cli("queue", "cancel", "1").code == 2
    process.kill()
    process.communicate(timeout=60)
    assert [run["state"] for run in cli("queue", "--json").json] == ["interrupted", "waiting"]

    run = runs_dir / "sweep-1-1"
    step = int(list_checkpoints(run)[-1].name.removeprefix("step-"))
    assert step >= 3
    shorten(runs_dir, step + 2, 2)
    answer = cli("queue", "run", "--json")
    assert answer.code == 0, answer.err
    assert f"from step {step:,} to {step + 2:,}" in answer.err
    assert [run["state"] for run in answer.json] == ["done", "done"]
    assert sorted(path.name for path in runs_dir.glob("sweep*")) == ["sweep-1-1", "sweep-1-2"]


def by_number_or_id(out: str) -> list[dict[str, Any]]:
    return sorted(json.loads(out.splitlines()[-1])["runs"], key=lambda run: int(run["id"]))


def shorten(runs_dir: Path, step: int, entry: int) -> None:
    """Let an interrupted run end soon, as its person may: the journal says so. And the next."""
    database = RunDatabase(runs_dir / "sweep-1-1/run.db")
    database.add_journal(
        0, step - 2, "adjusted", {"changes": {"train.max_steps": [1_000_000, step]}}
    )
    database.close()
    queue = Queue(runs_dir)
    with queue._open(write=True) as db:
        (settings,) = db.execute("SELECT settings FROM entries WHERE id = ?", (entry,)).fetchone()
        short = json.loads(settings)
        short["train"]["max_steps"] = 4
        db.execute("UPDATE entries SET settings = ? WHERE id = ?", (json.dumps(short), entry))


# ---- the queue -----------------------------------------------------------------------------------


def test_runs_can_be_queued_now_and_trained_later(sweep: Sweep, cli: Cli, runs_dir: Path) -> None:
    assert "'gpt-tui" not in cli("queue").out
    answer = sweep(RATES, "--queue-only")
    assert answer.code == 0
    assert "gpt-tui sweep --resume sweep-1" in answer.out
    assert list(runs_dir.glob("*/config.toml")) == []
    lines = cli("queue").out.splitlines()
    assert lines[1].split() == ["1", "waiting", "sweep-1", "–", "learning_rate", "0.001"]
    assert lines[-1] == "2 runs to go: gpt-tui queue run"
    assert cli("queue", "first", "2").code == 0
    assert cli("queue", "cancel", "1").code == 0
    answer = cli("queue", "run", "--json")
    assert answer.code == 0
    assert [(run["id"], run["state"]) for run in answer.json] == [(2, "done"), (1, "cancelled")]
    assert (runs_dir / "sweep-1-2/config.toml").is_file()
    assert cli("queue", "clear", "--json").json == []
    assert len(cli("queue", "--all", "--json").json) == 2
    assert len(cli("sweep", "--leaderboard", "--json").json["runs"]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cancel"], "cancel takes the ids of entries"),
        (["run", "3"], "run takes no ids"),
        (["cancel", "3"], "there is no entry 3"),
        (["delete"], "it cannot be 'delete': there are "),
    ],
)
def test_what_the_queue_refuses(cli: Cli, arguments: list[str], words: str) -> None:
    assert words in cli("queue", *arguments).problem
