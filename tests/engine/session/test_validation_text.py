"""A run that is validated on a text of its own finds it again as it finds its text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from engine.runs.known_text import Places, TextMissing
from engine.runs.open import look_at_run, new_run, open_run
from tests.engine.conftest import SILENT, MakeConfig, Rig, assert_same_bits, bits, recorded_losses
from tests.engine.run_folders import forget_prepared_texts
from tests.engine.session.test_tokens import every_kind


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.txt"
    path.write_text("Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich.\n" * 30)
    return path


@every_kind
def test_it_is_resumed_to_the_same_bits(
    kind: dict[str, Any], own: Path, rig: Rig, make_config: MakeConfig
) -> None:
    config = make_config(data__val=str(own), eval__interval=4, **kind)
    whole = rig.new(config)
    files = whole.files
    assert files.tokenizer.decode(files.split.val) == own.read_text()
    whole_text = files.tokenizer.encode_chunk(files.corpus.text)
    assert files.split.train.tolist() == whole_text.tolist()
    rig.to_step(whole, 8)
    half = rig.new(config)
    rig.to_step(half, 4)
    path = rig.close(half)
    forget_prepared_texts()
    resumed = rig.open(path)
    rig.to_step(resumed, 8)
    assert_same_bits(bits(resumed), bits(whole))
    assert recorded_losses(resumed) == recorded_losses(whole)
    path = rig.close(resumed)
    own.unlink()  # its tokens are kept
    files = look_at_run(path, SILENT)
    assert files.tokenizer.decode(files.split.val).startswith("Zwölf Boxkämpfer")
    files.close()


def test_a_run_whose_validation_text_is_gone_or_another_says_so(
    own: Path, rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(data__val=str(own)), running=False)
    path = rig.close(session)
    forget_prepared_texts()
    text = own.read_text()
    own.write_text(text + "more\n")
    with pytest.raises(TextMissing, match=r"own\.txt .*not found \(.* is another text: its hash"):
        look_at_run(path, SILENT)
    own.unlink()
    with pytest.raises(TextMissing, match=r"is validated on was not found .* --val PATH$"):
        look_at_run(path, SILENT)
    own.write_text(text)
    look_at_run(path, SILENT).close()


def test_a_path_is_found_from_any_folder(
    own: Path, rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    session = rig.new(make_config(data__val="own.txt"), running=False)
    assert session.files.config.data.val == str(own)
    path = rig.close(session)
    forget_prepared_texts()
    monkeypatch.chdir("/")
    look_at_run(path, SILENT).close()


def test_what_cannot_be_validated_on_is_refused_before_there_is_a_run(
    own: Path, runs_dir: Path, make_config: MakeConfig
) -> None:
    own.write_text("short")
    with pytest.raises(InputError, match="validation text is too short: it gives 5 tokens"):
        new_run(make_config(data__val=str(own)), runs_dir, None, "", SILENT)
    with pytest.raises(InputError, match=r"gone\.txt does not exist"):
        new_run(make_config(data__val=str(own.parent / "gone.txt")), runs_dir, None, "", SILENT)
    assert not list(runs_dir.glob("*"))


def test_what_the_training_text_has_not_is_told(
    own: Path, rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(data__val=str(own)), running=False)
    unseen, unlike = session.files.told
    assert unseen.startswith("the validation text has 'B', 'Z', 'ä', 'ö', 'ü', which the tr")
    assert unlike.startswith("the validation text is unlike the training text")


def test_where_it_is_now_is_remembered(own: Path, rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(data__val=str(own)))
    rig.to_step(session, 2)
    split = session.files.split
    path = rig.close(session)
    moved = own.rename(own.with_name("moved.txt"))
    forget_prepared_texts()
    with pytest.raises(TextMissing, match=r"--val is not the text own\.txt that"):
        open_run(path, SILENT, Places(val=session.files.corpus.source))
    open_run(path, SILENT, Places(val=str(moved))).close()
    forget_prepared_texts()
    resumed = rig.open(path)
    assert resumed.trainer.config.data.val == str(moved)
    assert resumed.files.split.val.tolist() == split.val.tolist()


def test_a_run_without_one_says_so(rig: Rig, make_config: MakeConfig, own: Path) -> None:
    path = rig.close(rig.new(make_config(), running=False))
    with pytest.raises(TextMissing, match="a part of its text: leave --val out"):
        open_run(path, SILENT, Places(val=str(own)))
