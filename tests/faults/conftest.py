"""Runs that are hurt: the small sessions of the engine's tests."""

from tests.engine.conftest import (  # noqa: F401 - fixtures
    _one_thread,
    make_config,
    rig,
)
