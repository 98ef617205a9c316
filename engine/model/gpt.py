"""The GPT model: embeddings, a stack of blocks, and a linear head."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.config.schema import GPT2_STD, ModelConfig
from engine.model.attention import CausalSelfAttention
from engine.model.block import Block, FeedForward
from engine.model.language_model import LanguageModel
from engine.model.layers import Dropout, Linear, build_norm
from engine.model.positions import Rotary, rotary, sinusoidal


class GPT(LanguageModel):
    """A decoder-only transformer: GPT-2 (Radford et al. 2019) and the variants of ``config``."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__(config, vocab_size)
        self.token_embedding = nn.Embedding(vocab_size, config.n_embd)
        self.previous_embeddings = nn.ModuleList(
            nn.Embedding(vocab_size, config.n_embd) for _ in range(config.n_gram - 1)
        )
        if config.position == "learned":
            self.position_embedding = nn.Embedding(config.block_size, config.n_embd)
        self.dropout = Dropout("embd", config.dropout_of("embd"))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        # pre-norm blocks leave the residual stream unnormalised; post-norm blocks end with a norm
        pre_norm = config.norm_place == "pre"
        self.norm = build_norm(config, config.n_embd) if pre_norm else nn.Identity()
        self.head = Linear(config.n_embd, vocab_size, bias=False)  # the lecture's ``lm_head``
        if config.tie_weights:  # one matrix: tokens with similar meaning get similar logits
            self.head.weight = self.token_embedding.weight
        if config.init == "gpt2":  # else keep the initialisation of torch's layers
            self._init_as_gpt2()
        if config.zero_init:
            self._zero_init()

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, vocab_size)."""
        return self.logits(self.stream(input_ids))

    def stream(self, input_ids: Tensor) -> Tensor:
        """Return the residual stream after the last block: (B, T) -> (B, T, C)."""
        positions = self._positions(input_ids)  # (T,)
        x, rope = self.embed(input_ids, positions), self._rope(positions)  # x: (B, T, C)
        for block in self.blocks:  # each adds to the residual stream x
            x = block(x, rope)  # (B, T, C)
        return x

    def embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """Add token and position embeddings: (B, T) -> (B, T, C)."""
        input_ids = input_ids.long()  # a tokenizer may return uint16
        x = self.token_embedding(input_ids)  # (B, T, C)
        if self.previous_embeddings:
            x = x + self._embed_previous(input_ids)
        if self.config.position == "learned":
            x = x + self.position_embedding(positions)  # (T, C), broadcast over the batch
        elif self.config.position == "sinusoidal":
            # scaled as in the paper: embeddings start at a std of 0.02, sines reach 1
            width = self.config.n_embd
            x = x * math.sqrt(width) + sinusoidal(positions, width)
        # rotary positions are applied in every attention layer instead, to queries and keys
        out: Tensor = self.dropout(x.to(self.compute_dtype))
        return out

    def logits(self, x: Tensor) -> Tensor:
        """Map the residual stream to logits: (B, T, C) -> (B, T, vocab_size), fp32."""
        # fp32, because cross-entropy in bf16 loses digits that the loss curve shows
        logits: Tensor = self.head(self.norm(x)).float()
        cap = self.config.logit_softcap
        return cap * torch.tanh(logits / cap) if cap else logits  # Gemma 2, section 2

    def _embed_previous(self, input_ids: Tensor) -> Tensor:
        """Sum the embeddings of the preceding tokens: (B, T) -> (B, T, C).

        Each distance has its own table, so that "ab" and "ba" differ.
        """
        T = input_ids.size(1)
        total = torch.zeros((), device=input_ids.device)
        for distance, table in enumerate(self.previous_embeddings, 1):
            seen = table(input_ids[:, : max(0, T - distance)])  # (B, T - distance, C)
            # shifted right: position t receives the token at t - distance, or zeros at the start
            total = total + F.pad(seen, (0, 0, T - seen.size(1), 0))  # (B, T, C)
        return total

    def _positions(self, input_ids: Tensor) -> Tensor:
        T = input_ids.size(1)
        if self.config.block_size < T:
            raise ValueError(
                f"{T} tokens are more than the model's context length {self.config.block_size}"
            )
        return torch.arange(T, device=input_ids.device)

    def _rope(self, positions: Tensor) -> Rotary | None:
        if self.config.position != "rotary":
            return None
        return rotary(positions, self.config.head_size, self.compute_dtype, self.config.rope_theta)

    @torch.no_grad()
    def attention_weights(self, input_ids: Tensor) -> list[Tensor]:
        """Return one (B, n_head, T, T) tensor per block, from the reference path."""
        positions = self._positions(input_ids)
        x, rope = self.embed(input_ids, positions), self._rope(positions)
        weights = []
        for block in self.blocks:
            assert isinstance(block, Block)
            x, seen = block.reference(x, rope)
            weights.append(seen)
        return weights

    def _init_as_gpt2(self) -> None:
        """Draw weights from N(0, 0.02), output projections from N(0, 0.02 / sqrt(2 n_layer))."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=GPT2_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        # each block adds to the residual stream twice; variances add up, so the standard deviation
        # of the sum stays the same for any depth
        residual_std = GPT2_STD / math.sqrt(2 * self.config.n_layer)
        for projection in self._projections():
            nn.init.normal_(projection.weight, std=residual_std)
        with torch.no_grad():
            self.token_embedding.weight *= self.config.embd_std / GPT2_STD

    def _projections(self) -> Iterator[nn.Linear]:
        """Yield the output projections, whose results are added to the residual stream."""
        for module in self.modules():
            if isinstance(module, (CausalSelfAttention, FeedForward)) and isinstance(
                module.proj, nn.Linear
            ):
                yield module.proj

    def _zero_init(self) -> None:
        """Start every block as the identity (Zhang et al. 2019), and an untied head at zero.

        The first loss is then exactly ln(vocab_size). All other matrices stay random: with two zero
        matrices in a row, neither would ever receive a gradient.
        """
        for projection in self._projections():
            for parameter in projection.parameters():
                nn.init.zeros_(parameter)
        for table in self.previous_embeddings:
            nn.init.zeros_(table.weight)  # type: ignore[arg-type]
        if not self.config.tie_weights:
            nn.init.zeros_(self.head.weight)
