"""What is found inside a model arrives as it was, and nothing else is made of what comes."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine.inspect.layers import Lens
from engine.remote.packing import DTYPES, pack, unpack

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.tuples(st.integers(), st.integers()), inner)
    ),
)


def through_json(value: Any) -> Any:
    return unpack(json.loads(json.dumps(pack(value), allow_nan=False)))


@given(values)
def test_plain_values_keep_their_types(value: Any) -> None:
    assert through_json(value) == value


@given(st.sampled_from(DTYPES).flatmap(lambda one: arrays(one, array_shapes(min_side=0))))
def test_arrays_keep_their_bits(array: Any) -> None:
    got = through_json(array)
    assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_a_dataclass_is_made_again_with_what_json_lacks() -> None:
    lens = Lens(*(np.full((2, 3), one) for one in (1, 0.5, math.nan, math.inf)))
    got = through_json({("a", 1): [lens, frozenset({(1, "x")})], 2: (math.nan, np.float32(1.5))})
    assert isinstance(got["a", 1][0], Lens)
    assert np.array_equal(got["a", 1][0].truth, lens.truth, equal_nan=True)
    assert got["a", 1][1] == frozenset({(1, "x")})
    assert math.isnan(got[2][0]) and got[2][1] == 1.5


@pytest.mark.parametrize(
    "packed",
    [
        {"Popen": {"args": "ls"}}, {"Lens": {"a": 1}}, {"Lens": 1}, {"a": 1, "b": 2}, {},
        {"array": ["|O8", [1], ""]}, {"array": ["<f4", [9, 9], "AAAA"]}, {"map": [[[], 1]]},
        {"array": ["<f4", [1], "no base64"]}, {"set": [[1]]}, {"float": "x"}, {"map": 3},
    ],
)  # fmt: skip
def test_anything_else_is_refused(packed: Any) -> None:
    with pytest.raises(ValueError, match="not found inside a model"):
        unpack(packed)
