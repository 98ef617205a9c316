from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from engine.checkpoint.store import read_checkpoint
from engine.runs.folder import RunLock
from tests.cli.conftest import ROOT, Cli, train_command
from tui.commands.options import Parser, add_new_run_options, config_of

FACTS = {
    "run", "name", "state", "steps", "tokens", "train_loss", "val_loss", "val_measured",
    "best_val_loss", "train_seconds", "tokens_per_second", "device", "precision", "threads",
    "parameters", "corpus", "corpus_note",
}  # fmt: skip


def test_a_run_ends_with_one_line_of_json_and_no_chatter_on_stdout(
    quick_train: Cli, runs_dir: Path
) -> None:
    answer = quick_train()
    assert answer.code == 0
    assert len(answer.out.splitlines()) == 1
    facts = answer.json
    assert set(facts) >= FACTS
    assert facts["run"] == str(runs_dir / "tiny-1")
    assert (facts["name"], facts["state"], facts["steps"]) == ("tiny-1", "finished", 6)
    assert facts["tokens"] == 6 * 16 * 32
    assert facts["val_measured"] == "whole split"
    assert facts["best_val_loss"] <= facts["val_loss"] < 4
    assert (facts["device"], facts["threads"], facts["corpus"]) == ("cpu", 1, "rhyme.txt")
    assert "step 3/6: val" in answer.err


def test_steps_on_the_command_line_turn_epochs_off(tmp_path: Path) -> None:
    file = tmp_path / "epochs.toml"
    file.write_text("[train]\nmax_epochs = 3\nmax_steps = 9\n")
    parser = Parser("gpt-tui train", "")
    add_new_run_options(parser)
    given = ["--preset", "tiny", "--config", str(file)]
    train = config_of(parser.parse_args(given)).train
    assert (train.max_epochs, train.max_steps) == (3, 9)  # both are named
    train = config_of(parser.parse_args([*given, "--set", "train.max_steps=7"])).train
    assert (train.max_epochs, train.max_steps) == (0, 7)


def test_without_json_a_summary_tells_the_folder_and_the_way_on(
    cli: Cli, text: Path, runs_dir: Path
) -> None:
    words = [word for word in train_command(text) if word != "--json"]
    answer = cli(*words)
    assert answer.code == 0
    assert "run tiny-1: finished, step 6 of 6" in answer.out
    assert str(runs_dir / "tiny-1") in answer.out
    assert "gpt-tui train --resume tiny-1" in answer.out


def test_a_run_elsewhere_is_named_by_its_path(cli: Cli, text: Path, tmp_path: Path) -> None:
    words = [word for word in train_command(text) if word != "--json"]
    answer = cli(*words, "--runs-dir", tmp_path / "else where", "--name", "mine")
    assert f"gpt-tui train --resume '{tmp_path}/else where/mine'" in answer.out


def test_a_setting_that_changes_nothing_is_told(cli: Cli, tmp_path: Path) -> None:
    words = ("--preset", "bigram", "--set", "optim.optimizer=muon", "--data", tmp_path / "none")
    told = cli("train", *words).err.splitlines()
    assert told[0].startswith("gpt-tui: optim.optimizer has no effect here: Muon updates ")


def test_stand_in_corpus_is_labelled(cli: Cli) -> None:
    answer = cli(*train_command(Path("tinyshakespeare")))
    assert answer.json["corpus"] == "python-docs"
    assert "GPT_TUI_OFFLINE" in answer.json["corpus_note"]
    assert answer.json["corpus_note"] in answer.err


def test_the_command_is_kept_with_the_run(quick_train: Cli, runs_dir: Path) -> None:
    from engine.runs.database import RunDatabase

    quick_train("--name", "kept")
    meta = RunDatabase(runs_dir / "kept/run.db", read_only=True).meta()
    assert meta["command_line"].startswith("gpt-tui train --preset tiny --data ")
    assert meta["command_line"].endswith("--name kept")


# ---- precedence ----------------------------------------------------------------------------------


def settings_of(run: Path) -> dict[str, dict[str, object]]:
    import tomllib

    values: dict[str, dict[str, object]] = tomllib.loads((run / "config.toml").read_text())
    return values


