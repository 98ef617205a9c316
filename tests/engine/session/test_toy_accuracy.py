"""The exact accuracy of toy tasks: the share of new problems whose greedy answer is right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from data.corpora.toys import CLOSING, LINE_OF, Problem, make, problems
from data.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer
from engine.config.schema import ModelConfig
from engine.model import LanguageModel
from engine.session.toy_accuracy import ToyAccuracy
from engine.training.trainer import drain
from tests.engine.conftest import MakeConfig, Rig, assert_same_bits, bits

TASKS = list(LINE_OF)
ANSWERS = {
    "counting": lambda line: " ".join(str(int(line.split()[0]) + n) for n in range(8)),
    "addition": lambda line: f"{line.partition('=')[0]}={_sum(line)}",
    "copying": lambda line: f"{line.partition('>')[0]}>{line.partition('>')[0]}",
}


def _sum(line: str) -> int:
    return sum(map(int, line.partition("=")[0].split("+")))


@pytest.mark.parametrize("name", TASKS)
def test_problems_are_new_and_follow_the_rule(name: str) -> None:
    found = problems(name, 100)
    assert found == problems(name, 100)
    assert len({one.line for one in found}) == 100
    assert not {one.line for one in found} & set(make(name).splitlines(keepends=True))
    for one in found:
        answer = "".join(one.line[place] for place in one.asked)
        if name == "brackets":
            assert set(answer) <= set(CLOSING) and len(answer) == len(one.line) // 2
        else:
            assert one.line == ANSWERS[name](one.line) + "\n"
            assert one.line.endswith(answer) and answer.endswith("\n")


class Oracle(LanguageModel):
    """Finds the most likely next token as it is told to: by the ids before it."""

    def __init__(self, lines: list[Problem], tokenizer: Tokenizer, wrong: str = "") -> None:
        super().__init__(ModelConfig(), tokenizer.vocab_size)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self._known = {tuple(tokenizer.encode("\n" + one.line).tolist()) for one in lines}
        self._wrong = tuple(tokenizer.encode(wrong).tolist())

    def forward(self, ids: Tensor) -> Tensor:
        assert not self.training and not torch.is_grad_enabled()
        logits = torch.zeros(*ids.shape, self.vocab_size)
        for row, before in enumerate(ids.tolist()):
            for at in range(len(before)):
                start = tuple(before[: at + 1])
                for line in self._known:
                    if line[: at + 1] == start and len(line) > at + 1:
                        is_wrong = line[at + 1 : at + 2] == self._wrong
                        logits[row, at, line[at + 1] - is_wrong] = 1.0
        return logits


@pytest.mark.parametrize("tokenizer", [CharTokenizer.train(make("addition")), ByteTokenizer()])
def test_an_answer_is_right_as_a_whole_or_not_at_all(tokenizer: Tokenizer) -> None:
    found = problems("addition", 30)
    measured = ToyAccuracy(found, tokenizer)
    model = Oracle(found, tokenizer).train()
    assert drain(measured.quanta(model, 7)) == 1.0
    assert model.training
    with_seven = sum("7" in one.line.partition("=")[2] for one in found)
    assert 0 < with_seven < 30
    never_seven = Oracle(found, tokenizer, wrong="7")
    assert drain(measured.quanta(never_seven, 30)) == pytest.approx(1 - with_seven / 30)


def test_of_brackets_only_which_one_closes_counts() -> None:
    tokenizer = CharTokenizer.train(make("brackets"))
    found = problems("brackets", 30)
    measured = ToyAccuracy(found, tokenizer)
    assert drain(measured.quanta(Oracle(found, tokenizer, wrong="("), 30)) == 1.0
    assert drain(measured.quanta(Oracle(found, tokenizer, wrong="]"), 30)) < 0.2


@pytest.mark.parametrize("name", TASKS)
def test_greedy_generation_gives_the_same_answers(name: str) -> None:
    """The reference: the model writes on, one most likely token after another."""
    tokenizer = CharTokenizer.train(make(name))
    found = [one for one in problems(name, 40) if len(one.line) <= 64][:6]
    torch.manual_seed(1)
    model = Oracle(found[:3], tokenizer)  # of the others it knows nothing
    solved = 0
    for one in found:
        right, ids = True, tokenizer.encode("\n" + one.line).tolist()
        for place in one.asked:
            with torch.no_grad():
                logits = model.eval()(torch.tensor([ids[: place + 1]]))[0, -1]
            letters = one.among or tokenizer.alphabet
            best = max(letters, key=lambda letter: float(logits[tokenizer.encode(letter)[0]]))
            right &= best == one.line[place]
        solved += right
    assert drain(ToyAccuracy(found, tokenizer).quanta(model, 4)) == solved / len(found) >= 0.5


def test_it_is_recorded_at_each_evaluation_and_changes_no_bits(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {
        "data__corpus": "addition",
        "eval__interval": 2,
        "train__max_steps": 4,
        "model__block_size": 16,
        "optim__ema_decay": 0.5,
    }
    session = rig.new(make_config(**changes))
    rig.to_step(session, 4)
    rig.until(session, lambda: session.status.state == "finished")
    path = session.files.path
    steps, values = session.files.database.metric(0, "val_accuracy")
    assert steps.tolist() == [2, 4] and all(0 <= value <= 1 for value in values)
    assert session.outlet.summary()["val_accuracy"] == values[-1]
    measured = bits(session)
    with monkeypatch.context() as patch:
        patch.setattr(ToyAccuracy, "of", lambda files: None)
        without = rig.new(make_config(**changes))
        rig.to_step(without, 4)
        rig.until(without, lambda: without.status.state == "finished")
    assert "val_accuracy" not in without.files.database.metric_names(0)
    assert_same_bits(bits(without), measured)
    rig.close(session)
    again = rig.open(path)
    assert again.outlet.summary()["val_accuracy"] == values[-1]


@pytest.mark.parametrize(
    "changes",
    [{}, {"data__corpus": "addition", "data__tokenizer": "bpe"},
     {"data__corpus": "addition", "model__block_size": 4}],
    ids=["another text", "other tokens", "a short context"],
)  # fmt: skip
def test_what_cannot_be_asked_has_no_accuracy(
    rig: Rig, make_config: MakeConfig, changes: dict[str, Any]
) -> None:
    session = rig.new(make_config(**changes), running=False)
    assert ToyAccuracy.of(session.files) is None
