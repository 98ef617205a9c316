"""Looking inside models beside training: it changes no bit, and only what matters is answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.batches import Split
from data.tokenizers import CharTokenizer
from engine.inspect import background, moments, views
from engine.inspect.background import Inspector, Subject
from engine.inspect.moments import Excerpts
from engine.model import build_model
from engine.protocol import (
    Evaluated,
    Event,
    Failed,
    Inspect,
    Inspected,
    Refused,
    RunOpened,
    Start,
    State,
    StateChanged,
)
from engine.session.session import Session
from engine.session.worker import EngineLoop
from tests.engine.conftest import (
    DEVICES,
    ON_DEVICE,
    MakeConfig,
    MakeTrainer,
    assert_same_bits,
    weights,
)

PLACE: dict[str, Any] = {"layer": 1, "head": 1, "query": 3, "key": 2, "also": (1,)}
# others are recorded by the second
BY_STEP = ("train_loss", "val_loss", "grad_norm", "learning_rate", "health/")


class Trained:
    """Trains a run to its end; may look at all of its inside, all the time."""

    def __init__(self, runs_dir: Path, config: dict[str, Any], looks: bool) -> None:
        self.looks, self.answered = looks, set[tuple[str, int]]()
        self.refused: list[Refused] = []
        self.failed: list[Failed] = []
        self._finished = threading.Event()
        self._engine = EngineLoop(self._hear)
        self._engine.start()
        self._engine.send(Start(config, str(runs_dir)))
        assert self._finished.wait(60)
        assert not self.failed
        session = self._engine._session
        assert isinstance(session, Session)
        self.weights = weights(session.trainer.model)
        store = self._engine.metrics
        self.metrics = {
            name: store.column(name).snapshot()[1]
            for name in store.names()
            if name.startswith(BY_STEP)
        }
        assert self._engine.join(30)

    def _hear(self, event: Event) -> None:
        if self.looks and isinstance(event, RunOpened | Evaluated):
            for view in views.VIEWS:
                off = {"off": ((1, "feed_forward"), (0, 1))} if view == "layers" else {}
                self._engine.send(Inspect(view, options=PLACE | off))
        if isinstance(event, Inspected):
            self.answered.add((event.view, event.step))
        if isinstance(event, Refused):
            self.refused.append(event)
        if isinstance(event, Failed):
            self.failed.append(event)
            self._finished.set()
        if isinstance(event, StateChanged) and event.state is State.FINISHED:
            self._finished.set()


def without_memory(*_: object) -> Iterator[tuple[float, Any]]:
    raise MemoryError


@pytest.mark.parametrize("device", DEVICES)
def test_looking_at_everything_all_the_time_changes_no_bit(
    device: str, runs_dir: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(views.VIEWS, "failing", without_memory)
    config = make_config(
        train__max_steps=24,
        eval__interval=4,
        model__dropout=0.1,
        eval__health_interval=5,
        **ON_DEVICE[device],
    ).to_dict()
    plain = Trained(runs_dir, config, looks=False)
    looked = Trained(runs_dir, config, looks=True)
    refused = {one.message.partition(":")[0] for one in looked.refused}
    closed = "the run was closed before this was measured"  # at the end, while some was under way
    assert refused - {closed} == {"this model cannot be looked into"}  # the one that fails
    assert {view for view, step in looked.answered if 0 < step < 24} == {*views.VIEWS} - {"failing"}
    assert_same_bits(plain.weights, looked.weights)
    assert {"train_loss", "val_loss", "health/grad_norm/blocks.0"} <= plain.metrics.keys()
    assert_same_bits(plain.metrics, looked.metrics)


def test_of_many_questions_of_a_view_the_newest_is_answered() -> None:
    heard: list[Event] = []
    done = threading.Event()

    def hear(event: Event) -> None:
        heard.append(event)
        if len([one for one in heard if isinstance(one, Refused)]) == 3:
            done.set()

    engine = EngineLoop(hear)
    engine.send(Inspect("steps", side=1, request_id=101))
    for key in range(50):  # as somebody who holds a key down while a step takes long
        engine.send(Inspect("steps", options={"key": key}, request_id=key))
    engine.send(Inspect("heads", request_id=102))
    engine.start()
    assert done.wait(30)
    assert engine.join(30)
    refused = [one.request_id for one in heard if isinstance(one, Refused)]  # no run is open
    assert sorted(refused) == [49, 101, 102]


@pytest.fixture
def subject(make_trainer: MakeTrainer, split: Split, tokenizer: CharTokenizer) -> Subject:
    return Subject(make_trainer().model, tokenizer, 7, lambda: split.val)


def test_a_failure_on_the_way_refuses_the_question_and_no_more(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Iterator[tuple[float, Any]]:
        yield 0.5, None
        raise MemoryError

    heard: list[Event] = []
    monkeypatch.setitem(views.VIEWS, "worth", fails)
    inspector = Inspector(heard.append)
    inspector.begin(Inspect("worth", "a", request_id=3), subject, Path("run"))
    assert inspector.advance(beside_training=False)
    refused = heard[-1]
    assert isinstance(refused, Refused) and refused.request_id == 3
    assert "this model cannot be looked into" in refused.message
    assert not inspector.under_way


def test_what_is_not_done_when_the_run_is_closed_is_refused(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []
    monkeypatch.setitem(views.VIEWS, "worth", lambda *_: iter([(0.5, None), (1.0, None)]))
    inspector = Inspector(heard.append)
    inspector.begin(Inspect("worth", "a", request_id=3), subject, Path("run"))
    inspector.ask(Inspect("surprise", "a", request_id=4))
    inspector.stop()
    assert [one.request_id for one in heard if isinstance(one, Refused)] == [3, 4]
    assert not inspector.under_way


UNUSUAL: dict[str, dict[str, Any]] = {
    "without anything": {"residual": False, "norm": "none", "mlp_ratio": 0, "output_proj": False},
    "grouped and rotary": {"n_kv_head": 1, "position": "rotary", "qk_norm": True},
    "post-norm": {"norm_place": "post", "norm": "rms", "logit_softcap": 15.0},
    "one layer and head": {"n_layer": 1, "n_head": 1},
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", UNUSUAL)
def test_every_view_answers_for_unusual_models(
    name: str, device: str, make_config: MakeConfig, split: Split, tokenizer: CharTokenizer
) -> None:
    config = make_config(**{f"model__{key}": value for key, value in UNUSUAL[name].items()})
    subject = Subject(
        build_model(config.model, tokenizer.vocab_size).to(device),
        tokenizer,
        7,
        lambda: split.val,
    )
    heard: list[Event] = []
    inspector = Inspector(heard.append)
    for view in views.VIEWS:
        place = {"layer": 0, "head": 0, "query": 3, "key": 2}
        inspector.begin(Inspect(view, options=place), subject, Path("run"))
        while inspector.advance(beside_training=False):
            pass
    assert [one for one in heard if isinstance(one, Refused)] == []
    assert {one.view for one in heard if isinstance(one, Inspected)} == {*views.VIEWS}


def test_of_a_large_model_one_pattern_is_given_in_full(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, place = [0, 1, 2, 3, 4, 5, 6, 7], {"layer": 1, "head": 1}
    ((_, every),) = views.look("attention", subject, ids, place)
    monkeypatch.setattr(views, "MOST_PATTERNS", 0)
    monkeypatch.setattr(views, "MAP_PIXELS", 4)
    ((_, one),) = views.look("attention", subject, ids, place)
    assert (every.maps.shape, one.maps.shape) == ((2, 2, 8, 8), (2, 2, 4, 4))
    assert len(every.patterns) == 4
    assert one.patterns.keys() == {(1, 1)}
    np.testing.assert_array_equal(one.patterns[1, 1], every.patterns[1, 1])


def test_what_takes_long_needs_a_copy_of_the_weights_which_may_be_too_large(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "LARGEST_COPY", 0)
    heard: list[Event] = []
    inspector = Inspector(heard.append)
    for view in views.VIEWS:
        options = {"layer": 0, "head": 0, "query": 3, "key": 2}
        inspector.begin(Inspect(view, options=options), subject, Path("run"))
    refused = {one.message for one in heard if isinstance(one, Refused)}
    assert len(heard) == len(views.VIEWS)
    assert {one.view for one in heard if isinstance(one, Inspected)} == (
        {*views.VIEWS} - {*background.LONG}
    )
    (message,) = refused
    assert "go to a moment whose weights are kept" in message


def test_of_many_runs_the_texts_of_the_last_are_kept(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def read_excerpts(run: Path) -> Excerpts:
        read.append(run.name)
        return Excerpts(subject.val(), subject.tokenizer, 8)

    monkeypatch.setattr(moments, "read_excerpts", read_excerpts)
    inspector = Inspector(list[Event]().append)
    for name in ("a", "b", "b", "c", "c", "b", "a"):
        inspector._val_of(Path(name))
    assert read == ["a", "b", "c", "a"]


def test_positions_are_the_mean_of_contexts(subject: Subject) -> None:
    found = [one for _, one in views.look("positions", subject, [0], {})]
    assert [one.contexts for one in found] == list(range(1, len(found) + 1))
    assert found[-1].bits.shape == (8,)
    assert np.isnan(found[-1].bits[0]) and np.isfinite(found[-1].bits[1:]).all()


def test_a_validation_split_that_is_too_short_is_told(subject: Subject) -> None:
    heard: list[Event] = []
    inspector = Inspector(heard.append)
    short = Subject(subject.model, subject.tokenizer, 7, lambda: np.zeros(3, np.uint16))
    for view in ("attention", "heads", "worth", "positions"):
        text = None if view == "attention" else "a"
        inspector.begin(Inspect(view, text), short, Path("run"))
    assert [type(one) for one in heard] == [Refused] * 4
    assert all(
        "shorter than the context" in one.message for one in heard if isinstance(one, Refused)
    )
