"""Several files are several documents: a folder, a pattern, or a list of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from pathlib import Path

import pytest

from data.corpora.corpus import Corpus
from data.corpora.load import load_corpus
from data.errors import InputError
from data.sources.find import find_files
from data.specs import join_specs

pytestmark = pytest.mark.usefixtures("here")


def write(here: Path, **texts: str) -> None:
    """Write files; two underscores in a name are a folder's slash, one is a dot."""
    for name, text in texts.items():
        path = here / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def documents(corpus: Corpus) -> list[tuple[str, str]]:
    return [(one.name, "".join(one.pieces())) for one in corpus.documents()]


def problem_with(*specs: str) -> str:
    with pytest.raises(InputError) as caught:
        load_corpus(specs)
    return str(caught.value)


def test_a_folder_is_its_files_in_the_order_of_their_paths(here: Path) -> None:
    write(here, notes__b_txt="two", notes__a__z_txt="one\n", notes__c_md="drei\r\n")
    corpus = load_corpus("notes")
    assert documents(corpus) == [("a/z.txt", "one\n"), ("b.txt", "two"), ("c.md", "drei\n")]
    assert corpus.text == "one\ntwo\ndrei\n"  # what is no whole line is ended
    assert (corpus.name, corpus.count) == ("notes", 3)
    assert (corpus.characters, corpus.size) == (len(corpus.text), len(corpus.text.encode()))
    assert corpus.source == str(here / "notes")


def test_a_document_can_be_read_at_any_time_and_again(here: Path) -> None:
    write(here, n__a_txt="one\r\n", n__b_jsonl='{"text": "two"}\n')
    listed = list(load_corpus("n").documents())
    for _ in range(2):
        assert ["".join(one.pieces()) for one in listed] == ["one\n", "two"]


def test_several_documents_have_one_hash_wherever_they_are(here: Path) -> None:
    write(here, a__x_txt="one", a__y_txt="two", b__p_txt="one", b__q_txt="two", c__x_txt="onetwo")
    a, b, c = load_corpus("a"), load_corpus("b"), load_corpus("c")
    assert a.sha256 == b.sha256 == load_corpus(["a/x.txt", "b/q.txt"]).sha256
    assert a.sha256 != c.sha256
    assert a.sha256 != load_corpus(["a/y.txt", "a/x.txt"]).sha256
    parts = [(3).to_bytes(8, "little") + hashlib.sha256(t).digest() for t in (b"one", b"two")]
    assert a.sha256 == hashlib.sha256(b"".join(parts)).hexdigest()
    assert c.sha256 == hashlib.sha256(b"onetwo").hexdigest()  # one document


def test_what_is_no_text_is_left_out_counted_and_told(here: Path) -> None:
    write(here, n__a_txt="a text", n___hidden="x", n__b_txt=" \n", n__c_txt="\r\n", n__d_bin="\0\1")
    (here / "n/e.png").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    (here / "n/.git").mkdir()
    os.mkfifo(here / "n/pipe")
    (here / "n/loop").symlink_to("loop")
    (here / "n/up").symlink_to(here)
    corpus = load_corpus("n")
    assert documents(corpus) == [("a.txt", "a text")]
    assert corpus.told == (
        "n: left out: 2 binary (d.bin, …), 1 broken link (loop), 2 empty (b.txt, …), "
        f"2 hidden ({corpus.told[0].partition('hidden (')[2].partition(',')[0]}, …), "
        "1 link to folders (up), 1 no regular file (pipe)",
    )


def test_a_gitignore_is_respected_in_its_folder_and_below(here: Path) -> None:
    write(
        here,
        p___gitignore="*.log\nbuild/\n!keep.log\n",
        p__a_py="a",
        p__x_log="x",
        p__keep_log="k",
        p__build__b_py="b",
        p__s___gitignore="/t.py\n",
        p__s__t_py="t",
        p__s__u__t_py="u",
        p__s__build="a file",
    )
    names = [name for name, _ in documents(load_corpus("p"))]
    assert names == ["a.py", "keep.log", "s/build", "s/u/t.py"]


def test_a_folder_of_a_repository_knows_the_rules_above_it(here: Path) -> None:
    write(here, p___gitignore="secret*\n", p__s__a_py="a", p__s__secret_py="b")
    assert [name for name, _ in documents(load_corpus("p/s"))] == ["a.py", "secret.py"]
    (here / "p/.git").mkdir()
    assert [name for name, _ in documents(load_corpus("p/s"))] == ["a.py"]


