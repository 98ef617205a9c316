"""Recognise the encoding of bytes that are not UTF-8, by how probable the letters are in each."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

SAMPLE_BYTES = 1 << 16
ENOUGH = 0.6  # of the letters beyond ASCII must be usual ones
DAMAGED_SHARE = 0.1  # of the letters beyond ASCII may be invalid in a damaged UTF-8 text

SIGNS = "’‘“”„‚‹›«»–—…•·°§€£©®™¡¿½ºª\xa0\xad"
WESTERN = "äöüßéèêëàâáãåæçîïíìñôóòõøœùûúÿÄÖÜÉÈÀÁÂÅÆÇØÑÓÊÎÔ"
CENTRAL = "ąćęłńóśźżáčďéěíňřšťúůýžöüăâîşţäôľßđĄĆĘŁŚŻŹŠČŘŽÁÉÍÓÚÖÜ"
HUNGARIAN = "áéíóöőúüűÁÉÍÓÖŐÚÜŰ"
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґ"
GREEK = "αβγδεζηθικλμνξοπρςστυφχψωάέήίόύώϊϋ"
TURKISH = "ığşçöüâîûİĞŞÇÖÜ"
HEBREW = "".join(map(chr, range(0x5D0, 0x5EB)))
ARABIC = "".join(map(chr, range(0x621, 0x64B)))
KANA = "".join(map(chr, range(0x3041, 0x30FF)))
WIDE_SIGNS = "，。、；：？！（）《》「」『』【】〈〉・ー～　" + SIGNS
# Strings: `re` compiles them when a text needs them, which the start of the app does not.
ODD = (  # what no text has, but for a few slips
    r"(?<=[^\W\d_])[“”„‚‹›«»…•·°§©®¡¿½ºª](?=[^\W\d_])"  # a sign inside a word
    r"|(?<=[a-zà-ÿа-яα-ω])[À-ÞА-ЯΑ-Ω]"  # a capital inside a word
    r"|(?<=[A-Za-z])[\u0370-\u06ff]|[\u0370-\u06ff](?=[A-Za-z])"  # two alphabets in one word
    r"|(?<=[À-ɏ][À-ɏ])[À-ɏ]"  # Latin letters with accents alone
)
UNUSUAL = "õû"  # in Western European texts; in the place of Hungarian ő and ű
NEVER = "[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ud800-\uf8ff\ufffd\uffff]"
READABLE = (
    "[\t\n\r\f -~\xa0-\u024f\u0370-\u052f\u0590-\u06ff\u0900-\u0dff\u0e00-\u0e7f\u1e00-\u206f"
    "\u20a0-\u20bf\u2190-\u22ff\u2500-\u26ff\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff9f]"
)


@dataclass(frozen=True)
class Encoding:
    """An encoding.

    Attributes:
        codec: The name by which Python knows it.
        described: What it is called in a sentence.
    """

    codec: str
    described: str


UTF8 = Encoding("utf-8", "UTF-8")
EXAMPLES = ("cp1252", "latin-1", "cp437")  # the last one has a letter or sign for all beyond ASCII
USUAL_BYTES = b"\t\n\f\r" + bytes(range(0x20, 0x7F)) + bytes(range(0xA0, 0x100))
MARKS = (  # the longer ones first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, Encoding("utf-32", "UTF-32")),
    (codecs.BOM_UTF32_BE, Encoding("utf-32", "UTF-32")),
    (codecs.BOM_UTF16_LE, Encoding("utf-16", "UTF-16")),
    (codecs.BOM_UTF16_BE, Encoding("utf-16", "UTF-16")),
)
SURROGATE = "[\ud800-\udfff]"
WIDE = tuple(
    Encoding(f"{name}-{end}", f"{name.upper()} without a byte order mark")
    for name in ("utf-32", "utf-16")
    for end in ("le", "be")
)


def _pairs(codec: str, first: int, last: int) -> str:
    """Return the characters whose first byte of two is in a range, in the national standard."""
    pairs = (bytes((one, two)) for one in range(first, last + 1) for two in range(0xA1, 0xFF))
    return "".join(pair.decode(codec, "ignore") for pair in pairs)


def _letters(lower: str) -> Callable[[], str]:
    return lambda: lower + lower.upper() + SIGNS


def _big5() -> str:
    pairs = (
        bytes((a, b)) for a in range(0xA4, 0xC7) for b in (*range(0x40, 0x7F), *range(161, 255))
    )
    return "".join(pair.decode("big5", "ignore") for pair in pairs) + WIDE_SIGNS


def _japanese() -> str:
    return KANA + _pairs("euc_jp", 0xB0, 0xCF) + WIDE_SIGNS


# The characters that a text in this encoding consists of, for the most part; of those that fit as
# well the first is taken.
CANDIDATES: tuple[tuple[Encoding, Callable[[], str]], ...] = (
    (Encoding("cp1252", "cp1252 (Western European, Windows)"), lambda: WESTERN + SIGNS),
    (Encoding("cp1250", "cp1250 (Central European, Windows)"), lambda: CENTRAL + SIGNS),
    (Encoding("cp1250", "cp1250 (Central European, Windows)"), lambda: HUNGARIAN + SIGNS),
    (Encoding("iso8859-2", "ISO 8859-2 (Central European)"), lambda: CENTRAL + SIGNS),
    (Encoding("cp1254", "cp1254 (Turkish, Windows)"), lambda: TURKISH + SIGNS),
    (Encoding("mac-roman", "Mac Roman (Western European)"), lambda: WESTERN + SIGNS),
    (Encoding("cp850", "cp850 (Western European, DOS)"), lambda: WESTERN + SIGNS),
    (Encoding("cp1255", "cp1255 (Hebrew, Windows)"), _letters(HEBREW)),
    (Encoding("cp1251", "cp1251 (Cyrillic, Windows)"), _letters(CYRILLIC)),
    (Encoding("koi8-r", "KOI8-R (Cyrillic)"), _letters(CYRILLIC)),
    (Encoding("cp866", "cp866 (Cyrillic, DOS)"), _letters(CYRILLIC)),
    (Encoding("iso8859-5", "ISO 8859-5 (Cyrillic)"), _letters(CYRILLIC)),
    (Encoding("mac-cyrillic", "Mac Cyrillic"), _letters(CYRILLIC)),
    (Encoding("cp1253", "cp1253 (Greek, Windows)"), _letters(GREEK)),
    (Encoding("cp1256", "cp1256 (Arabic, Windows)"), _letters(ARABIC)),
    (Encoding("cp949", "EUC-KR (Korean)"), lambda: _pairs("euc_kr", 0xB0, 0xC8) + WIDE_SIGNS),
    (
        Encoding("gbk", "GBK (simplified Chinese)"),
        lambda: _pairs("gb2312", 0xB0, 0xD7) + WIDE_SIGNS,
    ),
    (
        Encoding("gb18030", "GB18030 (Chinese)"),
        lambda: _pairs("gb2312", 0xB0, 0xD7) + WIDE_SIGNS,
    ),
    (Encoding("big5", "Big5 (traditional Chinese)"), _big5),
    (Encoding("cp932", "Shift JIS (Japanese)"), _japanese),
    (Encoding("euc-jp", "EUC-JP (Japanese)"), _japanese),
)


def marked(head: bytes) -> Encoding | None:
    """Return the encoding that a byte order mark at the start of a file names; UTF-8's aside."""
    return next((one for mark, one in MARKS if head.startswith(mark)), None)


