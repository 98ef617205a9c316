from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from engine.config import SETTINGS
from engine.presets import PRESETS
from tests.cli.conftest import Cli


def test_every_setting_is_listed(cli: Cli) -> None:
    out = cli("settings").out
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(SETTINGS)
    assert "0.001" in out


def test_markdown_table_has_a_row_a_setting(cli: Cli) -> None:
    lines = cli("settings", "--markdown").out.splitlines()
    assert len(lines) == len(SETTINGS) + 2
    assert len({line.count(" | ") for line in lines}) == 1
    assert lines[2].startswith("| `model.n_layer` | 4 | 1 to 200 |")


def test_every_preset_is_listed(cli: Cli) -> None:
    lines = cli("presets").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(PRESETS)
    assert sum("Default here." in line for line in lines) == 1


def test_benchmarks_are_handed_their_arguments(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    bench = SimpleNamespace(main=lambda argv: seen.append(argv) or 0)
    monkeypatch.setitem(sys.modules, "tui.bench", bench)
    assert cli("bench", "startup", "--json").code == 0
    assert seen == [["startup", "--json"]]
