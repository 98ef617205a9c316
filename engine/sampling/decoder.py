"""Incremental decoding with a KV cache.

``GPT.forward`` is the reference; ``tests/engine/sampling/test_decoder.py`` checks that both give
the same logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.machine.cuda_graph import Capture, Replays, capture_beside
from engine.model.positions import Rotary, rotary
from engine.sampling.frozen import Frozen, FrozenBigram, FrozenGPT, Identity, Part
from engine.sampling.kv_cache import KVCache, Layer

SMALL_BATCH = 16  # on a CPU, up to this batch size attention is faster in fp32 than in bf16


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
        x = self._frozen.embed(grams, slice(T))  # (B T, C)
        rope = self._rope_of(0, T)
        for block, slots in zip(self._frozen.blocks, self._cache.fill(T), strict=True):
            x = block(x, partial(self._prefill, B, block.qk_norm, rope, slots))  # (B T, C)
        self._before = grams[:, -1:, :-1]
        self._position = T
        return self._frozen.logits(x.view(B, T, -1)[:, -1])  # only the last position predicts

    def step(self, ids: Tensor) -> Tensor:
        """Process one more token of each sequence: (B,) -> logits (B, vocab_size) in fp32."""
        grams = self._grams(ids)
        self._before = grams[..., :-1]
        place = slice(self._position, self._position + 1)
        rope = self._rope_of(self._position, 1)
        slots = self._cache.add()
        self._position += 1
        return self._read(grams, place, rope, slots, self._cache.mask)

    def keep(self, rows: Tensor) -> None:
        """Continue with only these rows (B',) of the batch."""
        self._cache.keep(rows)
        if len(self._before) > 1:  # else one row that all sequences still share
            self._before = self._before[rows]

    def _grams(self, ids: Tensor) -> Tensor:
        """Return the newest ids (B,) and those before them, the nearest first: (B, 1, n_gram)."""
        grams = ids[:, None, None]
        if not self._reach:
            return grams
        return torch.cat((grams, self._before.expand(len(ids), 1, -1)), -1)

    def _read(
        self,
        grams: Tensor,
        place: slice | Tensor,
        rope: Rotary | None,
        slots: Sequence[Layer],
        mask: Tensor,
    ) -> Tensor:
        """Pass one token of each sequence through the model; returns logits (B, vocab_size)."""
        x = self._frozen.embed(grams, place)  # (B, C)
        for block, slot, seen in zip(self._frozen.blocks, slots, self._cache.seen, strict=True):
            x = block(x, partial(self._decode, block.qk_norm, rope, mask, slot, seen))  # (B, C)
        return self._frozen.logits(x)

    def _store(self, slot: Layer, k: Tensor, v: Tensor) -> None:
        """Write keys and values (B, nkv, hs) to where ``KVCache.add`` says."""
        slot[0].copy_(k)
        slot[1].copy_(v)

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
        self,
        qk_norm: Part,
        rope: Rotary | None,
        mask: Tensor,
        slot: Layer,
        seen: Layer,
        qkv: Tensor,
    ) -> Tensor:
        """Compute the attention of the newest tokens: (B, C + 2 nkv hs) -> (B, C)."""
        heads = qkv.view(-1, sum(self._heads), self._head_size)  # (B, nh + 2 nkv, hs)
        q, k, v = self._finish(heads, qk_norm, rope)  # (B, nh or nkv, hs)
        self._store(slot, k, v)
        keys, values = seen  # (B nkv, hs, T) and (B nkv, T, hs)
        # query heads that share keys and values become rows of one matrix
        q = q.reshape(-1, self._group_size, self._head_size)  # (B nkv, nh / nkv, hs)
        # no causal mask: a single query may attend to everything in the cache
        # scale * q k^T + mask in one kernel
        scores = torch.baddbmm(mask, q, keys, alpha=self._scale)  # (B nkv, nh/nkv, T)
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


