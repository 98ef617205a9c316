"""``gpt-tui data``: list, info, fetch and rm; and ``--data`` with whatever a person points at."""

from __future__ import annotations

import io
import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from data.corpora.catalogue import KNOWN_NAMES
from data.corpora.corpus import Options
from data.sources import stdin
from tests.cli.conftest import Cli
from tests.cli.test_moved_text import LONGER
from tests.data.tokenizers.test_files import write_pair
from tests.engine.run_folders import forget_prepared_texts


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "my notes"
    folder.mkdir()
    (folder / "a.txt").write_text("Zwölf Boxkämpfer\n" * 30, encoding="cp1252")
    (folder / "b.jsonl").write_text('{"id": 1, "text": "Аnna and раul\\u0007"}\n{"text": \n' * 20)
    (folder / "c.bin").write_bytes(b"\0\1")
    return folder


def test_the_list_has_every_name(cli: Cli) -> None:
    listed = cli("data", "list").out
    assert all(name in listed for name in KNOWN_NAMES)
    facts = json.loads(cli("data", "list", "--json").out)
    assert [one["name"] for one in facts] == list(KNOWN_NAMES)
    assert {"licence", "size", "url", "sha256", "here", "described"} <= set(facts[0])
    assert cli("data").out == listed


def test_info_says_what_is_in_a_text(cli: Cli, notes: Path) -> None:
    shown = " ".join(cli("data", "info", notes).out.split())  # whatever the width
    assert "documents 21, each learned with an end-of-text token after it" in shown
    assert "20 control characters (U+0007 in b.jsonl:1, …)" in shown
    assert "40 places where letters of two scripts stand in one word" in shown
    assert "left out: 1 binary (c.bin)" in shown
    assert "20 broken rows" in shown
    assert "a.txt is read as cp1252" in shown
    assert f"train --data '{notes}'" in shown


def test_other_addresses_are_refused_in_a_sentence(cli: Cli) -> None:
    for command in (["data", "info"], ["data", "prepare"], ["train", "--data"]):
        error = cli(*command, "ftp://host/a.txt").problem
        assert "begins with ftp://, and only https:// and http:// are read: download it" in error
        assert "does not exist" not in error


def test_a_dataset_of_the_hub_is_fetched_removed_and_trained_on_by_its_name(cli: Cli) -> None:
    offline = "hf:me/tales is not in the cache, and GPT_TUI_OFFLINE is set: unset that"
    assert offline in cli("data", "fetch", "hf:me/tales").problem
    problem = cli("data", "fetch", "hf-stream:me/tales").problem
    assert problem.endswith("is not kept: train on it, or download hf:me/tales, which is kept")
    assert offline in cli("train", "--data", "hf:me/tales").problem
    assert "there is nothing to remove" in cli("data", "rm", "hf:me/tales").problem
    assert "write it as hf:OWNER/NAME" in cli("data", "info", "hf:me and you").problem


