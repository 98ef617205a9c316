"""The rows in an SQLite file that SQLite cannot read any more: page by page, past any damage.

SQLite finds rows by descending from the root of a tree, so that one bad page near the root hides
all rows below it, and a bad first page all there are. Here each page is read by itself, and its
rows with it; which table they are of can be told by their shape only. The format, which is fixed
for good: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"SQLite format 3\0"
LOG_MAGICS = (0x377F0682, 0x377F0683)
LOG_HEADER, FRAME_HEADER = 32, 24  # bytes
USUAL_SIZE = 4096
MOST_PAGES = 2**20  # of any run; more is damage
INDEX_INTERIOR, TABLE_INTERIOR, INDEX_LEAF, TABLE_LEAF = 2, 5, 10, 13  # the kinds of pages
INTEGER_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # bytes, by the code in a record's header
FLOAT, ZERO, ONE, FIRST_BLOB = 7, 8, 9, 12

Value = int | float | str | bytes | None


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        id: Its rowid; None in a table without, and in an index.
        values: As stored: an INTEGER PRIMARY KEY is None here, a REAL without fraction an int.
    """

    id: int | None
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Pages:
    """What was read of a file.

    Attributes:
        rows: All that can still be made out. Deleted ones may be among them where the damage hides
            that they were.
        count: How many pages the file has or had.
        unread: On how many of them there is or was something that cannot be made out.
    """

    rows: list[Row]
    count: int
    unread: int


def read_pages(file: Path) -> Pages:
    """Read a database and the write-ahead log beside it, each of which may be gone.

    Raises:
        OSError: The file cannot be read.
    """
    log = file.with_name(f"{file.name}-wal")
    content, logged = (one.read_bytes() if one.exists() else b"" for one in (file, log))
    sizes = {USUAL_SIZE, *_sizes_told(content, logged)}  # what tells them may be damaged, too
    readings = (_Reader(content, logged, size).read() for size in sizes)
    return max(readings, key=lambda pages: len(pages.rows))


