"""Incremental decoding with a KV cache.

``GPT.forward`` is the reference; ``tests/engine/sampling/test_decoder.py`` checks that both give
the same logits.
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
from engine.sampling.kv_cache import KVCache, Layer

SMALL_BATCH = 16  # on a CPU, up to this batch size attention is faster in fp32 than in bf16


class Decoder(Protocol):
    """Continues a batch of B sequences, one token of each per step."""

    @property
    def full(self) -> bool:
        """Whether ``begin`` must be called, with the end of the sequences, before ``step``."""

    def begin(self, ids: Tensor) -> Tensor:
        """Process whole sequences from their start (prefill); replaces what was cached.

        Args:
            ids: (B, T), or (1, T) for a start that all share; T at most ``block_size``.

        Returns:
            Logits of the next token: (B, vocab_size), or (1, vocab_size), in fp32.
        """

    def step(self, ids: Tensor) -> Tensor:
        """Process one more token of each sequence: (B,) -> logits (B, vocab_size) in fp32."""

    def keep(self, rows: Tensor) -> None:
        """Continue with only these rows (B',) of the batch."""


class Frozen(Protocol):
    """A copy of a model's weights, laid out for decoding."""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""

    @property
    def weights(self) -> int:
        """Number of weights."""

    @property
    def block_size(self) -> int:
        """Context length in tokens."""

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary."""

    def cache_bytes(self, length: int) -> int:
        """Return the size of the KV cache of one sequence of ``length`` tokens."""

    def decoder(self, batch_size: int, length: int) -> Decoder:
        """Create a decoder for sequences of at most ``length`` tokens, their start included."""


def freeze(model: LanguageModel) -> Frozen:
    """Copy the current weights, so that training can go on while text is generated.

    Raises:
        TypeError: There is no decoder for this class of model.
    """
    if isinstance(model, GPT):
        return _GPT(model)
    if isinstance(model, Bigram):
        return _Bigram(model)
    raise TypeError(f"there is no decoder for a {type(model).__name__}")


class _GPT(FrozenGPT):
    def cache_bytes(self, length: int) -> int:
        config = self.config
        numbers = 2 * config.n_layer * config.kv_heads * config.head_size
        return numbers * min(length, config.block_size) * self.dtype.itemsize

    def decoder(self, batch_size: int, length: int) -> GPTDecoder:
        return GPTDecoder(self, batch_size, length)


class GPTDecoder:
    """Decodes with a GPT and a KV cache: each token is processed once.

    Past the context length, a model with rotary or no positions uses a sliding window: the newest
    token overwrites the oldest in the cache. Learned and sinusoidal positions are absolute within
    the window, so moving it would invalidate every cached key: the decoder is then ``full``.

    Args:
        frozen: The weights.
        batch_size: B, the number of sequences.
        length: Most tokens of a sequence, its start included.
    """

    def __init__(self, frozen: FrozenGPT, batch_size: int, length: int) -> None:
        config, self._frozen = frozen.config, frozen
        self._heads = (config.n_head, config.kv_heads, config.kv_heads)  # of q, k and v
        self._head_size, self._width = config.head_size, config.n_embd
        self._group_size = config.n_head // config.kv_heads  # query heads per key and value head
        self._scale = config.head_size**-0.5
        small = batch_size <= SMALL_BATCH and frozen.device.type == "cpu"
        self._dtype = torch.float32 if small else frozen.dtype  # of attention
        self._casts = self._dtype != frozen.dtype
        self._capacity = min(length, config.block_size)
        shape = (config.n_layer, batch_size, config.kv_heads, config.head_size)
        like = torch.empty(0, dtype=self._dtype, device=frozen.device)
        self._cache = KVCache(shape, self._capacity, like)
        self._position = 0  # of the next token
        self._reach = config.n_gram - 1  # preceding tokens that an embedding sums
        self._before = like  # (B, 1, reach) ids before the next token, the latest first
        self._rope: Rotary | None = None  # (capacity, 1, hs) each, for positions …
        self._rope_start = 0  # … from this one on

    @property
    def full(self) -> bool:
        """Whether the window would have to move, and cannot."""
        return self._cache.full and not self._frozen.rolls

    def begin(self, ids: Tensor) -> Tensor:
        """(B, T) or (1, T) -> logits (B, vocab_size) or (1, vocab_size)."""
        B, T = ids.shape
        padded = F.pad(ids, (self._reach, 0), value=self._frozen.vocab_size)
        grams = padded.unfold(1, self._reach + 1, 1).flip(-1)  # (B, T, n_gram)
        x = self._frozen.embed(grams, 0)  # (B T, C)
        rope = self._rope_of(0, T)
        for block, slots in zip(self._frozen.blocks, self._cache.fill(T), strict=True):
            x = block(x, partial(self._prefill, B, block.qk_norm, rope, slots))  # (B T, C)
        self._before = grams[:, -1:, :-1]
        self._position = T
        return self._frozen.logits(x.view(B, T, -1)[:, -1])  # only the last position predicts

    def step(self, ids: Tensor) -> Tensor:
        """(B,) -> logits (B, vocab_size)."""
        grams = ids[:, None, None]  # (B, 1, n_gram)
        if self._reach:
            grams = torch.cat((grams, self._before.expand(len(ids), 1, -1)), -1)
            self._before = grams[..., :-1]
        x = self._frozen.embed(grams, self._position)  # (B, C)
        rope = self._rope_of(self._position, 1)
        slots = self._cache.add()
        for block, slot, seen in zip(self._frozen.blocks, slots, self._cache.seen, strict=True):
            x = block(x, partial(self._decode, block.qk_norm, rope, slot, seen))  # (B, C)
        self._position += 1
        return self._frozen.logits(x)

    def keep(self, rows: Tensor) -> None:
        """Continue with only these rows (B',) of the batch."""
        self._cache.keep(rows)
        if len(self._before) > 1:  # else one row that all sequences still share
            self._before = self._before[rows]

    def _prefill(
        self, B: int, qk_norm: Part, rope: Rotary | None, slots: Layer, qkv: Tensor
    ) -> Tensor:
        """Compute the attention of whole sequences: (B T, C + 2 nkv hs) -> (B T, C)."""
        heads = qkv.view(B, -1, sum(self._heads), self._head_size)  # (B, T, nh + 2 nkv, hs)
        parts = self._finish(heads, qk_norm, rope)
        q, k, v = (part.transpose(1, 2) for part in parts)  # (B, nh or nkv, T, hs)
        keys, values = slots
        keys.copy_(k)
        values.copy_(v)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return y.transpose(1, 2).reshape(-1, self._width).to(qkv.dtype)

    def _decode(
        self, qk_norm: Part, rope: Rotary | None, slot: Layer, seen: Layer, qkv: Tensor
    ) -> Tensor:
        """Compute the attention of the newest tokens: (B, C + 2 nkv hs) -> (B, C)."""
        heads = qkv.view(-1, sum(self._heads), self._head_size)  # (B, nh + 2 nkv, hs)
        q, k, v = self._finish(heads, qk_norm, rope)  # (B, nh or nkv, hs)
        slot[0].copy_(k)
        slot[1].copy_(v)
        keys, values = seen  # (B nkv, hs, T) and (B nkv, T, hs)
        # query heads that share keys and values become rows of one matrix
        q = q.reshape(-1, self._group_size, self._head_size)  # (B nkv, nh / nkv, hs)
        # no causal mask: a single query may attend to everything in the cache
        scores = torch.baddbmm(self._cache.mask, q, keys, alpha=self._scale)  # (B nkv, nh/nkv, T)
        y = torch.bmm(scores.softmax(-1), values).view(-1, self._width)
        return y.to(qkv.dtype) if self._casts else y

    def _finish(self, heads: Tensor, qk_norm: Part, rope: Rotary | None) -> Sequence[Tensor]:
        """Normalise, rotate and split heads (..., nh + 2 nkv, hs) into queries, keys and values."""
        nh, nkv, _ = self._heads
        if self._casts:
            heads = heads.to(self._dtype)
        if rope is None and isinstance(qk_norm, Identity):
            return torch.split_with_sizes(heads, self._heads, -2)
        qk, v = torch.split_with_sizes(heads, (nh + nkv, nkv), -2)
        qk = qk_norm(qk)
        if rope is not None:
            cos, sin = rope
            # as ``rotate``: the sign of the first half is in the table of sines
            qk = torch.addcmul(qk * cos, qk.roll(self._head_size // 2, -1), sin)
        return [*torch.split_with_sizes(qk, (nh, nkv), -2), v]

    def _rope_of(self, start: int, count: int) -> Rotary | None:
        """Return cos and sin of ``count`` positions, (count, 1, hs) each; see ``rotate``."""
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
    """A copy of a bigram model's table."""

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
    """Looks up the logits of the next token; nothing is cached.

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
        """Do nothing: there is no cache."""
