"""Bad input gets one sentence with a way out, exit code 2, and leaves no run behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Cli

LONGER = ("--set", "train.max_steps=9")


@pytest.fixture(autouse=True)
def nothing_left(runs_dir: Path) -> object:
    """Whatever is tried, no run folder is left half-made."""
    yield
    left = [path.name for path in runs_dir.glob("*")] if runs_dir.is_dir() else []
    assert set(left) <= {"tiny-1"}  # that one is made on purpose


def test_missing_text(cli: Cli) -> None:
    problem = cli("train", "--data", "no/such.txt").problem
    assert "no/such.txt does not exist" in problem


def test_mistyped_corpus(cli: Cli) -> None:
    assert "Did you mean tinyshakespeare?" in cli("train", "--data", "tinyshakespear").problem


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"GIF89a\x00\x01", "is a GIF image"),
        (b"a\x00\xff\xff\xff\xff", "NUL byte at offset 1"),
        ("caf\xe9 ".encode() * 20 + b"\xff!", "byte 0xff at offset 120"),
        (b"a short text\n", "too short"),
    ],
)
def test_unusable_text(cli: Cli, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    assert words in cli("train", "--data", path).problem


def test_text_shorter_than_one_context_names_both_ways_out(cli: Cli, text: Path) -> None:
    problem = cli("train", "--data", text, "--set", "model.block_size=4096").problem
    assert "4,097 in each. Use a longer text, or set model.block_size to" in problem


def test_unknown_preset(cli: Cli) -> None:
    assert "did you mean 'nanogpt-cpu'?" in cli("train", "--preset", "nanogpt-cup").problem


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("optim.lerning_rate=1", "there is no setting 'optim.lerning_rate': did you mean"),
        ("train.learning_rate=1", "did you mean 'optim.learning_rate'?"),
        ("optim.learning_rate=fast", "optim.learning_rate must be a number, not 'fast'"),
        ("optim.learning_rate=-1", "optim.learning_rate must be above 0"),
        ("optim.learning_rate=nan", "must be a finite number"),
        ("model.n_layer=2.5", "model.n_layer must be a whole number, not 2.5"),
        ("model.n_layer=999", "model.n_layer must be 1 to 200, not 999"),
        ("model.bias=perhaps", "model.bias must be on or off"),
        ("system.device=gpu", "system.device cannot be 'gpu'"),
        ("model.n_head=7", "model.n_embd 128 is not divisible by model.n_head 7"),
        ("model.n_layer", "--set takes name=value, not 'model.n_layer'"),
    ],
)
def test_bad_setting(cli: Cli, assignment: str, words: str) -> None:
    assert words in cli("train", "--preset", "nanogpt-cpu", "--set", assignment).problem


def test_all_problems_are_told_at_once(cli: Cli, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("seed = 1\n[model]\nn_layer = 0\n")
    answer = cli("train", "--preset", "tinny", "--config", config, "--set", "train.seed=x",
                 "--name", "a/b")  # fmt: skip
    assert answer.code == 2
    told = answer.err.splitlines()
    assert len(told) == 5
    assert all(line.startswith("gpt-tui: ") for line in told)
    assert f"{config}: 'seed' must be a section" in answer.err
    assert f"{config}: model.n_layer must be 1 to 200" in answer.err


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot read the configuration"), (b"[model", "is not a TOML file"),
     (b"\xff\xfe", "is not a TOML file"), (b"preset = 'tinny'", "did you mean 'tiny'?")],
)  # fmt: skip
def test_bad_config_file(cli: Cli, tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    assert words in cli("train", "--config", path).problem


def test_runs_folder_that_cannot_be_written(cli: Cli, text: Path) -> None:
    problem = cli("train", "--data", text, "--runs-dir", "/proc/runs").problem
    assert "cannot write the runs folder" in problem
    assert "another with --runs-dir" in problem


@pytest.mark.parametrize(("place", "why"), [("file", "it is"), ("file/below", "{file} is")])
@pytest.mark.parametrize("command", ["train", "runs", "queue", "runs trash", "sweep --resume"])
def test_runs_folder_that_is_a_file(
    cli: Cli, tmp_path: Path, command: str, place: str, why: str
) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    problem = cli(*command.split(), "--runs-dir", tmp_path / place).problem
    assert problem == (
        f"{tmp_path / place} cannot be a runs folder, because {why.format(file=file)} a file: "
        f"choose another with --runs-dir"
    )


@pytest.mark.parametrize("name", [".hid", "-x", "_x"])
def test_a_name_that_begins_with_a_sign_is_told_so(cli: Cli, name: str) -> None:
    assert cli("train", f"--name={name}").problem == (
        f"{name!r} cannot name a run: begin with a letter or a digit, not with {name[0]!r}"
    )


def test_zero_stands_for_off_and_the_refusal_of_less_says_so(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    sample = ("sample", "tiny-1", "--top-k")
    assert cli(*sample, "0").out == cli(*sample, "off").out
    assert cli(*sample, "-1").problem == "--top-k must be 1 to 1,000,000, or 'off' (0), not -1"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_told_and_the_best_there_is_trains(quick_train: Cli) -> None:
    answer = quick_train("--set", "system.device=cuda")
    assert answer.code == 0
    assert "system.device is cuda, but PyTorch finds no such device on this machine" in answer.err


def test_name_that_is_taken(quick_train: Cli, cli: Cli) -> None:
    quick_train("--name", "tiny-1")
    problem = cli("train", "--name", "tiny-1").problem
    assert "there is already a run 'tiny-1'" in problem
    assert "gpt-tui train --resume tiny-1" in problem


def test_resume_refuses_what_describes_a_new_run(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    resume = ("train", "--resume", "tiny-1")
    problem = cli(*resume, "--preset", "tiny", "--name", "other").problem
    assert problem.startswith("--preset and --name cannot go with the existing run")
    assert cli(*resume, "--set", "model.n_layer=3").problem == (
        "model.n_layer can change only in a new run"
    )
    assert "there is no setting" in cli(*resume, "--set", "model.n_layers=3").problem
    assert "must be above 0" in cli(*resume, "--set", "optim.learning_rate=0").problem
    below = cli(*resume, "--set", "train.max_steps=2")
    assert below.code == 2
    assert "it is at step 6 already" in below.err


def test_run_that_is_not_there(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    assert "did you mean 'tiny-1'?" in cli("train", "--resume", "tiny-2").problem
    assert "did you mean 'tiny-1'?" in cli("sample", "tiny-11").problem
    assert "did you mean 'tiny-1'?" in cli("open", "tiny1").problem


def test_damaged_checkpoint(quick_train: Cli, cli: Cli, runs_dir: Path) -> None:
    quick_train()
    weights = runs_dir / "tiny-1/checkpoints/step-00000006/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    problem = cli("sample", "tiny-1", "--checkpoint", "6").problem
    assert "is damaged (model.safetensors does not match its hash)" in problem
    assert "there are also those of steps 3" in problem
    for which in ("latest", "best"):
        answer = cli("sample", "tiny-1", "--checkpoint", which)
        assert answer.code == 0
        assert "step-00000006 is damaged (model.safetensors does not match" in answer.err
        assert "step-00000003 is used instead" in answer.err
    answer = cli("train", "--resume", "tiny-1", *LONGER)
    assert answer.code == 0
    assert "moved to damaged-step-00000006, and the run continues from step-00000003" in answer.err
    aside = weights.parent.with_name("damaged-step-00000006") / weights.name
    assert aside.read_bytes() == content
    assert cli("sample", "tiny-1", "--checkpoint", "6").code == 0  # trained again


def test_no_checkpoint_is_whole(quick_train: Cli, cli: Cli, runs_dir: Path) -> None:
    quick_train()
    for weights in (runs_dir / "tiny-1/checkpoints").glob("*/model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-1])
    for command in (("sample", "tiny-1"), ("train", "--resume", "tiny-1", *LONGER)):
        problem = cli(*command).problem
        assert "no checkpoint of the run 'tiny-1' is intact" in problem
        assert "put one back from a copy" in problem
    assert not list((runs_dir / "tiny-1/checkpoints").glob("damaged*"))  # a copy fits their names


def test_foreign_checkpoint(quick_train: Cli, cli: Cli, runs_dir: Path) -> None:
    quick_train()
    checkpoint = runs_dir / "tiny-1/checkpoints/step-00000006"
    (checkpoint / "manifest.json").write_text(json.dumps(["of", "another", "program"]))
    problem = cli("sample", "tiny-1", "--checkpoint", "6").problem
    assert "it is not one that gpt-tui wrote" in problem
    (checkpoint / "manifest.json").unlink()
    assert "manifest.json is missing" in cli("sample", "tiny-1", "--checkpoint", "6").problem


def test_checkpoint_that_is_not_there(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    problem = cli("sample", "tiny-1", "--checkpoint", "4").problem
    assert problem.endswith("it has best, latest and steps 3, 6, of which 3 is the nearest")


def test_prompt_with_unknown_characters(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    problem = cli("sample", "tiny-1", "--prompt", "fish→é").problem
    assert "does not know ('→', 'é')" in problem
    assert "--drop-unknown" in problem


def test_bad_sample_settings_are_told_at_once(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    answer = cli("sample", "tiny-1", "--temperature", "hot", "--top-p", "2", "--max-tokens", "-1")
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian"], "there is no command or run 'trian': did you mean gpt-tui train?"),
        (["trian", "--json"], "there is no command or run 'trian': did you mean gpt-tui train?"),
        (["--name", "x", "train"], "a command comes first: gpt-tui train [options]"),
        (
            ["train", "--jsno"],
            "unrecognized arguments: --jsno: did you mean --json? (see gpt-tui train --help)",
        ),
        (
            ["train", "--tokenizer", "bpe"],
            "unrecognized arguments: --tokenizer bpe: did you mean --set data.tokenizer=bpe?",
        ),
        (["--lr=1e-3"], "unrecognized arguments: --lr=1e-3: did you mean --set optim.learning_ra"),
        (["train", "notes"], "unrecognized arguments: notes (see gpt-tui train --help)"),
        (["sample"], "the following arguments are required: RUN (see gpt-tui sample --help)"),
        (["train", "--preset", "Tiny"], "there is no preset 'Tiny': did you mean 'tiny'?"),
        (["train", "--set", "MODEL.N_LAYER=2"], "there is no setting 'MODEL.N_LAYER': did you m"),
        (["train", "--set", "LR=1"], "there is no setting 'LR': did you mean 'optim.learning_rat"),
        (
            ["train", "--set", "model.norm=RMS"],
            "model.norm cannot be 'RMS': did you mean 'rms'?",
        ),
        (["queue", "List"], "argument action: it cannot be 'List': did you mean 'list'?"),
        (["runs", "Trash"], "'gpt-tui runs' has no action 'Trash': did you mean 'trash'?"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate (see gpt-tui --help)"),
        (["--presset", "tiny"], "unrecognized arguments: --presset: did you mean --preset?"),
    ],
)
def test_mistyped_command(cli: Cli, words: list[str], sentence: str) -> None:
    assert cli(*words).problem.startswith(sentence)


def test_a_text_where_an_option_is_missing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(9):
        (tmp_path / f"{number} a.txt").write_text("words")
    texts = sorted(one.name for one in tmp_path.glob("*.txt"))
    assert cli("train", "--data", *texts).problem.startswith(
        "unrecognized arguments: 1 a.txt 2 a.txt 3 a.txt 4 a.txt 5 a.txt and 3 more: --data stands "
        "before each text, and quotes around a pattern, as in --data '*.txt' (see"
    )
    assert cli("0 a.txt").problem == "0 a.txt is no run: gpt-tui --data '0 a.txt' trains on it"


def test_no_terminal(cli: Cli) -> None:
    assert cli().problem == "the app needs a terminal, and there is none here: use 'gpt-tui train'"


def test_no_terminal_for_a_run(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    assert cli("tiny-1").problem.endswith("use 'gpt-tui train --resume tiny-1'")


@pytest.mark.parametrize("words", ["runs --sort=--", "--name=--", "--set=--", "--preset=--"])
def test_two_dashes_as_a_value_are_a_text(cli: Cli, words: str) -> None:
    assert "'--'" in cli(*words.split()).problem
