"""The base class of all models: the interface that training and sampling rely on."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from engine.config.schema import ModelConfig, SampleConfig
from engine.model.layers import Dropout
from engine.model.logits import Draws

if TYPE_CHECKING:
    from data.tokenizers import Tokenizer


class LanguageModel(nn.Module):
    """Token ids in, logits of the next token out."""

    tokenizer: Tokenizer | None = None  # set by ``engine.load``
    compute_dtype = torch.float32  # of the activations; the weights stay fp32

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size

    def forward(self, input_ids: Tensor) -> Tensor:
        """Compute the logits of the token after each position.

        Args:
            input_ids: (B, T) token ids of any integer type, T at most ``block_size``.

        Returns:
            (B, T, vocab_size), in fp32.
        """
        raise NotImplementedError

    def attention_weights(self, input_ids: Tensor) -> list[Tensor]:
        """Return the attention weights of each block, computed without the fused kernels.

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
        """Continue a sequence of tokens as in the lecture: one forward pass per token, no KV cache.

        ``engine.sampling.generate`` returns the same tokens faster.

        Args:
            start_tokens: (T,) or (1, T) token ids, at least one.
            max_length: Number of tokens to add.
            temperature: Divides the logits; 0 always takes the most likely token.
            top_k: Sample among the k most likely tokens; 0 disables it.
            top_p: Sample among the most likely tokens that together have this probability.
            min_p: Sample among tokens at least this share as likely as the most likely one.
            repetition_penalty: Above 1, tokens already in the sequence become less likely.
            seed: Makes the result reproducible; None picks a random one.

        Returns:
            (T + max_length,) token ids, the start included.
        """
        tokens = torch.as_tensor(start_tokens).long().view(1, -1)  # (1, T)
        settings = SampleConfig(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
        )
        seeds = [secrets.randbits(31) if seed is None else seed]
        draws = Draws(settings, seeds, tokens[0].tolist(), self.vocab_size)
        was_training, device = self.training, next(self.parameters()).device
        self.eval()  # no dropout
        for _ in range(max_length):
            # the model has no positions past block_size, so the context is cropped to it
            context = tokens[:, -self.config.block_size :].to(device)  # (1, T)
            # the lecture computes all T positions, too, and uses the last
            logits = self(context)[:, -1].cpu()  # (1, vocab_size): only the last position predicts
            tokens = torch.cat((tokens, draws.draw(logits)[:, None]), dim=1)  # (1, T + 1)
        self.train(was_training)
        return tokens[0]

    def parameter_count(self) -> int:
        """Count the parameters, position embeddings excluded, as nanoGPT does."""
        return sum(p.numel() for name, p in self.named_parameters() if "position" not in name)

    def compute_with(self, dtype: torch.dtype, native: bool) -> None:
        """Choose the dtype of the activations and the kernels.

        Args:
            dtype: Of the activations; the weights stay fp32.
            native: Use ``engine.kernels`` wherever it has a kernel for the operation.
        """
        self.compute_dtype = dtype
        for module in self.modules():
            if hasattr(module, "native"):
                setattr(module, "native", native)  # noqa: B010  # modules type their attributes

    def set_dropout(self, config: ModelConfig) -> None:
        """Set the dropout rates of ``config``; call it between two steps."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.p = config.dropout_of(module.kind)
