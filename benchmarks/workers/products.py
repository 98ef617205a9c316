"""Worker: how long the matrix products of a training step take alone, on this very machine.

No program that does the same products with the same library can be faster. At the sizes of a small
model they reach less of the machine than the large square ones of ``matmul_peak``.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.workers import answer
from benchmarks.workers.measure import fastest
from engine.config.schema import config_from_dict

if TYPE_CHECKING:
    from torch import Tensor

    from engine.config.schema import Config

MOST_SEQUENCES = 16  # passed at once; more sequences take so much longer
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")

# the name of a product, and the shape and strides of each of its factors
Product = tuple[str, tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]]


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Note the products of a pass forwards and backwards, then time each by itself.

    Args:
        request: ``config``, ``vocab_size``, ``device``, ``precision``, ``threads``, and
            ``seconds`` for each product.

    Returns:
        ``seconds`` of all products of a step, those of the optimizer left out, ``flops`` in them,
        and their ``number``.
    """
    import torch

    from engine.training.precision import DTYPES, use_tf32

    torch.set_num_threads(request["threads"])
    device, dtype = request["device"], DTYPES[request["precision"]]
    if device == "cuda":
        use_tf32(request["precision"] == "tf32")
    config = config_from_dict(request["config"])
    train = config.train
    sequences = min(MOST_SEQUENCES, train.batch_size)
    noted = _products_of(config, request["vocab_size"], sequences, device, dtype)
    times = train.batch_size * train.grad_accum_steps / sequences
    seconds = flops = 0.0
    for (name, factors), number in noted.items():
        tensors = [
            torch.empty_strided(shape, stride, dtype=dtype, device=device).normal_()
            for shape, stride in factors
        ]
        product = getattr(torch, name)
        alone = fastest(partial(product, *tensors), device, request["seconds"])
        seconds += number * alone * times
        flops += number * _flops(tensors) * times
    return {"seconds": seconds, "flops": flops, "number": sum(noted.values())}


def _products_of(
    config: Config, vocab_size: int, sequences: int, device: str, dtype: Any
) -> Counter[Product]:
    """How often each product is computed in one pass forwards and backwards."""
    import torch
    from torch.nn import functional as F
    from torch.utils._python_dispatch import TorchDispatchMode

    from engine.model import build_model

    noted: Counter[Product] = Counter()

    class Notebook(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            name = func.overloadpacket.__name__
            if name in PRODUCTS:
                factors = tuple((tuple(x.shape), tuple(x.stride())) for x in args)
                noted[name, factors] += 1
            return func(*args, **(kwargs or {}))

    model = build_model(config.model, vocab_size).to(device).train()
    model.compute_dtype = dtype
    ids = torch.randint(vocab_size, (sequences, config.model.block_size), device=device)  # (B, T)
    with Notebook():  # type: ignore[no-untyped-call]
        loss = F.cross_entropy(model(ids).flatten(0, 1).float(), ids.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
    return noted


def _flops(factors: list[Tensor]) -> int:
    """A multiplication and an addition counted as two: of (…, n, k) and (…, k, m)."""
    left, right = factors[-2:]  # what is added, if there is such, comes first
    return 2 * left.numel() * right.shape[-1]


if __name__ == "__main__":
    answer(work)
