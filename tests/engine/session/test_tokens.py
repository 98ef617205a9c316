"""A run with any tokenizer: it trains, writes, is resumed to the same bits, and needs no text."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers

import engine
from data.errors import InputError
from data.tokenizers import CharTokenizer
from engine.protocol import Sample, SampleStarted, SampleText, Warned
from engine.runs.open import look_at_run
from engine.runs.summary import read_summary
from engine.sampling.generate import start_tokens
from tests.engine.conftest import SILENT, MakeConfig, Rig, assert_same_bits, bits, recorded_losses
from tests.engine.run_folders import forget_prepared_texts

KINDS: dict[str, dict[str, Any]] = {
    "char": {},
    "rare characters": {"data__min_count": 20},
    "bytes": {"data__tokenizer": "bytes"},
    "bpe": {"data__tokenizer": "bpe", "data__vocab_size": 300},
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture
def text(small_text: str, tmp_path: Path) -> Path:
    """With letters of several bytes, some of them rare."""
    path = tmp_path / "mine.txt"
    path.write_text(small_text + "Zwölf Boxkämpfer jagen 中文 😀\n" * 30 + "ß¿", encoding="utf-8")
    return path


@every_kind
def test_a_run_is_resumed_to_the_same_bits_without_its_text(
    kind: dict[str, Any], text: Path, rig: Rig, make_config: MakeConfig
) -> None:
    config = make_config(data__corpus=str(text), **kind)
    whole = rig.new(config)
    rig.to_step(whole, 8)
    half = rig.new(config)
    rig.to_step(half, 4)
    path = rig.close(half)
    text.unlink()
    resumed = rig.open(path)
    rig.to_step(resumed, 8)
    assert_same_bits(bits(resumed), bits(whole))
    assert recorded_losses(resumed) == recorded_losses(whole)


@every_kind
def test_the_model_of_a_run_is_loaded_with_its_tokenizer(
    kind: dict[str, Any], text: Path, rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(data__corpus=str(text), **kind))
    rig.to_step(session, 2)
    own = session.files.tokenizer
    path = rig.close(session)
    text.unlink()
    forget_prepared_texts()
    model = engine.load(path)
    assert model.tokenizer is not None
    assert model.tokenizer.fingerprint == own.fingerprint
    ids = own.encode("the end").tolist()
    standard = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
    assert standard.encode("the end", add_special_tokens=False).ids == ids
    assert standard.get_vocab_size() == model.vocab_size == own.vocab_size


@every_kind
def test_what_is_written_is_the_text_of_its_tokens(
    kind: dict[str, Any], text: Path, rig: Rig, make_config: MakeConfig
) -> None:
    """An untrained model of bytes begins letters that it never finishes."""
    session = rig.new(make_config(data__corpus=str(text), **kind), running=False)
    rig.send(session, Sample({"max_tokens": 60, "prompt": "Zw"}))
    rig.rest(session)
    (asked,) = (one.sample for one in rig.said(SampleStarted) if not one.automatic)
    parts = [event for event in rig.said(SampleText) if event.sample == asked]
    written = "".join(part.text for part in parts)
    odds = [one for part in parts for one in part.odds]
    assert len(odds) == 60
    assert sum(one.length for one in odds) == len(written)
    assert all(len(one.alternatives) == 5 for one in odds)


@every_kind
def test_bits_per_byte_compare_tokens_of_any_kind(
    kind: dict[str, Any], text: Path, rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(data__corpus=str(text), eval__interval=2, **kind))
    rig.to_step(session, 3)
    split, own = session.files.split, session.files.tokenizer
    run = read_summary(rig.close(session))
    assert run.val_loss is not None and run.val_bits_per_byte is not None
    size = len(own.decode(split.val).encode())
    expected = run.val_loss / math.log(2) * len(split.val) / size
    assert run.val_bits_per_byte == pytest.approx(expected)


def test_a_damaged_tokenizer_file_is_made_again_of_the_text(
    text: Path, rig: Rig, make_config: MakeConfig
) -> None:
    path = rig.close(rig.new(make_config(data__corpus=str(text), **KINDS["bpe"]), running=False))
    (path / "tokenizer.json").write_text("{")
    session = rig.open(path, running=False)
    assert session.files.tokenizer.vocab_size == 300


BROKEN = (
    b"{", b"[]", b"{}", b'{"model": {"vocab": 3}}', b'{"model": {"vocab": {}, "merges": []}}',
    b'{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}',  # another tokenizer
)  # fmt: skip


@pytest.mark.parametrize("kind", [KINDS["char"], KINDS["bpe"]], ids=["char", "bpe"])
@pytest.mark.parametrize("damage", BROKEN)
def test_before_the_first_checkpoint_the_text_gives_the_tokenizer_again(
    kind: dict[str, Any], damage: bytes, text: Path, rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(data__corpus=str(text), **kind), running=False)
    own, path = session.files.tokenizer, rig.close(session)
    shutil.rmtree(path / "checkpoints", ignore_errors=True)
    (path / "tokenizer.json").write_bytes(damage)
    assert rig.open(path, running=False).files.tokenizer.fingerprint == own.fingerprint


@every_kind
def test_a_damaged_tokenizer_file_is_made_again_of_a_checkpoint(
    kind: dict[str, Any], text: Path, rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(data__corpus=str(text), **kind))
    rig.to_step(session, 1)
    own, path = session.files.tokenizer, rig.close(session)
    text.unlink()  # its tokens are kept, and so is the tokenizer
    file = path / "tokenizer.json"
    before = file.read_bytes()
    for damage in BROKEN:
        file.write_bytes(damage)
        seen = look_at_run(path, SILENT)  # which writes nothing
        seen.close()
        assert seen.tokenizer.fingerprint == own.fingerprint and file.read_bytes() == damage
        rig.events.clear()
        again = rig.open(path, running=False)
        assert again.files.tokenizer.fingerprint == own.fingerprint
        told = "tokenizer.json was damaged: it was written again from what the run knows"
        assert told in [event.message for event in rig.said(Warned)]
        assert file.read_bytes() == before
        rig.close(again)
    file.unlink()  # as of a run until 0.9
    assert rig.open(path, running=False).files.tokenizer.fingerprint == own.fingerprint
    assert not file.exists()


@every_kind
@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_a_prompt_are_those_of_the_text(
    kind: dict[str, Any], end: str, text: Path, rig: Rig, make_config: MakeConfig
) -> None:
    config = make_config(data__corpus=str(text), sample__prompt=f"Zw{end}Zw", **kind)
    own = rig.new(config, running=False).files.tokenizer
    assert start_tokens(f"Zw{end}Zw", own) == own.encode("Zw\nZw").tolist()


def test_a_carriage_return_that_a_text_has_stays_one() -> None:
    """Those of runs until 0.9 may have some."""
    assert start_tokens("a\r\n", CharTokenizer("\n\ra")) == [2, 1, 0]


def test_a_prompt_with_rare_characters_is_refused(
    text: Path, rig: Rig, make_config: MakeConfig
) -> None:
    config = make_config(data__corpus=str(text), sample__prompt="ß", **KINDS["rare characters"])
    with pytest.raises(InputError, match="has no 'ß'"):
        rig.new(config)


def test_a_tokenizer_that_is_not_there_is_refused_before_there_is_a_run(
    rig: Rig, make_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="use char, bytes, bpe, gpt2 or the path of a"):
        rig.new(make_config(data__tokenizer=str(tmp_path / "no.json")))
    assert not rig.runs_dir.exists() or not list(rig.runs_dir.iterdir())
