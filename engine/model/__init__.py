"""The models, built from the components of the lecture."""

from engine.config.schema import ModelConfig
from engine.model.bigram import Bigram
from engine.model.gpt import GPT
from engine.model.language_model import LanguageModel

__all__ = ["GPT", "Bigram", "LanguageModel", "build_model"]


def build_model(config: ModelConfig, vocab_size: int) -> LanguageModel:
    """Build the model that ``config`` describes, with its initial weights."""
    if config.architecture == "bigram":
        return Bigram(config, vocab_size)
    return GPT(config, vocab_size)
