"""Incremental decoding with a KV cache.

``GPT.forward`` is the reference; ``tests/engine/sampling/test_decoder.py`` checks that both give
the same logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.model.positions import Rotary, rotary
from engine.sampling.frozen import Frozen, FrozenBigram, FrozenGPT, Identity, Part

SMALL_BATCH = 16  # on a CPU, up to this batch size attention is faster in fp32 than in bf16
GROWTH = 64  # memory of the cache grows in multiples of this many tokens

Layer = tuple[Tensor, Tensor]  # keys and values


class GPTDecoder:
    """Continues a batch of B sequences with a GPT: each token is processed once.

    Past the context length, a model with rotary or no positions uses a sliding window: the newest
    token overwrites the oldest in the cache. Learned and sinusoidal positions are absolute within
    the window, so moving it would invalidate every cached key: the decoder is then ``full``.

    Args:
        batch_size: B.
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
        """Whether ``begin`` must be called, with the end of the sequences, before ``step``."""
        return self._cache.full and not self._frozen.rolls

    def begin(self, ids: Tensor) -> Tensor:
        """Process whole sequences from their start (prefill); replaces what was cached.

        Args:
            ids: (B, T), or (1, T) for a start that all share; T at most ``block_size``.

        Returns:
            Logits of the next token: (B, vocab_size), or (1, vocab_size), in fp32.
        """
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
        """Process one more token of each sequence: (B,) -> logits (B, vocab_size) in fp32."""
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
        # scale * q k^T + mask in one kernel
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


class BigramDecoder:
    """Does as ``GPTDecoder`` by looking up the last token; nothing is cached."""

    full = False

    def __init__(self, frozen: FrozenBigram) -> None:
        self._table = frozen.table  # (vocab_size, vocab_size), row i the logits after token i

    def begin(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, vocab_size)."""
        return self._table[ids[:, -1]]

    def step(self, ids: Tensor) -> Tensor:
        """(B,) -> (B, vocab_size)."""
        return self._table[ids]

    def keep(self, rows: Tensor) -> None:
        """Do nothing: there is no cache."""


Decoder = GPTDecoder | BigramDecoder


def decoder_for(frozen: Frozen, batch_size: int, length: int) -> Decoder:
    """Create a decoder for sequences of at most ``length`` tokens, their start included."""
    if isinstance(frozen, FrozenGPT):
        return GPTDecoder(frozen, batch_size, length)
    assert isinstance(frozen, FrozenBigram)
    return BigramDecoder(frozen)


class KVCache:
    """Keys and values of the last tokens, for all layers.

    The order of the slots does not matter, because a single query attends to all of them. Attention
    always runs over the whole buffer, with ``mask`` hiding the empty slots: a slice of it would not
    be contiguous, and so be copied before each product.

    Args:
        shape: (L, B, nkv, hs): layers, sequences, key and value heads, head size.
        capacity: Most tokens it holds; memory is allocated as they come.
        like: A tensor with the device and dtype of the cache.
    """

    def __init__(self, shape: tuple[int, int, int, int], capacity: int, like: Tensor) -> None:
        layers, batch, heads, head_size = shape
        self._capacity = capacity
        self._keys = like.new_zeros(layers, batch, heads, 0, head_size)  # (L, B, nkv, T, hs)
        self._values = like.new_zeros(layers, batch, heads, 0, head_size)  # (L, B, nkv, T, hs)
        self._mask_source = like.new_zeros(0)  # (2 T,) zeros, then -inf; ``mask`` is a view of it
        self.mask = like.new_zeros(0)  # (T,) -inf for empty slots, added to the scores
        self.seen: list[Layer] = []  # per layer: keys (B nkv, hs, T), values (B nkv, T, hs)
        self._count = 0  # tokens added since the cache was last emptied

    @property
    def full(self) -> bool:
        """Whether the next token overwrites the oldest."""
        return self._count >= self._capacity

    def fill(self, count: int) -> list[Layer]:
        """Empty the cache and reserve the first slots.

        Returns:
            The keys and values to write to, (B, nkv, count, hs) each, for each layer.
        """
        self._count = 0
        self._advance(count)
        return _layers(self._keys[..., :count, :], self._values[..., :count, :])

    def add(self) -> list[Layer]:
        """Reserve the slot of one more token.

        Returns:
            The keys and values to write to, (B, nkv, hs) each, for each layer.
        """
        slot = self._count % self._capacity
        self._advance(1)
        return _layers(self._keys.select(-2, slot), self._values.select(-2, slot))

    def keep(self, rows: Tensor) -> None:
        """Continue with only these rows (B',) of the batch."""
        self._store(self._keys.index_select(1, rows), self._values.index_select(1, rows))

    def _advance(self, tokens: int) -> None:
        self._count += tokens
        used = min(self._count, self._capacity)
        if used > self._keys.size(-2):
            self._grow(used)
        allocated = self._keys.size(-2)
        # ``used`` zeros, then -inf, without writing anything
        self.mask = self._mask_source.narrow(0, allocated - used, allocated)

    def _grow(self, needed: int) -> None:
        *outer, allocated, head_size = self._keys.shape
        # by a share of the size, so that copying costs O(1) per token
        size = max(needed, allocated + allocated // 8)
        size = min(-(-size // GROWTH) * GROWTH, self._capacity)
        added = self._keys.new_zeros(*outer, size - allocated, head_size)
        hidden = added.new_full((size,), -torch.inf)
        self._mask_source = torch.cat((torch.zeros_like(hidden), hidden))
        self._store(torch.cat((self._keys, added), -2), torch.cat((self._values, added), -2))

    def _store(self, keys: Tensor, values: Tensor) -> None:
        self._keys, self._values = keys, values
        self.seen = _layers(keys.flatten(1, 2).mT, values.flatten(1, 2))


def _layers(keys: Tensor, values: Tensor) -> list[Layer]:
    return list(zip(keys.unbind(0), values.unbind(0), strict=True))