def test_a_pattern_is_the_files_that_match(here: Path) -> None:
    write(here, n__a_txt="a", n__b_md="b", n__c__d_txt="d", m_txt="m")
    assert documents(load_corpus("n/*.txt")) == [("a.txt", "a")]
    assert [one for one, _ in documents(load_corpus("**/*.txt"))] == [
        "m.txt",
        "n/a.txt",
        "n/c/d.txt",
    ]
    assert [one for one, _ in documents(load_corpus("n/*"))] == ["a.txt", "b.md", "c/d.txt"]
    assert load_corpus("n/*.txt").source == str(here / "n/*.txt")
    assert problem_with("n/*.rst") == "no file matches n/*.rst: check the pattern, or name a folder"


def test_a_pattern_of_any_depth_reads_each_file_once_where_links_lead_in_a_circle(
    here: Path,
) -> None:
    write(here, n__a_md="a", n__c__d_md="d", n__x_txt="x")
    for name in ("up", "again"):
        (here / "n/c" / name).symlink_to("..")
    corpus = load_corpus("n/**/*.md")
    assert documents(corpus) == [("a.md", "a"), ("c/d.md", "d")]
    assert corpus.told == ("*.md: left out: 2 links to folders (c/again, …)",)
    assert [one for one, _ in documents(load_corpus("n/c/*"))] == ["d.md"]
    assert [one for one, _ in documents(load_corpus("n/**/c"))] == ["c/d.md"]
    assert len(load_corpus("n/**").readers) == 3
    assert problem_with("n/**/*.rst").startswith(
        "no file matches n/**/*.rst (left out: 2 links to folders (c/again, …)): check the pattern"
    )
    assert problem_with("n/**/[z-a]").startswith("'**/[z-a]' is no valid pattern")


def test_a_pattern_of_any_depth_leaves_out_what_git_ignores(here: Path) -> None:
    write(here, c__a_py="a", c__venv__b_py="b", c__tool__b_py="t")
    (here / "c/.gitignore").write_text("venv/\n")
    corpus = load_corpus("c/**/*.py")
    assert [one for one, _ in documents(corpus)] == ["a.py", "tool/b.py"]
    assert corpus.told == ("*.py: left out: 1 in .gitignore (venv)",)


def test_a_file_whose_name_is_a_pattern_is_that_file(here: Path) -> None:
    (here / "a[1].txt").write_text("mine")
    assert load_corpus("a[1].txt").text == "mine"


def test_several_are_a_list_or_one_value_of_the_setting(here: Path) -> None:
    write(here, **{"a_txt": "a", "my texts__b_txt": "b", "my texts__c_txt": "c"})
    specs = ["a.txt", "my texts"]
    corpus = load_corpus(specs)
    assert corpus.text == "a\nb\nc"
    assert corpus.name == "a.txt and 1 more"
    assert corpus == load_corpus(join_specs(specs)) == load_corpus(corpus.source)
    assert corpus.source == join_specs([str(here / one) for one in specs])


def test_a_path_that_looks_like_a_list_is_a_path(here: Path) -> None:
    (here / "[a]").write_text("mine")
    assert load_corpus("[a]").text == "mine"


def test_a_folder_without_any_text(here: Path) -> None:
    write(here, empty___x="")
    (here / "none").mkdir()
    assert problem_with("none") == "there is no text in none: name a file, or another folder"
    assert problem_with("empty") == (
        "there is no text in empty (left out: 1 hidden (.x)): name a file, or another folder"
    )


def test_one_that_is_missing_among_several_is_named(here: Path) -> None:
    write(here, a_txt="a")
    assert problem_with("a.txt", "b.txt").startswith("The file b.txt does not exist.")


@pytest.mark.parametrize("kind", ["socket", "loop", "device"])
def test_what_is_no_file_is_refused_at_once(here: Path, kind: str) -> None:
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("it")
    elif kind == "loop":
        (here / "it").symlink_to("it")
    name = "/dev/zero" if kind == "device" else "it"
    assert (
        problem_with(name)
        == {
            "socket": "it is a socket: save its text to a file first.",
            "device": "/dev/zero is a device: save its text to a file first.",
            "loop": "'it' cannot be read (Too many levels of symbolic links): check the path or "
            "give another file.",
        }[kind]
    )


def test_a_file_that_is_gone_since_it_was_listed_is_left_out(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here, n__a_txt="a", n__b_txt="b")

    def find_then_delete(*args: object) -> object:
        found = find_files(*args)  # type: ignore[arg-type]
        (here / "n/a.txt").unlink()
        return found

    monkeypatch.setattr("data.corpora.load.find_files", find_then_delete)
    corpus = load_corpus("n")
    assert documents(corpus) == [("b.txt", "b")]
    assert corpus.told == ("n: left out: 1 gone since they were listed (a.txt)",)


def test_a_folder_that_moved_is_the_same_text(here: Path) -> None:
    write(here, n__a_txt="a", n__b_txt="b")
    before = load_corpus("n").sha256
    shutil.move(here / "n", here / "m")
    assert load_corpus("m").sha256 == before
