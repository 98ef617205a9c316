from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.runs.folder import find_run
from engine.runs.timeline import read_samples
from tests.cli.conftest import RHYME, ROOT, Cli, start_process, train_command
from tui.cli import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run to sample from; each test has a copy of its own."""
    folder = tmp_path_factory.mktemp("trained")
    text = folder / "rhyme.txt"
    text.write_text(RHYME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", io.StringIO())
        assert main([*train_command(text), "--runs-dir", str(folder), "--name", "tiny-1"]) == 0
    return folder / "tiny-1"


@pytest.fixture(autouse=True)
def run(trained: Path, runs_dir: Path) -> Path:
    return shutil.copytree(trained, runs_dir / "tiny-1")


def test_only_the_text_is_printed(cli: Cli) -> None:
    answer = cli("sample", "tiny-1", "--prompt", "one fish", "--max-tokens", "40")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("one fish")
    assert len(answer.out) == len("one fish") + 40


def test_same_seed_same_text(cli: Cli) -> None:
    texts = [cli("sample", "tiny-1", "--seed", seed).out for seed in ("1", "1", "2")]
    assert texts[0] == texts[1] != texts[2]


def test_defaults_are_the_runs_own(cli: Cli, run: Path) -> None:
    last = read_samples(run)[-1]
    assert cli("sample", "tiny-1", "--checkpoint", "latest").out == last["text"]
    assert len(last["text"]) == 5  # sample.max_tokens of this run


def test_greedy_text_depends_on_the_checkpoint_not_the_seed(cli: Cli) -> None:
    def greedy(checkpoint: str, seed: str) -> str:
        return cli("sample", "tiny-1", "--temperature", "0", "--max-tokens", "30",
                   "--checkpoint", checkpoint, "--seed", seed).out  # fmt: skip

    assert greedy("6", "1") == greedy("latest", "2")


def test_the_text_is_that_of_the_runs_own_precision(quick_train: Cli, cli: Cli) -> None:
    quick_train("--name", "bf16", "--set", "system.precision=bf16")
    assert cli("sample", "bf16", "--checkpoint", "latest").out == read_samples(
        find_run("bf16")
    )[-1]["text"]  # fmt: skip


# Rules


def test_each_rule_of_sampling_is_an_option(cli: Cli) -> None:
    likeliest = cli("sample", "tiny-1", "--temperature", "0", "--max-tokens", "20").out
    for rule in (("--top-k", "1"), ("--min-p", "1"), ("--top-p", "0.001")):
        assert cli("sample", "tiny-1", "--max-tokens", "20", *rule).out == likeliest
    penalised = cli("sample", "tiny-1", "--temperature", "0", "--repetition-penalty", "9",
                    "--max-tokens", "12").out  # fmt: skip
    assert len(set(penalised)) == 12  # no letter twice


def test_a_stop_string_ends_the_text(cli: Cli) -> None:
    whole = cli("sample", "tiny-1", "--max-tokens", "60").out
    stopped = cli("sample", "tiny-1", "--max-tokens", "60", "--stop", f"{whole[9:11]}|→").out
    assert stopped == whole[: whole.find(whole[9:11])]


# Several texts


def test_several_texts_are_those_of_their_seeds(cli: Cli) -> None:
    answer = cli("sample", "tiny-1", "--num-samples", "3", "--seed", "7", "--prompt", "red")
    alone = [
        cli("sample", "tiny-1", "--seed", seed, "--prompt", "red").out for seed in ("7", "8", "9")
    ]
    expected = [f"--- seed {seed} ---\n{text}\n" for seed, text in zip("789", alone, strict=True)]
    assert (answer.code, answer.out) == (0, "".join(expected))


def test_json_says_of_each_text_how_it_came_about(cli: Cli) -> None:
    options = ("--num-samples", "4", "--max-tokens", "50", "--stop", "fish|e", "--prompt", "one")
    told = cli("sample", "tiny-1", *options, "--json").json
    assert (told["prompt"], told["precision"]) == ("one", "fp32")
    assert told["tokens_per_second"] > 0
    assert [one["seed"] for one in told["samples"]] == [1, 2, 3, 4]
    for one in told["samples"]:
        text = cli("sample", "tiny-1", *options[2:], "--seed", str(one["seed"])).out
        assert "one" + one["text"] == text
        assert one["tokens_per_second"] > 0
        if one["stopped_by"] == "stop":
            assert one["tokens"] == len(one["text"]) + len(one["stop"])
        else:
            assert (one["stopped_by"], one["stop"], one["tokens"]) == ("max_tokens", None, 50)


# Bad input


@pytest.mark.parametrize("number", ["0", "-3", "1.5", "many", "10001", "²"])
def test_a_number_of_texts_that_cannot_be_is_refused(cli: Cli, number: str) -> None:
    problem = cli("sample", "tiny-1", "--num-samples", number).problem
    assert problem == f"--num-samples must be 1 to 10,000, not {number!r}"


def test_all_that_is_wrong_is_said_at_once(cli: Cli) -> None:
    answer = cli("sample", "tiny-1", "--min-p", "2", "--repetition-penalty", "0", "--stop", "a||b",
                 "--num-samples", "none")  # fmt: skip
    assert (answer.code, answer.out) == (2, "")
    assert [line.split(" must be ")[0] for line in answer.err.splitlines()] == [
        "gpt-tui: --min-p",
        "gpt-tui: --repetition-penalty",
        r"gpt-tui: --stop has no text on one side of a bar: remove the bar, or write \| to "
        "stop at a bar",
        "gpt-tui: --num-samples",
    ]


def test_weights_that_are_no_numbers_any_more_are_said_to_be_so(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_nothing(model: torch.nn.Module, tensors: object) -> None:
        torch.nn.init.constant_(next(model.parameters()), float("nan"))

    monkeypatch.setattr("engine.checkpoint.store.load_weights", load_nothing)
    assert cli("sample", "tiny-1", "--json").problem == (
        "this model's weights are not finite, as after training that diverged: choose an "
        "earlier checkpoint with --checkpoint STEP"
    )


# What else there is to it


def test_drop_unknown_leaves_them_out(cli: Cli) -> None:
    answer = cli("sample", "tiny-1", "--prompt", "fi→sh", "--drop-unknown")
    assert answer.code == 0
    assert answer.out.startswith("fish")


def test_the_text_it_learned_from_is_not_needed(cli: Cli, text: Path) -> None:
    text.unlink()
    assert cli("sample", "tiny-1").code == 0


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    process = start_process("sample", "tiny-1", "--max-tokens", "100000")
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    process.wait(timeout=30)
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.returncode == 0


def test_nothing_but_the_model_is_loaded() -> None:
    script = (
        "import sys, tui.cli\n"
        "code = tui.cli.main(['sample', 'tiny-1', '--max-tokens', '1'])\n"
        "assert 'textual' not in sys.modules\n"
        "sys.exit(code)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)


def test_a_stop_string_that_comes_first_is_told(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    begun = cli("sample", "tiny-1", "--temperature", "0", "--prompt", "fish").out
    first = begun.removeprefix("fish")[0]
    answer = cli("sample", "tiny-1", "--temperature", "0", "--prompt", "fish", f"--stop={first}")
    assert answer.code == 0
    assert "came first, so that the text is empty: change --stop or --seed" in answer.err
