"""What a person may type for a sweep, and the runs it comes to."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from engine.config.schema import SETTINGS, Config
from engine.sweeps.grid import Axis, draw, format_changes, grid, parse_axes, plan, split_axes

RATE, LAYERS = "optim.learning_rate", "model.n_layer"


def axis(text: str) -> Axis:
    (one,), problems = parse_axes([text])
    assert problems == []
    return one


def problem(*texts: str) -> str:
    _, (one,) = parse_axes(texts)
    return one


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("model.n_layer=2,4", (2, 4)),
        ("model.n_layer = 4, 2, 4", (4, 2)),
        ("model.n_layer=1..5", (1, 2, 3, 4, 5)),
        ("model.n_embd=64..256 x3", (64, 160, 256)),
        ("model.n_embd=64..256 log x3", (64, 128, 256)),
        ("model.n_layer=1..3 x9", (1, 2, 3)),
        ("optim.learning_rate=1e-4..1e-2 log x3", (1e-4, 1e-3, 1e-2)),
        ("optim.learning_rate=1e-4..1e-2 x3 log", (1e-4, 1e-3, 1e-2)),
        ("optim.weight_decay=0..0.2 x3", (0.0, 0.1, 0.2)),
        ("optim.learning_rate=3e-4", (3e-4,)),
        ("optim.grad_clip=off,1", (0.0, 1.0)),
        ("model.qk_norm=on,off", (True, False)),
        ("model.position=learned,rotary", ("learned", "rotary")),
        ("data.corpus=../a.txt,b.txt", ("../a.txt", "b.txt")),
    ],
)
def test_values_of_an_axis(text: str, values: tuple[object, ...]) -> None:
    assert axis(text).values == values


def test_a_name_needs_its_section_only_where_several_settings_have_it() -> None:
    line = "learning_rate=1e-4..1e-2 log x3 n_layer=2,4; lr=1"
    axes, problems = parse_axes(split_axes(line))
    assert [one.key for one in axes] == [RATE, LAYERS]
    assert problems == [f"{RATE} is given twice: put all its values after one '='"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("speed", "a sweep takes name=values"),
        ("speed=1,2", "there is no setting 'speed'"),
        ("interval=1,2", "say which, eval.interval or checkpoint.interval"),
        ("optim.lr=1,2", "did you mean 'optim.learning_rate'?"),
        ("model.n_layer=2,", "must be a whole number, not ''"),
        ("model.n_layer=2.5..4", "must be a whole number, not 2.5"),
        ("model.n_layer=1..4000", "must be 1 to 200, not"),
        ("model.n_layer=4..1", "the range must ascend: 4 is not below 1"),
        ("optim.weight_decay=0..1 log x3", "log needs a range above 0"),
        ("optim.weight_decay=0..1 x1", "a range takes x2 to x1000 values"),
        ("optim.weight_decay=0..1 times 3", "after a range may follow 'log' and a count"),
        ("optim.weight_decay=0..1 x3 x4", "after a range may follow 'log' and a count"),
        ("optim.weight_decay=0..", "must be a number, not ''"),
        ("model.position=learnt", "did you mean 'learned'?"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(text: str, words: str) -> None:
    assert words in problem(text)


def test_all_problems_are_told_at_once() -> None:
    texts = ("optim.lr=1", "model.n_layer=0,x", "train.batch_size=4", "train.batch_size=8")
    _, problems = parse_axes(texts)
    assert len(problems) == 4
    assert "given twice" in problems[-1]


def test_a_line_may_hold_several_axes() -> None:
    line = " optim.learning_rate=1e-4..1e-2 log x5  model.n_layer=2,4; data.corpus=a b.txt "
    assert split_axes(line) == [
        "optim.learning_rate=1e-4..1e-2 log x5",
        "model.n_layer=2,4",
        "data.corpus=a b.txt",
    ]
    assert split_axes("  ") == []


NUMBERS = [key for key, one in SETTINGS.items() if one.type in (int, float)]


@settings(max_examples=50)
@given(
    key=st.sampled_from(NUMBERS),
    ends=st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)),
    count=st.integers(2, 60),
    log=st.booleans(),
)
def test_a_range_begins_and_ends_where_it_says_and_holds_no_more_values_than_it_says(
    key: str, ends: tuple[float, float], count: int, log: bool
) -> None:
    text = f"{key}={ends[0]!r}..{ends[1]!r}{' log' if log else ''} x{count}"
    (one,), problems = parse_axes([text])
    if problems:
        assert one.values == ()
        return
    values = [float(value) for value in one.values]
    assert (values[0], values[-1]) == ends
    assert values == sorted(set(values))
    assert len(values) <= count
    assert {type(value) for value in one.values} == {SETTINGS[key].type}
    steps = [math.log(b / a) if log else b - a for a, b in pairwise(values)]
    if SETTINGS[key].type is float and len(values) == count and ends[1] / ends[0] > 2:
        assert max(steps) < 1.1 * min(steps)


@settings(max_examples=50)
@given(st.text(max_size=40), st.sampled_from(sorted(SETTINGS)))
def test_whatever_is_typed_gives_values_that_can_be_or_sentences(text: str, key: str) -> None:
    (one,), problems = parse_axes([f"{key}={text}"])
    assert all(problem.strip() for problem in problems)
    assert problems or one.values or one.low < one.high
    if not problems:
        for value in one.values:
            assert SETTINGS[key].parse(SETTINGS[key].format(value)) == value


def test_a_grid_is_every_combination_the_last_axis_changing_fastest() -> None:
    axes, _ = parse_axes([f"{LAYERS}=1,2", f"{RATE}=1e-3,1e-2"])
    assert [tuple(one.values()) for one in grid(axes)] == [
        (1, 1e-3),
        (1, 1e-2),
        (2, 1e-3),
        (2, 1e-2),
    ]
    assert grid([]) == [{}]


def test_a_grid_needs_to_know_how_many_and_has_a_bound() -> None:
    with pytest.raises(InputError, match=r"give the number of values of 0.0001..0.01"):
        grid([axis(f"{RATE}=1e-4..1e-2 log")])
    with pytest.raises(InputError, match="has 2,500 runs"):
        grid(parse_axes([f"{LAYERS}=1..50", "train.batch_size=1..50"])[0])


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(0, 2**31))
def test_draws_are_different_within_their_spans_and_the_same_for_a_seed(
    count: int, seed: int
) -> None:
    axes, _ = parse_axes([f"{RATE}=1e-4..1e-2 log", f"{LAYERS}=1..3", "train.batch_size=8..4096"])
    drawn = draw(axes, count, seed)
    assert drawn == draw(axes, count, seed)
    assert len({tuple(one.values()) for one in drawn}) == len(drawn) == count
    for one in drawn:
        assert 1e-4 <= float(one[RATE]) <= 1e-2
        assert one[LAYERS] in (1, 2, 3)
        assert isinstance(one["train.batch_size"], int)


def test_log_draws_visit_every_decade_alike() -> None:
    rates = [float(one[RATE]) for one in draw([axis(f"{RATE}=1e-4..1e-2 log")], 400, 0)]
    assert 150 < sum(rate < 1e-3 for rate in rates) < 250


def test_there_may_be_fewer_combinations_than_draws() -> None:
    axes, _ = parse_axes([f"{LAYERS}=1,2", "model.qk_norm=on,off"])
    assert len(draw(axes, 10, 0)) == 4


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_the_number_of_draws_is_bounded(count: int) -> None:
    with pytest.raises(InputError, match="1 to 1,000"):
        draw([axis(f"{LAYERS}=1,2")], count, 0)


def test_a_setting_that_changes_nothing_in_any_run_is_told() -> None:
    rates, _ = parse_axes(["optim.muon_lr=0.01,0.02"])
    (told,) = plan(Config(), grid(rates)).ineffective_settings()
    assert told.startswith("optim.muon_lr")
    both, _ = parse_axes(["optim.muon_lr=0.01,0.02", "optim.optimizer=adamw,muon"])
    assert plan(Config(), grid(both)).ineffective_settings() == []


def test_combinations_that_cannot_be_are_set_aside() -> None:
    axes, _ = parse_axes(["model.n_head=2,3,4", f"{RATE}=1e-5,1e-3"])
    planned = plan(Config(), grid(axes))
    assert [format_changes(one.changes) for one in planned.trials] == [
        f"model.n_head=2 {RATE}=0.001",
        f"model.n_head=4 {RATE}=0.001",
    ]
    assert [one.config.get("model.n_head") for one in planned.trials] == [2, 4]
    (both,) = (one for one in planned.impossible if one.changes == {"model.n_head": 3, RATE: 1e-5})
    assert len(both.problems) == 2
    with pytest.raises(InputError, match="not divisible"):
        plan(Config(), [{"model.n_head": 3}])


def test_a_number_of_steps_is_what_the_runs_train() -> None:
    base = Config().replace({"train.max_epochs": 2.0})
    planned = plan(base, [{"train.max_steps": 10}, {"train.max_steps": 10, "train.max_epochs": 1}])
    assert [one.config.train.max_epochs for one in planned.trials] == [0, 1]
    assert planned.trials[0].changes == {"train.max_steps": 10}  # as it was typed
