"""What the numbers are computed in: dtypes, and the scale that fp16 gradients need."""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,  # fp32 whose products are rounded, on NVIDIA's tensor cores
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
SUPPORTED = {  # by kind of device; "cuda" loses bf16 where the card cannot do it
    "cpu": ("fp32", "bf16"),
    "cuda": ("fp32", "tf32", "bf16", "fp16"),
    "mps": ("fp32", "bf16", "fp16"),
}


def use_tf32(wanted: bool) -> None:
    """Let CUDA round the factors of fp32 products to tf32, or forbid it."""
    torch.backends.cuda.matmul.allow_tf32 = wanted
    torch.backends.cudnn.allow_tf32 = wanted


class LossScale:
    """Keeps fp16 gradients from vanishing (Micikevicius et al. 2018, section 3.2).

    The loss is multiplied before the backward pass and the gradients divided after it. An overflow
    halves the scale and its step is left out; a long stretch without one doubles it. Scale and
    count stay on the device.
    """

    START, STRETCH = 2.0**16, 2000

    def __init__(self, device: torch.device) -> None:
        self.scale = torch.tensor(self.START, device=device)  # ()
        self.good_steps = torch.zeros((), device=device)  # since the last change

    def unscale(self, gradients: list[Tensor]) -> None:
        """Divide the gradients, in place."""
        torch._foreach_mul_(gradients, 1 / self.scale)

    def update(self, overflow: Tensor) -> None:
        """After a step: () bool, whether a gradient was not finite."""
        # in place, where a captured step finds them again
        good_steps = torch.where(overflow, 0.0, self.good_steps + 1)
        grown = good_steps >= self.STRETCH
        self.scale.mul_(torch.where(overflow, 0.5, torch.where(grown, 2.0, 1.0)))
        self.good_steps.copy_(torch.where(grown, 0.0, good_steps))

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint has to hold."""
        return {"scale": self.scale, "good_steps": self.good_steps}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what ``state`` said."""
        self.scale.copy_(state["scale"])
        self.good_steps.copy_(state["good_steps"])
