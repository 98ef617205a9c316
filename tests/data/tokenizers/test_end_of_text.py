"""The token after each of several documents: a special one, which no text gives."""

from __future__ import annotations

import json

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from data.corpora.corpus import Corpus, MemoryText
from data.download import Watcher
from data.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer, load_tokenizer
from data.tokenizers.base import END_OF_TEXT
from data.tokenizers.hugging_face import HuggingFaceTokenizer
from data.tokenizers.kinds import from_standard, make_tokenizer
from data.tokenizers.train_bpe import train_bpe
from engine.config.schema import DataConfig
from tests.data.tokenizers.test_files import BPE as MERGES
from tests.data.tokenizers.test_files import ENCODER

SAMPLE = f"To be, or not to be: é中😀 that is the question.\n{END_OF_TEXT} is a text\n" * 5
GPT2 = tokenizers.Tokenizer(
    tokenizers.models.BPE(
        json.loads(ENCODER),
        [(a, b) for a, _, b in (one.partition(" ") for one in MERGES.decode().split("\n")[1:-1])],
    )
)
GPT2.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
GPT2.decoder = tokenizers.decoders.ByteLevel()
GPT2.add_special_tokens([END_OF_TEXT])


def bpe(has_end_of_text: bool = True, vocab_size: int = 300) -> HuggingFaceTokenizer:
    return train_bpe([SAMPLE], len(SAMPLE), vocab_size, "a text", Watcher(), has_end_of_text)


KINDS: dict[str, Tokenizer] = {
    "char": CharTokenizer.train(SAMPLE, has_end_of_text=True),
    "rare characters": CharTokenizer.train(SAMPLE + "ß", 2, has_end_of_text=True),
    "bytes": ByteTokenizer(has_end_of_text=True),
    "bpe": bpe(),
    "gpt2": HuggingFaceTokenizer("gpt2", json.loads(GPT2.to_str()), has_documents=True),
}
every_kind = pytest.mark.parametrize("tokenizer", KINDS.values(), ids=KINDS)
texts = st.text(st.sampled_from(sorted(set(SAMPLE)))) | st.just(END_OF_TEXT)


def end_of(tokenizer: Tokenizer) -> int:
    assert tokenizer.end_of_text is not None
    return tokenizer.end_of_text


@every_kind
def test_it_is_the_last_of_the_vocabulary(tokenizer: Tokenizer) -> None:
    assert end_of(tokenizer) == tokenizer.vocab_size - 1
    assert tokenizer.token_text(end_of(tokenizer)) == END_OF_TEXT


@every_kind
@given(texts)
def test_no_text_gives_it(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert end_of(tokenizer) not in ids.tolist()
    assert tokenizer.decode(ids) == text


@every_kind
@given(st.lists(texts, max_size=4))
def test_documents_and_their_ends_are_decoded(tokenizer: Tokenizer, documents: list[str]) -> None:
    ids = [i for one in documents for i in (*tokenizer.encode(one).tolist(), end_of(tokenizer))]
    shown = "".join(one + END_OF_TEXT for one in documents)
    assert tokenizer.decode(ids) == shown
    stream = tokenizer.stream()
    assert "".join(map(stream.feed, ids)) + stream.rest() == shown


@pytest.mark.parametrize("kind", ["bytes", "gpt2"])
def test_a_letter_that_it_breaks_off_is_told(kind: str) -> None:
    tokenizer = KINDS[kind]
    ids = [
        *tokenizer.encode("中").tolist()[:-1],
        end_of(tokenizer),
        *tokenizer.encode("a").tolist(),
    ]
    stream = tokenizer.stream()
    told = "".join(map(stream.feed, ids)) + stream.rest()
    assert told == tokenizer.decode(ids) == f"\ufffd{END_OF_TEXT}a"


@every_kind
def test_it_survives_json_and_the_standard_file(tokenizer: Tokenizer) -> None:
    for again in (
        load_tokenizer(json.loads(json.dumps(tokenizer.to_dict()))),
        from_standard(tokenizer.kind, json.loads(json.dumps(tokenizer.standard())), True),
    ):
        assert again.end_of_text == tokenizer.end_of_text
        assert again.vocab_size == tokenizer.vocab_size
        assert again.fingerprint == tokenizer.fingerprint


@every_kind
def test_hugging_face_knows_it_as_special(tokenizer: Tokenizer) -> None:
    theirs = tokenizers.Tokenizer.from_str(json.dumps(tokenizer.standard()))
    assert theirs.token_to_id(END_OF_TEXT) == tokenizer.end_of_text
    assert theirs.get_vocab_size() == tokenizer.vocab_size
    ids = [*tokenizer.encode("be").tolist(), end_of(tokenizer)]
    assert theirs.decode(ids, skip_special_tokens=True) == "be"
    assert theirs.decode(ids, skip_special_tokens=False) == f"be{END_OF_TEXT}"


def test_bpe_has_it_among_as_many_tokens_as_asked_for() -> None:
    with_end, without = bpe(vocab_size=280), bpe(has_end_of_text=False, vocab_size=279)
    assert (with_end.vocab_size, with_end.end_of_text) == (280, 279)
    assert with_end.encode(SAMPLE).tolist() == without.encode(SAMPLE).tolist()
    assert bpe(vocab_size=256).vocab_size == 257  # the bytes are always there


def test_tokens_with_and_without_it_are_told_apart() -> None:
    saved = json.loads(GPT2.to_str())
    apart, together = (HuggingFaceTokenizer("gpt2", saved, one) for one in (True, False))
    assert together.end_of_text is None
    assert together.fingerprint != apart.fingerprint
    assert together.vocab_size == apart.vocab_size
    assert ByteTokenizer().fingerprint != ByteTokenizer(True).fingerprint


def test_a_file_that_gives_it_for_a_text_has_none() -> None:
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"</s>": 0, "a": 1}, "a"))
    saved = json.loads(words.to_str())
    assert HuggingFaceTokenizer("file", saved, has_documents=True).end_of_text is None
    words.add_special_tokens(["</s>"])
    saved = json.loads(words.to_str())
    assert HuggingFaceTokenizer("file", saved, has_documents=True).end_of_text is None


def test_the_names_that_others_give_it_are_known() -> None:
    for name in ("</s>", "<|eos|>", "<|end_of_text|>", "<eos>"):
        theirs = tokenizers.Tokenizer.from_str(json.dumps(ByteTokenizer().standard()))
        theirs.add_special_tokens([name])
        made = HuggingFaceTokenizer("file", json.loads(theirs.to_str()), has_documents=True)
        assert made.end_of_text == 256
        assert made.token_text(256) == name


@pytest.mark.parametrize("kind", ["char", "bytes", "bpe"])
@pytest.mark.parametrize("count", [1, 2])
def test_only_several_documents_need_it(kind: str, count: int) -> None:
    corpus = Corpus("t", len(SAMPLE), len(SAMPLE), count, "", "", (MemoryText("t", SAMPLE),))
    made = make_tokenizer(DataConfig(tokenizer=kind, vocab_size=256), corpus, Watcher())
    assert (made.end_of_text is None) == (count == 1)
