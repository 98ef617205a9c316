from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.tokenizers import CharTokenizer, char, load_tokenizer

# Every code point, lone surrogates included: files cannot hold those, but a prompt might.
# They are asked for by name, being too few to turn up by chance, and joined by hand, because
# `st.text` leaves them out.
any_character = st.characters() | st.characters(categories=["Cs"])
any_text = st.lists(any_character, min_size=1).map("".join)


@given(any_text)
def test_decode_undoes_encode(text: str) -> None:
    tokenizer = CharTokenizer.train(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(any_text)
def test_the_vocabulary_is_the_sorted_distinct_characters(text: str) -> None:
    tokenizer = CharTokenizer.train(text)
    assert list(tokenizer.characters) == sorted(set(text))
    assert tokenizer.vocab_size == len(set(text))
    assert tokenizer.encode(text).tolist() == [sorted(set(text)).index(c) for c in text]


@given(any_text)
def test_a_stream_gives_the_text_of_all_its_tokens(text: str) -> None:
    tokenizer = CharTokenizer.train(text)
    stream = tokenizer.stream()
    assert "".join(map(stream.feed, tokenizer.encode(text).tolist())) + stream.rest() == text


@given(st.lists(any_character, min_size=1).map("".join), st.integers(1, 4))
def test_rare_characters_share_a_token(text: str, min_count: int) -> None:
    frequent = sorted(c for c in set(text) if text.count(c) >= min_count)
    if not frequent:
        with pytest.raises(InputError, match=r"set data\.min_count to"):
            CharTokenizer.train(text, min_count)
        return
    tokenizer = CharTokenizer.train(text, min_count)
    assert list(tokenizer.characters) == frequent
    assert tokenizer.vocab_size == len(frequent) + (len(frequent) < len(set(text)))
    shown = "".join(c if c in frequent else "\ufffd" for c in text)
    ids = tokenizer.encode_chunk(text).tolist()
    assert tokenizer.decode(ids) == shown
    assert tokenizer.unknown(text) == list(dict.fromkeys(c for c in text if c not in frequent))
    saved = json.loads(json.dumps(tokenizer.to_dict()))
    assert load_tokenizer(saved).encode_chunk(text).tolist() == ids


def test_the_token_of_rare_characters_has_a_name() -> None:
    tokenizer = CharTokenizer.train("aab", 2)
    assert [tokenizer.token_text(one) for one in tokenizer.encode_chunk("ab").tolist()] == [
        "a",
        "<unk>",
    ]
    with pytest.raises(InputError, match="has no 'b'"):
        tokenizer.encode("ab")


@given(any_text)
def test_a_tokenizer_survives_json(text: str) -> None:
    saved = json.loads(json.dumps(CharTokenizer.train(text).to_dict()))
    assert (
        load_tokenizer(saved).encode(text).tolist()
        == CharTokenizer.train(text).encode(text).tolist()
    )


@given(known=any_text, text=st.lists(any_character).map("".join))
def test_unknown_characters_are_found_in_order_and_can_be_left_out(known: str, text: str) -> None:
    tokenizer = CharTokenizer.train(known)
    assert tokenizer.unknown(text) == list(dict.fromkeys(c for c in text if c not in known))
    kept = tokenizer.encode(text, drop_unknown=True)
    assert tokenizer.decode(kept) == "".join(c for c in text if c in known)


def test_lone_surrogates_side_by_side_stay_two_characters_as_json() -> None:
    saved = json.dumps(CharTokenizer(["\udbff", "\udc00"]).to_dict())
    assert CharTokenizer.from_dict(json.loads(saved)).characters == ("\udbff", "\udc00")


def test_a_text_longer_than_a_chunk_is_encoded_without_a_seam(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(char, "CHUNK_CHARACTERS", 4)
    tokenizer = CharTokenizer.train("abcdefghij")
    assert tokenizer.decode(tokenizer.encode("jihgfedcba")) == "jihgfedcba"
    assert tokenizer.encode("a?cdefg?ij", drop_unknown=True).tolist() == [0, 2, 3, 4, 5, 6, 8, 9]


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(255, np.uint8), (256, np.int16), (0x7FFF, np.int16), (0x8000, np.int32), (0x10000, np.int32)],
)
def test_ids_are_as_wide_as_they_must_be(size: int, dtype: type) -> None:
    characters = [chr(code) for code in range(size)]
    ids = CharTokenizer(characters).encode(characters[-1] + characters[0])
    assert ids.dtype == dtype
    assert ids.tolist() == [size - 1, 0]


@given(st.lists(any_text, min_size=1))
def test_a_text_in_pieces_is_as_one(pieces: list[str]) -> None:
    text = "".join(pieces)
    tokenizer = CharTokenizer.train(iter(pieces))
    assert tokenizer.characters == CharTokenizer.train(text).characters
    ids = [id for piece in pieces for id in tokenizer.encode(piece).tolist()]
    assert ids == tokenizer.encode(text).tolist()


def test_the_empty_text_has_no_tokens() -> None:
    tokenizer = CharTokenizer.train("ab")
    assert tokenizer.encode("").tolist() == []
    assert tokenizer.decode([]) == ""


def test_unknown_characters_are_named() -> None:
    with pytest.raises(InputError) as caught:
        CharTokenizer.train("abc").encode("a\tbé a\ud800")
    assert str(caught.value).startswith(
        r"The model's training text has no '\t', 'é', ' ', '\ud800'. "
    )


def test_of_many_unknown_characters_ten_are_named() -> None:
    with pytest.raises(InputError, match=r"'0', .* '9' and 2 more"):
        CharTokenizer.train("abc").encode("0123456789xy")


@pytest.mark.parametrize("outside", [-1, 2])
def test_an_id_outside_the_vocabulary_is_refused(outside: int) -> None:
    with pytest.raises(ValueError, match=f"id {outside} is outside 0 … 1"):
        CharTokenizer.train("ab").decode([0, outside])


@pytest.mark.parametrize("characters", [None, "ab", [], ["a", "a"], ["ab"], [7]])
def test_a_damaged_tokenizer_is_refused(characters: object) -> None:
    with pytest.raises(InputError):
        load_tokenizer({"kind": "char", "characters": characters})
