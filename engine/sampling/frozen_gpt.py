"""A copy of a GPT's weights for decoding: all of ``GPT`` and ``Block`` except attention itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.model.block import Block, activate
from engine.model.gpt import GPT
from engine.model.positions import sinusoidal
from engine.sampling.frozen import Product, frozen_linear, frozen_norm

# parameters; on two cores with bf16 in hardware, a single sequence of a 1.8 M model ran at 2,290
# tokens/s in fp32 and 1,290 in bf16, of a 4.8 M model at 620 and 780
REDUCED_FROM = 2_500_000

Attend = Callable[[Tensor], Tensor]  # queries, keys and values (N, C + 2 nkv hs) -> (N, C)


class FrozenGPT:
    """A copy of a GPT's weights in its compute dtype.

    On a CPU a small model stays in fp32: the overhead of a bf16 product exceeds what reading half
    the bytes saves.
    """

    def __init__(self, model: GPT) -> None:
        self.config = model.config
        self.device = model.token_embedding.weight.device
        self.weights = sum(parameter.numel() for parameter in model.parameters())
        self.dtype = self._worthwhile(model.compute_dtype)
        self.block_size, self.vocab_size = model.config.block_size, model.vocab_size
        self.tokens = _token_table(model)
        rows = model.vocab_size + 1  # of each table; they are stacked
        self._table_starts = torch.arange(model.config.n_gram, device=self.device) * rows
        self.positions = _position_table(model)
        self.blocks = [FrozenBlock(block, self.dtype) for block in model.blocks]  # type: ignore[arg-type]
        self.norm = frozen_norm(model.norm, self.dtype)
        self.head = frozen_linear(model.head, self.dtype)

    def _worthwhile(self, dtype: torch.dtype) -> torch.dtype:
        small = self.device.type == "cpu" and self.weights < REDUCED_FROM
        return torch.float32 if small else dtype

    @property
    def rolls(self) -> bool:
        """Whether cached keys stay valid as the window moves past the context length."""
        return self.config.position in ("rotary", "none")

    def embed(self, grams: Tensor, start: int) -> Tensor:
        """Add token and position embeddings.

        Args:
            grams: (B, T, n_gram) ids of each token and those before it, the nearest first;
                ``vocab_size`` where there is none.
            start: Position of the first token.

        Returns:
            (B T, C).
        """
        T, n = grams.shape[1:]
        if n == 1:
            x = torch.embedding(self.tokens, grams[..., 0])
        else:
            x = torch.embedding(self.tokens, grams + self._table_starts).sum(-2)  # (B, T, C)
        if self.positions is not None:
            x = x + self.positions[start : start + T]
        return x.to(self.dtype).flatten(0, 1)

    def logits(self, x: Tensor) -> Tensor:
        """Map the residual stream to logits: (B, C) -> (B, vocab_size), fp32."""
        logits = self.head(self.norm(x)).float()
        cap = self.config.logit_softcap
        return cap * torch.tanh(logits / cap) if cap else logits


class FrozenBlock:
    """A copy of a block's weights."""

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