def test_replacement_characters_are_named_once(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a \ufffd\n" * 3)
    assert "3 replacement characters (U+FFFD in a.txt, …)" in cli("data", "info", path).out


def test_fewer_tokens_than_were_asked_for_are_told(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("to be or not to be\n" * 300)
    told = " ".join(cli("data", "prepare", path, "--set", "data.tokenizer=bpe").out.split())
    assert "tokens of bpe, fewer than the 1,024 of data.vocab_size" in told
    fewer = cli("data", "prepare", path, "--set", "data.tokenizer=bpe", "--set",
                "data.vocab_size=260").out  # fmt: skip
    assert "fewer than" not in fewer


def test_info_as_json(cli: Cli, notes: Path) -> None:
    facts = json.loads(cli("data", "info", notes / "b.jsonl", "--json").out)
    assert facts["documents"] == 20
    assert facts["longest_document"] == {"name": "b.jsonl:1", "characters": 14}
    assert facts["odd_characters"]["control characters"] == 20
    assert facts["bytes"] > facts["characters"] > facts["distinct_characters"] > 5
    assert len(facts["sha256"]) == 64
    listed = json.dumps(["counting", str(notes / "a.txt")])
    assert json.loads(cli("data", "info", listed, "--json").out)["documents"] == 2
    several = json.loads(cli("data", "info", "counting", notes / "a.txt", "--json").out)
    assert several["documents"] == 2


def test_settings_of_reading_can_be_named(cli: Cli, notes: Path) -> None:
    told = cli("data", "info", notes / "b.jsonl", "--set", "data.field=txt").problem
    named = told[told.index("--set ") :].split()[1]
    assert named == "data.field=text"
    assert "documents" in cli("data", "info", notes / "b.jsonl", "--set", named).out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["lst"], "'gpt-tui data' has no action 'lst': did you mean 'list'?"),
        (["fetch", "enwik9"], "there is no text 'enwik9' in the catalogue: did you mean 'enwik8'?"),
        (["fetch", "enwik8"], "enwik8 is not in the cache, and GPT_TUI_OFFLINE is set: unset that"),
        (
            ["fetch", "tinyshakespeare"],
            "tinyshakespeare is not in the cache and GPT_TUI",
        ),
        (["rm", "enwik8"], "enwik8 is not in the cache: there is nothing to remove"),
        (["rm", "counting"], "counting is not downloaded: it is part of the installation"),
        (["info", "/nowhere/at/all"], "The file /nowhere/at/all does not exist."),
        (["info", "http://"], "http:// is no address: write it as https://host/file.txt"),
        (["info", "a", "--set", "data.normalize=nfd"], "data.normalize cannot be 'nfd': did you"),
    ],
)
def test_bad_input_is_one_sentence(cli: Cli, words: list[str], problem: str) -> None:
    assert cli("data", *words).problem.startswith(problem)


def test_fetching_what_is_installed_does_nothing(cli: Cli) -> None:
    assert cli("data", "fetch", "addition").out.startswith("addition is part of the installation")
    assert json.loads(cli("data", "fetch", "addition", "--json").out)["name"] == "addition"


TRAIN = ("--preset", "tiny", "--set", "train.max_steps=2", "--set", "system.threads=1")


