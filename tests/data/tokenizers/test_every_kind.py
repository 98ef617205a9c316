"""What every tokenizer promises: the way back, streams of whole letters, its standard file."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from data.download import Watcher
from data.errors import Cancelled, InputError
from data.program import install_command
from data.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer, bpe_trainer, load_tokenizer
from data.tokenizers import hugging_face as hf
from data.tokenizers.byte_level import letters_of_bytes
from data.tokenizers.hugging_face import HuggingFaceTokenizer
from data.tokenizers.kinds import from_standard
from data.tokenizers.train_bpe import train_bpe

SAMPLE = (
    "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n"
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. \t ¿Qué? 中文字符 😀👍\n"
    "def encode(self, text):\n    return [self.ids[c] for c in text]  # don't\n\n\n"
) * 3


def bpe(vocab_size: int = 400, text: str = SAMPLE) -> HuggingFaceTokenizer:
    return train_bpe([text], len(text), vocab_size, "a text", Watcher())


BPE = bpe()
CHAR = CharTokenizer.train(SAMPLE)
KINDS = {"char": CHAR, "bytes": ByteTokenizer(), "bpe": BPE}

every_kind = pytest.mark.parametrize("tokenizer", KINDS.values(), ids=KINDS)
mixed = st.text(st.sampled_from(sorted(set(SAMPLE))))
any_text = st.text() | mixed | st.text(st.sampled_from(" \n\tab'é中😀.1"))


def accepted(tokenizer: Tokenizer, text: str) -> str:
    return "".join(c for c in text if c not in tokenizer.unknown(text))


@every_kind
@given(any_text)
def test_decode_undoes_encode(tokenizer: Tokenizer, text: str) -> None:
    text = accepted(tokenizer, text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(0 <= one < tokenizer.vocab_size for one in ids.tolist())


@every_kind
@given(any_text, st.integers(0, 10))
def test_a_stream_never_shows_half_a_letter(tokenizer: Tokenizer, text: str, cut: int) -> None:
    text = accepted(tokenizer, text)
    ids = tokenizer.encode(text).tolist()
    stream, seen = tokenizer.stream(), ""
    for token in ids:
        seen += stream.feed(token)
        assert text.startswith(seen)
    assert seen + stream.rest() == text
    part = ids[: max(0, len(ids) - cut)]
    stream = tokenizer.stream()
    assert "".join(map(stream.feed, part)) + stream.rest() == tokenizer.decode(part)


@every_kind
@given(st.lists(any_text))
def test_chunks_are_encoded_as_the_whole_text(tokenizer: Tokenizer, pieces: list[str]) -> None:
    pieces = [accepted(tokenizer, one) for one in pieces]
    text = "".join(pieces)
    chunks = list(tokenizer.chunks(pieces))
    assert "".join(chunks) == text
    ids = [token for chunk in chunks for token in tokenizer.encode(chunk).tolist()]
    assert ids == tokenizer.encode(text).tolist()


@pytest.mark.parametrize("text", [SAMPLE * 5, SAMPLE.replace("\n", " ") * 5, "\n\n \n x" * 300])
def test_short_chunks_of_bpe_are_encoded_as_the_whole_text(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = BPE._inner.encode(text, add_special_tokens=False).ids
    monkeypatch.setattr(hf, "CHUNK_CHARACTERS", 300)
    monkeypatch.setattr(hf, "BATCH_CHARACTERS", 20)
    pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
    chunks = list(BPE.chunks(pieces))
    assert len(chunks) > 3 or "x" in text
    assert [token for one in chunks for token in BPE.encode(one).tolist()] == whole


@every_kind
def test_a_tokenizer_survives_json(tokenizer: Tokenizer) -> None:
    again = load_tokenizer(json.loads(json.dumps(tokenizer.to_dict())))
    assert again.encode(SAMPLE).tolist() == tokenizer.encode(SAMPLE).tolist()
    assert again.fingerprint == tokenizer.fingerprint
    assert (again.kind, again.vocab_size) == (tokenizer.kind, tokenizer.vocab_size)


@every_kind
def test_hugging_face_reads_the_standard_file(tokenizer: Tokenizer) -> None:
    theirs = tokenizers.Tokenizer.from_str(json.dumps(tokenizer.standard()))
    ids = tokenizer.encode(SAMPLE).tolist()
    assert theirs.encode(SAMPLE, add_special_tokens=False).ids == ids
    assert theirs.decode(ids, skip_special_tokens=False) == SAMPLE


@every_kind
def test_the_standard_file_is_read_again(tokenizer: Tokenizer) -> None:
    again = from_standard(str(tokenizer.kind), json.loads(json.dumps(tokenizer.standard())))
    assert again.fingerprint == tokenizer.fingerprint


def test_rare_characters_are_in_the_standard_file() -> None:
    made = CharTokenizer.train("aabbc", 2)
    theirs = tokenizers.Tokenizer.from_str(json.dumps(made.standard()))
    assert theirs.encode("abxc").ids == made.encode_chunk("abxc").tolist() == [0, 1, 2, 2]
    assert from_standard("char", made.standard()).fingerprint == made.fingerprint


@every_kind
def test_an_id_outside_the_vocabulary_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match=f"id {tokenizer.vocab_size} is outside"):
        tokenizer.decode([tokenizer.vocab_size])


@pytest.mark.parametrize("tokenizer", [KINDS["bytes"], BPE], ids=["bytes", "bpe"])
def test_only_a_lone_surrogate_has_no_bytes(tokenizer: Tokenizer) -> None:
    assert tokenizer.unknown("a\ud800é") == ["\ud800"]
    with pytest.raises(InputError, match=r"'\\ud800' is no character of a text in UTF-8"):
        tokenizer.encode("a\ud800")
    assert tokenizer.decode(tokenizer.encode("a\ud800é", drop_unknown=True)) == "aé"
    assert not tokenizer.alphabet


def test_parts_of_a_letter_are_shown_as_bytes() -> None:
    body = KINDS["bytes"]
    assert [body.token_text(one) for one in "é\n".encode()] == ["<C3>", "<A9>", "\n"]
    small = bpe(256)
    texts = [small.token_text(one) for one in small.encode("中a").tolist()]
    assert texts == ["<E4>", "<B8>", "<AD>", "a"]


# -- byte-level BPE --------------------------------------------------------------------------------


def test_bpe_is_the_same_each_time() -> None:
    assert bpe().fingerprint == BPE.fingerprint
    assert bpe(300).fingerprint != BPE.fingerprint


@pytest.mark.parametrize("vocab_size", [256, 300, 512])
def test_bpe_has_as_many_tokens_as_asked_for(vocab_size: int) -> None:
    made = bpe(vocab_size, SAMPLE + "".join(map(chr, range(32, 2000))))
    assert made.vocab_size == vocab_size


def test_a_short_text_gives_fewer_tokens() -> None:
    made = bpe(5000, "abab")
    assert 256 < made.vocab_size < 300
    assert made.decode(made.encode(SAMPLE)) == SAMPLE


def test_bpe_needs_fewer_tokens_than_bytes() -> None:
    assert len(BPE.encode(SAMPLE)) < 0.6 * len(SAMPLE.encode())


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(InputError, match=re.escape(install_command("bpe"))):
        bpe()
    with pytest.raises(InputError, match=re.escape(install_command("bpe"))):
        load_tokenizer(BPE.to_dict())


@pytest.mark.parametrize("standard", [None, [], {}, {"model": {"type": "BPE"}}])
def test_a_damaged_one_is_refused(standard: object) -> None:
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        load_tokenizer({"kind": "bpe", "standard": standard})


# -- a tokenizer.json of somebody else -------------------------------------------------------------


def metaspace() -> tokenizers.Tokenizer:
    """As those of SentencePiece: spaces are ▁, letters that it does not know are bytes."""
    from tokenizers import decoders, models, pre_tokenizers

    names = [*(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghijklmnopqrstuvwxyz"]
    model = models.BPE({name: at for at, name in enumerate(names)}, [], byte_fallback=True)
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    made.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never"), decoders.Fuse()]
    )
    return made


def words() -> tokenizers.Tokenizer:
    """A tokenizer of whole words in lower case."""
    from tokenizers import models, normalizers, pre_tokenizers

    names = ["[UNK]", *sorted(set(SAMPLE.lower().split()))]
    model = models.WordLevel({name: at for at, name in enumerate(names)}, unk_token="[UNK]")
    made = tokenizers.Tokenizer(model)
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


def from_file(theirs: tokenizers.Tokenizer) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer("file", json.loads(theirs.to_str()))


def test_a_tokenizer_file_is_used_as_it_is() -> None:
    made, text = from_file(metaspace()), "ab cd é 中\n"
    ids = made.encode(text)
    assert ids.tolist() == metaspace().encode(text).ids
    made.check_returns(text)
    assert (made.decode(ids), made.unknown(text)) == (text, [])
    assert made.token_text(int(ids[0])) == "a"
    stream = made.stream()
    assert "".join(map(stream.feed, ids.tolist())) + stream.rest() == text
    (whole,) = made.chunks(["ab ", "cd"])
    assert whole == "ab cd"


def test_a_tokenizer_that_loses_letters_is_refused() -> None:
    made = from_file(words())
    with pytest.raises(InputError, match=r"does not give the text back .* use one that does, such"):
        made.check_returns(SAMPLE)
    few = HuggingFaceTokenizer("file", CharTokenizer("ab ").standard())
    with pytest.raises(InputError, match="such as 'X', is lost"):
        few.check_returns("ab Xab")
    assert few.unknown("aXbé") == ["X", "é"]


def test_the_file_of_a_character_run_is_that_of_characters() -> None:
    made = from_standard("their/tokenizer.json", CHAR.standard())
    assert made.fingerprint == CHAR.fingerprint


def test_merges_across_words_are_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "BATCH_CHARACTERS", 20)
    saved = json.loads(json.dumps(BPE.standard()))
    saved["pre_tokenizer"]["use_regex"] = False
    made, theirs = (
        HuggingFaceTokenizer("file", saved),
        tokenizers.Tokenizer.from_str(json.dumps(saved)),
    )
    assert made.encode(SAMPLE).tolist() == theirs.encode(SAMPLE, add_special_tokens=False).ids
    assert len(list(made.chunks([SAMPLE, SAMPLE]))) == 1


def test_learning_is_that_of_hugging_face() -> None:
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    alphabet = [letters_of_bytes()[byte] for byte in range(256)]
    theirs.train_from_iterator(
        [SAMPLE],
        tokenizers.trainers.BpeTrainer(
            vocab_size=300, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
        ),
    )
    assert bpe(300).standard() == json.loads(theirs.to_str())


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that learn BPE."""
    begun: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            begun.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return begun


