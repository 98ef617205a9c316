"""How each layer works on a text: the scale of the stream, dead units, spread of attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.inspect.forward_pass import BlockPass, forward_pass
from engine.inspect.prediction import looking_at
from engine.metric_catalogue import ACTIVATION_STD, ATTENTION_ENTROPY, DEAD_UNITS, LAYER, member
from engine.model import LanguageModel
from engine.model.attention import CausalSelfAttention
from engine.model.block import FeedForward
from engine.model.gpt import GPT

MOST_QUERIES = 64  # of a sequence, whose attention is measured: all of them would take T^2 numbers
# A hidden unit of the feed-forward is dead if its input, with swiglu that of its gate, is never
# above this. For relu and relu2 its output is then 0. Those of gelu and swiglu are never quite
# zero: here their slope is 0.012 in size and their output at most 0.015.
DEAD_BELOW = {"relu": 0.0, "relu2": 0.0, "gelu": -3.0, "swiglu": -6.0}


@dataclass(frozen=True)
class Activity:
    """Metrics by name; on the device, as reading them would wait for a GPU."""

    names: tuple[str, ...]
    values: Tensor | None  # (n,), if there are any

    def figures(self) -> dict[str, float]:
        """Return the metrics of each layer; waits for the device."""
        values = [] if self.values is None else self.values.tolist()
        return dict(zip(self.names, values, strict=True))


def measure_activity(model: LanguageModel, input_ids: Tensor) -> Activity:
    """Pass a text through a model and measure each block.

    Args:
        model: On the device of ``input_ids``; it is evaluated, and its mode restored. One without
            blocks has no figures.
        input_ids: (B, T) token ids.
    """
    if not isinstance(model, GPT):
        return Activity((), None)
    found: dict[str, Tensor] = {}
    for number, passed in enumerate(forward_pass(model, input_ids)):
        with looking_at(model):
            measured = _measured(passed)
        found |= {member(name, f"{LAYER}{number}"): one for name, one in measured.items()}
    return Activity(tuple(found), torch.stack([*found.values()]) if found else None)


def _measured(passed: BlockPass) -> dict[str, Tensor]:
    """Return the figures () of a block by family."""
    found = {ACTIVATION_STD: passed.after.float().std(correction=0)}
    attention, feed_forward = passed.block.attention, passed.block.feed_forward
    if feed_forward is not None and passed.feed_forward_input is not None:
        hidden = feed_forward.up(passed.feed_forward_input)  # (B, T, d_ff or 2 d_ff)
        found[DEAD_UNITS] = _dead_share(feed_forward, hidden)
    if passed.before.size(1) > 1:  # a single token has nothing to choose from
        q, k, _ = attention.heads(passed.attention_input, passed.rope)
        found[ATTENTION_ENTROPY] = _spread(attention, q, k)
    return found


def _dead_share(feed_forward: FeedForward, hidden: Tensor) -> Tensor:
    """Return the share () of units that no token activates, given (B, T, d_ff or 2 d_ff)."""
    gated = feed_forward.activation == "swiglu"
    gates = hidden.chunk(2, dim=-1)[0] if gated else hidden  # (B, T, d_ff)
    highest = gates.float().amax((0, 1))  # (d_ff,)
    dead = (highest <= DEAD_BELOW[feed_forward.activation]).float()
    return torch.where(highest.isnan(), highest, dead).mean()


def _spread(attention: CausalSelfAttention, q: Tensor, k: Tensor) -> Tensor:
    """Return the mean entropy () of the attention of queries, over its maximum log(i + 1).

    Args:
        attention: Whose weights they are.
        q: (B, nh, T, hs).
        k: (B, nkv, T, hs).
    """
    T, device = q.size(2), q.device
    count = min(T - 1, MOST_QUERIES)
    # the first token has one to attend to; of the others some, evenly spaced, with the last
    rows = torch.arange(1, count + 1, device=device) * (T - 1) // count  # (R,)
    some = q[:, :, rows].float()  # (B, nh, R, hs)
    scores = some @ attention._repeat_kv(k).float().mT / attention.head_size**0.5  # (B, nh, R, T)
    future = torch.arange(T, device=device) > rows[:, None]  # (R, T)
    weights = scores.masked_fill(future, float("-inf")).softmax(-1)
    entropy: Tensor = -torch.special.xlogy(weights, weights).sum(-1)  # (B, nh, R), nats
    return (entropy / torch.log(rows + 1.0)).mean()
