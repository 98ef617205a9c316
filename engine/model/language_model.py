"""What every model of the ladder can do, whatever it is made of."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from engine.config.schema import ModelConfig
from engine.model.layers import Dropout
from engine.model.logits import Draws, Rules

if TYPE_CHECKING:
    from data.tokenizers import Tokenizer


class LanguageModel(nn.Module):
    """Tokens in, logits of the next token out.

    Args:
        config: The shape of the network.
        vocab_size: Number of distinct tokens.
    """

    tokenizer: Tokenizer | None = None  # set by ``engine.load``
    compute_dtype = torch.float32  # of what flows through; the weights stay fp32

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits of the token after each position.

        Args:
            input_ids: (B, T) token ids of any integer type, T at most ``block_size``.

        Returns:
            (B, T, vocab_size), in fp32.
        """
        raise NotImplementedError

    def attention_weights(self, input_ids: Tensor) -> list[Tensor]:
        """How each head of each block looks at a text.

        Args:
            input_ids: (B, T) token ids.

        Returns:
            One (B, n_head, T, T) tensor per block; each row sums to 1.
        """
        raise NotImplementedError

    @torch.no_grad()
    def generate(
        self,
        start_tokens: Tensor | Sequence[int],
        max_length: int = 100,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
    ) -> Tensor:
        """Continue a sequence of tokens, as the lecture does: the whole context for each token.

        ``engine.sampling.generate`` draws the same tokens and computes each one once.

        Args:
            start_tokens: (T,) or (1, T) token ids; at least one.
            max_length: How many tokens to add.
            temperature, top_k, top_p, min_p, repetition_penalty: See ``engine.model.logits.Rules``.
            seed: Same seed, same text; None takes a fresh one.

        Returns:
            (T + max_length,) token ids, the start included.
        """
        tokens = torch.as_tensor(start_tokens).long().view(1, -1)  # (1, T)
        rules = Rules(temperature, top_k, top_p, min_p, repetition_penalty)
        seeds = [secrets.randbits(31) if seed is None else seed]
        draws = Draws(rules, seeds, tokens[0].tolist(), self.vocab_size)
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        for _ in range(max_length):
            seen = tokens[:, -self.config.block_size :].to(device)
            logits = self(seen)[:, -1]  # (1, vocab_size), of the token after the last one
            tokens = torch.cat((tokens, draws.draw(logits)[:, None]), dim=1)
        self.train(was_training)
        return tokens[0]

    def parameter_count(self) -> int:
        """Parameters without the position embeddings, which is how nanoGPT counts."""
        return sum(p.numel() for name, p in self.named_parameters() if "position" not in name)

    def compute_with(self, dtype: torch.dtype, native: bool) -> None:
        """Settle what the numbers are computed in, and by whose kernels.

        Args:
            dtype: Of what flows through.
            native: Use ``engine.kernels``, on a CPU and where it has a kernel, in training and
                evaluation.
        """
        self.compute_dtype = dtype
        for module in self.modules():
            if hasattr(module, "native"):
                setattr(module, "native", native)  # noqa: B010  # modules type their attributes

    def set_dropout(self, config: ModelConfig) -> None:
        """Take over other dropout rates, between two steps."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.p = config.dropout_of(module.kind)
