"""SQLite files that are not what they should be: refused before they are used."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine.runs import sqlite
from engine.runs.sqlite import Bounded, check_files, statements

SCHEMA = (
    "CREATE TABLE pairs (key TEXT PRIMARY KEY, value TEXT NOT NULL);INSERT INTO pairs VALUES (1, 2)"
)
TABLES = statements(SCHEMA)
ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*), '' FROM n"
)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        yield connection


def test_the_tables_that_were_made_pass(db: sqlite3.Connection) -> None:
    Bounded(db).check_tables(TABLES)
    db.execute("ANALYZE")  # adds tables of SQLite's own
    Bounded(db).check_tables(TABLES)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("CREATE TABLE more (x)", "it holds the table 'more', which gpt-tui did not make"),
        ("CREATE INDEX one ON pairs (value)", "it holds the index 'one'"),
        (f"DROP TABLE pairs; CREATE VIEW pairs AS {ENDLESS}", "it holds the view 'pairs'"),
        (
            "CREATE TRIGGER evil AFTER INSERT ON pairs BEGIN SELECT 1; END",
            "it holds the trigger 'evil'",
        ),
        (
            "DROP TABLE pairs; CREATE VIRTUAL TABLE pairs USING fts5(key, value)",
            "it holds the table",
        ),
        ("ALTER TABLE pairs ADD COLUMN more", "its table 'pairs' is not as gpt-tui makes it"),
        (
            "DROP TABLE pairs; CREATE TABLE pairs (key TEXT, value TEXT AS (key || key))",
            "its table 'pairs' is not as gpt-tui makes it",
        ),
        ("DROP TABLE pairs", "its table 'pairs' is gone"),
    ],
)
def test_anything_else_is_refused(db: sqlite3.Connection, statement: str, told: str) -> None:
    db.executescript(statement)
    with pytest.raises(ValueError) as caught:
        Bounded(db).check_tables(TABLES)
    assert str(caught.value).startswith(told)


def test_a_table_that_an_older_version_extended_passes(db: sqlite3.Connection) -> None:
    db.executescript("DROP TABLE pairs; CREATE TABLE pairs (key); ALTER TABLE pairs ADD value TEXT")
    Bounded(db).check_tables(TABLES)


def test_rows_are_of_the_type_that_is_asked_for(db: sqlite3.Connection) -> None:
    bounded = Bounded(db)
    assert bounded.select(tuple[str, str], "SELECT * FROM pairs") == [("1", "2")]
    with pytest.raises(ValueError, match="expected int, got str"):
        bounded.select(tuple[int, str], "SELECT * FROM pairs")
    with pytest.raises(ValueError, match="not UTF-8"):
        bounded.select(tuple[str], "SELECT CAST(x'ff' AS TEXT)")


def test_a_query_without_end_ends(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "QUERY_SECONDS", 0.05)
    with pytest.raises(ValueError, match="it takes too long to read"):
        Bounded(db).select(tuple[int, str], ENDLESS)


@pytest.mark.parametrize("suffix", ["", *sqlite.BESIDE])
def test_no_file_of_a_database_is_a_link_or_a_pipe(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "run.db"
    check_files(path)
    place = tmp_path / f"run.db{suffix}"
    place.symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="it is a link"):
        check_files(path)
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(OSError, match="it is a pipe"):
        check_files(path)
