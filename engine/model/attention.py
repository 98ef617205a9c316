"""Causal multi-head self-attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine import kernels
from engine.config.schema import ModelConfig
from engine.model.layers import EPSILON, Dropout, LayerNorm, Linear, RMSNorm
from engine.model.positions import Rotary, rotate


class CausalSelfAttention(nn.Module):
    """Multi-head attention to the current and earlier tokens (Vaswani et al. 2017, section 3.2).

    With ``n_kv_head`` below ``n_head``, groups of heads share keys and values (GQA: Ainslie et al.
    2023). With ``qk_norm``, queries and keys are normalised, which bounds the attention scores
    (Henry et al. 2020).

    Shapes: B sequences, T tokens, C = ``n_embd``, nh query heads, nkv key and value heads, each of
    size hs = C / nh.
    """

    native = False  # use ``engine.kernels`` where it supports the input

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_head, self.n_kv_head = config.n_head, config.kv_heads
        self.head_size = config.head_size
        # queries, keys and values of all heads in one matrix multiplication
        # queries: what a token looks for; keys: what it offers; values: what it passes on
        self.qkv = Linear(config.n_embd, sum(self.widths), bias=config.bias)
        self.dropout = Dropout("attn", config.dropout_of("attn"))
        self.qk_norm = _qk_norm(config)
        self.proj: nn.Module = nn.Identity()
        if config.output_proj:
            self.proj = Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.proj_dropout = Dropout("resid", config.dropout_of("resid"))

    @property
    def widths(self) -> tuple[int, int, int]:
        """Output features of ``qkv`` for queries, keys and values."""
        kv = self.n_kv_head * self.head_size
        return self.n_head * self.head_size, kv, kv

    def forward(self, x: Tensor, rope: Rotary | None = None) -> Tensor:
        """Mix information between positions: (B, T, C) -> (B, T, C)."""
        if self.native and kernels.takes(x, torch.float32, torch.bfloat16):
            return self._forward_native(x, rope)
        changes_heads = self.qk_norm is not None or rope is not None
        even = self.head_size % 2 == 0  # the kernel works on the two halves of a head
        if self.native and kernels.gpu.takes(x) and changes_heads and even:
            q, k, v = kernels.gpu.heads(
                self.qkv(x),
                self.n_head,
                self.n_kv_head,
                norm=self._kind_of_norm,
                epsilon=EPSILON,
                rope=rope,
            )
        else:
            q, k, v = self.heads(x, rope)
        return self.merge(self.attend(q, k, v))

    def _forward_native(self, x: Tensor, rope: Rotary | None) -> Tensor:
        """Compute ``heads`` and ``attend`` in one fused kernel of ``engine.kernels``."""
        y = kernels.attention(
            self.qkv(x),
            self.n_head,
            self.n_kv_head,
            norm=self._kind_of_norm,
            epsilon=EPSILON,
            rope=rope,
            dropout=self.dropout.p if self.training else 0.0,
        )  # (B, T, nh * hs)
        out: Tensor = self.proj_dropout(self.proj(y))
        return out

    @property
    def _kind_of_norm(self) -> str:
        """The norm of queries and keys, as ``engine.kernels`` names it."""
        norm = self.qk_norm
        return "none" if norm is None else "layer" if isinstance(norm, LayerNorm) else "rms"

    def heads(self, x: Tensor, rope: Rotary | None) -> tuple[Tensor, Tensor, Tensor]:
        """Project and split into heads: (B, T, C) -> q (B, nh, T, hs), k and v (B, nkv, T, hs)."""
        B, T, _ = x.shape
        q, k, v = (
            # heads become a batch dimension: (B, T, nh * hs) -> (B, T, nh, hs) -> (B, nh, T, hs)
            part.view(B, T, -1, self.head_size).transpose(1, 2)
            for part in self.qkv(x).split(self.widths, dim=-1)
        )
        if self.qk_norm is not None:  # over each head's hs elements
            q, k = self.qk_norm(q), self.qk_norm(k)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        return q, k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Compute softmax(q k^T / sqrt(hs)) v with a causal mask.

        Args:
            q: (B, nh, T, hs).
            k: (B, nkv, T, hs).
            v: (B, nkv, T, hs).

        Returns:
            (B, nh, T, hs).
        """
        dropout = self.dropout.p if self.training else 0.0
        # torch's fused CPU kernel has no dropout, and its bf16 backward pass is slow
        unfused_is_faster = dropout or (q.dtype != torch.float32 and q.requires_grad)
        if q.device.type == "cpu" and unfused_is_faster:
            k, v = self._repeat_kv(k), self._repeat_kv(v)  # (B, nh, T, hs) each
            weights: Tensor = self.dropout(_scores(q, k).softmax(dim=-1))  # (B, nh, T, T)
            return weights @ v  # (B, nh, T, hs)
        # never materialises the (T, T) weights (FlashAttention: Dao et al. 2022)
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            dropout_p=dropout,
            is_causal=True,
            enable_gqa=self.n_kv_head != self.n_head,
        )

    def merge(self, y: Tensor) -> Tensor:
        """Concatenate the heads and project: (B, nh, T, hs) -> (B, T, C)."""
        B, _, T, _ = y.shape
        y = y.transpose(1, 2).reshape(B, T, -1)  # (B, T, nh * hs)
        out: Tensor = self.proj_dropout(self.proj(y))
        return out

    def reference(self, x: Tensor, rope: Rotary | None = None) -> tuple[Tensor, Tensor]:
        """Compute the same attention step by step, as in the lecture, without attention dropout.

        Args:
            x: (B, T, C).
            rope: Rotary tables of the T positions, if the model uses them.

        Returns:
            The output (B, T, C) and the attention weights (B, nh, T, T). Row i holds the weights of
            tokens 0 to i in the output of token i, and sums to 1.
        """
        q, k, v = self.heads(x, rope)
        k, v = self._repeat_kv(k), self._repeat_kv(v)  # (B, nh, T, hs)
        weights = reference_weights(q, k)  # (B, nh, T, T), the lecture's ``wei``
        return self.merge(weights @ v), weights

    def _repeat_kv(self, x: Tensor) -> Tensor:
        """Repeat shared keys or values: (B, nkv, T, hs) -> (B, nh, T, hs)."""
        group_size = self.n_head // self.n_kv_head
        return x if group_size == 1 else x.repeat_interleave(group_size, dim=1)


