"""A run of several documents: each ends with a token, at which its texts stop."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import engine
from data.tokenizers.base import END_OF_TEXT
from engine.protocol import Sample, SampleFinished, SampleStarted, SampleText
from engine.runs.open import look_at_run
from engine.session.monitor import references_of
from tests.engine.conftest import SILENT, MakeConfig, Rig, assert_same_bits, bits, recorded_losses
from tests.engine.run_folders import forget_prepared_texts
from tests.engine.session.test_tokens import every_kind


@pytest.fixture
def texts(small_text: str, tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    third = len(small_text) // 3
    for number in range(3):
        part = small_text[number * third : (number + 1) * third]
        (folder / f"{number}.txt").write_text(part, encoding="utf-8")
    return folder


@every_kind
def test_it_is_resumed_to_the_same_bits(
    kind: dict[str, Any], texts: Path, rig: Rig, make_config: MakeConfig
) -> None:
    config = make_config(data__corpus=str(texts), **kind)
    whole = rig.new(config)
    rig.to_step(whole, 8)
    half = rig.new(config)
    rig.to_step(half, 4)
    path = rig.close(half)
    forget_prepared_texts()  # the text is read and its tokens are made again
    resumed = rig.open(path)
    assert resumed.files.tokenizer.end_of_text == whole.files.tokenizer.end_of_text is not None
    rig.to_step(resumed, 8)
    assert_same_bits(bits(resumed), bits(whole))
    assert recorded_losses(resumed) == recorded_losses(whole)
    assert engine.load(rig.close(resumed)).vocab_size == whole.files.tokenizer.vocab_size


def test_its_texts_stop_at_the_end_of_a_text(
    texts: Path, rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(data__corpus=str(texts), data__tokenizer="bytes"), running=False)
    end = session.files.tokenizer.end_of_text
    assert end == 256
    model = session.trainer.model
    with torch.no_grad():  # any token is as likely
        for parameter in model.parameters():
            parameter.zero_()
    rig.send(session, Sample({"max_tokens": 400, "temperature": 1.0}, seed=3, texts=3))
    rig.rest(session)
    ended = [one for one in rig.said(SampleFinished) if one.stopped_by == "end_of_text"]
    asked = {one.sample for one in rig.said(SampleStarted) if not one.automatic}
    assert ended and {one.sample for one in ended} <= asked
    for one in ended:
        parts = [event for event in rig.said(SampleText) if event.sample == one.sample]
        assert END_OF_TEXT not in "".join(part.text for part in parts)
        odds = [one for part in parts for one in part.odds]
        assert len(odds) == one.tokens < 400
    kept = session.files.database.samples()
    assert [one["settings"].get("stopped_by") for one in kept].count("end_of_text") == len(ended)


def test_the_loss_of_the_ends_counts_and_they_have_no_bytes(
    tmp_path: Path, rig: Rig, make_config: MakeConfig
) -> None:
    path = tmp_path / "short.jsonl"
    path.write_text('{"text": "four"}\n' * 500)
    rig.close(rig.new(make_config(data__corpus=str(path), data__tokenizer="bytes"), running=False))
    (run,) = (tmp_path / "runs").iterdir() if (tmp_path / "runs").exists() else [None]
    assert run
    files = look_at_run(run, SILENT)
    per_token = references_of(files)["bytes_per_token"]
    files.close()
    assert math.isclose(per_token, 4 / 5, rel_tol=0.02)


def test_a_run_that_knew_no_ends_goes_on_without_them(
    texts: Path, rig: Rig, make_config: MakeConfig
) -> None:
    """Runs until 0.9 ran documents together, and their database does not count them."""
    session = rig.new(make_config(data__corpus=str(texts / "0.txt")), running=False)
    path, database = session.files.path, session.files.database
    facts = dict(database.meta()["corpus"])
    assert facts.pop("documents") == 1
    database.set_meta(corpus=facts)
    rig.close(session)
    files = look_at_run(path, SILENT)
    assert files.tokenizer.end_of_text is None
    files.close()
    assert not json.loads((path / "tokenizer.json").read_text())["added_tokens"]


def test_windows_within_documents_are_resumed_to_the_same_bits(
    texts: Path, rig: Rig, make_config: MakeConfig
) -> None:
    config = make_config(data__corpus=str(texts), data__within_documents=True, data__order="epochs")
    whole = rig.new(config)
    rig.to_step(whole, 6)
    half = rig.new(config)
    rig.to_step(half, 3)
    resumed = rig.open(rig.close(half))
    rig.to_step(resumed, 6)
    assert_same_bits(bits(resumed), bits(whole))
    assert resumed.trainer.train_windows.may_be_short


def test_that_windows_cannot_be_within_documents_is_told(
    texts: Path, rig: Rig, make_config: MakeConfig
) -> None:
    one = make_config(data__corpus=str(texts / "0.txt"), data__within_documents=True)
    told = "data.within_documents changes nothing: the text is one document"
    assert any(told in line for line in rig.new(one, running=False).files.told)


@pytest.mark.parametrize("how", ["auto", "documents", "random"])
def test_validation_is_whole_documents(
    how: str, texts: Path, rig: Rig, make_config: MakeConfig
) -> None:
    rows = [json.dumps({"text": line}) for line in (texts / "0.txt").read_text().split("\n")]
    (texts / "1.txt").rename(texts / "1.jsonl")
    (texts / "1.jsonl").write_text("\n".join(rows))
    config = make_config(data__corpus=str(texts / "1.jsonl"), data__val_split=how)
    session = rig.new(config, running=False)
    split, end = session.files.split, session.files.tokenizer.end_of_text
    assert split.train[-1] == split.val[-1] == end
    assert 0.08 < len(split.val) / (len(split.val) + len(split.train)) < 0.12
    path = rig.close(session)
    forget_prepared_texts()
    files = look_at_run(path, SILENT)
    assert files.split.val.tolist() == split.val.tolist()
    files.close()


def test_a_validation_text_that_repeats_the_training_text_is_told(
    small_text: str, tmp_path: Path, rig: Rig, make_config: MakeConfig
) -> None:
    path = tmp_path / "twice.txt"
    path.write_text(small_text + small_text[:2_200])
    session = rig.new(make_config(data__corpus=str(path)), running=False)
    (told,) = session.files.told
    assert "% of the validation text also stands in the training text" in told
