"""The tokenizer of a run, as a file that Hugging Face's libraries read, too."""

from __future__ import annotations

import json
from pathlib import Path

from data.files import write_atomically
from data.reading import parse_json, read_regular
from data.tokenizers import Tokenizer
from data.tokenizers.kinds import from_standard

TOKENIZER_FILE = "tokenizer.json"
LARGEST_FILE = 1 << 26  # bytes


def write_tokenizer(run: Path, tokenizer: Tokenizer) -> None:
    """Write a run's tokenizer into its folder.

    Raises:
        OSError: It could not be written.
    """
    write_atomically(run / TOKENIZER_FILE, json.dumps(tokenizer.standard()).encode())


def read_tokenizer(run: Path, kind: str, has_documents: bool) -> Tokenizer | None:
    """Read a run's tokenizer; None where its text gives it again, as in runs until 0.9.

    Args:
        kind: The run's setting ``data.tokenizer``.
        has_documents: Whether its documents are kept apart; see ``from_standard``.

    Raises:
        InputError: A package is missing that it needs.
    """
    try:
        saved = parse_json(read_regular(run / TOKENIZER_FILE, LARGEST_FILE))
    except (OSError, ValueError):
        return None
    return from_standard(kind, saved, has_documents) if isinstance(saved, dict) else None
