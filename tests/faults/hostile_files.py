"""Every field of every file of a run with values it cannot have, and other things in its place."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import sqlite3
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import tomli_w

Place: TypeAlias = tuple[str | int, ...]  # the keys that lead to a value

MARK = "a value of this test"
ABSENT, TWICE = "absent", "twice"
DEEP = 100_000
JSON_VALUES = (
    *("null", "true", "0", "-1", "1.5", "1e300", "NaN", "-Infinity", str(2**62), str(2**63)),
    *("1" + "0" * 30, "9" * 10_000, '""', '"x"', '"\\ud800"', '"\\u001b[31m\\u0007"', '"\\u0000"'),
    *(f'"{"long " * 2000}"', "[]", "{}", "[null]", '{"x": 1}', "[1, 2, 3]", '["a", ["b"]]'),
    *("[" * DEEP, '{"a":' * DEEP, ABSENT, TWICE),
)
TOML_VALUES = (
    *("true", "0", "-1", "1.5", "1e300", "nan", "-inf", str(2**62), "9" * 10_000, '""', '"x"'),
    *('"\\u001B[31m\\u0007"', f'"{"long " * 2000}"', "[]", "{}", "[1, [2]]", "{x = 1}"),
    *("1979-05-27T07:32:00Z", "[" * DEEP, "{a = " * 1000, f"{{{'a.' * 5000}a = 1}}", ABSENT, TWICE),
)
CELLS: tuple[Any, ...] = (
    *(-1, 0, 1, 2**31, 2**62, 2**63 - 1, 1.5, 1e300, float("inf"), "", "x", "\x1b[31m\x07"),
    *("null", "[]", "{", "[" * DEEP, b"", b"\x00" * 8, b"\xff" * 16, b"x" * 7),
)


def leaves(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every place in nested values, those of lists and mappings, too."""
    if place:
        yield place
    if isinstance(value, dict):
        for key, one in value.items():
            yield from leaves(one, (*place, key))
    if isinstance(value, list):
        for index, one in enumerate(value[:2]):  # the others are like these
            yield from leaves(one, (*place, index))


def spoiled(value: Any, place: Place, written: str, dump: Callable[[Any], str]) -> str:
    """Dump values with another one at a place, as it is written in that format."""
    copy = json.loads(json.dumps(value))
    parent = copy
    for key in place[:-1]:
        parent = parent[key]
    if written == ABSENT:
        del parent[place[-1]]
        return dump(copy)
    parent[place[-1]] = MARK
    text = dump(copy)
    if written == TWICE:
        line = next((one for one in text.splitlines() if MARK in one), text)
        found = re.search(r'([\w"-]+) ?[:=] ?"' + MARK, line)
        written = f'1{_between(text)}{found[0]}"' if found else f'"{MARK}"'
    return text.replace(f'"{MARK}"', written)


def _between(text: str) -> str:
    return ", " if text.lstrip().startswith(("{", "[{")) else "\n"


# -- what is put in a file's place -----------------------------------------------------------------


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _socket(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # its whole path may be too long for a socket
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(before)


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**26)  # without a block on the disk


INSTEAD: dict[str, Callable[[Path], object]] = {
    "absent": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "socket": _socket,
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "link to the root": lambda path: path.symlink_to("/"),
    "huge": _huge,
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 40),
}


@dataclass(frozen=True)
class Instead:
    """Something else in the place of a file or a folder."""

    file: str
    kind: str

    def spoil(self, run: Path) -> None:
        path = run / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(path)
        INSTEAD[self.kind](path)


@dataclass(frozen=True)
class InJson:
    """A value in a JSON file; the manifest beside it gets hashes that fit."""

    file: str
    place: Place
    written: str

    def spoil(self, run: Path) -> None:
        path = run / self.file
        text = spoiled(json.loads(path.read_bytes()), self.place, self.written, json.dumps)
        path.unlink()  # its content is shared with other copies of the run
        path.write_text(text, encoding="utf-8")
        if path.name != "manifest.json":
            seal(path.parent)


@dataclass(frozen=True)
class InToml:
    file: str
    place: Place
    written: str

    def spoil(self, run: Path) -> None:
        path = run / self.file
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        path.write_text(spoiled(values, self.place, self.written, tomli_w.dumps), "utf-8")


@dataclass(frozen=True)
class InHeader:
    """A value in the header of a safetensors file, whose hash fits."""

    file: str
    place: Place
    written: str

    def spoil(self, run: Path) -> None:
        path = run / self.file
        body = path.read_bytes()
        size = int.from_bytes(body[:8], "little")
        header = spoiled(json.loads(body[8 : 8 + size]), self.place, self.written, json.dumps)
        path.unlink()
        new = header.encode()
        path.write_bytes(len(new).to_bytes(8, "little") + new + body[8 + size :])
        seal(path.parent)


@dataclass(frozen=True)
class Cell:
    """A value in one row of a table."""

    file: str
    table: str
    column: str
    row: int
    value: Any

    def spoil(self, run: Path) -> None:
        with closing(quick(run / self.file)) as db, db:
            update_row(db, self.table, self.column, self.row, self.value)


@dataclass(frozen=True)
class InCell:
    """A value within the JSON of a cell."""

    file: str
    table: str
    column: str
    row: int
    place: Place
    written: str

    def spoil(self, run: Path) -> None:
        with closing(quick(run / self.file)) as db, db:
            rows = f"SELECT {self.column} FROM {self.table} LIMIT 1 OFFSET ?"
            (text,) = db.execute(rows, (self.row,)).fetchone()
            new = spoiled([json.loads(text)], (0, *self.place), self.written, json.dumps)
            update_row(db, self.table, self.column, self.row, new[1:-1])


