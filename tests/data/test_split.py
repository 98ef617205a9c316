"""What is for validation: the end, the last documents, or some drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.batches import Split, split_tokens
from data.errors import InputError
from data.prepared import split as splitting
from data.prepared.prepare import Tokenized
from data.prepared.split import split_of


@dataclass(frozen=True)
class How:
    val_share: float = 0.1
    val_split: str = "auto"
    val_seed: int = 0


def documents(*sizes: int, folder: Path | None = None) -> Tokenized:
    """Each document is its number, again and again."""
    tokens = np.repeat(np.arange(len(sizes)), sizes).astype("<u2")
    return Tokenized(tokens, np.cumsum([0, *sizes[:-1]]), folder)


def numbers(split: Split) -> tuple[list[int], list[int]]:
    return np.unique(split.train).tolist(), np.unique(split.val).tolist()


def test_the_last_documents_are_for_validation() -> None:
    made = documents(40, 30, 18, 7, 5)
    split = split_of(made, How())
    assert numbers(split) == ([0, 1, 2], [3, 4])
    assert np.shares_memory(split.train, made.tokens) and np.shares_memory(split.val, made.tokens)
    assert numbers(split_of(made, How(val_share=0.3))) == ([0, 1], [2, 3, 4])


def test_one_text_is_cut_at_its_share() -> None:
    made = Tokenized(np.arange(100), np.zeros(0, np.int64))
    for how in (How(), How(val_split="tail")):
        assert split_of(made, how).val.tolist() == list(range(90, 100))
    tail = split_of(documents(60, 40), How(val_split="tail"))
    assert len(tail.val) == 10


@pytest.mark.parametrize("sizes", [(97, 3), (50, 50), (3, 97)])
def test_documents_far_from_the_share_are_cut_unless_asked_for(sizes: tuple[int, int]) -> None:
    made = documents(*sizes)
    assert len(split_of(made, How()).val) == len(split_tokens(made.tokens).val)
    assert numbers(split_of(made, How(val_split="documents"))) == ([0], [1])


@pytest.mark.parametrize("how", ["documents", "random"])
def test_one_document_cannot_be_parted(how: str) -> None:
    with pytest.raises(InputError, match=f"data.val_split {how} needs several documents.* tail"):
        split_of(documents(100), How(val_split=how))


@given(
    st.lists(st.integers(1, 50), min_size=2, max_size=40),
    st.floats(0.01, 0.5),
    st.integers(0, 2**31),
)
def test_drawn_documents_are_whole_and_in_order(sizes: list[int], share: float, seed: int) -> None:
    made = documents(*sizes)
    split = split_of(made, How(share, "random", seed))
    train, val = numbers(split)
    assert train and val and sorted(train + val) == list(range(len(sizes)))
    for part, chosen in ((split.train, train), (split.val, val)):
        assert part.tolist() == [one for number in chosen for one in [number] * sizes[number]]
    off = abs(len(split.val) - share * len(made.tokens))
    assert off <= max(sizes) or len(val) == 1
    assert numbers(split_of(made, How(share, "random", seed))) == (train, val)


def test_the_seed_draws_others_and_the_same_in_every_version() -> None:
    made = documents(*[10] * 12)
    drawn = [numbers(split_of(made, How(0.25, "random", seed)))[1] for seed in range(3)]
    assert len({tuple(one) for one in drawn}) == 3
    assert drawn[0] == [0, 2, 11]


def test_a_large_text_is_arranged_on_the_disk_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splitting, "MOST_IN_MEMORY", 0)
    sizes = (5, 9, 4, 8, 6, 7)
    in_memory = split_of(documents(*sizes), How(0.3, "random"))
    for _ in range(2):
        split = split_of(documents(*sizes, folder=tmp_path), How(0.3, "random"))
        assert split.train.tolist() == in_memory.train.tolist()
        assert split.val.tolist() == in_memory.val.tolist()
        assert isinstance(split.val, np.memmap)
    (only,) = tmp_path.iterdir()
    only.write_bytes(b"")  # cut short
    again = split_of(documents(*sizes, folder=tmp_path), How(0.3, "random"))
    assert again.val.tolist() == in_memory.val.tolist()
    with pytest.raises(InputError, match=r"make room, or set data\.val_split to documents"):
        split_of(documents(*sizes, folder=tmp_path / "none"), How(0.3, "random"))


@given(st.lists(st.integers(1, 9), min_size=2, max_size=30), st.floats(0.01, 0.5))
def test_the_cut_is_at_the_document_that_comes_nearest_the_share(
    sizes: list[int], share: float
) -> None:
    made = documents(*sizes)
    target = share * len(made.tokens)
    cuts = made.starts[1:]
    expected = int(cuts[np.abs(len(made.tokens) - cuts - target).argmin()])
    split = split_of(made, How(val_share=share, val_split="documents"))
    assert len(split.train) == expected
