"""The GPT, made of the few components of the lecture."""

from engine.model.gpt import GPT

__all__ = ["GPT"]