@dataclass(frozen=True)
class Sql:
    """A statement that changes what a database holds."""

    file: str
    statement: str

    def spoil(self, run: Path) -> None:
        with closing(quick(run / self.file)) as db:
            db.executescript(self.statement)


Spoil: TypeAlias = Instead | InJson | InToml | InHeader | Cell | InCell | Sql


def quick(path: Path) -> sqlite3.Connection:
    """Connect to a database that need not survive a loss of power."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    return db


def update_row(db: sqlite3.Connection, table: str, column: str, row: int, value: Any) -> None:
    keys = [name for _, name, *_, is_key in db.execute(f"PRAGMA table_info({table})") if is_key]
    key = ", ".join(keys)
    with suppress(sqlite3.IntegrityError):  # SQLite itself does not let it in
        db.execute(
            f"UPDATE {table} SET {column} = ? WHERE ({key}) IN "
            f"(SELECT {key} FROM {table} LIMIT 1 OFFSET ?)",
            (value, row),
        )


def seal(checkpoint: Path) -> None:
    """Write the hashes of a checkpoint's files anew."""
    path = checkpoint / "manifest.json"
    manifest = json.loads(path.read_bytes())
    for name in manifest["sha256"]:
        manifest["sha256"][name] = hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
    path.unlink()
    path.write_text(json.dumps(manifest))


# -- all cases of a run ----------------------------------------------------------------------------

HOSTILE_SQL = (
    "DELETE FROM branches;",
    "DELETE FROM meta;",
    "DROP TABLE samples;",
    "ALTER TABLE meta ADD COLUMN third;",
    "INSERT INTO branches VALUES (7, 99, 1, 0), (8, 8, 1, 0), (9, 10, 1, 0), (10, 9, 1, 0);",
    "INSERT INTO journal VALUES (999, 0, 1, 'adjusted', '{}', 0);",
    "INSERT INTO journal VALUES (999, 5, 1, 'rewound', '{\"left_at\": -1}', 0);",
    "INSERT INTO metric_tail VALUES (0, 'train_loss', 4611686018427387904, 1.0);",
    "INSERT INTO metric_tail VALUES (0, 'new', 1, 1e308), (0, 'new', 2, -1e308);",
    "DELETE FROM metric_tail; DELETE FROM metric_blocks;",
    "UPDATE metric_tail SET value = CASE step % 3 WHEN 0 THEN 1e308 WHEN 1 THEN -1e308 END;",
    "INSERT INTO metric_blocks VALUES (0, 'train_loss', 0, x'', x'');",
    "INSERT INTO metric_blocks VALUES (0, 'train_loss', 9, zeroblob(8), zeroblob(8000000));",
    "INSERT INTO metric_blocks VALUES (0, 'train_loss', 0, x'ffffffffffffff7f', zeroblob(16));",
    "UPDATE meta SET value = CAST(x'ff' AS TEXT) WHERE key = 'summary';",
    "UPDATE samples SET text = CAST(x'ff' AS TEXT);",
    "ALTER TABLE journal RENAME TO old; CREATE VIEW journal AS WITH RECURSIVE n(i) AS (SELECT 1 "
    "UNION ALL SELECT i + 1 FROM n) SELECT i AS id, 0 AS branch, 0 AS step, 'x' AS kind, '{}' AS "
    "detail, 0.0 AS created FROM n;",
    "CREATE TRIGGER evil AFTER INSERT ON journal BEGIN DELETE FROM samples; END;",
    "PRAGMA user_version = 0;",
    "PRAGMA user_version = 99;",
)


def cases_of_files(run: Path) -> list[Spoil]:
    """Each file and folder of a run, and those it could have, replaced by something else."""
    there = [path.relative_to(run).as_posix() for path in sorted(run.rglob("*"))]
    could = ["lock", "log.txt", "notes.toml", "run.db-wal", "run.db-shm", "run.db-journal"]
    files = dict.fromkeys((*there, *could))
    return [Instead(file, kind) for file in files for kind in INSTEAD]


def cases_of_toml(run: Path, file: str) -> list[Spoil]:
    values = tomllib.loads((run / file).read_text(encoding="utf-8"))
    return [InToml(file, place, one) for place in leaves(values) for one in TOML_VALUES]


def cases_of_json(run: Path, file: str) -> list[Spoil]:
    places = leaves(json.loads((run / file).read_bytes()))
    return [InJson(file, place, one) for place in places for one in JSON_VALUES]


def cases_of_header(run: Path, file: str) -> list[Spoil]:
    body = (run / file).read_bytes()
    header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
    places = [place for place in leaves(header) if place[0] in sorted(header)[:3]]
    return [InHeader(file, place, one) for place in places for one in JSON_VALUES]


def cases_of_database(run: Path, file: str) -> list[Spoil]:
    cases: list[Spoil] = []
    with closing(sqlite3.connect(f"file:{run / file}?immutable=1", uri=True)) as db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table.startswith("sqlite_"):
                continue
            found = db.execute(f"SELECT * FROM {table}")
            columns, rows = [one[0] for one in found.description], found.fetchall()
            for row in range(len(rows)) if len(rows) < 30 else (0, len(rows) - 1):
                for column, value in zip(columns, rows[row], strict=True):
                    if column != "value" and row in (0, len(rows) - 1):
                        cases += [Cell(file, table, column, row, one) for one in CELLS]
                    if isinstance(value, str) and value.startswith(("{", "[")):
                        places = [(), *leaves(json.loads(value))]
                        cases += [
                            InCell(file, table, column, row, place, one)
                            for place in places
                            for one in JSON_VALUES
                            if place or one not in (ABSENT, TWICE)
                        ]
    return cases
