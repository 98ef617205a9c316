"""Several processes that train one run: whatever their number, the same bits."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest
import torch
from torch import Tensor

from benchmarks.scale import exchanges
from data.errors import InputError
from engine.config.schema import Config
from engine.distributed import team
from engine.distributed.team import Team, ToldByLeader, _compare
from engine.session import follower
from tests.engine.distributed.member import WAYS, train
from tests.engine.distributed.test_gradients import by_halves

ROOT = Path(__file__).parents[3]


def started(size: int, machines: int = 1, program: str = "member", *words: str) -> str:
    """Return what process 0 of those that train together has printed."""
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    several = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size // machines, "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"tests.engine.distributed.{program}", *words],
            cwd=ROOT,
            env=os.environ
            | {"MASTER_ADDR": "localhost", "OMP_NUM_THREADS": "1"}
            | {name: str(value) for name, value in (several | {"RANK": rank}).items()},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * size
    return said[0]


def test_weights_optimizer_and_losses_are_the_same_bits_with_1_2_and_4_processes() -> None:
    alone = {way: train(changes) for way, changes in WAYS.items()}
    two, four, far = (
        {way: (bits, losses) for way, (bits, losses) in json.loads(one.splitlines()[-1]).items()}
        for one in (started(2), started(4), started(4, machines=2))
    )
    fast = [way for way in WAYS if way.startswith("fast")]
    exact = [way for way in WAYS if way not in fast]
    assert len({alone[way][0] for way in exact}) == len(exact)  # each way is another course
    for way in exact:
        assert two[way] == four[way] == far[way] == alone[way]
    for way in fast:
        # in the memory of one machine sums are exact anyhow, elsewhere in an order of their own
        assert two[way] == four[way] == alone[way]
        assert far[way][0] != alone[way][0]
        assert far[way][1] == pytest.approx(alone[way][1], rel=1e-5)


# A sum over many processes, in threads


class InThreads(Team):
    """One of many, whose messages go through queues."""

    def __init__(self, rank: int, size: int, queues: dict[tuple[int, int], Queue[Tensor]]) -> None:
        super().__init__()
        self.rank, self.size, self.queues = rank, size, queues
        self.sent: list[tuple[int, int]] = []  # distance, numbers

    @contextmanager
    def noticing(self) -> Iterator[None]:
        yield

    def _exchange(self, partner: int, mine: Tensor, theirs: Tensor) -> None:
        self.sent.append((abs(partner - self.rank), mine.numel()))
        self.queues[self.rank, partner].put(mine.clone())
        theirs.copy_(self.queues[partner, self.rank].get(timeout=10))


@pytest.mark.parametrize("size", [2, 4, 8, 32])
@pytest.mark.parametrize("numbers", [1, 5, 1000])
def test_a_sum_is_pairwise_everywhere_and_sends_what_the_cost_model_counts(
    size: int, numbers: int
) -> None:
    queues: dict[tuple[int, int], Queue[Tensor]] = defaultdict(Queue)
    arrays = list(torch.randn(size, numbers, generator=torch.Generator().manual_seed(size)))
    members = [InThreads(rank, size, queues) for rank in range(size)]
    sums = [one.clone() for one in arrays]
    with ThreadPoolExecutor(size) as pool:
        list(pool.map(lambda at: members[at].add_up(sums[at], exact=True), range(size)))
    assert all(torch.equal(one, by_halves(arrays)) for one in sums)
    counted = exchanges(size, numbers)
    assert [distance for distance, _ in members[0].sent] == [distance for distance, _ in counted]
    # halves of an odd number are not equal: what is kept is at most one more
    for (_, sent), (_, expected) in zip(members[0].sent, counted, strict=True):
        assert abs(sent - expected) <= 1
    assert sum(sent for _, sent in members[0].sent) <= 2 * numbers


class Told:
    """A store in this process, in which the others have told of themselves."""

    def __init__(self, others: list[dict[str, str]]) -> None:
        self.facts = {
            f"about/{i + 1}": json.dumps([one, f"node{i}"]) for i, one in enumerate(others)
        }
        self.facts |= {f"heard/{i + 1}": "yes" for i in range(len(others))}

    def set(self, key: str, value: str) -> None:
        self.facts[key] = value

    def get(self, key: str) -> str:
        return self.facts[key]


def own_facts() -> dict[str, str]:
    told = Told([])
    _compare(told, 0, 1, "cpu")  # type: ignore[arg-type]
    found: dict[str, str] = json.loads(told.facts["about/0"])[0]
    return found


@pytest.mark.parametrize("what", ["gpt-tui", "torch", "device", "python"])
def test_a_process_of_another_version_or_device_is_named(what: str) -> None:
    told = Told([own_facts(), own_facts() | {what: "other"}])
    with pytest.raises(InputError, match=rf"process 2 of 3 \(node1\) has {what} other, and"):
        _compare(told, 0, 3, "cpu")  # type: ignore[arg-type]

    with pytest.raises(ToldByLeader, match=rf"has {what} other"):  # said by the leader
        _compare(told, 1, 3, "cpu")  # type: ignore[arg-type]


def test_alike_processes_are_let_in() -> None:
    told = Told([own_facts()])
    for rank in range(2):
        _compare(told, rank, 2, "cpu")  # type: ignore[arg-type]


def test_processes_that_do_not_come_are_told_with_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(team, "JOIN_SECONDS", 0.1)
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="the 2 processes of this run did not find each other"):
        Team().join()


# What a step can be divided among


def in_a_team_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    several = Team()
    several.size = size
    monkeypatch.setattr(follower, "TEAM", several)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(size))


def test_a_run_is_shared_by_as_many_processes_as_its_steps_have_shards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = Config().replace({"train.batch_size": 8, "train.shards": 4})
    for fits in (1, 2, 4):
        in_a_team_of(fits, monkeypatch)
        follower.check_team(config, "cpu")
    in_a_team_of(8, monkeypatch)
    with pytest.raises(InputError, match=r"4 processes at most.*--set train.shards=8"):
        follower.check_team(config, "cpu")
    in_a_team_of(2, monkeypatch)
    with pytest.raises(InputError, match="use one process"):
        follower.check_team(Config(), "cpu")


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_team_of(4, monkeypatch)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    config = Config().replace({"train.batch_size": 8, "train.shards": 4})
    with pytest.raises(InputError, match=r"this machine has 2: use --procs 2, or --set system"):
        follower.check_team(config, "cuda")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train.shards": 3}, "must be a power of two, such as 2"),
        ({"train.shards": 8}, "set train.batch_size to 16"),
        ({"train.shards": 8, "train.grad_accum_steps": 2}, "8 shards"),
    ],
)
def test_shards_that_do_not_divide_a_step_are_refused_with_what_does(
    changes: dict[str, int], told: str
) -> None:
    config, problems = Config().check({"train.batch_size": 13} | changes)
    (problem,) = problems
    assert told in problem
    if "train.batch_size to" in problem:
        batch = problem.rpartition(" ")[2]
        assert config.check({"train.batch_size": batch})[1] == []
