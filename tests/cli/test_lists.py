from __future__ import annotations

import pytest

from engine.config.presets import GROUPS, PRESETS
from engine.config.schema import SETTINGS
from tests.cli.conftest import ROOT, Cli
from tui.control.own_presets import OWN, save_preset


def test_every_setting_is_listed(cli: Cli) -> None:
    out = cli("settings").out
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(SETTINGS)
    assert "0.001" in out


def test_markdown_table_has_a_row_a_setting(cli: Cli) -> None:
    lines = cli("settings", "--markdown").out.splitlines()
    assert len(lines) == len(SETTINGS) + 2
    assert len({line.count(" | ") for line in lines}) == 1
    assert lines[2].startswith("| `model.architecture` | gpt | gpt, bigram |")


def test_every_preset_is_listed_in_its_group(cli: Cli) -> None:
    lines = cli("presets").out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(GROUPS)
    entries = [line for line in lines if line.startswith("  ") and line[2] != " "]
    assert [line.split()[0] for line in entries] == list(PRESETS)
    assert sum("Default here." in line for line in lines) == 1


def test_rungs_are_listed_with_the_lectures_loss_and_what_changes(cli: Cli) -> None:
    (line,) = [line for line in cli("presets").out.splitlines() if "multi-head" in line]
    assert line.split(maxsplit=2) == ["multi-head", "2.28", PRESETS["multi-head"].changed]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_list_of_presets_fits_the_terminal(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = cli("presets").out.splitlines()
    assert max(map(len, (line for line in lines if line not in GROUPS))) <= width
    joined = " ".join(" ".join(lines).split())
    assert all(preset.help in joined for preset in PRESETS.values())


def test_the_page_of_settings_names_every_preset() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert [name for name in PRESETS if f"`{name}`" not in page] == []


def test_presets_as_json_hold_their_values(cli: Cli) -> None:
    listed = cli("presets", "--json").json
    assert [one["name"] for one in listed] == list(PRESETS)
    by_name = {one["name"]: one for one in listed}
    assert by_name["residual"]["values"] == PRESETS["residual"].values
    assert by_name["residual"]["lecture_loss"] == 2.08
    assert by_name["gpt2"]["lecture_loss"] is None
    assert [one["default"] for one in listed].count(True) == 1


def test_presets_of_ones_own_are_listed_and_can_be_named(cli: Cli) -> None:
    path = save_preset("mine", "fast", {**PRESETS["fast"].values, "model.n_layer": 3})
    (path.parent / "bad.toml").write_text("model = 3\n")
    answer = cli("presets")
    assert answer.out.splitlines()[-2:] == [OWN, "  mine               fast with n_layer 3."]
    assert "bad.toml" in answer.err and answer.code == 0
    listed = cli("presets", "--json").json
    assert listed[-1]["name"] == "mine" and listed[-1]["group"] == OWN
    shown = cli("model", "mine", "--vocab-size", "65", "--json").json
    assert shown["preset"] == "mine"
    assert "did you mean 'mine'" in cli("model", "mien", "--vocab-size", "65").problem


def test_the_former_place_of_the_benchmarks_names_the_new_one(cli: Cli) -> None:
    answer = cli("bench", "startup")
    assert answer.code == 2
    assert "make bench ARGS=NAME" in answer.problem