@pytest.mark.parametrize("reports", [1, 2], ids=["while it reads", "while it merges"])
def test_learning_ends_at_once_where_it_is_cancelled(
    reports: int, trainers: list[subprocess.Popen[bytes]]
) -> None:
    said: list[str] = []
    text = "".join(f"{number:x} " for number in range(300_000))
    watcher = Watcher(report=said.append, cancelled=lambda: len(said) >= reports)
    with pytest.raises(Cancelled):
        train_bpe([text], len(text), 50_000, "a text", watcher)
    assert said == ["learning 50,000 tokens from a text"] * reports
    (trainer,) = trainers
    assert trainer.returncode == -signal.SIGKILL


def test_what_learns_ends_with_the_program_that_asked_for_it() -> None:
    wanted = json.dumps({"vocab_size": 50_000, "alphabet": []}).encode()
    text = "".join(f"{number:x} " for number in range(300_000)).encode()
    command = [sys.executable, "-P", bpe_trainer.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as trainer:
        assert trainer.stdin and trainer.stdout
        for frame in (wanted, text, b""):
            trainer.stdin.write(bpe_trainer.LENGTH.pack(len(frame)) + frame)
        trainer.stdin.flush()  # it merges now, for longer than a test takes
        trainer.stdin.close()
        assert trainer.stdout.read() == b""
    assert trainer.returncode == 1


def test_what_kills_learning_is_a_sentence(trainers: list[subprocess.Popen[bytes]]) -> None:
    text = "".join(f"{number:x} " for number in range(300_000))

    def kill(said: str) -> None:
        if trainers:
            trainers[0].kill()

    with pytest.raises(InputError, match=r"BPE could not be learned .signal 9, as where memory is"):
        train_bpe([text], len(text), 50_000, "a text", Watcher(report=kill))


def test_the_name_of_a_special_token_is_a_text_like_any_other() -> None:
    saved = json.loads(json.dumps(BPE.standard()))
    number = BPE.vocab_size
    saved["added_tokens"] = [
        {"id": number, "content": "<|endoftext|>", "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False, "special": True}
    ]  # fmt: skip
    made = HuggingFaceTokenizer("gpt2", saved)
    assert made.vocab_size == number + 1
    assert number not in made.encode("a<|endoftext|>b").tolist()
    assert made.decode([number]) == made.token_text(number) == "<|endoftext|>"


def test_ids_are_integers_that_pytorch_can_index_with() -> None:
    assert all(one.encode("a").flags.writeable for one in KINDS.values()), "else it warns"
    assert {one.encode("a").dtype.kind for one in KINDS.values()} <= {"u", "i"}
    assert BPE.encode("").dtype == np.int32
