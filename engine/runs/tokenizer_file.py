"""The tokenizer of a run, as a file that Hugging Face's libraries read, too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from data.errors import InputError
from data.files import write_atomically
from data.reading import parse_json, read_regular
from data.tokenizers import Tokenizer
from data.tokenizers.hugging_face import PackageMissing
from data.tokenizers.kinds import from_standard, load_tokenizer
from engine.runs.checkpoint_names import STATE_FILE, list_snapshots

TOKENIZER_FILE = "tokenizer.json"
LARGEST_FILE = 1 << 26  # bytes


def write_tokenizer(run: Path, tokenizer: Tokenizer) -> None:
    """Write a run's tokenizer into its folder.

    Raises:
        OSError: It could not be written.
    """
    write_atomically(run / TOKENIZER_FILE, json.dumps(tokenizer.standard()).encode())


def read_tokenizer(run: Path, kind: str, has_documents: bool) -> Tokenizer | None:
    """Read a run's tokenizer: from its file, or where that is damaged, from a checkpoint.

    A file that is none of its checkpoints' is damaged, too, though it may be a tokenizer.

    Args:
        kind: The run's setting ``data.tokenizer``.
        has_documents: Whether its documents are kept apart; see ``from_standard``.

    Returns:
        None where its text gives it again, as in runs until 0.9.

    Raises:
        PackageMissing: A package is missing that it needs.
    """
    found, kept = _in_file(run, kind, has_documents), _in_checkpoints(run)
    latest = next(kept, None)
    if found is None or latest is None:
        return found or latest
    return found if _is_one_of(found, chain((latest,), kept)) else latest


def mend_tokenizer(run: Path, tokenizer: Tokenizer, kind: str, has_documents: bool) -> bool:
    """Write the file again where it is damaged; return whether it was.

    Raises:
        OSError: It could not be written.
    """
    found = _in_file(run, kind, has_documents)
    if not (run / TOKENIZER_FILE).exists() or (found and _is_one_of(found, [tokenizer])):
        return False
    write_tokenizer(run, tokenizer)
    return True


def _in_file(run: Path, kind: str, has_documents: bool) -> Tokenizer | None:
    try:
        saved = parse_json(read_regular(run / TOKENIZER_FILE, LARGEST_FILE))
        found = from_standard(kind, saved, has_documents) if isinstance(saved, dict) else None
        return found if found and found.vocab_size else None  # raises if there is none
    except PackageMissing:
        raise
    except (OSError, ValueError, InputError):
        return None


def _is_one_of(found: Tokenizer, others: Iterable[Tokenizer]) -> bool:
    return any(found.standard() == one.standard() for one in others)


def tokenizer_in_checkpoints(run: Path) -> Tokenizer | None:
    """Return the tokenizer of the latest checkpoint that has one; None if none has.

    Raises:
        PackageMissing: A package is missing that it needs.
    """
    return next(_in_checkpoints(run), None)


def _in_checkpoints(run: Path) -> Iterator[Tokenizer]:
    """Yield the tokenizers of all checkpoints that have one, which are equal; the latest first."""
    for path in reversed(list_snapshots(run)):
        try:
            state = parse_json(read_regular(path / STATE_FILE, LARGEST_FILE))
            found = load_tokenizer(state["tokenizer"])
        except PackageMissing:
            raise
        except (OSError, ValueError, LookupError, TypeError, InputError):
            continue  # damaged, too, or of a version that had none
        yield found
