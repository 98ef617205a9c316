"""A program of its own that learns byte-level BPE, so that it can be ended at any moment.

It is run as a file, and imports nothing of ours. Standard input has frames, each after its length
in four bytes: first what to learn, as JSON, then the parts of the text, then an empty one. Standard
output has the ``tokenizer.json``. It ends with standard input, as when the other end was killed.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from collections.abc import Iterator

LENGTH = struct.Struct("<I")


def main() -> None:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    frames = _frames()
    wanted = json.loads(next(frames))
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=wanted["vocab_size"],
        initial_alphabet=wanted["alphabet"],
        show_progress=False,
        special_tokens=[],
    )
    made.train_from_iterator((one.decode() for one in frames), trainer)
    sys.stdout.buffer.write(made.to_str().encode())
    sys.stdout.buffer.flush()
    os._exit(0)  # not waiting for the thread below


def _frames() -> Iterator[bytes]:
    while length := LENGTH.unpack(_read(LENGTH.size))[0]:
        yield _read(length)
    threading.Thread(target=_read, args=(1,), daemon=True).start()  # nothing more comes but the end


def _read(count: int) -> bytes:
    """Read so many bytes; end with the other end, where an error would have training go on."""
    body = sys.stdin.buffer.read(count)
    if len(body) < count:
        os._exit(1)
    return body


if __name__ == "__main__":
    main()
