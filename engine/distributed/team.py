"""The processes that train one run together, started by ``torchrun`` or alone.

Process 0, the leader, has the run: its folder, its socket, its commands. The others compute
gradients of their share of each step and hear from it what to do next, as JSON: nothing is pickled.
All of them add up the same gradients in the same order and make the same update, so that their
weights are equal to the bit.
"""

from __future__ import annotations

import json
import os
import platform
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from data.errors import InputError
from engine.distributed.environment import LEADER, started_processes
from engine.distributed.heartbeat import Heartbeat
from engine.distributed.same_machine import SameMachine
from engine.program import VERSION

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

JOIN_SECONDS = 120.0  # until all processes must be there
ANSWER = timedelta(days=7)  # a paused run has nothing to say: the heartbeat finds who is lost
Message = dict[str, Any]


class ProcessLost(Exception):
    """Another process of the run has ended or hangs, so that training cannot go on here."""


class ToldByLeader(InputError):
    """The processes cannot train together; process 0 says why."""


class Instead(Exception):
    """What process 0 wants in place of a step."""

    def __init__(self, message: Message, tensors: dict[str, Tensor]) -> None:
        super().__init__(message["do"])
        self.message, self.tensors = message, tensors


class Team:
    """The processes of a run; by default only this one.

    Attributes:
        rank: The number of this process, from 0.
        size: How many there are.
        is_broken: One of them is lost.
        in_passing: What to do about messages that interrupt nothing, by their first word.
    """

    def __init__(self) -> None:
        self.rank, self.size = LEADER, 1
        self.is_broken = False
        self.in_passing: dict[str, Callable[[Message, dict[str, Tensor]], object]] = {}
        self._store: Store | None = None
        self._heartbeat: Heartbeat | None = None
        self._control: Any = None  # the group for messages, on the CPU
        self._same_machine: SameMachine | None = None  # in place of groups, if all are on one

    def join(self) -> None:
        """Meet the processes that the environment tells of; without any, stay alone.

        Raises:
            InputError: They do not all come, or they differ in what they run.
        """
        if started_processes() == 1:
            return
        from torch.distributed.rendezvous import rendezvous

        number, long = int(os.environ.get("LOCAL_RANK", "0")), timedelta(seconds=JOIN_SECONDS)
        on_gpu = number < torch.cuda.device_count()
        if on_gpu:
            torch.cuda.set_device(number)
        try:
            store, rank, size = next(rendezvous("env://", timeout=long))
            _compare(store, rank, size, torch.cuda.get_device_name() if on_gpu else "cpu")
            if not on_gpu:
                self._same_machine = SameMachine.connect(store, rank, size, JOIN_SECONDS)
            if self._same_machine is None:
                backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
                dist.init_process_group(backend, store=store, rank=rank, world_size=size)
                self._control = dist.new_group(backend="gloo", timeout=ANSWER)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"the {started_processes()} processes of this run did not find each other within "
                f"{JOIN_SECONDS:.0f} seconds ({_first_line(error)}): look above for one that "
                f"ended, and start the run again"
            ) from None
        self.rank, self.size, self._store = rank, size, store
        self._heartbeat = Heartbeat(store, rank, size)

    def form_group(self) -> None:
        """Have a group of PyTorch, which divided models need; the others hear of it."""
        if self.size == 1 or dist.is_initialized():
            return
        self.tell("group")
        with self.noticing():
            dist.init_process_group("gloo", store=self._store, rank=self.rank, world_size=self.size)

    @property
    def leads(self) -> bool:
        return self.rank == LEADER

    @property
    def shares_memory(self) -> bool:
        """Whether there are several processes, and ``exchange`` takes next to no time."""
        return self._same_machine is not None

    # -- messages --------------------------------------------------------------------------------

    def tell(self, do: str, tensors: Mapping[str, Tensor] | None = None, **facts: Any) -> None:
        """Tell the others what to do; does nothing in those, alone, or after one was lost.

        Args:
            tensors: On any device; sent after the message, as bytes.
        """
        if self.size == 1 or not self.leads or self.is_broken:
            return
        of = {name: [str(t.dtype)[6:], list(t.shape)] for name, t in (tensors or {}).items()}
        text = json.dumps({"do": do, "tensors": of, **facts}).encode()
        with self.noticing():
            self._broadcast(torch.tensor([len(text)]))
            self._broadcast(torch.frombuffer(bytearray(text), dtype=torch.uint8))
            for tensor in (tensors or {}).values():
                self._broadcast(_bytes_of(tensor.detach().cpu()))

    def hear(self) -> tuple[Message, dict[str, Tensor]]:
        """Wait for the next message of process 0; return it with its tensors, on the CPU.

        What is to be done ``in_passing`` is done meanwhile.
        """
        while True:
            message, tensors = self._hear()
            if message["do"] not in self.in_passing:
                return message, tensors
            self.in_passing[message["do"]](message, tensors)

    def _hear(self) -> tuple[Message, dict[str, Tensor]]:
        with self.noticing():
            length = torch.zeros(1, dtype=torch.long)
            self._broadcast(length)
            text = torch.zeros(int(length), dtype=torch.uint8)
            self._broadcast(text)
            message = json.loads(bytes(text.numpy()))
            tensors = {}
            for name, (dtype, shape) in message["tensors"].items():
                tensor = torch.empty(shape, dtype=getattr(torch, dtype))
                self._broadcast(_bytes_of(tensor))  # a view: the tensor is filled
                tensors[name] = tensor
        return message, tensors

    def begin_sum(self, of: str, step: int) -> None:
        """Agree that all processes now add up the numbers of a step, or of its evaluation.

        Raises:
            Instead: Process 0 wants something else, so that the numbers are of no use.
        """
        if self.leads:
            self.tell(of, step=step)
            return
        message, tensors = self.hear()
        if message["do"] != of:
            raise Instead(message, tensors)
        if message["step"] != step:
            raise ProcessLost(f"process {self.rank} is at step {step}, not at {message['step']}")

    def _broadcast(self, tensor: Tensor) -> None:
        if self._same_machine:
            self._same_machine.broadcast(_bytes_of(tensor))
        else:
            dist.broadcast(tensor, LEADER, group=self._control)

    # -- sums ------------------------------------------------------------------------------------

    def add_up(self, numbers: Tensor, exact: bool) -> None:
        """Replace numbers (n,) by their sum over all processes, which is the same everywhere.

        Args:
            exact: Add neighbours, then pairs of them and so on, as one process does with the
                shards of a step, so that the bits do not depend on the number of processes, which
                must be a power of two. Each process adds up a part and then gets the others, so
                that it sends as many bytes as a ring does (Rabenseifner 2004).
        """
        if self.size == 1:
            return
        with self.noticing():
            if self._same_machine:
                self._same_machine.add_up(numbers)
                return
            if not exact:
                dist.all_reduce(numbers)
                return
            ranges = [(0, numbers.numel())]
            for bit in range(self.size.bit_length() - 1):
                partner, (start, end) = self.rank ^ (1 << bit), ranges[-1]
                middle = (start + end) // 2
                halves = [(start, middle), (middle, end)]
                mine, other = halves if self.rank < partner else halves[::-1]
                received = torch.empty_like(numbers[slice(*mine)])
                self._exchange(partner, numbers[slice(*other)], received)
                # a + b has the bits of b + a, so that it does not matter whose comes first
                numbers[slice(*mine)].add_(received)
                ranges.append(mine)
            for bit in reversed(range(self.size.bit_length() - 1)):
                partner, mine, (start, end) = self.rank ^ (1 << bit), ranges[-1], ranges[-2]
                other = (mine[1], end) if mine[0] == start else (start, mine[0])
                self._exchange(partner, numbers[slice(*mine)], numbers[slice(*other)])
                ranges.pop()

    def exchange(self, tensors: Sequence[Sequence[Tensor]]) -> None:
        """Copy the tensors of each process to those of the others; only if they share memory.

        Raises:
            ProcessLost: Nothing was copied.
        """
        assert self._same_machine
        with self.noticing():
            self._same_machine.exchange(tensors)

    def _exchange(self, partner: int, mine: Tensor, theirs: Tensor) -> None:
        sending = dist.P2POp(dist.isend, mine, partner)
        receiving = dist.P2POp(dist.irecv, theirs, partner)
        for work in dist.batch_isend_irecv([sending, receiving]):
            work.wait()

    # -- the end ---------------------------------------------------------------------------------

    def leave(self) -> None:
        """End; the others do, too, if this is process 0."""
        if self.size == 1:
            return
        with suppress(ProcessLost):
            self.tell("end")
        self._heartbeat = self._control = self._store = None
        self.in_passing = {}
        if self._same_machine:
            self._same_machine.close()
            self._same_machine = None
        if dist.is_initialized():
            with suppress(RuntimeError):
                dist.destroy_process_group()
        self.rank, self.size = LEADER, 1

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """Notice that another process is lost, while something is done with all of them.

        Raises:
            ProcessLost: One is.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (OSError, RuntimeError):  # its words are of sockets
            self.is_broken = True
            assert self._heartbeat
            one = "process 0" if self.size == 2 and not self.leads else "another process"
            raise ProcessLost(self._heartbeat.lost or f"{one} of this run has ended") from None


TEAM = Team()
"""The one that this process belongs to."""


def _bytes_of(tensor: Tensor) -> Tensor:
    """View a tensor, which may have no dimensions, as bytes (n,)."""
    return tensor.contiguous().view(-1).view(torch.uint8)


def _compare(store: Store, rank: int, size: int, device: str) -> None:
    """Check that all processes run the same versions on the same kind of device.

    Raises:
        InputError: They do not; in all but process 0 ``ToldByLeader``.
    """
    own = {"gpt-tui": VERSION, "torch": torch.__version__, "device": device}
    own["python"] = platform.python_version()
    where = f"{socket.gethostname()}, process {os.getpid()}"
    store.set(f"about/{rank}", json.dumps([own, where]))
    if rank != LEADER:
        problem = json.loads(store.get("problem"))
        store.set(f"heard/{rank}", "yes")
        if problem:
            raise ToldByLeader(problem)
        return
    others = [(one, *json.loads(store.get(f"about/{one}"))) for one in range(1, size)]
    problems = [
        f"process {number} of {size} ({at}) has {what} {value}, and process 0 {own[what]}: their "
        f"bits would differ, so start all of them with the same"
        for number, its, at in others
        for what, value in its.items()
        if value != own[what]
    ]
    store.set("problem", json.dumps(problems[0] if problems else ""))
    for other in range(1, size):
        store.get(f"heard/{other}")  # the store ends with this process
    if problems:
        raise InputError(problems[0])


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
