"""Runs to look into."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import MakeConfig, Rig


@pytest.fixture
def run(rig: Rig, make_config: MakeConfig) -> Path:
    """A run with weights of steps 3, 6 and 9."""
    config = make_config(train__max_steps=9, checkpoint__interval=3, checkpoint__keep=9)
    session = rig.new(config)
    rig.rest(session)
    return rig.close(session)