def test_a_run_is_trained_on_several_texts_and_goes_on(
    cli: Cli, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other text.txt"
    other.write_text("a longer text\n" * 300)
    first = cli("train", *TRAIN, "--name", "a", "--data", notes, "--data", other)
    assert first.code == 0, first
    shown = cli("runs", "show", "a").out
    assert "my notes and 1 more" in shown
    monkeypatch.chdir("/")
    again = cli("train", "--resume", "a", "--set", "train.max_steps=4")
    assert again.code == 0, again
    moved = tmp_path / "moved"
    notes.rename(moved)
    forget_prepared_texts()
    assert "was not found" in cli("train", "--resume", "a", "--set", "train.max_steps=5").problem
    words = ("train", "--resume", "a", "--set", "train.max_steps=5")
    assert cli(*words, "--data", moved, "--data", other).code == 0


def test_several_texts_in_a_config_file(cli: Cli, tmp_path: Path, runs_dir: Path) -> None:
    for name in ("a b.txt", "c.txt"):
        (tmp_path / name).write_text("to be or not to be\n" * 200)
    config = tmp_path / "config.toml"
    config.write_text(f'[data]\ncorpus = ["{tmp_path}/a b.txt", "{tmp_path}/c.txt"]\n')
    assert cli("train", *TRAIN, "--name", "a", "--config", config).code == 0
    assert "a b.txt and 1 more" in cli("runs", "show", "a").out
    written = (runs_dir / "a/config.toml").read_text()
    assert tomllib.loads(written)["data"]["corpus"] == [f"{tmp_path}/a b.txt", f"{tmp_path}/c.txt"]


def test_a_text_from_standard_input_is_found_in_the_cache_but_not_read_again(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be\n" * 200)
    stdin._spool.cache_clear()
    with text.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert cli("train", *TRAIN, "--name", "a", "--data", "-").code == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    stdin._spool.cache_clear()
    assert cli("train", "--resume", "a", "--set", "train.max_steps=3").code == 0
    forget_prepared_texts()
    words = ("train", "--resume", "a", "--set", "train.max_steps=4")
    assert "standard input cannot be read again" in cli(*words).problem
    assert cli(*words, "--data", text).code == 0


def test_a_run_of_an_earlier_version_goes_on_with_what_it_read(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which left lone carriage returns, marks and tables as they are."""
    text = tmp_path / "text.csv"
    text.write_bytes(b"id,text\n" + b"1,to be\ror not to be\r\n" * 200)
    with monkeypatch.context() as before:
        before.setattr("engine.runs.text.options_of", lambda data: Options(as_before=True))
        assert cli("train", *TRAIN, "--name", "a", "--data", text).code == 0
    forget_prepared_texts()
    again = cli("train", "--resume", "a", "--set", "train.max_steps=4")
    assert again.code == 0, again


def test_standard_input_cannot_wait_in_the_queue(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be\n" * 200)
    stdin._spool.cache_clear()
    with text.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        words = ("sweep", "model.n_layer=1,2", "--preset", "tiny", "--data", "-", "--queue-only")
        assert "standard input cannot wait in the queue: save it" in cli(*words).problem
    stdin._spool.cache_clear()


# -- tokens ----------------------------------------------------------------------------------------


def test_a_text_is_prepared_listed_and_deleted(cli: Cli, notes: Path) -> None:
    how = ("data", "prepare", notes / "a.txt", "--set", "data.tokenizer=bytes")
    made = json.loads(cli(*how, "--json").out)
    assert (made["tokenizer"], made["vocab_size"], made["bytes_per_token"]) == ("bytes", 256, 1.0)
    assert made["tokens"] == len("Zwölf Boxkämpfer\n".encode()) * 30
    shown = " ".join(cli(*how).out.split())
    assert f"train --data '{notes / 'a.txt'}' --set data.tokenizer=bytes" in shown
    (listed,) = json.loads(cli("data", "list", "--prepared", "--json").out)
    assert listed.items() <= made.items()
    assert "a.txt" in cli("data", "list", "--prepared").out
    assert "did you mean 'a.txt'?" in cli("data", "rm", "--prepared", "b.txt").problem
    told = cli("data", "rm", notes / "a.txt").problem
    assert told.endswith(
        "is no text of the catalogue: gpt-tui data rm --prepared a.txt deletes its tokens"
    )
    freed = json.loads(cli("data", "rm", "--prepared", "a.txt", "--json").out)
    assert freed["bytes"] == made["bytes"]
    assert json.loads(cli("data", "list", "--prepared", "--json").out) == []
    told = cli("data", "list", "--prepared").out
    assert told == "no text is prepared: gpt-tui data prepare TEXT makes its tokens\n"
    assert "nothing is prepared" in cli("data", "rm", "--prepared", "a.txt").problem
    assert cli("data", "rm", "--prepared").code == 0


def test_texts_prepared_with_bpe_are_listed_with_their_vocabulary(cli: Cli, notes: Path) -> None:
    for size in (258, 270):
        how = ("--set", "data.tokenizer=bpe", "--set", f"data.vocab_size={size}")
        cli("data", "prepare", notes / "a.txt", *how)
    listed = cli("data", "list", "--prepared").out
    assert "bpe 258 " in listed and "bpe 270 " in listed
    facts = json.loads(cli("data", "list", "--prepared", "--json").out)
    assert {one["vocab_size"] for one in facts} >= {258, 270}
    cli("data", "rm", "--prepared")


@pytest.mark.parametrize("action", ["info", "prepare"])
def test_of_a_short_text_the_command_that_is_printed_trains(
    cli: Cli, tmp_path: Path, action: str
) -> None:
    path = tmp_path / "short.txt"
    path.write_text("to be or not\n" * 20)
    small = ("--preset", "tiny", "--set", "train.max_steps=1", "--set", "system.threads=1")
    for asked in ((), ("--set", "model.block_size=999")):
        line = cli("data", action, path, *asked).out.splitlines()[-1]
        assert line.endswith("--set model.block_size=25")
        assert cli(*line.split()[2:], *small).code == 0
    path.write_text("to")
    assert cli("data", action, path).out.splitlines()[-1].startswith("  train    on a longer text")
    path.write_text("to be or not\n" * 2000)
    assert "block_size" not in cli("data", action, path).out


def test_looking_at_a_text_keeps_none_of_its_tokens(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "only looked at.txt"
    path.write_text("to be or not\n" * 20)
    cli("data", "info", path)
    assert path.name not in cli("data", "list", "--prepared").out


def test_a_tokenizer_that_is_not_there_is_told_before_a_text_is_read(cli: Cli, notes: Path) -> None:
    for words in (("data", "info", notes), ("train", "--data", notes)):
        answer = cli(*words, "--set", "data.tokenizer=bpee")
        assert answer.problem.startswith("there is no tokenizer bpee: use char, bytes, bpe, gpt2")
        assert "reading" not in answer.err


def test_nanogpt_reads_what_was_prepared(cli: Cli, notes: Path, tmp_path: Path) -> None:
    out = tmp_path / "shakespeare_char"
    how = ("data", "prepare", "counting", "--set", "data.tokenizer=bpe", "--set")
    made = json.loads(cli(*how, "data.vocab_size=300", "--bin", out, "--json").out)
    train, val = (np.fromfile(out / f"{name}.bin", np.uint16) for name in ("train", "val"))
    assert len(train) == int(0.9 * made["tokens"]) and len(train) + len(val) == made["tokens"]
    assert train.max() < 300


def test_rm_wants_a_name(cli: Cli) -> None:
    assert "name a text of the catalogue, or add --prepared" in cli("data", "rm").err


def test_a_text_to_validate_on_is_named(cli: Cli, tmp_path: Path) -> None:
    for name, count in (("a", 90), ("b", 30), ("c", 20)):
        (tmp_path / f"{name}.txt").write_text(f"{name} is a line of its own\n" * count)
    a, b, c = (str(tmp_path / f"{name}.txt") for name in "abc")
    facts = json.loads(cli("data", "prepare", a, "--val", b, "--val", c, "--json").out)
    assert facts["val_tokens"] == len((b_text := Path(b).read_text()) + Path(c).read_text())
    assert facts["train_tokens"] == facts["tokens"] == len(Path(a).read_text())
    assert any("'b', 'c', which the training text has not" in one for one in facts["told"])
    cli(
        "data", "prepare", a, "--val", b, "--bin", tmp_path / "bin", "--set", "data.tokenizer=bytes"
    )
    assert np.fromfile(tmp_path / "bin/val.bin", "<u2").tolist() == list(b_text.encode())


def test_prepare_says_how_documents_are_kept_apart(cli: Cli, notes: Path, tmp_path: Path) -> None:
    shown = " ".join(cli("data", "prepare", notes, "--bin", tmp_path).out.split())
    assert "documents 21, an end-of-text token after each" in shown
    facts = json.loads(cli("data", "prepare", notes, "--json").out)
    assert facts["documents"] == 21
    end = facts["vocab_size"] - 1
    parts = [np.fromfile(tmp_path / name, "<u2") for name in ("train.bin", "val.bin")]
    assert sum(int((one == end).sum()) for one in parts) == 21
    assert sum(map(len, parts)) == facts["tokens"] == facts["train_tokens"] + facts["val_tokens"]


def test_info_reads_the_text_to_validate_on_too(cli: Cli, notes: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("näive\n" * 20)
    facts = json.loads(cli("data", "info", notes, "--val", own, "--json").out)
    assert facts["val"]["characters"] == 120 and facts["documents"] == 21
    shown = " ".join(cli("data", "info", notes, "--val", own).out.split())
    assert "validation own.txt size 140 B" in shown
    assert f"--val {own}" in shown
    assert "val" not in json.loads(cli("data", "info", notes, "--json").out)


def test_a_run_on_files_of_nanogpt_takes_both_and_finds_them_again(
    cli: Cli, quick_train: Cli, text: Path, tmp_path: Path, runs_dir: Path
) -> None:
    out = tmp_path / "rhyme_char"
    cli("data", "prepare", text, "--bin", out)
    assert {one.name for one in out.iterdir()} == {"train.bin", "val.bin", "meta.pkl"}
    told = cli("train", "--data", out / "train.bin", "--data", text).problem
    assert "goes with no other text: name it alone" in told
    made = quick_train(text=out / "train.bin")
    assert "the tokens of train.bin are taken as they are (char)" in made.err
    settings = tomllib.loads((runs_dir / "tiny-1/config.toml").read_text())
    assert settings["data"]["val"] == str(out / "val.bin")
    moved = out.rename(tmp_path / "elsewhere")
    forget_prepared_texts()
    assert "--data PATH" in cli("train", "--resume", "tiny-1", *LONGER).problem
    now = ("--data", moved / "train.bin", "--val", moved / "val.bin")
    assert cli("train", "--resume", "tiny-1", *LONGER, *now, "--json").json["steps"] == 8
    shown = " ".join(cli("data", "info", moved / "train.bin").out.split())
    assert f"characters {int(0.9 * len(text.read_text())):,}" in shown
    assert "validation val.bin" in shown


def test_documents_written_for_nanogpt_are_read_back_by_the_tokenizer_beside_them(
    cli: Cli, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"text": f"row {i} of many " * 4}) for i in range(60)))
    out = tmp_path / "bin"
    assert cli("data", "prepare", rows, "--bin", out).code == 0
    assert {one.name for one in out.iterdir()} == {"train.bin", "val.bin", "tokenizer.json"}
    for named in (out / "train.bin", out):  # a folder of them is the same
        shown = " ".join(cli("data", "info", named).out.split())
        assert "text train.bin" in shown and "validation val.bin" in shown
        assert "documents 54, each learned with an end-of-text token after it" in shown
    first, again = (json.loads(cli("data", "prepare", out, "--json").out) for _ in range(2))
    assert first == again and first["name"] == "train.bin"
    (out / "val.bin").unlink()
    assert "text bin " in " ".join(cli("data", "info", out).out.split())


def test_prepare_says_what_it_wrote_and_of_which_text(cli: Cli, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.txt").write_text("the same words in both\n" * 90)
    cli("data", "prepare", tmp_path / "first.txt")
    made = cli("data", "prepare", tmp_path / "second.txt", "--bin", tmp_path / "out")
    shown = " ".join(made.out.split())
    assert shown.startswith("text second.txt")
    assert f"written{tmp_path / 'out'}:meta.pkl,train.bin,val.bin" in "".join(shown.split())


def test_without_meta_the_run_has_the_tokens_of_gpt2(
    quick_train: Cli, tmp_path: Path, runs_dir: Path
) -> None:
    write_pair(tmp_path / "cache/tokenizers/gpt2")
    path = tmp_path / "some.bin"
    np.tile(np.array([104, 101, 108, 261], "<u2"), 300).tofile(path)
    assert quick_train(text=path).json["tokenizer"] == "gpt2"
    settings = tomllib.loads((runs_dir / "tiny-1/config.toml").read_text())
    assert settings["data"]["tokenizer"] == "gpt2"
