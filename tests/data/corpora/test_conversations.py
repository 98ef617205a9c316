"""The conversations that ChatGPT and Claude export are documents, one a conversation."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.corpora.conversations import text_of
from data.corpora.load import load_corpus
from data.errors import InputError
from tests.data.corpora.conftest import texts

pytestmark = pytest.mark.usefixtures("here")


def turn(role: str, *parts: object, **others: object) -> dict[str, Any]:
    """A message as ChatGPT exports it."""
    return {
        "id": "bbb",
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": 1700000000.1,
        "content": {"content_type": "text", "parts": [*parts]},
        "weight": 1.0,
        "metadata": {},
        "recipient": "all",
        **others,
    }


def tree(*nodes: tuple[str, str | None, dict[str, Any] | None]) -> dict[str, Any]:
    """Nodes by their names, each with that of its parent and its message."""
    return {
        name: {
            "id": name,
            "message": message,
            "parent": parent,
            "children": [other for other, of, _ in nodes if of == name],
        }
        for name, parent, message in nodes
    }


def of_chatgpt(mapping: dict[str, Any], **others: object) -> dict[str, Any]:
    return {
        "title": "A title that is longer than all that is said in it",
        "create_time": 1700000000.1,
        "update_time": 1700000001.2,
        "mapping": mapping,
        "moderation_results": [],
        "current_node": [*mapping][-1],
        **others,
    }


PHOTO = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
HIDDEN = {"is_visually_hidden_from_conversation": True}
VOICE = {"content_type": "audio_transcription", "text": "and now?", "direction": "in"}
CHATGPT = [
    of_chatgpt(
        tree(
            ("root", None, None),
            ("system", "root", turn("system", "")),
            ("about", "system", turn("user", "I am Ann.", metadata=HIDDEN)),
            ("q", "about", turn("user", PHOTO, "What is it?")),
            ("old", "q", turn("assistant", "A dog.")),
            ("call", "q", turn("assistant", "look()", recipient="python")),
            ("result", "call", turn("tool", "cat 0.9")),
            ("new", "result", turn("assistant", "A cat.\nI am sure.")),
            ("q2", "new", turn("user", VOICE)),
        )
    ),
    of_chatgpt(tree(("root", None, None)), title="nothing was said"),
    of_chatgpt(tree(("a", None, turn("user", "Hi!")), ("b", "a", turn("assistant", "Hello.")))),
]
SAID_TO_CHATGPT = [
    "user: What is it?\nassistant: A cat.\nI am sure.\nuser: and now?\n",
    "user: Hi!\nassistant: Hello.\n",
]


def block(kind: str, **others: object) -> dict[str, Any]:
    return {"start_timestamp": "2025-01-01T00:00:00Z", "type": kind, **others}


def of_claude(*messages: dict[str, Any], **others: object) -> dict[str, Any]:
    return {
        "uuid": "6f1f",
        "name": "A name that is longer than all that is said in it",
        "summary": "",
        "created_at": "2025-01-01T00:00:00Z",
        "account": {"uuid": "77"},
        "chat_messages": [*messages],
        **others,
    }


CLAUDE = [
    of_claude(
        {
            "uuid": "1",
            "text": "What is it?",
            "content": [block("text", text="What is it?", citations=[])],
            "sender": "human",
            "attachments": [{"file_name": "a.txt", "extracted_content": "a cat"}],
        },
        {
            "uuid": "2",
            "text": "This block is not supported on your current device yet.",
            "content": [
                block("thinking", thinking="Hm."),
                block("text", text="Let me look."),
                block("tool_use", name="repl", input={"code": "look()"}),
                block("tool_result", content=[{"type": "text", "text": "cat 0.9"}]),
                block("text", text="A cat."),
            ],
            "sender": "assistant",
        },
        {"uuid": "3", "text": "Sure?", "sender": "human"},  # as older exports have it
    ),
    of_claude(),
]
SAID_TO_CLAUDE = ["human: What is it?\nassistant: Let me look.\nA cat.\nhuman: Sure?\n"]

EXPORTS = [
    pytest.param(CHATGPT, "mapping", SAID_TO_CHATGPT, id="chatgpt"),
    pytest.param(CLAUDE, "chat_messages", SAID_TO_CLAUDE, id="claude"),
]
SAID = "of which what the person and the model say is learned"
EXPORTED_BY = {
    "mapping": f"an export of ChatGPT, {SAID}",
    "chat_messages": f"an export of Claude, {SAID}",
}
every_export = pytest.mark.parametrize(("export", "field", "said"), EXPORTS)


@every_export
@pytest.mark.parametrize("indent", [None, 1])
def test_each_conversation_is_a_document_and_what_was_left_out_is_told(
    here: Path, export: list[Any], field: str, said: list[str], indent: int | None
) -> None:
    (here / "conversations.json").write_text(json.dumps([*export, 7], indent=indent))
    corpus = load_corpus("conversations.json")
    assert texts(corpus) == said
    empty = 2
    assert corpus.told == (
        f"conversations.json is {EXPORTED_BY[field]}",
        f"conversations.json: left out: 1 broken row (conversations.json:{len(export) + 1}), "
        f"1 row without text (conversations.json:{empty})",
    )


@every_export
def test_one_of_them_is_a_conversation(
    here: Path, export: list[Any], field: str, said: list[str]
) -> None:
    (here / "one.json").write_text(json.dumps(export[0]))
    corpus = load_corpus("one.json")
    assert texts(corpus) == said[:1]
    assert EXPORTED_BY[field] in corpus.told[0]


@every_export
@pytest.mark.parametrize("name", ["conversations.json", "chats"])
def test_the_first_may_be_longer_than_what_is_read_at_once(
    here: Path, export: list[Any], field: str, said: list[str], name: str
) -> None:
    long = "".join(f"line {n:,}\n" for n in range(150_000))
    first = {
        "mapping": of_chatgpt(tree(("a", None, turn("user", long)))),
        "chat_messages": of_claude({"sender": "user", "text": long}),
    }[field]
    (here / name).write_text(json.dumps([first, *export]))
    corpus = load_corpus(name)
    assert texts(corpus) == [f"user: {long}\n", *said]


@every_export
def test_an_archive_is_its_conversations_alone(
    here: Path, export: list[Any], field: str, said: list[str]
) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps(export))
        archive.writestr("conversations-001.json", json.dumps(export))
        archive.writestr("user.json", '{"email": "ann@example.org"}')
        archive.writestr("chat.html", f"<html>{json.dumps(export)}</html>")
        archive.writestr("conversations/6f1f.json", json.dumps(export[0]))
        archive.writestr("file-1.png", b"\x89PNG\r\n\x1a\n\0\0")
        archive.writestr("file-2-notes.txt", "what was attached\n")
    (here / "export.zip").write_bytes(body.getvalue())
    corpus = load_corpus("export.zip")
    assert texts(corpus) == [*said, *said, "what was attached\n"]
    assert "ann@example.org" not in corpus.text
    assert "3 beside exported conversations (export.zip/chat.html, …)" in corpus.told[0]


@every_export
def test_so_is_its_folder_and_what_lies_elsewhere_is_learned(
    here: Path, export: list[Any], field: str, said: list[str]
) -> None:
    (here / "notes/export").mkdir(parents=True)
    (here / "notes/export/conversations.json").write_text(json.dumps(export))
    (here / "notes/export/user.json").write_text('{"email": "ann@example.org"}')
    (here / "notes/page.html").write_text("<html>a page</html>")
    corpus = load_corpus("notes")
    assert texts(corpus) == [*said, "<html>a page</html>"]
    assert corpus.told[0] == ("notes: left out: 1 beside exported conversations (export/user.json)")


def test_other_files_of_that_name_leave_nothing_out(here: Path) -> None:
    (here / "code").mkdir()
    (here / "code/conversations.json").write_text('{"en": "Conversations"}')
    (here / "code/index.html").write_text("<html>a page</html>")
    assert load_corpus("code").count == 2


@pytest.mark.parametrize(
    "broken",
    [
        {"mapping": {"a": 1}},
        {"mapping": {"a": {"message": 1}, "b": []}},
        {"mapping": []},
        {"chat_messages": [1]},
        {"chat_messages": {"a": {}}},
        {},
        [],
        None,
        "\ud800",
    ],
)
@every_export
def test_a_broken_one_costs_no_other(
    here: Path, export: list[Any], field: str, said: list[str], broken: object
) -> None:
    (here / "conversations.json").write_text(json.dumps([export[0], broken]))
    corpus = load_corpus("conversations.json")
    told = [one for one in corpus.told if "left out" in one]
    assert texts(corpus) == said[:1]
    assert len(told) == 1


@every_export
def test_one_that_is_cut_is_a_sentence(
    here: Path, export: list[Any], field: str, said: list[str]
) -> None:
    (here / "conversations.json").write_text(json.dumps(export)[:-9])
    with pytest.raises(InputError, match="is no valid JSON"):
        load_corpus("conversations.json")


def test_of_a_tree_without_the_node_that_is_shown_the_newest_branch_is_read() -> None:
    nodes = tree(
        ("q", None, turn("user", "Hi!")),
        ("old", "q", turn("assistant", "Go away.")),
        ("new", "q", turn("assistant", "Hello.")),
    )
    for last in ({}, {"current_node": None}, {"current_node": "gone"}, {"current_node": ["q"]}):
        said = text_of({"mapping": nodes, **last}, "mapping")
        assert said == "user: Hi!\nassistant: Hello.\n"


names = st.sampled_from("abcd")
NODE = st.fixed_dictionaries(
    {"message": st.one_of(st.none(), st.just(turn("user", "said")), st.integers())},
    optional={
        "parent": st.one_of(names, st.none(), st.lists(names)),
        "children": st.lists(names, max_size=2),
    },
)


@given(st.dictionaries(names, NODE, min_size=1), st.one_of(names, st.none()))
def test_whatever_the_tree_each_turn_is_said_once_at_most(
    nodes: dict[str, Any], last: str | None
) -> None:
    said = text_of({"mapping": nodes, "current_node": last}, "mapping")
    assert said is not None
    assert set(said.splitlines()) <= {"user: said"}
    assert said.count("said") <= len(nodes)
