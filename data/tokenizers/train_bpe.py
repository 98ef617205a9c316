"""Learn byte-level BPE from a text, in a process of its own, which can be ended at any moment."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from data.download import POLL_SECONDS, Watcher
from data.errors import Cancelled, InputError
from data.tokenizers import bpe_trainer
from data.tokenizers.base import END_OF_TEXT
from data.tokenizers.byte_level import BYTES, letters_of_bytes
from data.tokenizers.hugging_face import (
    BATCH_CHARACTERS,
    HuggingFaceTokenizer,
    cut_text,
    tokenizers_package,
)

TRAINING_CHARACTERS = 1 << 26  # of a larger text BPE learns from about so many


def train_bpe(
    pieces: Iterable[str],
    characters: int,
    vocab_size: int,
    name: str,
    watcher: Watcher,
    has_end_of_text: bool = False,
) -> HuggingFaceTokenizer:
    """Learn byte-level BPE from a text: the same text gives the same tokenizer.

    Args:
        pieces: The text; of a long one, `TRAINING_CHARACTERS` from all over are learned from.
        characters: Its length.
        vocab_size: Of which 256 are the bytes. A short text gives fewer.
        name: Of the text, for the reports.
        has_end_of_text: Whether the last token stands after each document.

    Raises:
        InputError: The package is missing, or there is not memory enough.
        Cancelled: `watcher.cancelled` returned true.
    """
    package = tokenizers_package()
    every = -(-characters // TRAINING_CHARACTERS)
    sample = (piece for number, piece in enumerate(pieces) if number % every == 0)
    learning = f"learning {vocab_size:,} tokens from {name}"
    watcher.report(learning)
    wanted = {
        "vocab_size": max(BYTES, vocab_size - has_end_of_text),
        "alphabet": [letters_of_bytes()[byte] for byte in range(BYTES)],
    }
    with _Trainer() as trainer:
        trainer.send(json.dumps(wanted))
        for part in cut_text(_unless_cancelled(sample, watcher), BATCH_CHARACTERS):
            trainer.send(part)
        watcher.report(learning)  # in the place of what was said of the reading
        made = package.Tokenizer.from_str(trainer.result(watcher))
    if has_end_of_text:  # after the others, as in GPT-2: the ids of bytes stay
        made.add_special_tokens([END_OF_TEXT])
    return HuggingFaceTokenizer("bpe", json.loads(made.to_str()), has_end_of_text)


class _Trainer:
    """The process, which ends with the block that it was made for."""

    def __enter__(self) -> _Trainer:
        self._output, self._complaints = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            # -P: the folder of that file is not one to import from
            [sys.executable, "-P", str(Path(bpe_trainer.__file__))],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._complaints,  # not the terminal, where the app may be running
            start_new_session=True,  # ctrl-c is for this process
        )
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()  # does nothing to a process that has ended
        self._process.wait()
        with suppress(OSError):
            self._stdin.close()
        self._output.close()
        self._complaints.close()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin
        return self._process.stdin

    def send(self, part: str) -> None:
        """Send a part; an empty one is the end."""
        body = part.encode("utf-8", "replace")
        try:
            self._stdin.write(bpe_trainer.LENGTH.pack(len(body)) + body)
        except OSError:
            raise self._failure() from None

    def result(self, watcher: Watcher) -> str:
        """Return what was learned from the parts."""
        self.send("")
        try:
            self._stdin.flush()
        except OSError:
            raise self._failure() from None
        while self._process.poll() is None:
            if watcher.cancelled():
                raise Cancelled
            time.sleep(POLL_SECONDS)
        if self._process.returncode:
            raise self._failure()
        self._output.seek(0)
        return self._output.read().decode()

    def _failure(self) -> InputError:
        code = self._process.wait()
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", "replace").split("\n")
        said = next((one.strip() for one in reversed(lines) if one.strip()), "")
        why = f"signal {-code}, as where memory is short" if code < 0 else said or f"status {code}"
        return InputError(
            f"BPE could not be learned ({why}): try again, with a smaller data.vocab_size, or with "
            "data.tokenizer bytes"
        )


def _unless_cancelled(pieces: Iterable[str], watcher: Watcher) -> Iterator[str]:
    for piece in pieces:
        if watcher.cancelled():
            raise Cancelled
        yield piece
