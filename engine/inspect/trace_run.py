"""Trace a text through an untrained or a trained model."""

from __future__ import annotations

from data.errors import InputError
from data.tokenizers import Tokenizer
from engine.config.schema import Config
from engine.inspect.trace import Trace, trace
from engine.machine.memory import LARGEST_SHARE, parameter_estimate
from engine.model import LanguageModel, build_model
from engine.rng import Stream, reseed
from engine.training.memory_probe import available_bytes

WEIGHT_BYTES = 4


def initial_model(config: Config, tokenizer: Tokenizer) -> LanguageModel:
    """Build the model with the initial weights of a run of this configuration.

    Raises:
        InputError: It does not fit into memory.
    """
    needed = WEIGHT_BYTES * parameter_estimate(config.model, tokenizer.vocab_size)
    there = available_bytes()
    if needed > LARGEST_SHARE * there:
        raise InputError(
            f"the weights of this model take {needed / 1e9:,.1f} GB of memory, and "
            f"{there / 1e9:,.1f} GB are available: trace a smaller model, which has the same stages"
        )
    reseed(config.train.seed, Stream.INIT)
    model = build_model(config.model, tokenizer.vocab_size)
    model.tokenizer = tokenizer
    return model


def trace_text(model: LanguageModel, text: str) -> Trace:
    """Trace a text through a model that has a tokenizer.

    Raises:
        InputError: The text is empty, longer than the context, or has unknown characters.
    """
    tokenizer = model.tokenizer
    assert tokenizer is not None
    tokens = tokenizer.encode(text).tolist()
    if not tokens:
        raise InputError("there is no text to trace: give at least one character")
    longest = model.config.block_size
    if len(tokens) > longest:
        raise InputError(
            f"the text is {len(tokens)} tokens long, and the model's context is {longest}: "
            f"shorten the text, or raise model.block_size"
        )
    return trace(model, tokens)
