"""Embeddings: a picture of their first two principal components, and what is near what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.inspect.forward_pass import device_of
from engine.inspect.prediction import Floats, Ids
from engine.model import GPT, Bigram, LanguageModel
from engine.model.positions import sinusoidal

VECTORS_AT_ONCE = 1024
TOKENS_AT_ONCE = 64  # whose neighbours are looked for: their cosines with all of GPT-2 are 13 MB
SHORTEST = 1e-12  # length of a vector that is taken for more than nothing


@dataclass(frozen=True)
class Projection:
    """n vectors of size C along two orthogonal axes of greatest variance."""

    points: Floats  # (n, 2), from the mean of the vectors
    axes: Floats  # (2, C), of length 1; zero where there is no second axis
    explained: tuple[float, float]  # share of the variance along each axis


@dataclass(frozen=True)
class Nearest:
    """The tokens whose embeddings point most in the direction of another's."""

    ids: Ids  # (n,), the nearest first
    cosines: Floats  # (n,)


def token_vectors(model: LanguageModel) -> Tensor:
    """Return the embedding of each token: (V, C).

    A bigram has its table of logits (V, V): tokens are near that are followed by the same ones.
    With ``n_gram`` embeddings, these are those of the token itself.
    """
    assert isinstance(model, (GPT, Bigram))
    return model.token_embedding.weight.detach()


def position_vectors(model: LanguageModel) -> Tensor | None:
    """Return what is added at each position, (block_size, C); None where nothing is.

    Rotary positions turn queries and keys instead; a bigram knows no positions.
    """
    if not isinstance(model, GPT):
        return None
    if model.config.position == "learned":
        return model.position_embedding.weight.detach()
    if model.config.position == "sinusoidal":
        positions = torch.arange(model.config.block_size, device=device_of(model))
        return sinusoidal(positions, model.config.n_embd)
    return None


def project(vectors: Tensor, like: Projection | None = None) -> Projection:
    """Project vectors (n, C) onto their first two principal components.

    The sign of a component is arbitrary: here its largest element is positive. While training goes
    on, components still change signs and places; ``like`` keeps the picture still.

    Args:
        like: An earlier projection of the same n vectors, which this one is turned to fit.
    """
    mean = sum((part.sum(0) for part in _parts(vectors)), torch.tensor(0.0)) / len(vectors)  # (C,)
    axes = _components(vectors, mean)  # (2, C)
    if like is not None and len(like.points) == len(vectors):
        axes = _turn(_points(vectors, mean, axes), torch.from_numpy(like.points).double()) @ axes
    points = _points(vectors, mean, axes)  # (n, 2)
    total = sum(float(part.flatten().dot(part.flatten())) for part in _parts(vectors, mean))
    first, second = (points.square().sum(0) / total if total else points.new_zeros(2)).tolist()
    return Projection(points.float().numpy(), axes.float().numpy(), (first, second))


def _parts(vectors: Tensor, mean: Tensor | None = None) -> Iterator[Tensor]:
    """Yield the vectors, from their mean, in fp64 on the CPU: some at a time, all in one place.

    All of GPT-2's would be 300 MB, and parts that come and go between the results leave gaps.
    """
    place = torch.empty(min(len(vectors), VECTORS_AT_ONCE), vectors.size(1), dtype=torch.double)
    for part in torch.split(vectors, VECTORS_AT_ONCE):
        copied = place[: len(part)].copy_(part.cpu())  # in this order: MPS has no fp64
        yield copied if mean is None else copied.sub_(mean)


def _points(vectors: Tensor, mean: Tensor, axes: Tensor) -> Tensor:
    """Return the coordinates of vectors (n, C) along axes (2, C): (n, 2)."""
    points = axes.new_empty(len(vectors), 2)
    for part, those in zip(
        _parts(vectors, mean), torch.split(points, VECTORS_AT_ONCE), strict=True
    ):
        torch.mm(part, axes.T, out=those)
    return points