class CapturedDecoder(GPTDecoder):
    """Does as ``GPTDecoder``, for a GPU: a step is captured once and then replayed.

    It reads and writes the same memory each time, and so finds its place in tensors instead of by
    slices, which on a CPU are faster; all slots are allocated at once. The logits that ``step``
    returns hold until the next step.

    Args:
        new_capture: See ``Replays.capture_with``.
    """

    def __init__(
        self,
        frozen: FrozenGPT,
        batch_size: int,
        length: int,
        new_capture: Callable[[], Capture],
    ) -> None:
        super().__init__(frozen, batch_size, length)
        self._replays = Replays()
        self._replays.capture_with(new_capture)
        device = frozen.device
        self._slot = torch.zeros(1, dtype=torch.long, device=device)  # of the next token …
        self._place = torch.zeros(1, dtype=torch.long, device=device)  # … its row in the tables
        self._mask = torch.zeros(self._capacity, dtype=self._dtype, device=device)
        self._table: Rotary | None = None  # cos and sin, (capacity, 1, hs) each
        self._allocate(batch_size)

    def begin(self, ids: Tensor) -> Tensor:
        """See ``GPTDecoder.begin``."""
        before = self._before
        logits = super().begin(ids)
        self._before = before.copy_(self._before)
        self._mask.copy_(self._cache.mask)
        self._slot.fill_(ids.size(1) % self._capacity)
        self._move_table()
        return logits

    def step(self, ids: Tensor) -> Tensor:
        """See ``GPTDecoder.step``."""
        if self._table and self._position - self._rope_start >= self._capacity:
            self._rope_of(self._position, 1)
            self._move_table()
        self._ids.copy_(ids)
        self._replays.run("step", self._step)
        self._replays.end_round()
        self._cache.advance(1)
        self._position += 1
        return self._logits

    def keep(self, rows: Tensor) -> None:
        """See ``GPTDecoder.keep``."""
        super().keep(rows)
        before = self._before
        self._allocate(len(rows))
        self._before.copy_(before)

    def _allocate(self, batch_size: int) -> None:
        """Allocate what depends on the batch size."""
        device = self._frozen.device
        self._slots = self._cache.reserve()
        self._ids = torch.zeros(batch_size, dtype=torch.long, device=device)
        self._before = self._ids.new_zeros(batch_size, 1, self._reach)
        self._logits = torch.zeros(batch_size, self._frozen.vocab_size, device=device)
        self._replays.forget()

    def _move_table(self) -> None:
        """Copy the rotations that ``_rope_of`` made to where the step finds them."""
        self._place.fill_(self._position - self._rope_start)
        if self._rope is None:
            return
        if self._table is None:
            self._table = tuple(torch.empty_like(part) for part in self._rope)  # type: ignore[assignment]
        for kept, made in zip(self._table or (), self._rope, strict=True):
            kept.copy_(made)

    def _step(self) -> None:
        """Process ``_ids``; every result goes into tensors that are there already."""
        grams = self._grams(self._ids)
        self._before.copy_(grams[..., :-1])
        rope = None
        if self._table:
            cos, sin = (part.index_select(0, self._place) for part in self._table)
            rope = cos, sin
        self._mask.index_fill_(0, self._slot, 0.0)
        self._logits.copy_(self._read(grams, self._place, rope, self._slots, self._mask))
        self._slot.add_(1).remainder_(self._capacity)
        self._place.add_(1)

    def _store(self, slot: Layer, k: Tensor, v: Tensor) -> None:
        """Write keys and values (B, nkv, hs) to the slots (B, nkv, capacity, hs)."""
        for slots, one in zip(slot, (k, v), strict=True):
            slots.index_copy_(2, self._slot, one.unsqueeze(2))


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
    """Create a decoder for sequences of at most ``length`` tokens, their start included.

    On a CUDA device it must be used on the stream that is current, which is not the default one.
    """
    if isinstance(frozen, FrozenBigram):
        return BigramDecoder(frozen)
    assert isinstance(frozen, FrozenGPT)
    if frozen.device.type == "cuda":
        capture = partial(capture_beside, torch.cuda.current_stream())
        return CapturedDecoder(frozen, batch_size, length, capture)
    return GPTDecoder(frozen, batch_size, length)
