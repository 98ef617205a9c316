"""What the tests of corpora share."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.corpora.corpus import Corpus


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def texts(corpus: Corpus) -> list[str]:
    """Return the whole text of each document."""
    return ["".join(one.pieces()) for one in corpus.documents()]