def _components(vectors: Tensor, mean: Tensor) -> Tensor:
    """Return the first two principal components of vectors (n, C): (2, C), NaN if any is NaN.

    They are eigenvectors of the smaller one of the two products of the matrix with itself, which is
    faster than an SVD.
    """
    n, width = vectors.shape
    if not torch.isfinite(mean).all():
        return mean.new_full((2, width), torch.nan)
    if width <= n:
        product = mean.new_zeros(width, width)
        for part in _parts(vectors, mean):
            product.addmm_(part.T, part)
        axes = _largest_eigenvectors(product)
    else:
        x = vectors.cpu().double() - mean  # (n, C)
        axes = F.normalize(_largest_eigenvectors(x @ x.T) @ x)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))  # (2, 1)
    return F.pad(axes * torch.where(largest < 0, -1.0, 1.0), (0, 0, 0, 2 - len(axes)))


def _largest_eigenvectors(symmetric: Tensor) -> Tensor:
    """Return the eigenvectors of the two largest eigenvalues, the largest first: (2, n)."""
    vectors: Tensor = torch.linalg.eigh(symmetric).eigenvectors  # (n, n), in ascending order
    return vectors.T.flip(0)[:2]


def _turn(points: Tensor, earlier: Tensor) -> Tensor:
    """Return the rotation or reflection (2, 2) of the axes that fits points (n, 2) to earlier ones.

    The orthogonal Procrustes problem (Schönemann 1966).
    """
    product = points.T @ earlier  # (2, 2)
    if not torch.isfinite(product).all():
        return torch.eye(2, dtype=product.dtype)
    u, _, v = torch.linalg.svd(product)
    turn: Tensor = (u @ v).T
    return turn


def nearest_tokens(model: LanguageModel, token: int, count: int) -> Nearest:
    """Return the tokens nearest to another by the cosine of their embeddings, itself left out."""
    return nearest_of(model, [token], count)[token]


def nearest_of(model: LanguageModel, tokens: Iterable[int], count: int) -> dict[int, Nearest]:
    """Return the tokens nearest to each of some, as ``nearest_tokens``."""
    vectors, asked = token_vectors(model), torch.tensor(sorted(set(tokens)))
    # in parts: a product with all of GPT-2's vectors takes a copy of them
    parts = torch.split(vectors, VECTORS_AT_ONCE)
    lengths = torch.cat([part.norm(dim=1) for part in parts])  # (V,)
    lengths = lengths.clamp(min=SHORTEST)
    # one more than wanted, as the token itself may be among those of NaN weights
    most = min(count + 1, len(vectors))
    # the results are there before what comes and goes, which would leave gaps between them
    near = np.empty((len(asked), most - 1), np.int64)
    angles = np.empty((len(asked), most - 1), np.float32)
    room = vectors.new_empty(min(len(asked), TOKENS_AT_ONCE), len(vectors))  # (s, V)
    row = 0
    for some in torch.split(asked, TOKENS_AT_ONCE):
        own, cosines = F.normalize(vectors[some], eps=SHORTEST), room[: len(some)]  # (s, C), (s, V)
        for part, those in zip(parts, torch.split(cosines, VECTORS_AT_ONCE, 1), strict=True):
            torch.mm(own, part.T, out=those)
        order = cosines.div_(lengths).nan_to_num(-torch.inf)  # those of NaN weights come last
        order[torch.arange(len(some)), some] = -torch.inf
        best = order.topk(most, dim=1).indices.sort(dim=1).values
        places = order.gather(1, best).sort(dim=1, descending=True, stable=True).indices
        for token, ids, its in zip(some.tolist(), best.gather(1, places), cosines, strict=True):
            ids = ids[ids != token][: most - 1]
            near[row], angles[row] = ids.cpu().numpy(), its[ids].cpu().numpy()
            row += 1
    return {token: Nearest(near[row], angles[row]) for row, token in enumerate(asked.tolist())}


def position_cosines(model: LanguageModel) -> Floats | None:
    """Return the cosine of every two positions, (block_size, block_size); None without vectors.

    Neighbouring positions that are alike say that the model has learnt their order.
    """
    vectors = position_vectors(model)
    if vectors is None:
        return None
    directions = F.normalize(vectors.float())  # (block_size, C)
    cosines: Floats = (directions @ directions.T).cpu().numpy()
    return cosines