def recognise(head: bytes, sample: bytes) -> Encoding | None:
    """Return the encoding of a file that is not UTF-8; None if it is probably no text.

    Args:
        head: Its first bytes.
        sample: Bytes around the first that UTF-8 does not allow, from the start of a word.
    """
    if found := marked(head):
        return found
    if b"\0" in head:
        wide = WIDE if _has_nul_on_one_side(head) else WIDE[:2]
        if head[::2].count(0) > head[1::2].count(0):  # of ASCII, the first byte of a pair
            wide = (*wide[:2], *wide[:1:-1])
        return next((one for one in wide if _is_readable(_decoded(head, one.codec))), None)
    if _is_damaged_utf8(sample):
        return UTF8
    best, best_score = None, ENOUGH
    for encoding, usual in CANDIDATES:
        text = _decoded(sample, encoding.codec)
        score = _score(text, frozenset(_cached(usual))) if text else 0.0
        if score > best_score:
            best, best_score = encoding, score
    return best


@dataclass(frozen=True)
class Window:
    """What is known of a file that has a byte which its encoding does not allow.

    Attributes:
        offset: Of the byte.
        head: The first bytes of the file.
        start: The offset of the first byte of `block`.
        block: The bytes around it.
    """

    offset: int
    head: bytes
    start: int
    block: bytes

    @property
    def byte(self) -> int:
        return self.block[self.offset - self.start]

    @property
    def encoding(self) -> Encoding | None:
        """The encoding of the file.

        None if it is probably no text; `UTF8` if that is what it is, with damage.
        """
        begin, at = 0, self.offset - self.start
        if self.start:  # not inside a letter of several bytes, none of which is below 0x30
            while begin < at and self.block[begin] >= 0x30:
                begin += 1
        return recognise(self.head, self.block[begin:])

    @property
    def is_cut(self) -> bool:
        """Whether the text ends inside a letter, and is UTF-8 but for that."""
        at = self.offset - self.start
        before, rest = self.block[:at], self.block[at : at + 5]
        try:
            whole = codecs.getincrementaldecoder("utf-8")().decode(rest)
        except UnicodeDecodeError:
            return False
        # one letter with an accent at the end of an ASCII text is rather another encoding
        return not whole and (len(rest) > 1 or not before.isascii())


