"""Fused Triton kernels for NVIDIA GPUs.

A step of a small model is limited by memory bandwidth, not by its matrix products. PyTorch takes a
dozen passes over queries and keys to normalise, rotate and transpose them, and the gradient of a
norm's gain takes longer than attention. This module is imported only if there is a GPU; Triton
comes with PyTorch's CUDA builds for Linux.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

NORMS = {"none": 0, "layer": 1, "rms": 2}
TOKENS = 16  # tokens of one head per program
ROWS = 4  # rows of a norm per program and iteration; half as many in the backward pass
PROGRAMS = 1056  # programs of a norm's backward pass, each of which sums the gain's gradient
NUMBERS = 2048  # elements of an activation per program


# -- queries, keys and values ----------------------------------------------------------------------


@triton.jit
def _normalised(x1, x2, seen, hs, epsilon, NORM: tl.constexpr):  # type: ignore[no-untyped-def]
    """Normalise rows given as two halves; also return 1 / (root mean square)."""
    if NORM == 0:
        return x1, x2, tl.sum(x1 * 0.0, 1)[:, None] + 1.0
    if NORM == 1:
        mean = (tl.sum(x1, 1) + tl.sum(x2, 1))[:, None] / hs
        x1 = tl.where(seen, x1 - mean, 0.0)
        x2 = tl.where(seen, x2 - mean, 0.0)
    square = (tl.sum(x1 * x1, 1) + tl.sum(x2 * x2, 1))[:, None] / hs
    rstd = 1.0 / tl.sqrt(square + epsilon)
    return x1 * rstd, x2 * rstd, rstd


@triton.jit
def _heads_forward(  # type: ignore[no-untyped-def]
    qkv, out, cos, sin, rows, T, heads, turned, hs, epsilon,
    NORM: tl.constexpr, ROTARY: tl.constexpr, TOKENS: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    """(rows, heads, hs) -> (rows, heads, hs); the first ``turned`` heads are queries and keys."""
    head = tl.program_id(1)
    row = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    column = tl.arange(0, HALF)
    half = hs // 2
    seen = (row < rows)[:, None] & (column < half)[None, :]
    first = (row.to(tl.int64) * heads + head)[:, None] * hs + column[None, :]
    x1 = tl.load(qkv + first, seen, 0.0)
    x2 = tl.load(qkv + first + half, seen, 0.0)
    if head < turned:
        kind = x1.dtype
        x1, x2, _ = _normalised(x1.to(tl.float32), x2.to(tl.float32), seen, hs, epsilon, NORM)
        if ROTARY:
            angle = (row % T)[:, None] * half + column[None, :]
            c = tl.load(cos + angle, seen, 0.0).to(tl.float32)
            s = tl.load(sin + angle, seen, 0.0).to(tl.float32)
            y1 = x1 * c - x2 * s
            x2 = x1 * s + x2 * c
            x1 = y1
        x1 = x1.to(kind)
        x2 = x2.to(kind)
    tl.store(out + first, x1, seen)
    tl.store(out + first + half, x2, seen)


@triton.jit
def _heads_backward(  # type: ignore[no-untyped-def]
    qkv, dqkv, cos, sin, dq, dk, dv, rows, T, heads, queries, turned, hs, epsilon,
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t,
    NORM: tl.constexpr, ROTARY: tl.constexpr, TOKENS: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    """Gradients of q, k and v, with the strides of each -> gradient of qkv (rows, heads, hs)."""
    head = tl.program_id(1)
    row = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    column = tl.arange(0, HALF)
    half = hs // 2
    seen = (row < rows)[:, None] & (column < half)[None, :]
    first = (row.to(tl.int64) * heads + head)[:, None] * hs + column[None, :]
    b, t = (row // T).to(tl.int64)[:, None], (row % T)[:, None]
    if head < queries:
        source = dq + b * q_b + head * q_h + t * q_t + column[None, :]
    elif head < turned:
        source = dk + b * k_b + (head - queries) * k_h + t * k_t + column[None, :]
    else:
        source = dv + b * v_b + (head - turned) * v_h + t * v_t + column[None, :]
    d1 = tl.load(source, seen, 0.0)
    d2 = tl.load(source + half, seen, 0.0)
    if head < turned:
        kind = d1.dtype
        d1 = d1.to(tl.float32)
        d2 = d2.to(tl.float32)
        if ROTARY:
            angle = t * half + column[None, :]
            c = tl.load(cos + angle, seen, 0.0).to(tl.float32)
            s = tl.load(sin + angle, seen, 0.0).to(tl.float32)
            e1 = d1 * c + d2 * s
            d2 = d2 * c - d1 * s
            d1 = e1
        if NORM != 0:
            x1 = tl.load(qkv + first, seen, 0.0).to(tl.float32)
            x2 = tl.load(qkv + first + half, seen, 0.0).to(tl.float32)
            x1, x2, rstd = _normalised(x1, x2, seen, hs, epsilon, NORM)
            along = (tl.sum(d1 * x1, 1) + tl.sum(d2 * x2, 1))[:, None] / hs
            mean = along * 0.0
            if NORM == 1:
                mean = (tl.sum(d1, 1) + tl.sum(d2, 1))[:, None] / hs
            d1 = (d1 - mean - x1 * along) * rstd
            d2 = (d2 - mean - x2 * along) * rstd
        d1 = d1.to(kind)
        d2 = d2.to(kind)
    tl.store(dqkv + first, d1, seen)
    tl.store(dqkv + first + half, d2, seen)


class Heads(Function):
    """``engine.kernels.gpu.heads``."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, nh: int, nkv: int, norm: str, epsilon: float, cos: Any, sin: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        qkv = qkv.contiguous()
        B, T, width = qkv.shape
        heads = nh + 2 * nkv
        hs = width // heads
        out = torch.empty_like(qkv)
        constants = {
            "NORM": NORMS[norm],
            "ROTARY": cos is not None,
            "TOKENS": TOKENS,
            "HALF": triton.next_power_of_2(hs // 2),
        }
        grid = (triton.cdiv(B * T, TOKENS), heads)
        _heads_forward[grid](
            qkv, out, cos, sin, B * T, T, heads, nh + nkv, hs, epsilon, **constants
        )
        ctx.save_for_backward(qkv, cos, sin)
        ctx.shape, ctx.constants, ctx.grid = (
            (B * T, T, heads, nh, nh + nkv, hs, epsilon),
            constants,
            grid,
        )
        parts = out.view(B, T, heads, hs).transpose(1, 2).split((nh, nkv, nkv), dim=1)
        q, k, v = parts
        return q, k, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        qkv, cos, sin = ctx.saved_tensors
        dq, dk, dv = (d if d.stride(-1) == 1 else d.contiguous() for d in gradients)
        dqkv = torch.empty_like(qkv)
        strides = (s for d in (dq, dk, dv) for s in d.stride()[:3])
        _heads_backward[ctx.grid](
            qkv, dqkv, cos, sin, dq, dk, dv, *ctx.shape, *strides, **ctx.constants
        )
        return dqkv, None, None, None, None, None, None


# -- norms -----------------------------------------------------------------------------------------


@triton.jit
def _norm_forward(  # type: ignore[no-untyped-def]
    x, gain, bias, y, means, rstds, rows, C, epsilon,
    LAYER: tl.constexpr, GAIN: tl.constexpr, BIAS: tl.constexpr, ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """(rows, C) -> (rows, C); stores mean and 1 / std of each row for the backward pass."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    there = column < C
    seen = (row < rows)[:, None] & there[None, :]
    at = row.to(tl.int64)[:, None] * C + column[None, :]
    raw = tl.load(x + at, seen, 0.0)
    v = raw.to(tl.float32)
    if LAYER:
        mean = tl.sum(v, 1) / C
        tl.store(means + row, mean, row < rows)
        v = tl.where(seen, v - mean[:, None], 0.0)
    rstd = 1.0 / tl.sqrt(tl.sum(v * v, 1) / C + epsilon)
    tl.store(rstds + row, rstd, row < rows)
    v = v * rstd[:, None]
    if GAIN:
        v = v * tl.load(gain + column, there, 0.0).to(tl.float32)[None, :]
    if BIAS:
        v = v + tl.load(bias + column, there, 0.0).to(tl.float32)[None, :]
    tl.store(y + at, v.to(raw.dtype), seen)


@triton.jit
def _norm_backward(  # type: ignore[no-untyped-def]
    x, gain, dy, dx, means, rstds, dgains, dbiases, rows, C,
    LAYER: tl.constexpr, GAIN: tl.constexpr, BIAS: tl.constexpr, ROWS: tl.constexpr,
    WIDTH: tl.constexpr, ROUNDS: tl.constexpr,
):  # fmt: skip
    """Each program sums the gradients of gain and bias over its rows, in a deterministic order."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    column = tl.arange(0, WIDTH)
    there = column < C
    dgain = tl.zeros((WIDTH,), tl.float32)
    dbias = tl.zeros((WIDTH,), tl.float32)
    if GAIN:
        g = tl.load(gain + column, there, 0.0).to(tl.float32)[None, :]
    for i in range(ROUNDS):
        row = (i * programs + program) * ROWS + tl.arange(0, ROWS)
        seen = (row < rows)[:, None] & there[None, :]
        at = row.to(tl.int64)[:, None] * C + column[None, :]
        v = tl.load(x + at, seen, 0.0).to(tl.float32)
        raw = tl.load(dy + at, seen, 0.0)
        d = raw.to(tl.float32)
        rstd = tl.load(rstds + row, row < rows, 0.0)[:, None]
        if LAYER:
            v = v - tl.load(means + row, row < rows, 0.0)[:, None]
        v = tl.where(seen, v * rstd, 0.0)
        if BIAS:
            dbias += tl.sum(d, 0)
        if GAIN:
            dgain += tl.sum(d * v, 0)
            d = d * g
        along = tl.sum(d * v, 1)[:, None] / C
        out = d - v * along
        if LAYER:
            out = out - tl.sum(d, 1)[:, None] / C
        tl.store(dx + at, (out * rstd).to(raw.dtype), seen)
    if GAIN:
        tl.store(dgains + program * C + column, dgain, there)
    if BIAS:
        tl.store(dbiases + program * C + column, dbias, there)


class Norm(Function):
    """``engine.kernels.gpu.norm``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Any, bias: Any, epsilon: float, layer: bool) -> Tensor:
        x = x.contiguous()
        C = x.size(-1)
        rows = x.numel() // C
        y = torch.empty_like(x)
        means, rstds = torch.empty(2, rows, device=x.device).unbind()
        constants = {
            "LAYER": layer,
            "GAIN": gain is not None,
            "BIAS": bias is not None,
            "ROWS": ROWS,
            "WIDTH": triton.next_power_of_2(C),
        }
        _norm_forward[(triton.cdiv(rows, ROWS),)](
            x, gain, bias, y, means, rstds, rows, C, epsilon, **constants
        )
        ctx.save_for_backward(x, gain, means, rstds)
        ctx.constants = constants
        ctx.dtypes = gain is not None and gain.dtype, bias is not None and bias.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, means, rstds = ctx.saved_tensors
        dy = dy.contiguous()
        C, rows = x.size(-1), means.numel()
        at_once = ROWS // 2
        programs = min(PROGRAMS, triton.cdiv(rows, at_once))
        constants = ctx.constants | {
            "ROWS": at_once,
            "ROUNDS": triton.cdiv(rows, at_once * programs),
        }
        dx = torch.empty_like(x)
        sums = torch.empty(2, programs, C, device=x.device)
        _norm_backward[(programs,)](
            x, gain, dy, dx, means, rstds, *sums, rows, C,
            num_warps=max(2, min(8, constants["WIDTH"] // 256)), **constants,
        )  # fmt: skip
        dgain = sums[0].sum(0).to(ctx.dtypes[0]) if ctx.constants["GAIN"] else None
        dbias = sums[1].sum(0).to(ctx.dtypes[1]) if ctx.constants["BIAS"] else None
        return dx, dgain, dbias, None, None


# -- activations -----------------------------------------------------------------------------------


@triton.jit
def _relu2_forward(x, y, n, NUMBERS: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0).to(tl.int64) * NUMBERS + tl.arange(0, NUMBERS)
    raw = tl.load(x + at, at < n, 0.0)
    v = tl.maximum(raw.to(tl.float32), 0.0)
    tl.store(y + at, (v * v).to(raw.dtype), at < n)


@triton.jit
def _relu2_backward(x, dy, dx, n, NUMBERS: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0).to(tl.int64) * NUMBERS + tl.arange(0, NUMBERS)
    raw = tl.load(x + at, at < n, 0.0)
    v = tl.maximum(raw.to(tl.float32), 0.0)
    d = tl.load(dy + at, at < n, 0.0).to(tl.float32)
    tl.store(dx + at, (2.0 * v * d).to(raw.dtype), at < n)


class ReLU2(Function):
    """``F.relu(x) ** 2``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        y = torch.empty_like(x)
        _relu2_forward[(triton.cdiv(x.numel(), NUMBERS),)](x, y, x.numel(), NUMBERS=NUMBERS)
        ctx.save_for_backward(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        dx = torch.empty_like(x)
        grid = (triton.cdiv(x.numel(), NUMBERS),)
        _relu2_backward[grid](x, dy.contiguous(), dx, x.numel(), NUMBERS=NUMBERS)
        return dx


@triton.jit
def _swiglu_forward(x, y, rows, F, NUMBERS: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0).to(tl.int64) * NUMBERS + tl.arange(0, NUMBERS)
    seen = at < rows * F
    gate_at = at // F * (2 * F) + at % F
    raw = tl.load(x + gate_at, seen, 0.0)
    gate = raw.to(tl.float32)
    value = tl.load(x + gate_at + F, seen, 0.0).to(tl.float32)
    tl.store(y + at, (gate * tl.sigmoid(gate) * value).to(raw.dtype), seen)


@triton.jit
def _swiglu_backward(x, dy, dx, rows, F, NUMBERS: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0).to(tl.int64) * NUMBERS + tl.arange(0, NUMBERS)
    seen = at < rows * F
    gate_at = at // F * (2 * F) + at % F
    raw = tl.load(x + gate_at, seen, 0.0)
    gate = raw.to(tl.float32)
    value = tl.load(x + gate_at + F, seen, 0.0).to(tl.float32)
    d = tl.load(dy + at, seen, 0.0).to(tl.float32)
    s = tl.sigmoid(gate)
    tl.store(dx + gate_at, (d * value * s * (1.0 + gate * (1.0 - s))).to(raw.dtype), seen)
    tl.store(dx + gate_at + F, (d * gate * s).to(raw.dtype), seen)


class SwiGLU(Function):
    """``F.silu`` of the first half times the second half: (..., 2 F) -> (..., F)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        F = x.size(-1) // 2
        y = x.new_empty(*x.shape[:-1], F)
        rows = y.numel() // F
        _swiglu_forward[(triton.cdiv(y.numel(), NUMBERS),)](x, y, rows, F, NUMBERS=NUMBERS)
        ctx.save_for_backward(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        dx, F = torch.empty_like(x), x.size(-1) // 2
        grid = (triton.cdiv(dy.numel(), NUMBERS),)
        _swiglu_backward[grid](x, dy.contiguous(), dx, dy.numel() // F, F, NUMBERS=NUMBERS)
        return dx
