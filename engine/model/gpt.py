"""The whole language model: tokens in, logits of the next token out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.model.attention import CausalSelfAttention, KVCache
from engine.model.block import Block, FeedForward

if TYPE_CHECKING:
    from data.tokenizers import Tokenizer


class GPT(nn.Module):
    """A decoder-only transformer (GPT-2: Radford et al. 2019).

    Args:
        config: The shape of the network.
        vocab_size: Number of distinct tokens.
    """

    tokenizer: Tokenizer | None = None  # set by ``engine.load``

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.token_embedding = nn.Embedding(vocab_size, config.n_embd)
        self.position_embedding = nn.Embedding(config.block_size, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.head = nn.Linear(config.n_embd, vocab_size, bias=False)
        if config.tie_weights:
            self.head.weight = self.token_embedding.weight
        self._init_weights()

    def forward(self, input_ids: Tensor, caches: Sequence[KVCache] | None = None) -> Tensor:
        """Logits of the token after each position.

        Args:
            input_ids: (B, T) token ids, T at most ``block_size`` with what the caches hold.
            caches: One per block; the ids then continue what the caches have seen.

        Returns:
            (B, T, vocab_size).
        """
        x = self.embed(input_ids, start=caches[0].length if caches else 0)  # (B, T, C)
        for i, block in enumerate(self.blocks):
            x = block(x, caches[i] if caches else None)
        logits: Tensor = self.head(self.norm(x))  # (B, T, vocab_size)
        return logits

    def embed(self, input_ids: Tensor, start: int = 0) -> Tensor:
        """What each token is plus where it stands: (B, T) -> (B, T, C)."""
        end = start + input_ids.size(1)
        if end > self.config.block_size:
            raise ValueError(f"{end} tokens do not fit a context of {self.config.block_size}")
        positions = torch.arange(start, end, device=input_ids.device)  # (T,)
        x: Tensor = self.dropout(
            self.token_embedding(input_ids) + self.position_embedding(positions)
        )
        return x

    @torch.no_grad()
    def attention_weights(self, input_ids: Tensor) -> list[Tensor]:
        """How each head of each block looks at a text.

        Args:
            input_ids: (B, T) token ids.

        Returns:
            One (B, n_head, T, T) tensor per block; each row sums to 1.
        """
        x = self.embed(input_ids)
        weights = []
        for block in self.blocks:
            assert isinstance(block, Block)
            x, seen = block.reference(x)
            weights.append(seen)
        return weights

    def generate(
        self,
        start_tokens: Tensor | Sequence[int],
        max_length: int = 100,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Tensor:
        """Continue a sequence of tokens.

        Args:
            start_tokens: (T,) or (1, T) token ids; at least one.
            max_length: How many tokens to add.
            temperature, top_k, top_p: See ``engine.sampling.sample_token``.
            seed: Same seed, same text; None takes a fresh one.

        Returns:
            (T + max_length,) token ids, the start included.
        """
        from engine.sampling import generate

        start = torch.as_tensor(start_tokens, dtype=torch.long).flatten().tolist()
        new = generate(self, start, max_length, temperature, top_k, top_p, seed)
        return torch.tensor(start + list(new))

    def empty_caches(self, batch_size: int = 1) -> list[KVCache]:
        """One empty cache per block."""
        like = self.token_embedding.weight
        return [KVCache(batch_size, self.config, like) for _ in self.blocks]

    def parameter_count(self) -> int:
        """Parameters without the position embeddings, which is how nanoGPT counts."""
        total = sum(parameter.numel() for parameter in self.parameters())
        return total - self.position_embedding.weight.numel()

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout rate everywhere, between two steps."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
            elif isinstance(module, CausalSelfAttention):
                module.dropout = dropout

    def _init_weights(self) -> None:
        """N(0, 0.02), and 1/sqrt(2 n_layer) of it for what joins the residual stream (GPT-2)."""
        residual_std = 0.02 / math.sqrt(2 * self.config.n_layer)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, (CausalSelfAttention, FeedForward)):
                nn.init.normal_(module.proj.weight, std=residual_std)
