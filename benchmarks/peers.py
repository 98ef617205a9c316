"""The programs that benchmarks run beside this one: nanoGPT as it is, and transformers' GPT-2.

Here is how they are asked for and what they are given to train on.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import programs
from data.batches import Split, check_long_enough, split_tokens
from data.corpora.corpus import Corpus
from data.corpora.load import load_corpus
from data.download import Watcher
from data.errors import InputError
from data.prepared.prepare import tokens_of
from data.tokenizers import CharTokenizer
from engine.config.schema import Config, ModelConfig

NANOGPT, COMPILED, HF = "nanogpt", "nanogpt-compiled", "hf"
IN_WORDS = {NANOGPT: "nanoGPT", COMPILED: "nanoGPT compiled", HF: "transformers"}


@dataclass(frozen=True)
class Peer:
    """Another program that trains the same: ``name`` is one of ``IN_WORDS``."""

    name: str
    folder: Path | None = None  # nanoGPT's checkout

    @property
    def described(self) -> str:
        """As tables call it."""
        return IN_WORDS[self.name]


# -- asking for one ------------------------------------------------------------------------------


def parse_peers(asked: Iterable[str]) -> list[Peer]:
    """The peers that several ``--peer`` name, in their order.

    Raises:
        InputError: All that is wrong with them, at once.
    """
    peers, problems = [], []
    for one in asked:
        try:
            peers.append(parse_peer(one))
        except InputError as error:
            problems += error.problems
    names = [peer.name for peer in peers]
    problems += [f"--peer {n} is named twice" for n in IN_WORDS if names.count(n) > 1]
    if problems:
        raise InputError(*problems)
    return peers


def parse_peer(asked: str, names: Sequence[str] = tuple(IN_WORDS)) -> Peer:
    """The peer that ``nanogpt=PATH``, ``nanogpt-compiled=PATH`` or ``hf`` names.

    Raises:
        InputError: There is none of that name, or it is not here.
    """
    name, equals, path = asked.partition("=")
    if name not in names or bool(equals) != (name != HF):
        forms = " or ".join(form if form == HF else f"{form}=PATH" for form in names)
        raise InputError(f"--peer takes {forms}, not {asked!r}")
    if name != HF:
        return Peer(name, nanogpt_folder(path))
    if importlib.util.find_spec("transformers") is None:
        raise InputError(
            "--peer hf trains transformers' GPT-2, and that package is not installed: "
            "pip install transformers, or leave this peer out"
        )
    return Peer(HF)


def nanogpt_folder(path: str) -> Path:
    """The checkout at a path.

    Raises:
        InputError: There is none.
    """
    folder = Path(path).expanduser().absolute()
    if not all((folder / file).is_file() for file in ("train.py", "model.py", "configurator.py")):
        raise InputError(
            f"{folder} is no checkout of nanoGPT (there is no train.py with its model.py): "
            f"git clone https://github.com/karpathy/nanoGPT, and give that folder"
        )
    return folder


def gpt2_shape(model: ModelConfig) -> ModelConfig:
    """The GPT-2 of the same width, depth, heads, context and dropout: what a peer can train.

    Raises:
        InputError: There is no such GPT-2.
    """
    problems = []
    if model.architecture != "gpt":
        problems.append(
            f"a peer is a GPT-2, and model.architecture is {model.architecture}: choose gpt"
        )
    if any(model.dropout_of(kind) != model.dropout for kind in ("embd", "attn", "resid")):
        problems.append("a peer drops everything at one rate: set model.dropout alone")
    if problems:
        raise InputError(*(f"{one}; otherwise leave --peer out" for one in problems))
    return ModelConfig(
        n_layer=model.n_layer,
        n_head=model.n_head,
        n_embd=model.n_embd,
        block_size=model.block_size,
        dropout=model.dropout,
        bias=model.bias,
    )


# -- what it trains on ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """What both sides learn from."""

    corpus: Corpus
    tokenizer: CharTokenizer
    split: Split


def load_text(config: Config) -> Text:
    """The text of a configuration, cut as the engine cuts it.

    Raises:
        InputError: It is not there, or too short.
    """
    watcher = Watcher(programs.note)
    corpus = load_corpus(config.data.corpus, watcher=watcher)
    tokenizer = CharTokenizer.train(corpus.pieces())
    split = split_tokens(tokens_of(corpus, tokenizer, watcher).tokens, config.data.val_share)
    check_long_enough(split, config.model.block_size)
    return Text(corpus, tokenizer, split)


def write_nanogpt_data(folder: Path, text: Text) -> None:
    """Write a text as nanoGPT's ``train.py`` wants its data folder."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    text.split.train.astype(np.uint16).tofile(folder / "train.bin")
    text.split.val.astype(np.uint16).tofile(folder / "val.bin")
    characters = [text.tokenizer.decode([token]) for token in range(text.tokenizer.vocab_size)]
    meta = {
        "vocab_size": text.tokenizer.vocab_size,
        "itos": dict(enumerate(characters)),
        "stoi": {character: number for number, character in enumerate(characters)},
    }
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))  # the format is nanoGPT's


def peer_precision(device: str) -> str:
    """What nanoGPT casts to on a device as shipped, and what transformers is given, too."""
    if device != "cuda":
        return "fp32"
    import torch

    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
