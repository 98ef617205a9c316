"""Precision: dtypes, tf32, and loss scaling for fp16."""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,  # fp32, but matrix products round their inputs for tensor cores
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
SUPPORTED = {  # by device type; older CUDA devices lack bf16
    "cpu": ("fp32", "bf16"),
    "cuda": ("fp32", "tf32", "bf16", "fp16"),
    "mps": ("fp32", "bf16", "fp16"),
}


def use_tf32(wanted: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = wanted
    torch.backends.cudnn.allow_tf32 = wanted


class LossScale:
    """Dynamic loss scaling, which keeps fp16 gradients from underflowing.

    See Micikevicius et al. 2018, section 3.2. The loss is multiplied by the scale before the
    backward pass and the gradients are divided by it afterwards. An overflow halves the scale and
    skips the step; ``STRETCH`` steps without one double it. Unlike ``torch.amp.GradScaler`` it
    never reads the device, so that the GPU need not wait for the host.
    """

    START, STRETCH = 2.0**16, 2000

    def __init__(self, device: torch.device) -> None:
        self.scale = torch.tensor(self.START, device=device)  # ()
        self.good_steps = torch.zeros((), device=device)  # (), since the scale last changed

    def unscale(self, gradients: list[Tensor]) -> None:
        torch._foreach_mul_(gradients, 1 / self.scale)

    def update(self, overflow: Tensor) -> None:
        """Adapt the scale after a step; ``overflow`` is () bool: a gradient was not finite."""
        # in place, because a CUDA graph uses the same memory again
        good_steps = torch.where(overflow, 0.0, self.good_steps + 1)
        grown = good_steps >= self.STRETCH
        self.scale.mul_(torch.where(overflow, 0.5, torch.where(grown, 2.0, 1.0)))
        self.good_steps.copy_(torch.where(grown, 0.0, good_steps))

    def state(self) -> dict[str, Tensor]:
        """Return the tensors to save in a checkpoint."""
        return {"scale": self.scale, "good_steps": self.good_steps}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.scale.copy_(state["scale"])
        self.good_steps.copy_(state["good_steps"])
