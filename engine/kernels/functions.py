"""The CPU kernels as differentiable functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_long, c_void_p
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from engine.kernels.library import Shape, load

NORMS = {"none": 0, "layer": 1, "rms": 2}  # as in attention.cpp
KINDS = {torch.float32: "fp32", torch.bfloat16: "bf16"}


def takes(x: Tensor, *dtypes: torch.dtype) -> bool:
    """Return whether a kernel for these dtypes supports ``x``; never while torch.compile traces."""
    return x.device.type == "cpu" and x.dtype in dtypes and not torch.compiler.is_compiling()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``F.linear`` in fp32 on the CPU.

    Args:
        x: (..., in).
        weight: (out, in).
        bias: (out,), or None.

    Returns:
        (..., out).
    """
    if not x.numel() or not weight.numel():
        return F.linear(x, weight, bias)
    y: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


def gelu(x: Tensor) -> Tensor:
    """Compute ``F.gelu`` in fp32 on the CPU: (...) -> (...)."""
    y: Tensor = _GELU.apply(x)  # type: ignore[no-untyped-call]
    return y


def attention(
    qkv: Tensor,
    n_head: int,
    n_kv_head: int,
    *,
    norm: str = "none",
    epsilon: float = 0.0,
    rope: tuple[Tensor, Tensor] | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Compute causal self-attention, without its two projections, on the CPU.

    Args:
        qkv: (B, T, (nh + 2 nkv) hs) in fp32 or bf16: queries, keys and values of all heads.
        n_head: nh.
        n_kv_head: nkv; groups of nh / nkv heads share keys and values.
        norm: Of queries and keys, without a gain: ``none``, ``layer`` or ``rms``.
        epsilon: Added to the variance in the norm.
        rope: Cos and sin of rotary positions, (T, hs / 2) each.
        dropout: Probability of dropping an attention weight; torch's generator gives the seed.

    Returns:
        (B, T, nh hs), the concatenated heads, in the dtype of ``qkv``.
    """
    B, T, width = qkv.shape
    shape = Shape(B=B, T=T, nh=n_head, nkv=n_kv_head, hs=width // (n_head + 2 * n_kv_head))
    shape.norm, shape.epsilon = NORMS[norm], epsilon
    if dropout:
        shape.dropout = dropout
        shape.seed = int(torch.empty((), dtype=torch.int64).random_())
    tables = tuple(angle.float().contiguous() for angle in rope) if rope else ()
    if tables:
        shape.cos, shape.sin = (table.data_ptr() for table in tables)
    y: Tensor = _Attention.apply(qkv, shape, tables)  # type: ignore[no-untyped-call]
    return y


def clip_gradients(gradients: Sequence[Tensor], clip: float) -> Tensor:
    """Do as ``torch.nn.utils.clip_grad_norm_`` for fp32 gradients on the CPU.

    Args:
        gradients: Must be contiguous; scaled in place.
        clip: The maximum norm; may be infinite.

    Returns:
        () the norm before clipping.
    """
    n = len(gradients)
    at = (c_void_p * n)(*(gradient.data_ptr() for gradient in gradients))
    numbers = (c_long * n)(*(gradient.numel() for gradient in gradients))
    return torch.tensor(load().clip_gradients(n, at, numbers, clip))


def muon_step(
    gradients: Sequence[Tensor],
    averages: Sequence[Tensor],
    weights: Sequence[Tensor],
    *,
    momentum: float,
    rate: float,
    keep: float,
    moves: bool = True,
) -> None:
    """Do the step of ``engine.optim.muon`` for fp32 matrices on the CPU.

    Args:
        gradients: (r, c) for each matrix.
        averages: Momentum buffers (r, c), contiguous; updated in place.
        weights: (r, c), contiguous; updated in place.
        momentum: Nesterov momentum.
        rate: Learning rate; the update is scaled by ``sqrt(max(1, r / c))``.
        keep: Factor of the weights: 1 minus learning rate times weight decay.
        moves: Update the weights, or the momentum buffers alone.
    """
    n = len(weights)
    pointers = c_void_p * n
    gradients = [gradient.contiguous() for gradient in gradients]
    rows, columns = zip(*(weight.shape for weight in weights), strict=True)
    load().muon_step(
        n,
        *(pointers(*(x.data_ptr() for x in all_of)) for all_of in (gradients, averages, weights)),
        (c_long * n)(*rows),
        (c_long * n)(*columns),
        moves,
        momentum,
        rate,
        keep,
    )


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        bias = None if bias is None else bias.contiguous()
        out, width = weight.shape
        y = x.new_empty(*x.shape[:-1], out)
        load().linear_forward(
            x.data_ptr(),
            weight.data_ptr(),
            None if bias is None else bias.data_ptr(),
            y.data_ptr(),
            x.numel() // width,
            out,
            width,
        )
        ctx.save_for_backward(x, weight)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), dy = ctx.saved_tensors, dy.contiguous()
        dx = dw = db = None
        sizes = (dy.numel() // dy.size(-1), *weight.shape)
        if ctx.needs_input_grad[0]:
            dx = torch.empty_like(x)
            load().linear_backward_input(dy.data_ptr(), weight.data_ptr(), dx.data_ptr(), *sizes)
        if ctx.needs_input_grad[1]:
            dw = torch.empty_like(weight)
            load().linear_backward_weight(dy.data_ptr(), x.data_ptr(), dw.data_ptr(), *sizes)
        if ctx.needs_input_grad[2]:
            db = dy.view(-1, dy.size(-1)).sum(0)
        return dx, dw, db


class _GELU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        y = torch.empty_like(x)
        load().gelu_forward(x.data_ptr(), y.data_ptr(), x.numel())
        ctx.save_for_backward(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,), dy = ctx.saved_tensors, dy.contiguous()
        dx = torch.empty_like(x)
        load().gelu_backward(x.data_ptr(), dy.data_ptr(), dx.data_ptr(), x.numel())
        return dx


class _Attention(Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, shape: Shape, tables: tuple[Tensor, ...]) -> Tensor:
        qkv = qkv.contiguous()
        y = qkv.new_empty(shape.B, shape.T, shape.nh * shape.hs)
        # log-sum-exp of each row of scores, from which the backward pass recomputes the weights
        logarithms = torch.empty(shape.B, shape.nh, shape.T, dtype=torch.float32)
        run = getattr(load(), f"attention_forward_{KINDS[qkv.dtype]}")
        run(shape, qkv.data_ptr(), y.data_ptr(), logarithms.data_ptr())
        ctx.save_for_backward(qkv, y, logarithms)
        ctx.shape, ctx.tables = shape, tables  # keeps the tables alive, which ``shape`` points to
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (qkv, y, logarithms), dy = ctx.saved_tensors, dy.contiguous()
        dqkv = torch.empty_like(qkv)
        run = getattr(load(), f"attention_backward_{KINDS[qkv.dtype]}")
        tensors = (qkv, y, dy, logarithms, dqkv)
        run(ctx.shape, *(tensor.data_ptr() for tensor in tensors))
        return dqkv, None, None
