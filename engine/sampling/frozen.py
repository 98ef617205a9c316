"""Copies of a model's weights for decoding: cast and laid out once.

Decoding is limited by memory bandwidth: every weight is read for the sake of a few rows of
activations. The copies have the dtype of the computation and the fastest memory layout, and
training does not change them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.config.model_size import kv_cache_numbers
from engine.model import GPT, Bigram, LanguageModel
from engine.model.block import Block, activate
from engine.model.layers import LayerNorm, RMSNorm
from engine.model.positions import sinusoidal

PACKED_FROM = 2**18  # weights of an fp32 matrix from which packing is worth its overhead
PACKED_ROWS = 64  # batch size that the blocked layout is made for; smaller ones are not slower
# parameters; on two cores with bf16 in hardware, a single sequence of a 1.8 M model ran at 2,290
# tokens/s in fp32 and 1,290 in bf16, of a 4.8 M model at 620 and 780
REDUCED_FROM = 2_500_000

Part = Callable[[Tensor], Tensor]
Attend = Callable[[Tensor], Tensor]  # queries, keys and values (N, C + 2 nkv hs) -> (N, C)


class Frozen:
    """A copy of a model's weights, laid out for decoding."""

    def __init__(self, model: LanguageModel) -> None:
        self.config = model.config
        self.device = next(model.parameters()).device
        self.weights = sum(parameter.numel() for parameter in model.parameters())
        self.block_size, self.vocab_size = model.config.block_size, model.vocab_size
        self.dtype = torch.float32

    def cache_bytes(self, length: int) -> int:
        """Return the size of the KV cache of one sequence of ``length`` tokens."""
        per_token = kv_cache_numbers(self.config) // self.block_size
        return per_token * min(length, self.block_size) * self.dtype.itemsize


class FrozenBigram(Frozen):
    def __init__(self, model: Bigram) -> None:
        super().__init__(model)
        self.table = model.token_embedding.weight.detach().clone()  # (vocab_size, vocab_size)


class FrozenGPT(Frozen):
    """A copy of a GPT's weights in its compute dtype.

    On a CPU a small model stays in fp32: the overhead of a bf16 product exceeds what reading half
    the bytes saves.
    """

    def __init__(self, model: GPT) -> None:
        super().__init__(model)
        small = self.device.type == "cpu" and self.weights < REDUCED_FROM
        self.dtype = torch.float32 if small else model.compute_dtype
        self.tokens = _token_table(model)
        rows = model.vocab_size + 1  # of each table; they are stacked
        self._table_starts = torch.arange(model.config.n_gram, device=self.device) * rows
        self.positions = _position_table(model)
        self.blocks = [FrozenBlock(block, self.dtype) for block in model.blocks]  # type: ignore[arg-type]
        self.norm = frozen_norm(model.norm, self.dtype)
        self.head = frozen_linear(model.head, self.dtype)

    @property
    def rolls(self) -> bool:
        """Whether cached keys stay valid as the window moves past the context length."""
        return self.config.position in ("rotary", "none")

    def embed(self, grams: Tensor, places: slice | Tensor) -> Tensor:
        """Add token and position embeddings.

        Args:
            grams: (B, T, n_gram) ids of each token and those before it, the nearest first;
                ``vocab_size`` where there is none.
            places: T positions.

        Returns:
            (B T, C).
        """
        if grams.size(-1) == 1:
            x = torch.embedding(self.tokens, grams[..., 0])
        else:
            x = torch.embedding(self.tokens, grams + self._table_starts).sum(-2)  # (B, T, C)
        if self.positions is not None:
            x = x + self.positions[places]
        return x.to(self.dtype).flatten(0, 1)

    def logits(self, x: Tensor) -> Tensor:
        """Map the residual stream to logits: (B, C) -> (B, vocab_size), fp32."""
        logits = self.head(self.norm(x)).float()
        cap = self.config.logit_softcap
        return cap * torch.tanh(logits / cap) if cap else logits


class FrozenBlock:
    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        self.pre_norm, self.residual = block.pre_norm, block.residual
        self.norm_1 = frozen_norm(block.norm_1, dtype)
        self.qkv = frozen_linear(block.attention.qkv, dtype)
        self.qk_norm = frozen_norm(block.attention.qk_norm, dtype)  # has no weights
        self.proj = frozen_linear(block.attention.proj, dtype)
        self.feed_forward = block.feed_forward is not None
        if block.feed_forward is not None:
            self.norm_2 = frozen_norm(block.norm_2, dtype)
            self.up = frozen_linear(block.feed_forward.up, dtype)
            self.activation = block.feed_forward.activation
            self.down = frozen_linear(block.feed_forward.proj, dtype)

    def __call__(self, x: Tensor, attend: Attend) -> Tensor:
        """(N, C) -> (N, C)."""
        h = self.norm_1(x) if self.pre_norm else x
        x = self._residual_add(x, self.proj, attend(self.qkv(h)))
        if not self.pre_norm:
            x = self.norm_1(x)
        return self._add_mlp(x) if self.feed_forward else x

    def _add_mlp(self, x: Tensor) -> Tensor:
        h = self.norm_2(x) if self.pre_norm else x
        x = self._residual_add(x, self.down, activate(self.up(h), self.activation))
        return x if self.pre_norm else self.norm_2(x)

    def _residual_add(self, x: Tensor, proj: Product, h: Tensor) -> Tensor:
        return proj.onto(x, h) if self.residual else proj(h)


