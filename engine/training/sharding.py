"""A model that is divided among processes, by PyTorch's FSDP2 (Zhao et al. 2023).

Each process keeps a part of each weight, of its gradient and of its optimizer state: rows of its
first dimension. A weight is whole only while its block computes. Every pass is then one of all
processes, so process 0 tells the others of each before it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.distributed.environment import LEADER
from engine.distributed.team import Team
from engine.machine.memory import memory_ran_out
from engine.model import LanguageModel, build_model
from engine.model.empty import WithoutValues
from engine.optim.optimizer import Optimizer

OF_NETWORK = ("gloo", "nccl", "connection", "socket")  # in the words of an error


class Sharding:
    """Divides a model of all processes of a team, which call the same methods in turn.

    Args:
        model: On the CPU, with all its weights; it is divided in place.
        dtype: Of the activations, and so of the weights of a block while it computes.

    Attributes:
        parts: This process's part of each weight, as an optimizer takes them.
    """

    def __init__(
        self, model: LanguageModel, team: Team, device: torch.device, dtype: torch.dtype
    ) -> None:
        # not at the top: most runs do without, and it takes a second
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

        self.team, self.device = team, device
        self._model = model
        with team.noticing():
            mesh = init_device_mesh(device.type, (team.size,))
            # Layers compute in ``dtype``; a copy of each weight in it would be kept until the
            # backward pass. Gradients are added up in fp32.
            in_dtype = MixedPrecisionPolicy(
                param_dtype=None if dtype == torch.float32 else dtype,
                reduce_dtype=torch.float32,
                cast_forward_inputs=False,
            )
            # always: else the weights of the root would stay whole, and as they were, after an
            # evaluation
            how: dict[str, Any] = {"mesh": mesh, "reshard_after_forward": True}
            for block in getattr(model, "blocks", ()):
                fully_shard(block, mp_policy=in_dtype, **how)
            fully_shard(model, **how)
        for module in model.modules():
            if isinstance(module, FSDPModule):
                # a loss counts by its share of the step already: gradients are sums, not means
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
        self._weights: dict[str, Any] = dict(model.named_parameters())  # as DTensors
        self._parts = {name: nn.Parameter(self._part(name)) for name in self._weights}
        # a process has nothing of a matrix with few rows
        self.parts = nn.ParameterList(part for part in self._parts.values() if part.numel())

    @contextmanager
    def passing(self, of: str, step: int) -> Iterator[None]:
        """Run a forward pass, or one and its backward pass, together with all processes.

        Raises:
            Instead: Process 0 wants something else.
            ProcessLost: Another process has ended.
        """
        self.team.begin_sum(of, step)
        try:
            yield
        except RuntimeError as error:
            told = str(error).lower()
            if memory_ran_out(error) or not any(word in told for word in OF_NETWORK):
                raise
            with self.team.noticing():
                raise

    def _part(self, name: str) -> Tensor:
        """View this process's part of a weight."""
        with torch.no_grad():
            part: Tensor = self._weights[name].to_local()
        return part

    # -- an update -------------------------------------------------------------------------------

    def gradients(self) -> list[Tensor]:
        """Return this process's parts of the gradients, and give them to ``parts``."""
        for name, part in self._parts.items():
            gradient = self._weights[name].grad
            part.grad = None if gradient is None else gradient.to_local()
            part.data = self._part(name)  # FSDP may have moved it
        return [part.grad for part in self.parts if part.grad is not None]

    def total(self, norm: Tensor, loss: Tensor) -> Tensor:
        """Replace the loss () by its sum over all processes; return the norm () of all parts."""
        both = torch.stack((norm.double() ** 2, loss.double()))
        self.team.add_up(both, exact=False)
        loss.copy_(both[1])
        return both[0].sqrt().to(norm.dtype)

    # -- whole tensors, in process 0 -------------------------------------------------------------

    def gather(self, names: Iterable[str], optimizer: Optimizer) -> dict[str, Tensor]:
        """Return whole weights, and state of the optimizer as ``<weight>/<what>``.

        They are on the CPU, and in process 0 alone.

        Args:
            names: What process 0 wants; the others are told, and pass what they hear.
        """
        names = list(names)
        self.team.tell("gather", names=names)
        with torch.no_grad(), self.team.noticing():
            return {name: self._join(name, optimizer) for name in names}

    @property
    def names(self) -> list[str]:
        """The names of the weights."""
        return list(self._weights)

    def state_names(self, optimizer: Optimizer) -> list[str]:
        """Return the names of the optimizer's state, apart from single numbers."""
        return [
            f"{name}/{what}"
            for name, part in self._parts.items()
            for what, tensor in optimizer.state_of(part).items()
            if tensor.dim()
        ]

    def numbers(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """Return the single numbers of the optimizer's state, which all processes have."""
        return {
            f"{name}/{what}": tensor
            for name, part in self._parts.items()
            for what, tensor in optimizer.state_of(part).items()
            if not tensor.dim()
        }

    def whole_model(self, weights: Mapping[str, Tensor]) -> LanguageModel:
        """Build an undivided model of whole weights, in eval mode on the CPU."""
        with WithoutValues():  # all of them are loaded
            model = build_model(self._model.config, self._model.vocab_size)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(weights[name])
        model.tokenizer = self._model.tokenizer
        return model.eval()

    def _join(self, name: str, optimizer: Optimizer) -> Tensor:
        weight, _, what = name.partition("/")
        part = self._part(weight)
        if what and part.numel():
            part = optimizer.state_of(self._parts[weight])[what]
        shape = self._weights[weight].shape
        mine = part.new_zeros((self._rows(shape), *shape[1:]))  # all send as many
        mine[: len(part)] = part
        others = None
        if self.team.leads:
            others = [torch.empty_like(mine) for _ in range(self.team.size)]
        dist.gather(mine, others, dst=LEADER)
        return torch.cat(others)[: shape[0]].cpu() if others else mine

    # -- and back --------------------------------------------------------------------------------

    def load(self, names: Sequence[str], whole: Mapping[str, Tensor], optimizer: Optimizer) -> None:
        """Replace weights and optimizer state by what process 0 has.

        Args:
            names: Of all tensors, as in ``gather``, and of the single numbers of the optimizer.
            whole: The tensors in process 0; in the others the single numbers.
        """
        states: dict[str, dict[str, Tensor]] = {}
        with torch.no_grad(), self.team.noticing():
            for name in names:
                weight, _, what = name.partition("/")
                if name in whole and not whole[name].dim():
                    mine = whole[name].to(self.device, copy=True)
                else:
                    mine = self._divide(weight, whole.get(name))
                if what:
                    states.setdefault(weight, {})[what] = mine
                else:
                    self._part(weight).copy_(mine)
        parts = {self._parts[weight]: state for weight, state in states.items()}
        optimizer.restore({part: state for part, state in parts.items() if part.numel()})

    def load_weights(self, whole: Mapping[str, Tensor]) -> None:
        """Replace all weights by those that process 0 has, without a word to the others."""
        with torch.no_grad(), self.team.noticing():
            for name in self._weights:
                self._part(name).copy_(self._divide(name, whole.get(name)))

    def _divide(self, weight: str, whole: Tensor | None) -> Tensor:
        """Return this process's part of a tensor of process 0, with the shape of a weight."""
        shape = self._weights[weight].shape
        rows, each = len(self._part(weight)), self._rows(shape)
        mine = torch.empty((each, *shape[1:]), device=self.device)
        parts = None
        if self.team.leads:
            assert whole is not None
            padded = mine.new_zeros((each * self.team.size, *shape[1:]))
            padded[: shape[0]] = whole
            parts = list(torch.split(padded, each))
        dist.scatter(mine, parts, src=LEADER)
        return mine[:rows].clone()

    def _rows(self, shape: torch.Size) -> int:
        """Return how many rows of a weight a process has at most."""
        return -(-shape[0] // self.team.size)