def look_around(chunks: Iterable[bytes], offset: int) -> Window:
    """Return what the bytes of a file are around an offset."""
    start = max(0, offset - SAMPLE_BYTES // 2)
    head, block, read = b"", b"", 0
    for chunk in chunks:
        head += chunk[: SAMPLE_BYTES - len(head)]
        block += chunk[max(0, start - read) : max(0, start + SAMPLE_BYTES - read)]
        read += len(chunk)
        if read >= start + SAMPLE_BYTES:
            break
    return Window(offset, head, start, block)


def example_for(chunks: Iterable[bytes]) -> str:
    """Return an encoding that all of a file is in, without control characters; empty if none is."""
    unusual = set[int]()
    for chunk in chunks:
        unusual.update(chunk.translate(None, USUAL_BYTES))
    if any(one < 0x80 for one in unusual):  # control characters in all of them
        return ""
    body = bytes(sorted(unusual))
    readable = (one for one in EXAMPLES if _decoded(body, one) or not body)
    return next(one for one in readable if not re.search(NEVER, _decoded(body, one)))


def _decoded(sample: bytes, codec: str) -> str:
    """Decode a sample, whose last letter may be cut; empty if it is not in this encoding."""
    try:
        return codecs.getincrementaldecoder(codec)().decode(sample)
    except UnicodeDecodeError:
        return ""


@cache
def _cached(usual: Callable[[], str]) -> str:
    return usual()


def _is_readable(text: str) -> bool:
    return len(text) > 1 and "\0" not in text and len(re.findall(READABLE, text)) > 0.95 * len(text)


def _has_nul_on_one_side(head: bytes) -> bool:
    """Return whether NUL is, nearly always, the same half of a pair of bytes, as in UTF-16."""
    few, many = sorted((head[::2].count(0), head[1::2].count(0)))
    return few < 0.25 * many


def _is_damaged_utf8(sample: bytes) -> bool:
    with suppress(UnicodeDecodeError):  # halves of letters beyond U+FFFF, each by itself
        if re.search(
            SURROGATE, codecs.getincrementaldecoder("utf-8")("surrogatepass").decode(sample)
        ):
            return True
    counts = Counter(sample.decode("utf-8", "replace"))
    beyond = sum(count for letter, count in counts.items() if letter > "\x7f")
    return counts["\ufffd"] <= DAMAGED_SHARE * beyond


def _score(text: str, usual: frozenset[str]) -> float:
    """Return the share of the characters beyond ASCII that are usual, and where they are."""
    if re.search(NEVER, text):
        return 0.0
    counts = Counter(letter for letter in text if letter > "\x7f")
    total = sum(counts.values())
    hits = sum(_weight(letter) * counts[letter] for letter in counts if letter in usual)
    return (hits - len(re.findall(ODD, text))) / total if total else 0.0


def _weight(letter: str) -> float:
    if letter in UNUSUAL:
        return 0.9
    # some Cyrillic encodings differ by exchanging capitals and small letters
    return 0.8 if letter > "\u0370" and letter.isupper() else 1.0
