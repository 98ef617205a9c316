"""The lecture in the app: its models, their pages, and what was trained of them."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from textual.widgets import Static

from data.errors import InputError
from engine.config.presets import PRESETS, preset_config
from engine.config.schema import Config
from engine.runs.summary import RunSummary
from engine.states import State
from tests.tui.conftest import Open, Person
from tui.control.forward_pass import ALPHABET, pass_through
from tui.control.lecture import progress_of
from tui.screens.cockpit import CockpitScreen
from tui.screens.dialogs import NewRunDialog
from tui.screens.lecture import LectureScreen
from tui.text.data_way import data_way
from tui.text.forward_pass import attention_lines, pass_lines
from tui.text.lecture import LESSONS, RUNGS, STAGES
from tui.text.lesson import drawing, steps_of
from tui.text.model_source import FOLDED, fold, read_excerpt

CODE = sorted({name for one in LESSONS for name in one.code})
LONGEST = 42  # lines of an excerpt: it is read on one screen


# -- what it says ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CODE)
def test_the_code_is_that_of_the_installed_program(name: str) -> None:
    module, path = name.split(":")
    found: object = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    source = textwrap.dedent(inspect.getsource(found)).rstrip()  # type: ignore[arg-type]
    excerpt = read_excerpt(name)
    assert excerpt.text == source
    assert 0 < len(source.splitlines()) <= LONGEST
    line = int(excerpt.where.rpartition(" ")[2])
    assert inspect.getsourcelines(found)[1] == line  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [20, 52, 80])
def test_a_line_that_is_too_long_is_folded_and_nothing_of_it_is_lost(width: int) -> None:
    for lesson in LESSONS:
        for name in lesson.code:
            for line in read_excerpt(name).text.splitlines():
                rows = fold(line, width)
                assert all(len(before) + end - begin <= width for before, begin, end in rows)
                parts = [line[begin:end] for _, begin, end in rows]
                assert "".join("".join(parts).split()) == "".join(line.split())
                assert all(FOLDED in before for before, _, _ in rows[1:])


def test_a_comment_behind_code_is_folded_as_a_whole() -> None:
    line = "    scores = q @ k  # (B, nh, T, T)"
    assert [line[begin:end] for _, begin, end in fold(line, 30)] == [
        "    scores = q @ k", "# (B, nh, T, T)",
    ]  # fmt: skip


def test_code_that_is_gone_is_named() -> None:
    with pytest.raises(LookupError, match=r"Block\.backward: there is no backward"):
        read_excerpt("engine.model.block:Block.backward")


@pytest.mark.parametrize("name", ["bigram", "feed-forward", "layer-norm", "transformer-layer"])
def test_the_drawing_has_the_shapes_of_a_real_forward_pass(name: str) -> None:
    steps = data_way(preset_config(name), len(ALPHABET))
    drawn = {step.axes: step.shape for step in steps if step.axes}
    stages = pass_through(PRESETS[name], None).trace.stages
    assert {one.name for one in stages} <= STAGES.keys()  # each is explained
    traced = {one.axes: one.shape for one in stages}
    assert drawn.keys() == traced.keys() - {"T C"}  # positions are added to the embedding at once
    for axes, shape in drawn.items():
        sizes = zip(axes.split(), shape, traced[axes], strict=True)
        assert all(one == other for axis, one, other in sizes if axis not in "BT"), axes


def test_the_drawings_fit_a_small_terminal() -> None:
    lines = [line for one in LESSONS for line, _ in drawing(steps_of(one))]
    assert max(map(len, lines)) <= 53


def test_what_is_new_is_marked() -> None:
    new = {one.name: [step.what for step in steps_of(one) if step.is_new] for one in RUNGS}
    assert new["bigram"] == []
    assert "future off, softmax" in new["self-attention"]
    assert new["multi-head"] == ["heads side by side"]
    assert new["feed-forward"] == ["linear, ReLU"]
    assert "added to the stream" in new["residual"]
    assert {"norm before attention", "last norm"} <= set(new["layer-norm"])
    assert set(new["lecture"]) == {"dropout in training"}


def test_a_pass_walks_through_one_block_with_real_numbers() -> None:
    found = pass_through(PRESETS["residual"], None)
    assert found.weights == "a new model, untrained"
    assert "".join(found.tokens) == "ROMEO:"
    lines = list(pass_lines(found.trace))
    titles = [line.text for line in lines if line.kind == "title"]
    assert titles == ["block 0", "blocks 1 to 2: the same again", "after the blocks"]
    assert all(len(line.text) <= 51 for line in lines)  # beside the path at 80 columns
    assert len(found.attention) == len(found.tokens)
    assert all(abs(sum(row) - 1) < 1e-5 for row in found.attention)
    *_, last = attention_lines(found.tokens, found.attention)
    assert last.startswith("   : ")
    assert not pass_through(PRESETS["bigram"], None).attention


def test_a_pass_draws_nothing_that_training_draws() -> None:
    before = torch.get_rng_state()
    pass_through(PRESETS["transformer-layer"], None)  # which has dropout
    assert torch.equal(torch.get_rng_state(), before)


def test_damaged_weights_are_not_passed_off_as_new_ones(tmp_path: Path) -> None:
    assert pass_through(PRESETS["bigram"], tmp_path).weights == "a new model, untrained"
    (tmp_path / "checkpoints" / "step-00000010").mkdir(parents=True)
    with pytest.raises(InputError, match="checkpoint"):
        pass_through(PRESETS["bigram"], tmp_path)


# -- what was done ---------------------------------------------------------------------------------


def a_run(name: str, loss: float | None, **changes: object) -> RunSummary:
    preset = name.rpartition("-")[0]
    known = RunSummary(
        path=f"/runs/{name}",
        name=name,
        state=State.FINISHED,
        preset=preset,
        best_val_loss=loss,
        corpus="tinyshakespeare",
        train_seconds=3,
        config=preset_config(preset),
        step=preset_config(preset).train.max_steps,
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def other_model() -> Config:
    return preset_config("bigram").replace({"model.init": "gpt2"})


def test_the_best_run_of_a_model_counts() -> None:
    preset = PRESETS["bigram"]
    runs = [
        a_run("bigram-1", 2.6),
        a_run("bigram-2", 2.494),
        a_run("bigram-3", 1.2, corpus="other"),
        a_run("bigram-4", 0.5, config=other_model()),
        a_run("bigram-5", None),
        a_run("bigram-6", float("nan")),
        a_run("residual-1", 1.0),
    ]
    found = progress_of(preset, runs)
    assert found.run is runs[1]
    assert found.is_beaten
    assert found.sign == "✓"
    assert found.told().startswith("bigram-2: best loss 2.494 in 0:03 of training, as good as")
    assert progress_of(preset, []).told() == "not tried yet"
    assert progress_of(preset, runs[:1]).sign == "●"
    assert not progress_of(preset, runs[2:3]).is_beaten
    assert "another text" in progress_of(preset, runs[2:3]).told()
    assert progress_of(preset, runs[4:5]).run is runs[4]


def test_a_run_that_ended_before_the_steps_of_the_preset_has_only_begun() -> None:
    short = a_run("self-attention-1", 3.1, step=600, total_steps=600)
    found = progress_of(PRESETS["self-attention"], [short])
    assert found.sign == "◐"
    assert "600 of the 5,000 steps of the preset" in found.told()
    whole = progress_of(PRESETS["self-attention"], [replace(short, step=5000)])
    assert whole.sign == "●" and "of the preset" not in whole.told()


def test_a_run_in_training_is_told() -> None:
    live = a_run("bigram-1", 2.6, live=True, state=State.RUNNING, step=120, total_steps=3000)
    found = progress_of(PRESETS["bigram"], [live])
    assert found.sign == "◐"
    assert found.told().startswith("bigram-1 is training: step 120/3,000; ")


def test_what_was_reached_stays_while_another_run_is_open() -> None:
    done = a_run("bigram-1", 2.489, state=State.FINISHED)
    again = a_run("bigram-2", None, live=True, state=State.RUNNING)
    for runs in ([done], [done, again], [replace(done, live=True)]):
        found = progress_of(PRESETS["bigram"], runs)
        assert (found.sign, found.best) == ("✓", 2.489)


# -- in the app ------------------------------------------------------------------------------------


async def to_lecture(person: Person) -> LectureScreen:
    await person.press("L")
    await person.until(lambda: person.shows(LectureScreen))
    screen = person.app.screen
    assert isinstance(screen, LectureScreen)
    await person.until(lambda: screen._progress, "the runs")
    return screen


def words(screen: LectureScreen) -> str:
    return str(screen.page_view.query_one(Static).render())


async def test_keys_and_mouse_go_through_models_and_pages(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as person:
        screen = await to_lecture(person)
        assert screen.lesson.name == "bigram"
        await person.press("down")
        assert screen.lesson.name == "self-attention"
        assert "query" in words(screen)
        await person.press("2")
        assert "def reference_weights" in words(screen)
        await person.press("tab")
        await person.until(lambda: "attention weights of head 0" in words(screen), "the pass")
        await person.press("4")
        assert "nothing was written yet" in words(screen)
        await person.press("end", "1")
        assert screen.lesson.name == "transformer-layer"
        await person.pilot.click("#lecture-tabs", offset=(12, 0))
        await person.until(lambda: "def forward" in words(screen), "the code")
        await person.pilot.click("#lecture-path", offset=(6, 6))  # the second line of a row
        await person.until(lambda: screen.lesson.name == "multi-head", "the model clicked")
        await person.press("f")
        assert not screen.query_one("#lecture-left").display
        await person.press("f", "5", "enter")
        assert "not trained yet" in person.told()
        await person.press("L")
        assert person.app.screen is person.cockpit


async def test_a_pass_stays_until_there_is_one_of_better_weights(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as person:
        screen = await to_lecture(person)
        screen._next_look = float("inf")  # the runs here are not in the folder
        await person.press("3")
        for step in (10, 20):
            run = a_run("bigram-1", 2.6, best_step=step)
            screen._progress["bigram"] = progress_of(PRESETS["bigram"], [run])
            screen._show_pages()
            if step == 20:  # at once
                assert "likeliest next characters" in words(screen)
            await person.until(lambda: "likeliest next characters" in words(screen), "the pass")


async def test_a_model_is_trained_by_a_key_and_remembered(
    open_app: Open, runs_dir: Path, small_text_file: Path
) -> None:
    changes = {"train.max_steps": 40}
    async with open_app(changes, size=(120, 40), name="mine") as person:
        screen = await to_lecture(person)
        await person.press("t")
        await person.until(lambda: person.status.step > 0 and person.app.screen is person.cockpit)
        assert person.run.name == "bigram-1"
        config = person.app.control.draft.base
        assert config.model == preset_config("bigram").model
        assert config.data.corpus == str(small_text_file)  # the text stays
        screen = await to_lecture(person)
        assert screen._progress["bigram"].run is not None
        assert screen.lesson.name == "bigram"  # whose text and curve are new
        await person.press("home", "down", "t")
        await person.until(lambda: person.shows(NewRunDialog), "the question")
        assert isinstance(person.app.screen, NewRunDialog)
        assert "bigram-1 stops, now at step" in str(person.app.screen.question)
        await person.press("escape")
        assert person.shows(LectureScreen)
        assert not person.app.control.draft.waiting
        await person.press("up", "enter")
        assert person.shows(CockpitScreen)


async def test_it_can_be_opened_at_a_model(open_app: Open) -> None:
    async with open_app(size=(80, 24), lesson="residual") as person:
        await person.until(lambda: person.shows(LectureScreen))
        screen = person.app.screen
        assert isinstance(screen, LectureScreen)
        await person.until(lambda: screen._progress)
        assert screen.lesson.name == "residual"
