"""The fast way to write text: one new token for each text, all before it remembered.

``GPT.forward`` is the plain reference; ``tests/engine/sampling/test_decoder.py`` holds this to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.model.bigram import Bigram
from engine.model.gpt import GPT
from engine.model.language_model import LanguageModel
from engine.model.positions import Rotary, rotary
from engine.sampling.frozen import Identity, Part
from engine.sampling.frozen_gpt import FrozenGPT
from engine.sampling.kv_cache import Layer, Ring

FEW = 16  # texts: on a CPU, up to so many, attention is faster in fp32 than in bf16


class Decoder(Protocol):
    """Continues B texts side by side, with the weights of a frozen model."""

    @property
    def full(self) -> bool:
        """Whether the texts must begin anew, with a part of themselves, before they go on."""

    def begin(self, ids: Tensor) -> Tensor:
        """Read texts from their start, and forget what was before.

        Args:
            ids: (B, T), or (1, T) for a start that all have in common; T at most ``block_size``.

        Returns:
            Logits of the next token: (B, vocab_size), or (1, vocab_size), in fp32.
        """

    def step(self, ids: Tensor) -> Tensor:
        """Read one more token of each text: (B,) -> logits (B, vocab_size) in fp32."""

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the texts alone: (B',) their numbers."""


