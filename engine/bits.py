"""Losses that compare whatever the tokens are: bits per byte of the text in UTF-8."""

from __future__ import annotations

import math

BYTES_PER_TOKEN = "bytes_per_token"  # of the validation text, among the references of a run


def bits_per_byte(loss: float, bytes_per_token: float) -> float:
    """Return a loss in nats per token as bits per byte."""
    return loss / (math.log(2.0) * bytes_per_token)
