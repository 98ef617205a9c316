"""What is found inside a model as plain values for JSON, and back.

Arrays are bytes in base64 with their type and shape, dataclasses are named by their class, of which
only those of ``engine.inspect`` can be made again. Tuples, sets, keys that are no texts and floats
that JSON lacks keep their types.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

DTYPES = ("<f4", "<f8", "<i4", "<i8", "|b1")


def pack(value: Any) -> Any:
    """Return a value in what JSON has."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.generic):
        return pack(value.item())
    if isinstance(value, np.ndarray):
        plain = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
        body = base64.b64encode(plain.tobytes()).decode()
        return {"array": [plain.dtype.str, list(value.shape), body]}
    if isinstance(value, Mapping):
        return {"map": [[pack(key), pack(one)] for key, one in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [pack(one) for one in value]}
    if isinstance(value, frozenset):
        return {"set": [pack(one) for one in value]}
    if isinstance(value, list):
        return [pack(one) for one in value]
    fields = {one.name: pack(getattr(value, one.name)) for one in dataclasses.fields(value)}
    return {type(value).__name__: fields}


def unpack(packed: Any) -> Any:
    """Return the value that was packed.

    Raises:
        ValueError: It was not packed by ``pack``.
    """
    if isinstance(packed, list):
        return [unpack(one) for one in packed]
    if not isinstance(packed, dict):
        return packed
    try:
        ((kind, inner),) = packed.items()
        return READERS[kind](inner) if kind in READERS else _made(kind, inner)
    except (AttributeError, TypeError, ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"that was not found inside a model ({error})") from None


def _array(inner: Any) -> Any:
    dtype, shape, body = inner
    if dtype not in DTYPES or not isinstance(body, str):
        raise ValueError("an array of an unknown type")
    flat = np.frombuffer(base64.b64decode(body, validate=True), dtype)
    return flat.reshape([int(one) for one in shape])


def _made(kind: str, fields: Any) -> Any:
    return _classes()[kind](**{name: unpack(one) for name, one in fields.items()})


@functools.cache
def _classes() -> dict[str, type]:
    """The dataclasses of answers, by name."""
    from engine.inspect import (  # they import PyTorch
        attention,
        embeddings,
        layers,
        over_moments,
        prediction,
        surprise,
        views,
    )

    modules = (attention, embeddings, layers, over_moments, prediction, surprise, views)
    named = (one for module in modules for one in vars(module).values() if isinstance(one, type))
    return {one.__name__: one for one in named if dataclasses.is_dataclass(one)}


READERS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "array": _array,
    "map": lambda inner: {unpack(key): unpack(one) for key, one in inner},
    "tuple": lambda inner: tuple(unpack(one) for one in inner),
    "set": lambda inner: frozenset(unpack(one) for one in inner),
}
