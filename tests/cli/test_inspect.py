"""``gpt-tui inspect``: what a model does with a text, as numbers and as pictures."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

import engine
from data.batches import split_tokens
from engine.checkpoint import store
from engine.checkpoint.store import read_checkpoint
from engine.program import install_command
from tests.cli.conftest import Cli, Stream, train_command
from tests.engine.run_folders import forget_prepared_texts
from tui.cli import main
from tui.commands import inspect_views
from tui.commands.inspect_views import TEXT_VIEWS, VIEWS
from tui.terminal.visible import visible

TEXT = "one fish, two fish,\nred fish, blue fish.\n" * 60
ESCAPE = "\x1b["


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inspected")


@pytest.fixture(scope="module")
def trained(folder: Path) -> Iterator[Path]:
    """A run with weights of steps 3 and 6; no test changes it."""
    text = folder / "rhyme.txt"
    text.write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", io.StringIO())
        words = [*train_command(text), "--runs-dir", str(folder), "--name", "fishes"]
        assert main(words) == 0
    yield folder / "fishes"


@pytest.fixture(scope="module")
def bigram(folder: Path, trained: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", io.StringIO())
        words = [*train_command(folder / "rhyme.txt"), "--runs-dir", str(folder)]
        assert main([*words, "--name", "pairs", "--set", "model.architecture=bigram"]) == 0
    return folder / "pairs"


@pytest.fixture(scope="module")
def spoiled(folder: Path, trained: Path) -> Path:
    """A run whose weights of step 3 are no numbers, as after training that diverged."""
    run = shutil.copytree(trained, folder / "spoiled")
    path = run / "checkpoints/step-00000003"
    snapshot = read_checkpoint(path)
    spoiled = {name: torch.full_like(one, math.nan) for name, one in snapshot.model.items()}
    store._write_files(path, dataclasses.replace(snapshot, model=spoiled))
    return run


# -- numbers ---------------------------------------------------------------------------------------


def test_probabilities_are_those_of_the_model(cli: Cli, trained: Path) -> None:
    told = cli("inspect", trained, "--text", "one fish", "--json", "--step", "3").json
    model = engine.load(trained, checkpoint="3")
    assert model.tokenizer
    ids = torch.tensor(model.tokenizer.encode("one fish"))
    expected = model(ids[None])[0].softmax(-1).detach().numpy()
    assert (told["view"], told["step"], told["tokens"]) == ("prediction", 3, list("one fish"))
    np.testing.assert_allclose(told["probabilities"], expected, atol=1e-5)
    assert "".join(told["vocabulary"]) == model.tokenizer.decode(range(model.vocab_size))
    assert len(told["entropy_bits"]) == len(told["positions"]) == 8


def test_the_most_likely_tokens_alone_come_with_their_ids(cli: Cli, trained: Path) -> None:
    whole = cli("inspect", trained, "--text", "red", "--json").json["probabilities"]
    told = cli("inspect", trained, "--text", "red", "--json", "--top", "2").json
    for row, ids, chances in zip(whole, told["ids"], told["probabilities"], strict=True):
        assert chances == sorted(row, reverse=True)[:2]
        assert [row[one] for one in ids] == chances
    assert "vocabulary" not in told


def test_candidates_are_what_the_settings_leave_at_the_position(cli: Cli, trained: Path) -> None:
    words = ("inspect", trained, "--text", "red fish", "--json", "--position", "2")
    told = cli(*words, "--top-k", "3", "--temperature", "0.5").json
    assert told["positions"] == [2]
    assert (told["settings"]["top_k"], told["settings"]["temperature"]) == (3, 0.5)
    assert len(told["candidates"]) == 3
    assert sum(one["sampled"] for one in told["candidates"]) == pytest.approx(1, abs=1e-4)
    chances = [one["probability"] for one in told["candidates"]]
    assert chances == sorted(chances, reverse=True)


def test_surprisal_is_in_bits_and_the_first_token_has_none(cli: Cli, trained: Path) -> None:
    told = cli("inspect", trained, "--text", "red fish", "--view", "surprise", "--json").json
    chances = cli("inspect", trained, "--text", "red fish", "--json").json
    order = {token: number for number, token in enumerate(chances["vocabulary"])}
    assert told["surprisal_bits"][0] is None and told["rank"][0] is None
    for at in range(1, 8):
        chance = chances["probabilities"][at - 1][order["red fish"[at]]]
        assert told["surprisal_bits"][at] == pytest.approx(-math.log2(chance), abs=1e-3)
    assert told["mean_bits"] == pytest.approx(np.mean(told["surprisal_bits"][1:]), abs=1e-4)
    assert sum(one["count"] for one in told["kinds"]) == 7


def test_attention_is_that_of_the_model(cli: Cli, trained: Path) -> None:
    words = ("inspect", trained, "--view", "attention", "--text", "red fish", "--json")
    told, one, layer = (
        cli(*words, *more).json for more in ((), ("--layer", "1", "--head", "0"), ("--layer", "1"))
    )
    model = engine.load(trained)
    assert model.tokenizer
    ids = torch.tensor(model.tokenizer.encode("red fish"))[None]
    expected = torch.cat(model.attention_weights(ids)).numpy()  # (L, nh, T, T)
    np.testing.assert_allclose(told["attention"], expected, atol=1e-5)
    np.testing.assert_allclose(one["attention"], expected[1:2, :1], atol=1e-5)
    np.testing.assert_allclose(layer["attention"], expected[1:2], atol=1e-5)
    places = [(head["layer"], head["head"]) for head in told["heads"]]
    assert places == [(i, j) for i in range(expected.shape[0]) for j in range(expected.shape[1])]
    assert all(head["name"] and 0 <= head["score"] <= 1 for head in told["heads"])


def test_the_last_layer_predicts_what_the_model_does(cli: Cli, trained: Path) -> None:
    told = cli("inspect", trained, "--view", "layers", "--text", "red fish", "--json").json
    chances = cli("inspect", trained, "--text", "red fish", "--json", "--top", "1").json
    layers, model = told["layers"], engine.load(trained)
    assert layers["lens"]["ids"][-1] == [ids[0] for ids in chances["ids"]]
    assert layers["lens"]["true_token_probabilities"][-1][-1] is None  # nothing follows
    assert np.shape(layers["stream_norms"]) == (model.config.n_layer + 1, 8)
    assert np.shape(layers["added_norms"]) == (model.config.n_layer, 2, 8)
    parts = {(one["layer"], one["part"]) for one in layers["worth"]}
    assert {(0, 0), (1, "attention"), (1, "feed_forward"), (0, "layer")} <= parts


def test_embeddings_have_a_point_for_each_token(cli: Cli, trained: Path) -> None:
    told = cli("inspect", trained, "--view", "embeddings", "--text", "red", "--json").json
    found, model = told["embeddings"], engine.load(trained)
    assert np.shape(found["points"]) == (model.vocab_size, 2) and len(found["explained"]) == 2
    assert len(found["vocabulary"]) == model.vocab_size
    assert model.tokenizer
    assert {one["id"] for one in found["nearest"]} == set(model.tokenizer.encode("red").tolist())
    assert all(one["cosines"] == sorted(one["cosines"], reverse=True) for one in found["nearest"])


def test_health_is_what_was_recorded_of_the_layers(cli: Cli, trained: Path) -> None:
    told = cli("inspect", trained, "--view", "health", "--json").json
    norms = told["health"]["maps"]["health/grad_norm"]
    assert np.shape(norms["values"]) == (len(norms["parts"]), len(norms["steps"]))
    assert "blocks.0" in norms["parts"] and told["step"] == norms["steps"][-1] > 0
    assert {one["suspicious"] for one in told["health"]["findings"]} <= {True, False}


def test_a_run_whose_layers_were_not_measured_says_what_to_do(cli: Cli, quick_train: Cli) -> None:
    quick_train("--set", "eval.health_interval=0")
    answer = cli("inspect", "tiny-1", "--view", "health")
    assert answer.code == 0 and "eval.health_interval is off: set it" in " ".join(
        answer.out.split()
    )
    assert cli("inspect", "tiny-1", "--view", "health", "--json").json["health"]["findings"] == []


def test_without_a_text_it_is_an_excerpt_of_the_validation_split(cli: Cli, trained: Path) -> None:
    size = engine.load(trained).config.block_size
    val = "".join(split_tokens(np.array(list(TEXT))).val)
    for words, start in (((), 0), (("--excerpt", "2"), size)):
        told = cli("inspect", trained, "--json", "--top", "1", *words).json
        assert "".join(told["tokens"]) == val[start : start + size]


def test_every_moment_has_its_own_figures(cli: Cli, trained: Path) -> None:
    words = ("inspect", trained, "--text", "red", "--view", "surprise", "--json", "--step")
    told = [cli(*words, step).json for step in ("untrained", "3", "latest")]
    assert [one["step"] for one in told] == [0, 3, 6]
    means = [one["mean_bits"] for one in told]
    assert means == sorted(means, reverse=True) and len(set(means)) == 3


# -- pictures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_a_plain_picture_fits_80_columns_and_has_no_escapes(
    cli: Cli, trained: Path, view: str
) -> None:
    answer = cli("inspect", trained, "--view", view)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert len(lines) > 4 and max(map(len, lines)) <= 80
    assert ESCAPE not in answer.out


@pytest.mark.parametrize("view", VIEWS)
def test_where_only_ascii_is_shown_a_picture_is_ascii(cli: Cli, trained: Path, view: str) -> None:
    assert cli("preferences", "set", "chart.characters", "ascii").code == 0
    assert cli("inspect", trained, "--view", view).out.isascii()


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_gets_its_colours(
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    coloured: bool,
) -> None:
    for name in ("NO_COLOR", "COLORTERM", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**environment, "COLUMNS": "80", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    out = Stream(terminal=True)
    monkeypatch.setattr("sys.stdout", out)
    assert main(["inspect", str(trained), "--view", "surprise"]) == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert (ESCAPE in out.getvalue()) == coloured
    assert visible(shown) == shown  # no other control characters
    assert max(map(len, shown.splitlines())) <= 80 and len(shown.splitlines()) <= 24


@pytest.mark.parametrize("view", VIEWS)
def test_pictures_are_written_to_files(cli: Cli, trained: Path, view: str, tmp_path: Path) -> None:
    kinds = ("svg", "html", "png") if find_spec("resvg_py") else ("svg", "html")  # it is an extra
    files = {kind: tmp_path / f"a.{kind}" for kind in kinds}
    words = [word for kind, file in files.items() for word in (f"--{kind}", str(file))]
    if view != "health":
        words += ["--text", "<red> & </script>", "--drop-unknown"]
    answer = cli("inspect", trained, "--view", view, *words)
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    picture = ElementTree.parse(files["svg"]).getroot()
    assert picture.tag == "{http://www.w3.org/2000/svg}svg" and len(picture) > 5
    assert all(
        file.read_bytes().startswith(b"\x89PNG") for kind, file in files.items() if kind == "png"
    )
    found = re.search(
        r'<script type="application/json".*?>(.*?)</script>', files["html"].read_text()
    )
    assert found and json.loads(found[1])["view"] == view


def test_a_png_needs_an_extra(
    cli: Cli, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    answer = cli("inspect", trained, "--png", tmp_path / "a.png")
    assert answer.problem == (
        f"a PNG needs a library that is not installed: {install_command('pictures')}, or write "
        "an SVG with --svg"
    )
    assert not list(tmp_path.glob("*.png"))


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--text", ""], "give --text at least one character"),
        (
            ["--text", "漢"],
            "that this model does not know ('漢'): leave them out, or add --drop-un",
        ),
        (["--text", "漢", "--drop-unknown"], "knows no character of the text"),
        (["--text", "a", "--excerpt", "1"], "leave one out"),
        (["--excerpt", "0"], "--excerpt counts from 1"),
        (["--step", "4"], "it has best, latest and steps 3, 6, of which 3 is the nearest"),
        (["--step", "soon"], "no checkpoint 'soon'"),
        (["--text", "red", "--position", "3"], "outside the text of 3 tokens: give 0 to 2, or -1"),
        (["--json", "--svg", "a.svg"], "different outputs: leave one out"),
        (["--view", "surprise", "--top", "3"], "--top belongs to --view prediction"),
        (["--view", "attention", "--head", "1"], "--head needs --layer"),
        (["--view", "attention", "--layer", "9"], "there is no layer 9: the model has 2, counted"),
        (["--view", "attention", "--layer", "0", "--head", "-1"], "there is no head -1: the layer"),
        (["--layer", "0"], "--layer belongs to --view attention"),
        (["--view", "health", "--text", "a"], "--text has no effect on what was rec"),
        (["--top", "0"], "--top must be at least 1"),
        (["--top-p", "7"], "--top-p"),
        (["--view", "attenton"], "did you mean 'attention'?"),
        (["--svg", "/nowhere/a.svg"], "cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_sentence(cli: Cli, trained: Path, words: list[str], told: str) -> None:
    assert told in cli("inspect", trained, *words).problem


def test_a_bigram_says_what_it_has_instead_of_attention(cli: Cli, bigram: Path) -> None:
    for view in ("attention", "layers"):
        told = cli("inspect", bigram, "--view", view).problem
        assert told.startswith(f"a bigram has no {view}: ")
        assert "look at its prediction, surprise or embeddings instead" in told
    for view in ("prediction", "surprise", "embeddings"):
        assert cli("inspect", bigram, "--view", view).code == 0


def test_more_weights_than_one_line_can_hold_are_refused(
    cli: Cli, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_views, "MOST_WEIGHTS", 100)
    words = ("inspect", trained, "--view", "attention", "--text", "red fish", "--json")
    assert "choose one with --layer and --head, or give a shorter --text" in cli(*words).problem
    assert cli(*words, "--layer", "0", "--head", "0").code == 0


def test_of_a_text_longer_than_the_context_the_end_is_looked_at(cli: Cli, trained: Path) -> None:
    size = engine.load(trained).config.block_size
    answer = cli("inspect", trained, "--text", TEXT[: size + 5], "--json", "--top", "1")
    assert (answer.code, answer.json["left_out"]) == (0, 5)
    assert "".join(answer.json["tokens"]) == TEXT[5 : size + 5]
    assert answer.err == (
        f"gpt-tui: the text is {size + 5} tokens long, and the model's context is {size}: the last "
        f"{size} are looked at\n"
    )


def test_a_text_that_is_gone_can_be_replaced_by_one_of_ones_own(
    cli: Cli, quick_train: Cli, text: Path
) -> None:
    quick_train()
    text.unlink()
    forget_prepared_texts()
    assert cli("inspect", "tiny-1").problem.endswith("or give a text of your own with --text")
    answer = cli("inspect", "tiny-1", "--text", "red", "--view", "attention")
    assert answer.code == 0
    assert "heads of the model cannot be measured, as the run's text is not there" in answer.err


@pytest.mark.parametrize("view", TEXT_VIEWS)
def test_weights_that_are_no_numbers_are_shown_as_such(
    cli: Cli, spoiled: Path, view: str, tmp_path: Path
) -> None:
    words = ("inspect", spoiled, "--view", view, "--step", "3", "--text", "red fish")
    answer = cli(*words)
    assert (answer.code, answer.err) == (0, "")
    assert cli(*words, "--json").code == 0
    assert cli(*words, "--svg", tmp_path / "a.svg").code == 0


def test_a_single_token_has_no_surprisal(cli: Cli, trained: Path) -> None:
    words = ("inspect", trained, "--view", "surprise", "--text", "r")
    assert "none: it is a single token" in cli(*words).out
    assert cli(*words, "--json").json["surprisal_bits"] == [None]
