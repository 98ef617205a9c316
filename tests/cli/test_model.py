from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.config.schema import SETTINGS
from tests.cli.conftest import Cli


def test_a_preset_is_shown_with_its_parts_and_costs(cli: Cli) -> None:
    answer = cli("model", "gpt2-xl")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[0].split()[-1] == "1,557,611,200"
    for told in ("blocks 0-47", "48 x 30,740,800", "(tied)", "FLOP a token", "KV cache", "12.5 GB"):
        assert told in answer.out


def test_it_fits_80_columns(cli: Cli, text: Path) -> None:
    shown = cli("model", "gpt2-xl").out.splitlines()
    traced = cli("model", "lecture", "--data", text, "--trace", "one fish").out.splitlines()
    assert max(map(len, shown + traced)) <= 80


def test_json_holds_the_same_figures(cli: Cli) -> None:
    told = cli("model", "gpt2", "--json").json
    assert (told["preset"], told["vocab_size"], told["total"]) == ("gpt2", 50_257, 124_439_808)
    assert told["flops_training"] == 3 * told["flops_forward"]
    assert told["flops_step"] == told["flops_training"] * 12 * 40 * 1024
    assert set(told["memory"]["optimizer"]) == {"adamw", "muon", "sgd"}


def test_the_vocabulary_is_that_of_the_text(cli: Cli, text: Path) -> None:
    told = cli("model", "gpt2", "--data", text, "--json").json
    assert told["vocab_size"] == len(set(text.read_text()))
    assert told["vocabulary"] == f"of {text.name}"


def test_the_vocabulary_may_be_given(cli: Cli) -> None:
    assert cli("model", "bigram", "--vocab-size", "1000", "--json").json["total"] == 1_000_000


def test_the_largest_sizes_can_still_be_counted(cli: Cli) -> None:
    most = ("--vocab-size", "1000000000", "--json")
    assert cli("model", "bigram", *most).json["total"] == 10**18
    widest = ("--set", "model.n_embd=32768", "--set", "model.n_layer=200")
    assert cli("model", "tiny", *widest, *most).code == 0


def test_settings_and_a_file_count(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('preset = "tiny"\n[model]\nn_layer = 7\n')
    words = ("model", "--config", file, "--vocab-size", "65")
    told = cli(*words, "--set", "model.tie_weights=off").out
    assert "blocks 0-6" in told
    assert "(tied)" not in told


def test_a_setting_that_changes_nothing_is_told_beside_the_model(cli: Cli) -> None:
    answer = cli("model", "bigram", "--vocab-size", "9", "--set", "model.n_layer=7", "--json")
    assert (answer.code, answer.json["total"]) == (0, 81)
    assert answer.err == (
        "gpt-tui: model.n_layer has no effect here: a bigram model has only one table\n"
    )


def test_a_text_to_trace_gives_a_published_model_its_own_vocabulary(cli: Cli, text: Path) -> None:
    words = ("--data", text, "--set", "model.n_layer=1", "--set", "model.n_embd=12")
    answer = cli("model", "gpt2", "--trace", "red", *words)
    assert "gpt2 was published with 50,257 tokens" in answer.err
    assert cli("model", "lecture", "--trace", "red", *words, "--set", "model.n_head=2").err == ""


def test_a_text_is_followed_through_a_fresh_model(cli: Cli, text: Path) -> None:
    command = ("model", "layer-norm", "--data", text, "--trace", "red")
    out = cli(*command).out
    assert "'red' (3 tokens) through a new model, train.seed 1337" in out
    for told in ("block 2", "B nh T hs  1 4 3 8", "entropy of its heads", "likeliest next: "):
        assert told in out
    assert cli(*command).out == out
    assert cli(*command, "--set", "train.seed=1").out != out


def test_a_trace_as_json_has_every_stage(cli: Cli, text: Path) -> None:
    told = cli("model", "layer-norm", "--data", text, "--trace", "red", "--json").json
    stages = told["trace"]["stages"]
    assert [one["name"] for one in stages].count("attention weights") == 3
    assert stages[0]["shape"] == [1, 3]
    chances = [chance for _, chance in told["trace"]["likeliest"]]
    assert len(chances) == 5
    assert chances == sorted(chances, reverse=True)


def test_a_text_is_followed_through_a_run(quick_train: Cli, cli: Cli) -> None:
    quick_train()
    out = cli("model", "--run", "tiny-1", "--checkpoint", "latest", "--trace", "one").out
    assert "through the run tiny-1 at step 6" in out
    fresh = cli("model", "--run", "tiny-1").out
    assert "block 0" not in fresh
    assert out.startswith(fresh.rstrip())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["fats"], "there is no preset 'fats': did you mean 'fast'?"),
        (["tiny", "--vocab-size", "0"], "--vocab-size must be 1 to 1,000,000,000, not 0"),
        (["tiny", "--vocab-size", "9" * 10], "--vocab-size must be 1 to 1,000,000,000, not 9,999"),
        (
            ["tiny", "--vocab-size", "9", "--trace", "x"],
            "--trace needs the vocabulary of a text: leave --vocab-size out",
        ),
        (["--checkpoint", "best"], "--checkpoint belongs to a run: name it with --run"),
        (
            ["tiny", "--run", "x", "--set", "model.n_layer=3"],
            "a run has its own settings and text: leave PRESET and --set out",
        ),
        (
            ["tiny", "--set", "model.n_head=3"],
            "model.n_embd 64 is not divisible by model.n_head 3: try n_embd 63",
        ),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(cli: Cli, arguments: list[str], problem: str) -> None:
    assert cli("model", *arguments).problem.startswith(problem)


def test_unknown_characters_and_long_texts_are_refused(cli: Cli, text: Path) -> None:
    command = ("model", "layer-norm", "--data", text, "--trace")
    assert "has no '→'" in cli(*command, "one → two").problem
    assert "raise model.block_size" in cli(*command, "one fish two fish").problem


@pytest.mark.parametrize("end", ["minimum", "maximum"])
def test_the_cost_of_a_model_with_extreme_settings_is_told_at_once(cli: Cli, end: str) -> None:
    settings = [one for one in SETTINGS.values() if getattr(one, end) is not None]
    started = time.monotonic()
    for one in settings:
        answer = cli(
            "model", "tiny", "--vocab-size", 65, "--set", f"{one.key}={getattr(one, end):g}"
        )
        assert answer.code in (0, 2), one.key
        assert "Traceback" not in answer.err
    assert len(settings) > 30 and time.monotonic() - started < 20