def test_preset_then_file_then_data_then_set(
    quick_train: Cli, tmp_path: Path, text: Path, runs_dir: Path
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(
        "[data]\ncorpus = 'python-docs'\n[train]\nmax_steps = 99\nseed = 7\n[model]\nn_head = 3\n"
    )
    # n_head 3 does not go with the preset's width, but the last word makes it fit
    answer = quick_train("--config", config, "--set", "model.n_embd=48")
    assert answer.code == 0
    written = settings_of(runs_dir / "tiny-1")
    assert written["model"] | {"n_head": 3, "n_embd": 48, "n_layer": 2} == written["model"]
    assert written["train"] | {"max_steps": 6, "seed": 7} == written["train"]
    assert written["data"]["corpus"] == str(text)


def test_a_config_file_may_name_its_preset(cli: Cli, text: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("preset = 'tiny'\n")
    words = [word for word in train_command(text) if word not in ("--preset", "tiny")]
    assert cli(*words, "--config", config).json["preset"] == "tiny"


def test_a_run_can_be_launched_again_from_its_config(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    first = quick_train().json
    again = cli("train", "--config", runs_dir / "tiny-1/config.toml", "--json").json
    assert again["name"] == "tiny-2"
    assert again["val_loss"] == first["val_loss"]


# ---- resume --------------------------------------------------------------------------------------


def test_finished_run_answers_without_loading_torch(quick_train: Cli) -> None:
    first = quick_train().json
    script = (
        "import sys, tui.cli\n"
        "code = tui.cli.main(['train', '--resume', 'tiny-1', '--json'])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == first


def test_raising_max_steps_goes_on(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    answer = cli("train", "--resume", "tiny-1", "--set", "train.max_steps=9", "--json")
    assert answer.code == 0
    assert (answer.json["state"], answer.json["steps"]) == ("finished", 9)
    assert answer.json["total_steps"] == 9


def test_run_without_a_checkpoint_starts_at_step_0(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    first = quick_train().json
    run = runs_dir / "tiny-1"
    for left in [*run.glob("checkpoints/*/*"), run / "run.db"]:
        left.unlink()
    for folder in run.glob("checkpoints/step-*"):
        folder.rmdir()
    answer = cli("train", "--resume", "tiny-1", "--json")
    assert answer.code == 0
    assert "from step 0 to 6" in answer.err
    assert answer.json["val_loss"] == first["val_loss"]


def test_live_and_system_settings_change_on_resume(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    quick_train()
    changes = ("train.max_steps=8", "optim.learning_rate=0.001", "system.micro_batch_size=8")
    words = [word for change in changes for word in ("--set", change)]
    assert cli("train", "--resume", "tiny-1", *words).code == 0
    config = read_checkpoint(runs_dir / "tiny-1/checkpoints/step-00000008").state["config"]
    assert config["optim"]["learning_rate"] == 0.001
    assert config["system"]["micro_batch_size"] == 8


def test_run_that_is_trained_elsewhere_is_refused(
    quick_train: Cli, cli: Cli, runs_dir: Path
) -> None:
    quick_train()
    lock = RunLock(runs_dir / "tiny-1")
    answer = cli("train", "--resume", "tiny-1", "--set", "train.max_steps=9")
    lock.release()
    assert answer.code == 2
    assert "is being trained by another program" in answer.err


# ---- what the engine does not recover from -------------------------------------------------------


def test_failure_of_the_engine_is_one_sentence_that_leads_to_the_log(
    quick_train: Cli, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.training.trainer import Trainer

    def explode(*_: object) -> None:
        raise RuntimeError("a cable was pulled")

    monkeypatch.setattr(Trainer, "step_quanta", explode)
    answer = quick_train()
    assert answer.code == 1
    assert answer.json["state"] == "failed"
    assert "Traceback" not in answer.err
    log = runs_dir / "tiny-1/log.txt"
    assert f"a cable was pulled (details: {log})" in answer.err
    assert "Traceback" in log.read_text()


def test_training_that_pauses_of_itself_ends_saved(
    quick_train: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from engine.training.trainer import Trainer

    update = Trainer._update

    def diverge(self: Trainer) -> None:
        if self.step == 3:
            for parameter in self.model.parameters():
                parameter.grad = torch.full_like(parameter, torch.nan)
        update(self)

    monkeypatch.setattr(Trainer, "_update", diverge)
    answer = quick_train()
    assert answer.code == 1
    assert (answer.json["state"], answer.json["steps"]) == ("stopped", 4)
    assert "the gradient of step 4 is not finite" in answer.err
    resume = "gpt-tui train --resume tiny-1"
    assert f"{resume} --set optim.learning_rate=0.0003\n" in answer.err
    assert answer.err.rstrip().endswith(resume)


@pytest.mark.parametrize("kept", [True, False])
def test_a_run_whose_folder_is_removed_meanwhile_lives_on_in_a_fork_or_says_why_not(
    cli: Cli, quick_train: Cli, runs_dir: Path, kept: bool
) -> None:
    run = runs_dir / "tiny-1"

    def remove() -> None:
        while not (run / "checkpoints" / "latest").exists():  # once there is a first one
            time.sleep(0.005)
        runs_dir.rename(runs_dir.with_name("moved"))
        if not kept:
            runs_dir.write_text("something else")

    remover = threading.Thread(target=remove, daemon=True)
    remover.start()
    answer = quick_train("--set", "train.max_steps=100000")
    remover.join(10)
    assert answer.code == 1
    # a checkpoint that was being written may have made the folder again, without the database
    gone = rf"the run's (folder {run}|database {run}/run\.db) is gone: training is paused\."
    assert len(re.findall(gone, answer.err)) == 1
    if kept:
        fork = runs_dir / "tiny-1-fork-1"
        assert answer.json["run"] == str(fork)
        assert f"what was trained is kept in the new run {fork}" in answer.err
        assert cli("sample", "tiny-1-fork-1").code == 0
    else:
        assert "it cannot be kept: " in answer.err
        assert f"the folder {run} is gone: the run in it was moved or deleted" in answer.err