def _token_table(model: GPT) -> Tensor:
    """Stack the embedding tables, each with a row of zeros: (n_gram (vocab_size + 1), C)."""
    tables = [model.token_embedding, *model.previous_embeddings]
    stacked = torch.cat([F.pad(table.weight.detach(), (0, 0, 0, 1)) for table in tables])
    # sinusoidal positions need scaled embeddings, see GPT.embed
    sinusoidal = model.config.position == "sinusoidal"
    return stacked * math.sqrt(model.config.n_embd) if sinusoidal else stacked


def _position_table(model: GPT) -> Tensor | None:
    """Return the position embeddings (block_size, C), if the model adds any."""
    config, device = model.config, model.token_embedding.weight.device
    if config.position == "learned":
        return model.position_embedding.weight.detach().clone()
    if config.position == "sinusoidal":
        return sinusoidal(torch.arange(config.block_size, device=device), config.n_embd)
    return None


def freeze(model: LanguageModel) -> Frozen:
    """Copy the current weights, so that training can continue while text is generated.

    Raises:
        TypeError: There is no decoder for this class of model.
    """
    if isinstance(model, GPT):
        return FrozenGPT(model)
    if isinstance(model, Bigram):
        return FrozenBigram(model)
    raise TypeError(f"there is no decoder for a {type(model).__name__}")


# -- layers ---------------------------------------------------------------------------------------


def frozen(parameter: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Copy and cast a parameter that may be None; never returns a view."""
    return None if parameter is None else parameter.detach().to(dtype, copy=True)


def frozen_linear(layer: nn.Module, dtype: torch.dtype) -> Product:
    """Copy a linear layer in its fastest form; any other module becomes the identity."""
    if not isinstance(layer, nn.Linear):
        return Identity()
    if layer.weight.device.type == "cpu" and dtype in (torch.float32, torch.bfloat16):
        worth_it = dtype == torch.bfloat16 or layer.weight.numel() >= PACKED_FROM
        if worth_it and _can_pack(dtype):
            return PackedLinear(layer, dtype)
    return FrozenLinear(layer, dtype)


def frozen_norm(norm: nn.Module | None, dtype: torch.dtype) -> Part:
    """Copy a norm over the last dimension; any other module becomes the identity."""
    if isinstance(norm, LayerNorm):
        shape, epsilon = list(norm.normalized_shape), norm.eps
        gain, bias = frozen(norm.weight, dtype), frozen(norm.bias, dtype)
        return lambda x: torch.layer_norm(x, shape, gain, bias, epsilon)
    if isinstance(norm, RMSNorm):
        width, small, scale = list(norm.normalized_shape), norm.eps, frozen(norm.weight, dtype)
        return lambda x: F.rms_norm(x, width, scale, small)
    return Identity()


class Identity:
    """Returns its input."""

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        return x

    def onto(self, stream: Tensor, x: Tensor) -> Tensor:
        """Add the input to the residual stream."""
        return stream + x


class FrozenLinear:
    """A linear layer for a few rows at a time."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        weight = layer.weight.detach()  # (out, in)
        # on a CPU, vector times matrix is up to twice as fast if memory runs along the longer side
        transposed = weight.size(0) > weight.size(1)
        rows = weight.t() if transposed else weight
        rows = rows.to(dtype, copy=True, memory_format=torch.contiguous_format)
        self._weight = rows if transposed else rows.t()  # (in, out)
        self._bias = frozen(layer.bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        if self._bias is None:
            return torch.mm(x, self._weight)
        return torch.addmm(self._bias, x, self._weight)

    def onto(self, stream: Tensor, x: Tensor) -> Tensor:
        """Add the output to the residual stream."""
        total = torch.addmm(stream, x, self._weight)
        return total if self._bias is None else total + self._bias


class PackedLinear:
    """A linear layer in oneDNN's blocked layout.

    It uses all threads even for a single row, and does not reorder the weights at each call. A call
    costs about 13 µs more than ``torch.mm``, so it pays only for large matrices.
    """

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        weight = layer.weight.detach().to(dtype)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_ROWS)
        self._bias = frozen(layer.bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise.default(
            x, self._weight, self._bias, "none", [], ""
        )
        return product

    def onto(self, stream: Tensor, x: Tensor) -> Tensor:
        """Add the output to the residual stream."""
        total: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, stream, self._weight, self._bias, "add"
        )
        return total


Product = Identity | FrozenLinear | PackedLinear


@functools.cache
def _can_pack(dtype: torch.dtype) -> bool:
    """Return whether this build of torch and this CPU support oneDNN's packed layers.

    The operators are used by torch's compiler and not documented, so a small case is tested.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    layer = nn.Linear(3, 2, dtype=dtype)
    x, stream = torch.ones(4, 3, dtype=dtype), torch.ones(4, 2, dtype=dtype)
    try:
        with torch.inference_mode():
            packed = PackedLinear(layer, dtype)
            expected = layer(x)
            return torch.allclose(packed(x), expected, 0.02, 0.02) and torch.allclose(
                packed.onto(stream, x), stream + expected, 0.02, 0.02
            )
    except (AttributeError, RuntimeError):
        return False
