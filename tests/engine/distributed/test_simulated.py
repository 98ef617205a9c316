"""Memory and messages of many processes, in one: PyTorch's fake process group sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor.debug import CommDebugMode
from torch.testing._internal.distributed.fake_pg import FakeStore

from engine.config.schema import Config
from engine.distributed import overlap
from engine.distributed.overlap import OverlappedSum
from engine.distributed.team import Team
from engine.model import LanguageModel, build_model
from engine.optim.optimizer import Optimizer
from engine.training.sharding import Sharding

pytestmark = pytest.mark.filterwarnings("ignore:FSDP2-wrapped module", "ignore:Full backward hook")
LAYERS = 3
CONFIG = Config().replace(
    {
        "model.n_layer": LAYERS,
        "model.n_head": 4,
        "model.n_embd": 64,
        "model.block_size": 16,
        "optim.optimizer": "adamw",
    }
)
MakeTeam = Callable[[int], Team]


@pytest.fixture
def team() -> Iterator[MakeTeam]:
    """The first of so many processes."""

    def make(size: int) -> Team:
        dist.init_process_group("fake", rank=0, world_size=size, store=FakeStore())
        made = Team()
        made.size = size
        return made

    yield make
    with suppress(ValueError):  # none was made
        dist.destroy_process_group()


def passed(model: LanguageModel) -> dict[str, int]:
    """Run a forward and a backward pass; return the messages by kind."""
    with CommDebugMode() as messages:  # type: ignore[no-untyped-call]
        logits = model(torch.zeros(1, 16, dtype=torch.long))  # (1, T, V)
        logits.logsumexp(-1).sum().backward()
    return {str(kind).removeprefix("c10d."): n for kind, n in messages.get_comm_counts().items()}


@pytest.mark.parametrize("size", [8, 64, 4096])
def test_of_a_divided_model_each_process_holds_its_rows_of_weights_gradients_and_averages(
    team: MakeTeam, size: int
) -> None:
    model = build_model(CONFIG.model, 65)
    rows = [(len(one), one[0].numel()) for one in model.parameters()]
    sharding = Sharding(model, team(size), torch.device("cpu"), torch.float32)
    messages = passed(model)
    # the weights of each block and of the rest, for each pass; and once their gradients
    assert messages == {"_allgather_base_": 2 * (LAYERS + 1), "_reduce_scatter_base_": LAYERS + 1}

    held = sum(-(-count // size) * width for count, width in rows)  # of process 0, which has most
    assert sum(one.numel() for one in sharding.parts) == held
    assert sum(one.numel() for one in sharding.gradients()) == held
    optimizer = Optimizer(sharding.parts, CONFIG.optim)
    optimizer.set_rate(1e-3)
    optimizer.step(skip=torch.tensor(False))
    states = [optimizer.state_of(part).values() for part in sharding.parts]
    averages = sum(one.numel() for those in states for one in those if one.dim())
    assert averages == 2 * held  # AdamW's
    if size == 8:
        whole = sum(count * width for count, width in rows)
        assert held <= 1.01 * whole / size


def test_sums_within_the_backward_pass_are_one_message_a_bucket(
    team: MakeTeam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "BUCKET_BYTES", 100_000)
    model = build_model(CONFIG.model, 65)
    together = team(4096)
    monkeypatch.setattr(together, "add_up", lambda numbers, exact: None)  # of the loss
    sums = OverlappedSum(list(model.parameters()), together)
    with sums.last_pass(torch.zeros(())):
        messages = passed(model)
    sizes = [4 * one.numel() for one in model.parameters()]
    assert messages == {"allreduce_": len(sums._buckets)}
    assert 1 < len(sums._buckets) <= sum(sizes) // 100_000 + 1
