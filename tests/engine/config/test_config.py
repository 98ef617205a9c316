"""The one schema: every setting reads what it writes, and says what is wrong with the rest."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.reading import parse_toml
from engine.config.presets import PRESETS, preset_config
from engine.config.schema import (
    SECTIONS,
    SETTINGS,
    Config,
    config_from_dict,
    read_config,
    tokens_per_step,
    total_steps,
)
from engine.config.setting import Setting, Value, When

KEYS = sorted(SETTINGS)
NUMBERS = [key for key in KEYS if SETTINGS[key].type in (int, float)]


def values_of(one: Setting) -> st.SearchStrategy[Value]:
    """Values a setting may take."""
    if one.choices:
        return st.sampled_from(one.choices)
    if one.type is bool:
        return st.booleans()
    if one.type is str:
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    special = st.sampled_from([one.type(n) for n in one.special]) if one.special else st.nothing()
    low, high = one.minimum if one.minimum is not None else one.above, one.maximum
    assert low is not None and high is not None, one.key
    if one.type is int:
        return special | st.integers(int(low), int(high))
    return special | st.floats(low, high, exclude_min=one.above is not None)


ANY_SETTING = st.sampled_from(KEYS).map(SETTINGS.__getitem__)


# One setting


@given(one=ANY_SETTING, data=st.data())
def test_what_a_setting_formats_it_parses_back(one: Setting, data: st.DataObject) -> None:
    value = data.draw(values_of(one))
    again = one.parse(one.format(value))
    assert again == value
    assert type(again) is one.type


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_has_help_a_type_bounds_and_a_valid_default(key: str) -> None:
    one = SETTINGS[key]
    assert one.help.endswith(".") and len(one.help) < 120  # three lines of the settings panel
    assert type(one.default) is one.type
    assert one.check(one.default) == one.default == Config().get(key)
    assert one.when in When
    assert one.bounds or one.type is str


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_out_of_bounds_is_refused_in_one_sentence(key: str) -> None:
    one = SETTINGS[key]
    assert one.maximum is not None
    too_low = one.above if one.above is not None else one.minimum
    below = one.above if one.above is not None else (too_low or 0) - 1
    while below in one.special:
        below -= 1
    for value in (one.maximum + 1, below):
        with pytest.raises(ValueError, match=key) as problem:
            one.check(value)
        assert one.bounds in str(problem.value)
        assert "\n" not in str(problem.value)


def test_a_number_refused_is_written_as_its_bounds_are() -> None:
    with pytest.raises(ValueError, match="must be 1 to 131,072, not 100,000,000"):
        SETTINGS["model.block_size"].parse("100000000")
    with pytest.raises(ValueError, match="not 1e300"):
        SETTINGS["model.block_size"].parse("1e300")


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("word", ["", "twelve", "nan", "inf", "-inf", "0x10", "1e999"])
def test_what_is_no_number_is_refused(key: str, word: str) -> None:
    with pytest.raises(ValueError, match=key):
        SETTINGS[key].parse(word)


@pytest.mark.parametrize("value", [True, None, [1], 10**400, float("nan")])
@pytest.mark.parametrize("key", ["train.max_steps", "optim.learning_rate"])
def test_values_of_a_wrong_type_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        SETTINGS[key].check(value)


def test_a_whole_number_may_be_written_as_a_person_does() -> None:
    steps = SETTINGS["train.max_steps"]
    assert [steps.parse(word) for word in ("5000", " 5_000 ", "5e3", "5000.0")] == [5000] * 4
    with pytest.raises(ValueError, match="whole number, not"):
        steps.parse("0.5")


@pytest.mark.parametrize(
    ("key", "number", "word"),
    [(key, number, word) for key in KEYS for number, word in SETTINGS[key].special.items()],
)
def test_the_word_for_a_special_number_is_read_and_written(
    key: str, number: int, word: str
) -> None:
    one = SETTINGS[key]
    assert one.parse(word) == one.parse(word.upper()) == one.parse(str(number)) == number
    assert one.format(one.type(number)) == word


def test_switches_know_the_usual_words() -> None:
    bias = SETTINGS["model.bias"]
    assert [bias.parse(word) for word in ("true", "Yes", "ON", "1")] == [True] * 4
    assert [bias.parse(word) for word in ("false", "no", "Off", "0")] == [False] * 4
    with pytest.raises(ValueError, match=r"model\.bias must be on or off, not 'maybe'"):
        bias.parse("maybe")


def test_a_wrong_choice_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        SETTINGS["optim.schedule"].parse("cosin")


def test_text_that_no_file_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sample\.prompt must be text"):
        SETTINGS["sample.prompt"].check("a\udc80")


# A whole configuration


@given(data=st.data())
def test_a_configuration_survives_its_toml_file(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    keys = data.draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=8))
    config, _ = Config().check({key: data.draw(values_of(SETTINGS[key])) for key in keys})
    if config.conflicts():
        return
    path = tmp_path_factory.getbasetemp() / "config.toml"
    path.write_text(tomli_w.dumps(config.to_dict()), encoding="utf-8")
    assert read_config(path) == config


def test_all_problems_are_told_at_once() -> None:
    wrong = {"optim.learning_rate": 0, "model.n_layr": 2, "train.batch_size": "many"}
    with pytest.raises(InputError) as error:
        Config().replace(wrong)
    assert len(error.value.problems) == 3
    assert all(key in str(error.value) for key in wrong)


def test_settings_without_a_problem_are_taken_and_the_others_kept() -> None:
    config, problems = Config().check({"train.seed": 5, "train.batch_size": 0})
    assert (config.train.seed, config.train.batch_size) == (5, 12)
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("optim.learning_rat", "optim.learning_rate"),
        ("learning_rate", "optim.learning_rate"),
        ("modle.n_layer", "model.n_layer"),
        ("train.learning_rate", "optim.learning_rate"),
    ],
)
def test_an_unknown_setting_names_the_nearest(key: str, near: str) -> None:
    with pytest.raises(InputError, match=f"no setting '{key}': did you mean '{near}'"):
        Config().replace({key: 1})


def test_an_unknown_section_in_a_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[optimiser]\nlearning_rate = 1\n")
    with pytest.raises(InputError, match=r"config\.toml: there is no setting 'optimiser\."):
        read_config(path)
    path.write_text("model = 3\n")
    with pytest.raises(InputError, match="'model' must be a section"):
        read_config(path)


@pytest.mark.parametrize("content", [b"[model", b"\xff\xfe", b"[model]\nn_layer = 1\nn_layer = 2"])
def test_a_file_that_is_not_toml_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a TOML file"):
        read_config(path)
    with pytest.raises(InputError, match="cannot read the configuration"):
        read_config(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    "text",
    [
        "preset = 'a'\n[train]\nseed = 1\n\n[model]\nn_layer = 2\n[system]\n",
        "\ufeff[train]\r\nseed = 3\r\n[model]\r\nn_layer = 2\r\n",
        "[train]\nseed = 1\n[model]\nn_layer = 2\n[train]\nbatch_size = 2\n",
        "train.seed = 1\n[train]\nbatch_size = 2\n",
        "train.seed = 1\n[model]\nn_layer = 2\n",
        '[data]\ncorpus = """\n[train]\nseed = 7\n"""\n[model]\nn_layer = 2\n',
        "[train]\nseed = [\n[1]\n]\n",
        "[[train]]\nseed = 1\n",
        "[train.seed]\nx = 1\n",
        "[train]\nseed = true\n",
        "[optim]\nlearning_rate = 1e-5\n[model]\nn_layer = 2\n",
        "preset = 1\n[model]\nn_layer = 2\n",
        "[]\n[model]\nn_layer = 2\n",
    ],
)
def test_a_file_is_read_by_sections_as_it_is_as_a_whole(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(text.encode())
    try:
        whole = config_from_dict(parse_toml(text.encode()))
    except (InputError, ValueError):
        with pytest.raises(InputError):
            read_config(file)
    else:
        assert read_config(file) == whole


def test_a_width_that_the_heads_cannot_share_is_refused_with_one_that_works() -> None:
    with pytest.raises(InputError, match="try n_embd 99") as error:
        Config().replace({"model.n_embd": 100, "model.n_head": 3})
    assert len(error.value.problems) == 1
    Config().replace({"model.n_embd": 99, "model.n_head": 3})


def test_a_floor_above_the_peak_is_refused_unless_it_is_not_used() -> None:
    changes: dict[str, object] = {"optim.learning_rate": 1e-5}
    with pytest.raises(InputError, match=r"lower optim\.min_lr"):
        Config().replace(changes)
    Config().replace(changes | {"optim.schedule": "constant"})
    Config().replace(changes | {"optim.min_lr": 1e-6})


def test_differences_name_what_differs() -> None:
    other = Config().replace({"train.seed": 3})
    assert Config().differences(other) == {"train.seed": (1337, 3)}


# How long


def test_epochs_become_steps_that_cover_them() -> None:
    config = Config().replace(
        {"train.max_epochs": 2.5, "train.batch_size": 3, "train.grad_accum_steps": 2}
    )
    assert tokens_per_step(config) == 3 * 2 * 64
    assert total_steps(config, 10_000) == math.ceil(2.5 * 10_000 / 384)
    assert total_steps(config, 1) == 1


# Presets


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_is_valid_and_round_trips(name: str) -> None:
    config = preset_config(name)
    assert config.conflicts() == []
    assert config.preset == name
    assert config_from_dict(tomllib.loads(tomli_w.dumps(config.to_dict()))) == config


def test_nanogpt_cpu_is_what_nanogpt_documents() -> None:
    config = preset_config("nanogpt-cpu")
    model = config.model
    assert (model.n_layer, model.n_head, model.n_embd, model.block_size) == (4, 4, 128, 64)
    assert (model.dropout, model.bias, model.tie_weights) == (0.0, False, True)
    assert (model.position, model.norm, model.norm_place) == ("learned", "layer", "pre")
    assert (model.activation, model.mlp_ratio, model.n_gram) == ("gelu", 4, 1)
    assert config.optim.optimizer == "adamw"
    assert (config.train.batch_size, config.train.max_steps) == (12, 2000)
    assert config.system.precision == "fp32"


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'nanogpt'"):
        preset_config("nanogtp")


def test_the_sections_are_the_ones_scripts_rely_on() -> None:
    sections = ["model", "data", "optim", "train", "eval", "sample", "checkpoint", "system"]
    assert list(SECTIONS) == sections
