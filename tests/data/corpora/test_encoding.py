"""The encoding of a text is recognised, so that converting it gives the right letters."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.corpora.corpus import Options
from data.corpora.describe import describe
from data.corpora.encoding import UTF8, example_for, recognise
from data.corpora.load import load_corpus
from data.download import NOBODY
from data.errors import InputError

TEXTS = {
    "english": "It’s “fine” – he said… and the café’s façade cost €5.\n",
    "quotes": "It’s “fine”\n",
    "german": "Zwölf Boxkämpfer jagen Viktor über den großen Sylter Deich. Äpfel, Öl, Übung.\n",
    "sharp s": "Grüße aus der schönen Straße\n",
    "french": "Portez ce vieux whisky. À l’été, où est le garçon ? Ça va être très drôle.\n",
    "spanish": "El pingüino hizo kilómetros bajo lluvia y frío, añoraba a su cachorro. ¿Qué?\n",
    "portuguese": "Não há razão: as ações são boas, as opções também. Você está à espera?\n",
    "polish": "Zażółć gęślą jaźń. Dziękuję, że przyszedłeś wcześnie rano.\n",
    "czech": "Příliš žluťoučký kůň úpěl ďábelské ódy.\n",
    "hungarian": "Árvíztűrő tükörfúrógép. Jó estét, hogy van?\n",
    "turkish": "İstanbul'da güneşli bir gün, çocuklar bahçede oynuyor. Işık güzel.\n",
    "russian": "Съешь же ещё этих мягких французских булок. Мой дядя самых честных правил.\n",
    "greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Γαζίες και μυρτιές δεν θα βρω πια.\n",
    "hebrew": "בראשית ברא אלהים את השמים ואת הארץ\n",
    "arabic": "في البدء خلق الله السماوات والأرض\n",
    "chinese": "学而时习之，不亦说乎？有朋自远方来，不亦乐乎？\n",
    "taiwanese": "學而時習之，不亦說乎？有朋自遠方來，不亦樂乎？\n",
    "japanese": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n",
    "korean": "동해 물과 백두산이 마르고 닳도록 하느님이 보우하사 우리나라 만세.\n",
}
ENCODINGS = {
    "english": "cp1252 mac-roman utf-16-le utf-16-be utf-32-le utf-16",
    "quotes": "cp1252",
    "german": "cp1252 cp850 mac-roman",
    "sharp s": "cp1252",
    "french": "cp1252 mac-roman",
    "spanish": "cp1252 cp850",
    "portuguese": "cp1252",
    "polish": "cp1250 iso8859-2",
    "czech": "cp1250 iso8859-2",
    "hungarian": "cp1250",
    "turkish": "cp1254",
    "russian": "cp1251 koi8-r cp866 iso8859-5 utf-16-be",
    "greek": "cp1253",
    "hebrew": "cp1255",
    "arabic": "cp1256",
    "chinese": "gbk gb18030 utf-16-le",
    "taiwanese": "big5",
    "japanese": "cp932 euc-jp",
    "korean": "cp949",
}
CASES = [(text, codec) for text in TEXTS for codec in ENCODINGS[text].split()]


@pytest.mark.parametrize(("language", "codec"), CASES)
@pytest.mark.parametrize("cut", [0, 1])
def test_the_letters_are_right(language: str, codec: str, cut: int) -> None:
    body = (TEXTS[language] * 2).encode(codec, "ignore")
    body = body[: len(body) - cut]  # a sample ends anywhere
    found = recognise(body, body)
    assert found
    assert body.decode(found.codec, "ignore") == body.decode(codec, "ignore")


def test_a_single_quote_in_an_english_text_is_cp1252() -> None:
    body = b"The quick brown fox jumps over the lazy dog. " * 99 + b"It\x92s fine."
    found = recognise(body, body)
    assert found and found.codec == "cp1252"


@pytest.mark.parametrize("body", [bytes(range(1, 256)) * 9, b"\x01\0\x07\xff" * 99])
def test_what_is_probably_no_text_is_not_called_one(body: bytes) -> None:
    assert recognise(body, body) is None


def test_utf8_with_a_few_invalid_bytes_is_still_utf8() -> None:
    body = TEXTS["french"].encode() * 5 + b"\xff" + TEXTS["french"].encode()
    assert recognise(body, body) == UTF8


def test_nul_bytes_here_and_there_are_no_utf_16() -> None:
    assert recognise(b"ab\0c\n" * 3000, b"") is None


def test_halves_of_surrogate_pairs_are_damaged_utf_8() -> None:
    sample = b"\xed\xa0\x80abc\n" * 300
    assert recognise(sample, sample) == UTF8


LETTERS = [byte for byte in range(256) if byte > 0x7F or chr(byte).isprintable() or byte == 0x0A]


@given(st.lists(st.sampled_from(LETTERS), min_size=1).map(bytes))
def test_the_encoding_that_is_proposed_reads_all_and_gives_no_control_characters(
    body: bytes,
) -> None:
    text = body.decode(example_for([body[:3], body[3:]])).replace("\n", "")
    assert text == "" or not any(ord(one) < 0x20 or 0x7F <= ord(one) < 0xA0 for one in text)


@pytest.mark.parametrize("control", [0, 1, 0x1B, 0x7F])
def test_none_is_proposed_where_all_give_control_characters(control: int) -> None:
    assert example_for([b"caf\xe9", bytes([control])]) == ""


def test_a_proposal_works_as_it_is_typed(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes(b"".join(b"a%cb " % byte for byte in range(0x80, 0x100)))
    with pytest.raises(InputError, match=r"--set data\.encoding=") as refused:
        load_corpus(str(path))
    name = str(refused.value).rpartition("=")[2]
    odd = describe(load_corpus(str(path), Options(encoding=name)), NOBODY).odd
    assert not {"control characters", "NUL characters"} & odd.counts.keys()
    with path.open("ab") as file:
        file.write(b"\x01")
    with pytest.raises(InputError, match=r"has control characters, .* Give a text file") as refused:
        load_corpus(str(path))
    assert "encoding" not in str(refused.value)
