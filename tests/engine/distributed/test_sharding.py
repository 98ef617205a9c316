"""A model that is divided among processes trains as a whole one does, up to rounding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.engine.distributed.sharded_member import WAYS, train
from tests.engine.distributed.test_team import started


@pytest.mark.parametrize(
    ("size", "machines", "ways"),
    [(2, 1, tuple(WAYS)), (4, 2, ("few rows", "tied, accumulation"))],
)
def test_whatever_happens_to_a_run_is_the_same_with_a_divided_model(
    size: int, machines: int, ways: tuple[str, ...], tmp_path: Path
) -> None:
    started(size, machines, "sharded_member", str(tmp_path), *ways)
    for way in ways:
        train(way, tmp_path)  # here, with one process and so whole
        alone, divided = (tmp_path / f"{way}-{number}.safetensors" for number in (1, size))
        whole, joined = load_file(alone), load_file(divided)
        assert {name: (t.shape, t.dtype) for name, t in whole.items()} == {
            name: (t.shape, t.dtype) for name, t in joined.items()
        }
        for name, tensor in whole.items():
            torch.testing.assert_close(joined[name], tensor, rtol=1e-3, atol=1e-5, msg=name)
        figures, found = (
            json.loads(one.with_suffix(".json").read_text()) for one in (alone, divided)
        )
        for figure, one in zip(figures, found, strict=True):  # losses, and norms of the gradient
            assert one == pytest.approx(figure, rel=1e-4)
