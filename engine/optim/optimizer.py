"""The optimizer of a model: which parameters AdamW, SGD and Muon update."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from engine.config.schema import OptimConfig
from engine.distributed.team import Team
from engine.model.attention import CausalSelfAttention
from engine.model.block import FeedForward
from engine.optim.muon import Muon


class AdamW(torch.optim.AdamW):
    """``torch.optim.AdamW`` without its guards for ``torch.compile``.

    They import the compiler at the first step of every run, which takes more than a second; the
    optimizer is never compiled here.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))

    def _accelerator_graph_capture_health_check(self) -> None:
        """Do nothing: a CUDA graph can always capture the fused kernels, the only ones used."""

    _cuda_graph_capture_health_check = _accelerator_graph_capture_health_check  # before torch 2.12


class SGD(torch.optim.SGD):
    """``torch.optim.SGD`` without those guards, and with a momentum that starts at zero.

    torch's momentum buffer is created at the first step, and stays uninitialised memory if
    ``found_inf`` skips that step. Starting at zero gives the same updates otherwise.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))

    def __init__(self, groups: list[dict[str, Any]], lr: float, fused: bool) -> None:
        super().__init__(groups, lr=lr, fused=fused)
        for group in self.param_groups:
            for parameter in group["params"]:
                zero = torch.zeros_like(parameter, requires_grad=False)
                self.state[parameter]["momentum_buffer"] = zero


class Optimizer:
    """Updates all parameters of a model, with Muon or not.

    Weight decay applies to matrices and embeddings only, as in nanoGPT, not to biases and the gains
    of norms.

    Args:
        team: Of the processes that train this model together; None is this one alone.
    """

    def __init__(self, model: nn.Module, optim: OptimConfig, team: Team | None = None) -> None:
        matrices = block_matrices(model) if optim.optimizer == "muon" else []
        self.muon = Muon(matrices, team=team) if matrices else None
        theirs = {id(weight) for weight, _ in matrices}
        rest = [p for p in model.parameters() if p.requires_grad and id(p) not in theirs]
        # two groups, because only matrices and embeddings decay
        groups = [
            {"params": [p for p in rest if p.dim() >= 2], "decays": True},
            {"params": [p for p in rest if p.dim() < 2], "decays": False},
        ]
        self.rest: torch.optim.Optimizer
        # only the fused kernels support ``found_inf``
        if optim.optimizer == "sgd":
            self.rest = SGD(groups, lr=optim.learning_rate, fused=True)
        else:
            self.rest = AdamW(groups, lr=optim.learning_rate, fused=True)
        self._device = next(model.parameters()).device
        on_cuda = self._device.type == "cuda"
        # learning rates of AdamW or SGD, and of Muon; in GPU memory, where a CUDA graph reads them
        self._rates = torch.zeros(2, device="cuda") if on_cuda else None
        self.configure(optim)

    def compute_with(self, dtype: torch.dtype, native: bool) -> None:
        """Choose the dtype of Muon's orthogonalisation, or its native kernel in fp32."""
        if self.muon:
            self.muon.dtype, self.muon.native = dtype, native

    def configure(self, optim: OptimConfig) -> None:
        """Apply the settings of ``optim``; call it between two steps."""
        self.peaks = optim.learning_rate, optim.muon_lr
        for group in self.rest.param_groups:
            group["weight_decay"] = optim.weight_decay if group["decays"] else 0.0
            if "betas" in group:
                group["betas"] = (optim.beta1, optim.beta2)
            else:
                group["momentum"] = optim.momentum
        if self.muon:
            self.muon.momentum, self.muon.weight_decay = optim.momentum, optim.weight_decay

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next step; Muon's follows the same schedule."""
        learning_rate, muon_lr = self.peaks
        rates = [rate, muon_lr * rate / learning_rate]
        self._rate: float | Tensor
        self._muon_rate: float | Tensor
        if self._rates is None:
            self._rate, self._muon_rate = rates
        else:
            # pinned memory, so that the copy does not wait for the GPU
            self._rates.copy_(torch.tensor(rates).pin_memory(), non_blocking=True)
            self._rate, self._muon_rate = self._rates.unbind()

    def step(self, skip: Tensor) -> None:
        """Update every parameter.

        Args:
            skip: () bool on the device; if true, nothing changes. It stays on the device, so that
                a GPU need not wait for the host.
        """
        if self._rates is None or not torch.cuda.is_current_stream_capturing():
            self._check_memory()
        for group in self.rest.param_groups:
            group["lr"] = self._rate
        self.rest.grad_scale = None  # type: ignore[attr-defined]
        self.rest.found_inf = skip.float()  # type: ignore[attr-defined]
        self.rest.step()
        if self.muon:
            self.muon.step(self._muon_rate, skip)

    def _check_memory(self) -> None:
        """Raise an out-of-memory error before any parameter has changed, not half-way."""
        torch.empty(self._numbers_of_a_step(), device=self._device)

    def _numbers_of_a_step(self) -> int:
        averages = 0
        if isinstance(self.rest, AdamW) and not self.rest.state:  # its first step makes them
            groups = self.rest.param_groups
            averages = 2 * sum(p.numel() for group in groups for p in group["params"])
        # the native kernel has no large temporary matrices
        return averages + (self.muon.numbers if self.muon and not self.muon.native else 0)

    def state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """Return the state tensors of a parameter by name; they may be written to."""
        if self.muon and parameter in self.muon.state:
            return self.muon.state[parameter]
        state: dict[str, Any] = self.rest.state.get(parameter, {})
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}

    def restore(self, states: dict[Tensor, dict[str, Tensor]]) -> None:
        """Load the state that ``state_of`` returned for each parameter."""
        self.rest.state.clear()
        for parameter, state in states.items():
            if self.muon and parameter in self.muon.state:
                self.muon.state[parameter] = state
            else:
                self.rest.state[parameter] = state


def block_matrices(model: nn.Module) -> list[tuple[Tensor, tuple[int, ...]]]:
    """Return the matrices inside the blocks, each with the row counts of what is stacked in it.

    Embeddings and the head are left to AdamW, as Muon's authors recommend.
    """
    found: list[tuple[Tensor, tuple[int, ...]]] = []
    for module in model.modules():
        if isinstance(module, CausalSelfAttention):
            found.append((module.qkv.weight, module.widths))
        elif isinstance(module, FeedForward):
            rows = module.up.out_features
            gated = module.activation == "swiglu"
            found.append((module.up.weight, (rows // 2, rows // 2) if gated else (rows,)))
        else:
            continue
        if isinstance(module.proj, nn.Linear):
            found.append((module.proj.weight, (module.proj.out_features,)))
    return found
