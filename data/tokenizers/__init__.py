"""Tokenizers: text to token ids and back. A run keeps its own, as a standard ``tokenizer.json``.

NumPy is imported where it is first needed, so that the app can start without it.
"""

from data.tokenizers.base import Tokenizer, TokenStream, without_token
from data.tokenizers.byte_level import ByteTokenizer
from data.tokenizers.char import CharTokenizer
from data.tokenizers.kinds import KINDS, load_tokenizer, make_tokenizer

__all__ = [
    "KINDS",
    "ByteTokenizer",
    "CharTokenizer",
    "TokenStream",
    "Tokenizer",
    "load_tokenizer",
    "make_tokenizer",
    "without_token",
]
