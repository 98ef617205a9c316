"""The two lines on the run: what gives way where there is no room for all."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from engine.config.schema import SETTINGS
from engine.metric_catalogue import FORMATS
from engine.protocol import State, Status
from tui.control.run import RunFacts
from tui.text.numbers import format_rate
from tui.widgets.metric_chart import format_figure
from tui.widgets.status_bar import GAP, lines

STATUS = Status(
    state=State.RUNNING,
    step=1250,
    total_steps=5000,
    tokens_per_step=4900,
    epoch=2.5,
    train_loss=1.5,
    val_loss=1.625,
    best_val_loss=1.5625,
    best_step=1000,
    tokens_per_second=24_500.0,
    learning_rate=1e-3,
)
FACTS = RunFacts(
    name="a-name-of-some-20-chr",
    parameters=821_000,
    device="cpu",
    precision="fp32",
    threads=2,
    corpus="tinyshakespeare",
)
IMPORTANT = ("step 1,250/5,000", "left 12:30", "loss 1.500", "val 1.625", "lr 0.001")


@pytest.mark.parametrize("columns", range(66, 160, 3))
def test_the_important_figures_never_give_way(columns: int) -> None:
    told = [line.plain for line in lines(STATUS, FACTS, columns)]
    assert max(map(cell_len, told)) <= columns
    for figure in IMPORTANT:
        assert figure in GAP.join(told), columns
    if "params" in told[1]:
        assert "threads" in told[1]


def test_before_the_first_validation_loss_it_is_told_when_it_comes() -> None:
    begun = replace(STATUS, step=100, val_loss=None, best_val_loss=None, next_eval=250)
    assert "  val at step 250  lr" in lines(begun, FACTS, 78)[1].plain
    assert "  val at step 250 in 0:30  lr" in lines(begun, FACTS, 118)[1].plain
    assert "  val –  lr" in lines(begun, FACTS, 60)[1].plain
    for state in (State.PAUSED, State.FINISHED):
        assert "  val –  lr" in lines(replace(begun, state=state), FACTS, 118)[1].plain


@pytest.mark.parametrize(
    ("rate", "written"),
    [
        (1e-3, "0.001"),
        (0.004352, "0.00435"),
        (1e-2, "0.01"),
        (6e-5, "6e-5"),
        (1.0, "1"),
    ],
)
def test_a_rate_is_written_alike_everywhere(rate: float, written: str) -> None:
    assert format_rate(rate) == FORMATS["rate"](rate) == format_figure(rate, "rate", "") == written
    setting = SETTINGS["optim.learning_rate"]
    assert setting.format(float(written)) == written and setting.parse(written) == float(written)


def test_the_bar_is_shortened_before_the_epoch_gives_way() -> None:
    bars = {}
    for columns in range(50, 140):
        line = lines(STATUS, FACTS, columns)[0].plain
        bars[columns] = (line.count("━") + line.count("─"), "epoch" in line)
    with_epoch = [bar for bar, has_epoch in bars.values() if has_epoch]
    assert with_epoch == sorted(with_epoch)
    assert (with_epoch[0], with_epoch[-1]) == (8, 16)
    assert {bar for bar, has_epoch in bars.values() if not has_epoch} == {0, 8}


@pytest.mark.parametrize("columns", [60, 72, 80, 100, 140])
def test_the_share_of_a_long_step_moves_nothing(columns: int) -> None:
    before = lines(STATUS, FACTS, columns)[0].plain
    during = lines(replace(STATUS, step_share=0.5), FACTS, columns)[0].plain
    shared = before.replace(FACTS.corpus, "").rstrip()
    assert during.startswith(shared)
    assert during.removeprefix(shared).strip() in ("", "next step 50.0%")


def test_who_watches_sees_the_step_at_80_columns() -> None:
    facts = replace(FACTS, watches=True, in_control="somebody@a-machine (process 12345)")
    line = lines(STATUS, facts, 78)[0].plain  # of 80 columns, with a margin at both sides
    assert "watching, " in line and "step 1,250/5,000" in line