class _Reader:
    """The pages of a database by number, from 1 on, as its log has left them."""

    def __init__(self, content: bytes, log: bytes, size: int) -> None:
        self._content, self._size = content, size
        self._newer = _logged(log, size)
        header = self._page(1)
        self._is_told = header.startswith(MAGIC) and len(header) == size  # what the header says
        self._there = range(1, max([-(-len(content) // size), *self._newer]) + 1)
        self._unread: set[int] = set()

    def read(self) -> Pages:
        count = max(len(self._there), self._count_told())
        free = self._free()
        self._unread = set(range(2, count + 1)) - free  # the first one holds but the tables' names
        rows = [row for number in self._there if number not in free for row in self._rows(number)]
        return Pages(rows, count, len(self._unread))

    def _count_told(self) -> int:
        """How many pages the header says there are; 0 if it does not, or not for sure."""
        header = self._page(1)
        is_sure = self._is_told and header[24:28] == header[92:96]
        told = _u32(header, 28) if is_sure else 0
        return told if told <= MOST_PAGES else 0

    def _free(self) -> set[int]:
        """Pages that are not in use; what they held was deleted."""
        free: set[int] = set()
        trunk = _u32(self._page(1), 32) if self._is_told else 0
        known = self._there
        while trunk in known and trunk not in free:
            page = self._page(trunk)
            count = _u32(page, 4)
            leaves = [_u32(page, 8 + 4 * i) for i in range(min(count, self._size // 4 - 2))]
            if len(leaves) < count or not all(leaf in known for leaf in leaves):
                break  # it is damaged, and pages that it names may well be in use
            free.update((trunk, *leaves))
            trunk = _u32(page, 0)
        return free

    def _rows(self, number: int) -> list[Row]:
        """The rows of a page, as far as there are any and they can be made out."""
        page, start = self._page(number), 100 if number == 1 else 0
        kind = int.from_bytes(page[start : start + 1])
        if kind == TABLE_INTERIOR:
            self._unread.discard(number)
        if kind not in (INDEX_INTERIOR, INDEX_LEAF, TABLE_LEAF):
            return []
        first, rows = start + (12 if kind == INDEX_INTERIOR else 8), []
        cells = range(int.from_bytes(page[start + 3 : start + 5]))
        for index in cells:
            at = int.from_bytes(page[first + 2 * index : first + 2 * index + 2])
            with suppress(ValueError, IndexError, struct.error):  # it is damaged
                rows.append(self._row(page, kind, at))
        if len(rows) == len(cells):
            self._unread.discard(number)
        return rows

    def _row(self, page: bytes, kind: int, at: int) -> Row:
        if kind == INDEX_INTERIOR:
            at += 4  # the child's number
        length, at = _varint(page, at)
        number = None
        if kind == TABLE_LEAF:
            number, at = _varint(page, at)
        return Row(number, _record(self._payload(page, at, length, kind)))

    def _payload(self, page: bytes, at: int, length: int, kind: int) -> bytes:
        """A row's record, with what of it lies on overflow pages."""
        local = self._local(length, kind)
        payload = page[at : at + local]
        if len(payload) < local:
            raise ValueError("its page is cut short")
        if local == length:
            return payload
        following, passed = _u32(page, at + local), []
        while len(payload) < length:
            if following not in self._there:
                raise ValueError("its overflow page is not there")
            more = self._page(following)
            if not any(more):
                raise ValueError("its overflow page is wiped, which nothing else would tell")
            passed.append(following)
            following, payload = _u32(more, 0), payload + more[4 : self._size]
        if following:
            raise ValueError("its last overflow page is not one")
        self._unread.difference_update(passed)
        return payload[:length]

    def _local(self, length: int, kind: int) -> int:
        """How many bytes of a record lie on the page itself."""
        usable = self._size  # our databases reserve nothing of it
        most = usable - 35 if kind == TABLE_LEAF else (usable - 12) * 64 // 255 - 23
        if length <= most:
            return length
        least = (usable - 12) * 32 // 255 - 23
        fitting = least + (length - least) % (usable - 4)
        return fitting if fitting <= most else least

    def _page(self, number: int) -> bytes:
        """A page; the last one may be cut short."""
        if number in self._newer:
            return self._newer[number]
        return self._content[(number - 1) * self._size : number * self._size]


def _sizes_told(content: bytes, log: bytes) -> Iterator[int]:
    """What the file and its log say of the size of a page, in bytes, as far as that can be."""
    told = [int.from_bytes(content[16:18])] if content.startswith(MAGIC) else []
    if len(log) >= LOG_HEADER:
        told.append(_u32(log, 8))
    for one in told:
        size = 65536 if one == 1 else one
        if 512 <= size <= 65536 and size & (size - 1) == 0:
            yield size


def _logged(log: bytes, size: int) -> dict[int, bytes]:
    """The newest pages in a write-ahead log, up to its last whole transaction."""
    if len(log) < LOG_HEADER or _u32(log, 0) not in LOG_MAGICS:
        return {}
    pages: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    for at in range(LOG_HEADER, len(log) - FRAME_HEADER - size + 1, FRAME_HEADER + size):
        if log[at + 8 : at + 16] != log[16:24]:  # of an earlier use of the file
            break
        pending[_u32(log, at)] = log[at + FRAME_HEADER : at + FRAME_HEADER + size]
        if _u32(log, at + 4):  # the end of a transaction
            pages |= pending
            pending = {}
    return pages


def _record(payload: bytes) -> tuple[Value, ...]:
    """The values of a record.

    Raises:
        ValueError: It is not one.
    """
    end, at = _varint(payload, 0)
    codes, body = [], end
    while at < end:
        code, at = _varint(payload, at)
        codes.append(code)
    values = []
    for code in codes:
        size = _size_of(code)
        values.append(_value(code, payload[body : body + size]))
        body += size
    if at != end or body != len(payload):
        raise ValueError("its parts do not add up")
    return tuple(values)


def _size_of(code: int) -> int:
    if code >= FIRST_BLOB:
        return (code - FIRST_BLOB) // 2
    return 8 if code == FLOAT else INTEGER_SIZES.get(code, 0)


def _value(code: int, content: bytes) -> Value:
    if code == 0:
        return None
    if code in INTEGER_SIZES:
        return int.from_bytes(content, signed=True)
    if code == FLOAT:
        return float(struct.unpack(">d", content)[0])
    if code in (ZERO, ONE):
        return code - ZERO
    if code < FIRST_BLOB:
        raise ValueError("no such kind of value")
    return content.decode() if code % 2 else content


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    value = 0
    for index in range(8):
        byte = content[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | content[at + 8], at + 9


def _u32(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 4])