class Frozen(Protocol):
    """An exact copy of a model's weights, ready to write with."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""

    @property
    def weights(self) -> int:
        """How many there are."""

    @property
    def block_size(self) -> int:
        """Tokens it sees at once."""

    @property
    def vocab_size(self) -> int:
        """Number of distinct tokens."""

    def cache_bytes(self, length: int) -> int:
        """Memory that a text of so many tokens takes while it is written."""

    def decoder(self, batch_size: int, length: int) -> Decoder:
        """For so many texts that, with their start, have no more tokens than this."""


def freeze(model: LanguageModel) -> Frozen:
    """Copy the weights of this moment, in the dtype that the model computes in.

    Raises:
        TypeError: The model is of a kind that is not known here.
    """
    if isinstance(model, GPT):
        return _GPT(model)
    if isinstance(model, Bigram):
        return _Bigram(model)
    raise TypeError(f"no way is known to write with a {type(model).__name__}")


class _GPT(FrozenGPT):
    def cache_bytes(self, length: int) -> int:
        config = self.config
        numbers = 2 * config.n_layer * config.kv_heads * config.head_size
        return numbers * min(length, config.block_size) * self.dtype.itemsize

    def decoder(self, batch_size: int, length: int) -> GPTDecoder:
        return GPTDecoder(self, batch_size, length)


class GPTDecoder:
    """Continues texts with a GPT; while it is in the context, every token is computed once.

    Past the context, rotary positions (and none) roll: the newest token takes the place of the
    oldest. Learned and sinusoidal positions say where in the window a token stands, so that a
    window which moves on makes every key wrong: the texts must begin anew (``full``).

    Args:
        frozen: The weights.
        batch_size: B, texts side by side.
        length: Tokens of the longest of them, its start included.
    """

    def __init__(self, frozen: FrozenGPT, batch_size: int, length: int) -> None:
        config, self._frozen = frozen.config, frozen
        self._heads = (config.n_head, config.kv_heads, config.kv_heads)  # of q, k and v
        self._head_size, self._width = config.head_size, config.n_embd
        self._sharing = config.n_head // config.kv_heads  # query heads to a key head
        self._scale = config.head_size**-0.5
        few = batch_size <= FEW and frozen.device.type == "cpu"
        self._dtype = torch.float32 if few else frozen.dtype  # of attention
        self._casts = self._dtype != frozen.dtype
        self._capacity = min(length, config.block_size)
        shape = (config.n_layer, batch_size, config.kv_heads, config.head_size)
        like = torch.empty(0, dtype=self._dtype, device=frozen.device)
        self._ring = Ring(shape, self._capacity, like)
        self._position = 0  # of the next token
        self._reach = config.n_gram - 1  # tokens before its own that an embedding sums
        self._before = like  # (B, 1, reach) ids before the next token, the last one first
        self._rope: Rotary | None = None  # (capacity, 1, hs) each, for positions from
        self._rope_start = 0

    @property
    def full(self) -> bool:
        """Whether the texts must begin anew."""
        return self._ring.full and not self._frozen.rolls

    def begin(self, ids: Tensor) -> Tensor:
        """(B, T) or (1, T) -> logits (B, vocab_size) or (1, vocab_size)."""
        B, T = ids.shape
        padded = F.pad(ids, (self._reach, 0), value=self._frozen.vocab_size)
        grams = padded.unfold(1, self._reach + 1, 1).flip(-1)  # (B, T, n_gram)
        x = self._frozen.embed(grams, 0)  # (B T, C)
        rope = self._rope_of(0, T)
        for block, room in zip(self._frozen.blocks, self._ring.fill(T), strict=True):
            x = block(x, partial(self._prefill, B, block.qk_norm, rope, room))
        self._before = grams[:, -1:, :-1]
        self._position = T
        return self._frozen.logits(x.view(B, T, -1)[:, -1])

    def step(self, ids: Tensor) -> Tensor:
        """(B,) -> logits (B, vocab_size)."""
        grams = ids[:, None, None]  # (B, 1, n_gram)
        if self._reach:
            grams = torch.cat((grams, self._before.expand(len(ids), 1, -1)), -1)
            self._before = grams[..., :-1]
        x = self._frozen.embed(grams, self._position)  # (B, C)
        rope = self._rope_of(self._position, 1)
        room = self._ring.add()
        for block, slot, seen in zip(self._frozen.blocks, room, self._ring.seen, strict=True):
            x = block(x, partial(self._decode, block.qk_norm, rope, slot, seen))
        self._position += 1
        return self._frozen.logits(x)

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the texts alone: (B',) their numbers."""
        self._ring.keep(rows)
        if len(self._before) > 1:
            self._before = self._before[rows]

    def _prefill(
        self, B: int, qk_norm: Part, rope: Rotary | None, room: Layer, qkv: Tensor
    ) -> Tensor:
        """Attention of whole texts: (B T, C + 2 nkv hs) -> (B T, C)."""
        heads = qkv.view(B, -1, sum(self._heads), self._head_size)
        parts = self._finish(heads, qk_norm, rope)
        q, k, v = (part.transpose(1, 2) for part in parts)  # (B, nh or nkv, T, hs)
        keys, values = room
        keys.copy_(k)
        values.copy_(v)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return y.transpose(1, 2).reshape(-1, self._width).to(qkv.dtype)

    def _decode(
        self, qk_norm: Part, rope: Rotary | None, slot: Layer, seen: Layer, qkv: Tensor
    ) -> Tensor:
        """Attention of the newest tokens: (B, C + 2 nkv hs) -> (B, C)."""
        heads = qkv.view(-1, sum(self._heads), self._head_size)
        q, k, v = self._finish(heads, qk_norm, rope)  # (B, nh or nkv, hs)
        slot[0].copy_(k)
        slot[1].copy_(v)
        keys, values = seen  # (B nkv, hs, T) and (B nkv, T, hs)
        # the heads that share keys and values are rows of one product
        q = q.reshape(-1, self._sharing, self._head_size)  # (B nkv, nh / nkv, hs)
        scores = torch.baddbmm(self._ring.mask, q, keys, alpha=self._scale)
        y = torch.bmm(scores.softmax(-1), values).view(-1, self._width)
        return y.to(qkv.dtype) if self._casts else y

    def _finish(self, heads: Tensor, qk_norm: Part, rope: Rotary | None) -> Sequence[Tensor]:
        """Norm, turn and part all heads (..., nh + 2 nkv, hs) into queries, keys and values."""
        nh, nkv, _ = self._heads
        if self._casts:
            heads = heads.to(self._dtype)
        if rope is None and isinstance(qk_norm, Identity):
            return torch.split_with_sizes(heads, self._heads, -2)
        qk, v = torch.split_with_sizes(heads, (nh + nkv, nkv), -2)
        qk = qk_norm(qk)
        if rope is not None:
            cos, sin = rope
            qk = torch.addcmul(qk * cos, qk.roll(self._head_size // 2, -1), sin)
        return [*torch.split_with_sizes(qk, (nh, nkv), -2), v]

    def _rope_of(self, start: int, count: int) -> Rotary | None:
        """Turns of some positions, (count, 1, hs) each; see ``rotate`` for what they do."""
        config = self._frozen.config
        if config.position != "rotary":
            return None
        if self._rope is None or not 0 <= start - self._rope_start <= self._capacity - count:
            positions = torch.arange(start, start + self._capacity, device=self._frozen.device)
            cos, sin = rotary(positions, config.head_size, self._dtype, config.rope_theta)
            self._rope = torch.cat((cos, cos), -1)[:, None], torch.cat((-sin, sin), -1)[:, None]
            self._rope_start = start
        first = start - self._rope_start
        cos, sin = (part[first : first + count] for part in self._rope)
        return cos, sin


class _Bigram:
    """The table of a bigram model, frozen."""

    def __init__(self, model: Bigram) -> None:
        self.table = model.token_embedding.weight.detach().clone()  # (vocab_size, vocab_size)
        self.device, self.dtype = self.table.device, self.table.dtype
        self.weights = self.table.numel()
        self.block_size, self.vocab_size = model.config.block_size, model.vocab_size

    def cache_bytes(self, length: int) -> int:
        return 0

    def decoder(self, batch_size: int, length: int) -> BigramDecoder:
        return BigramDecoder(self.table)


class BigramDecoder:
    """Looks up what follows; there is nothing to remember.

    Args:
        table: (vocab_size, vocab_size), row i the logits after token i.
    """

    full = False

    def __init__(self, table: Tensor) -> None:
        self._table = table

    def begin(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, vocab_size)."""
        return self._table[ids[:, -1]]

    def step(self, ids: Tensor) -> Tensor:
        """(B,) -> (B, vocab_size)."""
        return self._table[ids]

    def keep(self, rows: Tensor) -> None:
        """Nothing to forget."""
