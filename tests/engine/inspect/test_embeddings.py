"""The picture of the embeddings is an SVD's, stays still, and names the right neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.config.schema import ModelConfig
from engine.inspect.embeddings import (
    Projection,
    nearest_tokens,
    position_cosines,
    position_vectors,
    project,
    token_vectors,
)
from engine.model.positions import sinusoidal
from tests.engine.conftest import assert_same_bits, weights
from tests.engine.models import VOCAB, noise, random_model, small_model

BIGRAM = ModelConfig(architecture="bigram")


def svd(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The first two right singular vectors of the centred matrix, and shares of variance."""
    centred = vectors.double() - vectors.double().mean(0)
    _, values, axes = torch.linalg.svd(centred, full_matrices=False)
    return axes[:2], (values.square() / values.square().sum())[:2]


def assert_close(found: object, expected: object, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(65, 16), (9000, 5), (12, 40), (20, 20)])
def test_components_are_those_of_an_svd(shape: tuple[int, int]) -> None:
    """Of tall, wide and square matrices; the mean, which no component may see, is far off."""
    vectors = noise(*shape) * torch.linspace(1, 3, shape[1]) + 10
    found = project(vectors)
    axes, shares = svd(vectors)
    signs = torch.sign(axes.gather(1, axes.abs().argmax(1, keepdim=True)))
    assert_close(found.axes, axes * signs)
    assert_close(found.explained, shares)
    assert_close(found.points, (vectors - vectors.mean(0)) @ (axes * signs).float().T, 1e-4)


@pytest.mark.parametrize(
    "vectors", [noise(1, 4), noise(5, 1), torch.zeros(3, 4), torch.ones(3, 1)], ids=str
)
def test_vectors_that_span_less_than_a_plane_have_zeros(vectors: Tensor) -> None:
    found = project(vectors)
    assert found.points.shape == (len(vectors), 2)
    assert np.isfinite(found.points).all() and found.explained[1] == pytest.approx(0)
    assert sum(found.explained) == pytest.approx(1 if len(vectors) == 5 else 0)


def test_an_axis_does_not_flip_with_small_changes() -> None:
    vectors = noise(65, 16) * torch.linspace(1, 3, 16)
    before = project(vectors)
    for step in range(5):
        after = project(vectors + 0.01 * noise(65, 16, seed=step))
        assert (before.axes * after.axes).sum(1) == pytest.approx([1, 1], abs=0.01)


def test_a_picture_is_turned_to_fit_an_earlier_one() -> None:
    """Mirrored, with its components in another order, and turned a little: the same picture."""
    vectors = noise(65, 16) * torch.linspace(1, 3, 16)
    before = project(vectors)
    turn = np.array([[0.6, -0.8], [-0.8, -0.6]], np.float32)
    earlier = Projection(before.points @ turn, before.axes, before.explained)
    again = project(vectors, like=earlier)
    assert_close(again.points, earlier.points, 1e-4)
    # the plane is the same, and the figures are those of the new axes
    assert sum(again.explained) == pytest.approx(sum(before.explained))
    assert_close(again.axes, turn.T @ before.axes, 1e-4)
    shares = np.square(again.points).sum(0) / float((vectors - vectors.mean(0)).square().sum())
    assert_close(again.explained, shares)
    elsewhere = project(vectors[:40], like=earlier)  # other tokens: nothing to fit
    assert_close(elsewhere.points, project(vectors[:40]).points)


def test_the_nearest_are_the_most_parallel() -> None:
    model = small_model()
    vectors = token_vectors(model).double()
    cosines = torch.cosine_similarity(vectors[7], vectors)
    expected = [i for i in cosines.argsort(descending=True).tolist() if i != 7][:5]
    found = nearest_tokens(model, 7, 5)
    assert found.ids.tolist() == expected
    assert_close(found.cosines, cosines[expected])
    assert len(nearest_tokens(model, 7, 1000).ids) == VOCAB - 1


def test_positions_are_compared_by_their_cosines() -> None:
    model = small_model()
    vectors = model.position_embedding.weight.detach()
    found = position_cosines(model)
    assert found is not None
    expected = torch.cosine_similarity(vectors[:, None], vectors[None], dim=-1)
    assert_close(found, expected)
    sines = position_vectors(small_model(position="sinusoidal"))
    assert sines is not None
    assert torch.equal(sines, sinusoidal(torch.arange(12), 16))


@pytest.mark.parametrize("position", ["rotary", "none"])
def test_where_nothing_is_added_for_a_position_there_is_no_map(position: str) -> None:
    assert position_cosines(small_model(position=position)) is None
    assert position_cosines(random_model(BIGRAM)) is None


def test_a_bigram_has_its_table_for_embeddings() -> None:
    bigram = random_model(BIGRAM)
    assert token_vectors(bigram).shape == (VOCAB, VOCAB)
    assert project(token_vectors(bigram)).points.shape == (VOCAB, 2)
    assert len(nearest_tokens(bigram, 0, 3).ids) == 3


def test_nan_weights_are_shown_as_nan() -> None:
    model = small_model()
    with torch.no_grad():
        model.token_embedding.weight[3] = torch.nan
    found = project(token_vectors(model), like=project(noise(VOCAB, 16)))
    assert np.isnan(found.points).all() and np.isnan(found.explained).all()
    near = nearest_tokens(model, 7, VOCAB)
    assert near.ids[-1] == 3 and np.isnan(near.cosines[-1]) and np.isfinite(near.cosines[:-1]).all()
    assert np.isnan(nearest_tokens(model, 3, 2).cosines).all()
    before = project(noise(VOCAB, 16), like=found)  # the next picture is there again
    assert np.isfinite(before.points).all()


def test_looking_changes_nothing() -> None:
    model = small_model().train()
    before, random = weights(model), torch.get_rng_state()
    project(token_vectors(model), like=project(token_vectors(model)))
    nearest_tokens(model, 1, 5)
    position_cosines(model)
    assert model.training and torch.equal(torch.get_rng_state(), random)
    assert_same_bits(before, weights(model))
