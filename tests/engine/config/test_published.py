"""Published losses stand beside models like those they are of, on their text alone."""

from __future__ import annotations

import pytest

from engine.config.presets import preset_config
from engine.config.presets.published import published_losses


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("nanogpt", {"nanoGPT": 1.4697, "lecture": 1.48}),
        ("lecture", {"nanoGPT": 1.4697, "lecture": 1.48}),
        ("fast-10m", {"nanoGPT": 1.4697, "lecture": 1.48}),
        ("nanogpt-cpu", {"nanoGPT": 1.88, "lecture": 1.48}),
        ("multi-head", {"nanoGPT": 1.88, "lecture: multi-head": 2.28}),
        ("self-attention", {"nanoGPT": 1.88, "lecture: self-attention": 2.4}),
        ("layer-norm", {"nanoGPT": 1.88, "lecture: layer-norm": 2.06}),
        ("bigram", {"lecture: bigram": 2.49}),
    ],
)
def test_the_nearest_model_of_each_is_named(preset: str, expected: dict[str, float]) -> None:
    assert dict(published_losses(preset_config(preset))) == expected


def test_losses_on_another_text_are_not_compared() -> None:
    config = preset_config("nanogpt").replace({"data.corpus": "python-docs"})
    assert published_losses(config) == []
