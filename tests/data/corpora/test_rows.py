"""Rows are documents: JSON lines, JSON arrays, CSV, TSV, Parquet and Arrow."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.corpora.corpus import Options
from data.corpora.json_rows import json_array, json_lines
from data.corpora.load import load_corpus
from data.corpora.table_rows import table_rows
from data.errors import InputError
from data.program import install_command
from tests.data.corpora.conftest import texts

pytestmark = pytest.mark.usefixtures("here")

ROWS = [{"id": "a", "text": f"Row {n}: «größer»\nand more"} for n in range(300)]
TEXTS = [row["text"] for row in ROWS]


def problem_with(spec: str, field: str = "") -> str:
    with pytest.raises(InputError) as caught:
        load_corpus(spec, Options(field=field))
    return str(caught.value)


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    body = io.StringIO(newline="")
    writer = csv.DictWriter(body, rows[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return body.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    body = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), body, row_group_size=100)
    return body.getvalue()


def as_arrow(rows: list[dict[str, Any]], is_stream: bool) -> bytes:
    body, table = io.BytesIO(), pa.Table.from_pylist(rows)
    make = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with make(body, table.schema) as writer:
        writer.write_table(table, max_chunksize=70)
    return body.getvalue()


def as_lines(rows: list[Any]) -> bytes:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()


BODIES = {
    "a.jsonl": as_lines(ROWS),
    "lines.txt": as_lines(ROWS),
    "a.json": json.dumps(ROWS).encode(),
    "array": json.dumps(ROWS, indent=1).encode("utf-16"),
    "a.csv": as_csv(ROWS),
    "b.csv": as_csv(ROWS, ";"),
    "a.tsv": as_csv(ROWS, "\t"),
    "a.jsonl.gz": gzip.compress(as_lines(ROWS)),
    "a.parquet": as_parquet(ROWS),
    "b.arrow": as_arrow(ROWS, is_stream=False),
    "c.arrow": as_arrow(ROWS, is_stream=True),
}
CALLED = {"jsonl": "JSON lines", "parquet": "a Parquet file", "arrow": "an Arrow file"}


@pytest.mark.parametrize("name", BODIES)
def test_the_rows_are_the_documents_and_their_field_is_told(here: Path, name: str) -> None:
    (here / name).write_bytes(BODIES[name])
    corpus = load_corpus(name)
    assert texts(corpus) == TEXTS
    assert texts(corpus) == TEXTS  # it can be read again
    assert corpus.count == len(TEXTS)
    told = ", of which the field 'text' is learned; data.field names another"
    assert told in corpus.told[-1]
    assert CALLED.get(name.rpartition(".")[2], "") in corpus.told[-1]
    (here / "lines.jsonl").write_bytes(as_lines(ROWS))
    assert corpus.sha256 == load_corpus("lines.jsonl").sha256  # whatever they are kept in


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "json", "parquet"])
def test_the_field_is_guessed_or_named(here: Path, suffix: str) -> None:
    rows = [{"id": "x" * 3, "Content": "short", "other": "long " * 9, "n": 1}] * 5
    make = {"jsonl": as_lines, "csv": as_csv, "parquet": as_parquet}
    body = json.dumps(rows).encode() if suffix == "json" else make[suffix](rows)
    (here / f"a.{suffix}").write_bytes(body)
    assert texts(load_corpus(f"a.{suffix}")) == ["short"] * 5  # a usual name
    assert texts(load_corpus(f"a.{suffix}", Options(field="id"))) == ["xxx"] * 5
    told = problem_with(f"a.{suffix}", field="othr")
    assert told == (
        f"a.{suffix} has no field 'othr', which data.field names: it has id, Content, other, n; "
        "--set data.field=other takes that one"
    )


def test_without_a_usual_name_it_is_the_longest(here: Path) -> None:
    (here / "a.jsonl").write_bytes(as_lines([{"x": "short", "y": "longer text"}] * 3))
    assert texts(load_corpus("a.jsonl")) == ["longer text"] * 3


def test_broken_rows_are_skipped_counted_and_told(here: Path) -> None:
    body = b'{"text": "one"}\n{"text": "tw\n\n{"text": 3}\n{"text": null}\n{"text": " "}\n[1]\n'
    body += b'{"text": "\\ud800"}\n{"text": ["x"]}\n{"text": "last"}\n' + b"[" * 99_999 + b"\n"
    (here / "a.jsonl").write_bytes(body)
    corpus = load_corpus("a.jsonl")
    assert texts(corpus) == ["one", "3", "last"]
    assert corpus.told[1] == (
        "a.jsonl: left out: 5 broken rows (a.jsonl:2, …), 2 rows without text (a.jsonl:4, …)"
    )


def test_rows_of_another_number_of_columns_are_broken(here: Path) -> None:
    (here / "a.csv").write_bytes(as_csv(ROWS[:40]) + b'one\nx,"y, z",more\na,fine\n')
    corpus = load_corpus("a.csv")
    assert texts(corpus) == [*TEXTS[:40], "fine"]
    assert corpus.told[1] == "a.csv: left out: 2 broken rows (a.csv:41, …)"


def test_a_single_column_of_a_usual_name_is_a_table(here: Path) -> None:
    (here / "a.csv").write_text('text\n"one, two"\nthree\n')
    assert texts(load_corpus("a.csv")) == ["one, two", "three"]


HEADERLESS = {
    "numbered.csv": ("1,Two roads diverged in a wood\n2,And sorry I could not\n3,Then took\n", 2),
    "labels.tsv": ("ham\tOk.\nspam\tWin a prize now, call us\nham\tI am on my way home\n", 2),
    "speakers.csv": (
        "Ann,I was there before you.\nBob,Never in your life was it so.\nCleo,They said we go.\n",
        2,
    ),
    "pairs.tsv": ("Go.\tGeh.\nHi there.\tGrüß dich.\nRun now!\tLauf jetzt!\n", 2),
    "dates.csv": ('2024-01-05,"rain, then sun"\n2024-01-06,"sun without a cloud"\n', 2),
}


@pytest.mark.parametrize("name", HEADERLESS)
def test_a_first_line_like_the_others_is_a_row(here: Path, name: str) -> None:
    body, column = HEADERLESS[name]
    (here / name).write_text(body)
    rows = list(csv.reader(body.splitlines(), delimiter="\t" if name.endswith("tsv") else ","))
    corpus = load_corpus(name)
    assert texts(corpus) == [row[column - 1] for row in rows]
    assert texts(corpus) == [row[column - 1] for row in rows]  # it can be read again
    assert corpus.told[0].endswith(
        f"without names in its first line, of which the field '{column}' is learned; data.field "
        "takes another number, or a name from that line if it has names"
    )
    assert texts(load_corpus(name, Options(field="1"))) == [row[0] for row in rows]
    named = load_corpus(name, Options(field=rows[0][1]))
    assert texts(named) == [row[1] for row in rows[1:]]
    assert "with names in its first line" in named.told[0]


@pytest.mark.parametrize(
    "body",
    [
        "id,verse\n1,Two roads diverged in a wood\n2,And sorry I could not\n",
        "Name,Quote\nAnn,I was there before you.\nBob,Never in your life was it so.\n",
        "When,What do you think?\n2024-01-05,The food is very good.\n2024-01-06,All of it was.\n",
        "a,b\nx,y\nz,w\n",  # nothing tells: as most tables have names
    ],
)
def test_a_first_line_of_names_is_none(here: Path, body: str) -> None:
    (here / "a.csv").write_text(body)
    rows = list(csv.DictReader(body.splitlines()))
    corpus = load_corpus("a.csv")
    last = list(rows[0])[-1]
    assert corpus.count == len(rows)
    assert corpus.told[0].startswith("a.csv is CSV with names in its first line, of which the")
    assert corpus.told[0].endswith("names another, or the number of a column if that line is text")
    assert texts(load_corpus("a.csv", Options(field="2"))) == [last, *(row[last] for row in rows)]
    assert "it has" in problem_with("a.csv", field="3")


def test_a_conversation_is_its_turns_after_who_says_them(here: Path) -> None:
    turns = [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello."}]
    others = [{"from": "human", "value": "Hi!"}, {"from": "gpt", "value": "Hello."}]
    (here / "a.jsonl").write_bytes(as_lines([{"id": "a long identifier", "messages": turns}] * 3))
    (here / "b.jsonl").write_bytes(as_lines([{"conversations": others}, {"conversations": [1]}]))
    corpus = load_corpus("a.jsonl")
    assert texts(corpus) == ["user: Hi!\nassistant: Hello.\n"] * 3
    assert "of which the field 'messages' is learned" in corpus.told[0]
    other = load_corpus("b.jsonl")
    assert texts(other) == ["human: Hi!\ngpt: Hello.\n"]
    assert "1 broken row (b.jsonl:2)" in other.told[1]


def test_lines_that_are_texts_themselves(here: Path) -> None:
    (here / "a.jsonl").write_bytes(as_lines(["one", "two"]))
    (here / "b.json").write_text('["one", "two"]')
    assert texts(load_corpus("a.jsonl")) == texts(load_corpus("b.json")) == ["one", "two"]


def test_what_is_structured_but_no_rows_is_learned_as_it_stands_and_told(here: Path) -> None:
    (here / "a.json").write_text('{"name": "x", "version": [1, 2]}')
    corpus = load_corpus("a.json")
    assert corpus.text == '{"name": "x", "version": [1, 2]}'
    assert corpus.told == (
        "a.json is JSON, learned as it stands, with all its signs and names of columns or keys",
    )


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("a.jsonl", b'{"n": 1}\n{"n": 2}\n', "is JSON lines without a field of text (it has n)"),
        (
            "a.jsonl",
            b'{"text": ""}\n' * 3,
            "without any text (3 rows without text (a.jsonl:1, …))",
        ),
        ("a.json", b'[{"text": "one"}, {"text": "tw', "is no valid JSON (at character 18)"),
        ("a.json", b'[{"text": "one"} {"text": "tw"}]', "is no valid JSON (at character 17)"),
        ("a.parquet", as_parquet([{"n": 1}]), "is a Parquet file without a field of text"),
        ("a.parquet", as_parquet(ROWS)[:-50], "is a Parquet file that is damaged ("),
        ("a.parquet", b"PAR1\0" + b"x" * 99, "is a Parquet file that is damaged ("),
        ("a.arrow", as_arrow(ROWS, True)[:900], "is an Arrow file that is damaged ("),
        ("a.arrow", as_arrow(ROWS, False)[:900], "is an Arrow file that is damaged ("),
    ],
)
def test_what_has_no_texts_is_one_sentence(here: Path, name: str, body: bytes, words: str) -> None:
    (here / name).write_bytes(body)
    told = problem_with(name)
    assert words in told
    assert "\n" not in told


def test_without_pyarrow_a_parquet_file_is_one_sentence(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "a.parquet").write_bytes(as_parquet(ROWS))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert problem_with("a.parquet") == (
        "a.parquet is a Parquet file, which needs another package: " + install_command("parquet")
    )


def test_tables_in_a_folder_are_among_its_documents(here: Path) -> None:
    (here / "n").mkdir()
    (here / "n/a.txt").write_text("plain\n")
    (here / "n/b.jsonl").write_bytes(as_lines(ROWS[:2]))
    (here / "n/c.jsonl").write_bytes(b'{"n": 1}\n')
    (here / "n/d.parquet").write_bytes(as_parquet(ROWS[:1]))
    corpus = load_corpus("n")
    assert texts(corpus) == ["plain\n", *TEXTS[:2], TEXTS[0]]
    assert corpus.text == "plain\n" + "\n".join([*TEXTS[:2], TEXTS[0]])
    assert [one.name for one in corpus.documents()][1:3] == ["b.jsonl:1", "b.jsonl:2"]
    assert corpus.told[0] == "n: left out: 1 without a field of text (c.jsonl)"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(rows=st.lists(VALUES, max_size=5), size=st.integers(1, 9), indent=st.sampled_from([None, 2]))
def test_an_array_in_pieces_is_what_json_makes_of_it(
    rows: list[Any], size: int, indent: int | None
) -> None:
    text = json.dumps(rows, indent=indent)
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    assert list(json_array(pieces)) == rows


@given(rows=st.lists(VALUES, max_size=5), size=st.integers(1, 9))
def test_lines_in_pieces_are_what_json_makes_of_them(rows: list[Any], size: int) -> None:
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    assert list(json_lines(pieces)) == rows


FIELD = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]))


@given(rows=st.lists(st.tuples(FIELD, FIELD), max_size=5), size=st.integers(1, 9))
def test_a_table_in_pieces_is_what_was_written(rows: list[tuple[str, str]], size: int) -> None:
    body = io.StringIO(newline="")
    csv.writer(body, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    text = body.getvalue().replace("\r\n", "\n")
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    assert [(row["a"], row["b"]) for row in table_rows(pieces, ",")] == rows


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
def test_a_large_table_is_never_in_memory_as_a_whole(here: Path, name: str) -> None:
    rows = [{"text": f"{n} " * 500} for n in range(6000)]
    make = {"jsonl": as_lines, "csv": as_csv, "parquet": as_parquet}
    suffix = name.rpartition(".")[2]
    body = json.dumps(rows).encode() if suffix == "json" else make[suffix](rows)
    (here / name).write_bytes(body)
    size = sum(len(row["text"]) for row in rows)
    del rows, body
    tracemalloc.start()
    corpus = load_corpus(name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert corpus.count == 6000
    assert peak < min(size, 12 << 20)


def test_a_folder_that_datasets_saved_is_its_rows(here: Path) -> None:
    for split, rows in (("train", ROWS), ("test", ROWS[:1])):
        (here / "d" / split).mkdir(parents=True)
        names = [f"data-0000{n}-of-00002.arrow" for n in range(2)]
        for name, part in zip(names, (rows[:100], rows[100:] or rows), strict=True):
            (here / "d" / split / name).write_bytes(as_arrow(part, is_stream=True))
        files = [{"filename": name} for name in names]
        (here / "d" / split / "state.json").write_text(json.dumps({"_data_files": files}))
        (here / "d" / split / "dataset_info.json").write_text("{}")
    (here / "d" / "dataset_dict.json").write_text('{"splits": ["test", "train"]}')
    corpus = load_corpus("d")
    assert texts(corpus) == TEXTS
    assert corpus.told[0].startswith(
        "d: left out: 5 beside a table (dataset_dict.json, …), 2 of other splits (test/data-"
    )
    assert texts(load_corpus("d/train")) == TEXTS
    assert load_corpus("d/train").sha256 == corpus.sha256


def test_a_folder_of_parquet_files_is_its_split_to_train_on(here: Path) -> None:
    (here / "d/data").mkdir(parents=True)
    (here / "d/README.md").write_text("# A dataset\n")
    (here / "d/data/train-00000-of-00001.parquet").write_bytes(as_parquet(ROWS))
    (here / "d/data/validation-00000-of-00001.parquet").write_bytes(as_parquet(ROWS[:5]))
    assert texts(load_corpus("d")) == TEXTS
    (here / "d/notes.rst").write_text("a folder that holds more than a dataset\n")
    assert load_corpus("d").count == 2 + len(ROWS) + 5


TELEGRAM = {
    "name": "us",
    "type": "personal_chat",
    "messages": [
        {"id": 1, "type": "service", "actor": "Ann", "text": ""},
        {"id": 2, "from": "Ann", "text": "hi"},
        {"id": 3, "from": "Bob", "text": ["see ", {"type": "link", "text": "x.org"}, "!"]},
        {"id": 4, "from": "Bob", "photo": "a.jpg"},
    ],
}
FACEBOOK = {
    "participants": [{"name": "Ann"}, {"name": "Bob"}],
    "messages": [
        {"sender_name": "Ann", "content": "hi", "timestamp_ms": 1},
        {"sender_name": "Bob", "photos": []},
        {"sender_name": "Bob", "content": "see x.org!"},
    ],
}
DISCORD = {
    "guild": {"name": "g"},
    "messages": [
        {"author": {"name": "Ann", "id": "7"}, "content": "hi"},
        {"author": {"name": "Bob", "id": "8"}, "content": "see x.org!"},
    ],
}


@pytest.mark.parametrize("export", [TELEGRAM, FACEBOOK, DISCORD], ids=["a", "b", "c"])
@pytest.mark.parametrize("indent", [None, 1])
def test_an_exported_chat_is_one_conversation(
    here: Path, export: dict[str, object], indent: int | None
) -> None:
    (here / "result.json").write_text(json.dumps(export, indent=indent))
    corpus = load_corpus("result.json")
    assert corpus.text == "Ann: hi\nBob: see x.org!\n"
    assert corpus.told == (
        "result.json is the JSON of a chat, of which the field 'messages' is learned; data.field "
        "names another",
    )


def test_a_damaged_chat_is_a_sentence(here: Path) -> None:
    (here / "result.json").write_text(json.dumps(TELEGRAM, indent=1)[:-9])
    with pytest.raises(InputError, match=r"is no valid JSON \(it cannot be parsed\)"):
        load_corpus("result.json")


def test_other_objects_are_learned_as_they_stand(here: Path) -> None:
    body = json.dumps({"messages": {"hello": "Hallo"}, "other": [1]}, indent=1)
    (here / "result.json").write_text(body)
    assert load_corpus("result.json").text == body


def test_a_field_that_is_named_where_there_are_no_rows_is_told(here: Path) -> None:
    (here / "plain.txt").write_text("a text without rows\n")
    (here / "rows.csv").write_text("id,body\n1,some words\n")
    told = load_corpus("plain.txt", Options(field="body")).told
    assert told == ("data.field 'body' changes nothing: plain.txt has no rows with fields",)
    assert "changes nothing" not in " ".join(load_corpus("rows.csv", Options(field="body")).told)
