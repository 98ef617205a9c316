"""The bigram model, the lecture's starting point: a table of which token follows which."""

from __future__ import annotations

from torch import Tensor, nn

from engine.config.schema import GPT2_STD, ModelConfig
from engine.model.language_model import LanguageModel


class Bigram(LanguageModel):
    """Predicts the next token from the current one alone: row i holds the logits after token i."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__(config, vocab_size)
        # as wide as the vocabulary: the embedding of a token is already its logits
        self.token_embedding = nn.Embedding(vocab_size, vocab_size)
        if config.init == "gpt2":
            nn.init.normal_(self.token_embedding.weight, std=GPT2_STD)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, vocab_size)."""
        logits: Tensor = self.token_embedding(input_ids.long())
        return logits

    def attention_weights(self, input_ids: Tensor) -> list[Tensor]:
        """Return an empty list: a bigram has no attention."""
        return []