def reference_weights(q: Tensor, k: Tensor) -> Tensor:
    """Compute the attention weights of q and k, both (B, nh, T, hs): (B, nh, T, T)."""
    T, head_size = q.shape[-2:]
    # scaled to unit variance: otherwise softmax would saturate, with hardly any gradient
    scores = q @ k.transpose(-2, -1) / math.sqrt(head_size)  # (B, nh, T, T)
    future = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)  # above the diagonal
    return scores.masked_fill(future, float("-inf")).softmax(dim=-1)  # exp(-inf) = 0


def _scores(q: Tensor, k: Tensor) -> Tensor:
    """Compute the masked scores of ``reference_weights`` in one batched matrix multiplication."""
    B, nh, T, hs = q.shape
    mask = torch.full((T, T), float("-inf"), dtype=q.dtype).triu(1)  # added to the scores
    q, k = q.reshape(B * nh, T, hs), k.reshape(B * nh, T, hs)
    return torch.baddbmm(mask, q, k.mT, alpha=hs**-0.5).view(B, nh, T, T)


def _qk_norm(config: ModelConfig) -> LayerNorm | RMSNorm | None:
    """Build the norm of queries and keys: over each head, of the model's kind, without a gain."""
    if not config.qk_norm:
        return None
    if config.norm == "layer":
        return LayerNorm(config.head_size, EPSILON, elementwise_affine=False)
    return RMSNorm(config.head_size, EPSILON, elementwise_affine=False)
