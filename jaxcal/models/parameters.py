"""The map between a model and a vector of its free parameters, which is what a solver moves."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval

Model = TypeVar("Model", bound=AbstractModel)


def to_vector(model: AbstractModel, names: Sequence[str]) -> Float[Array, " p"]:
    """The named parameters of `model` on their search scales."""
    return jnp.stack([model.bounds[name].to_search(jnp.asarray(getattr(model, name))) for name in names])


def from_vector(model: Model, names: Sequence[str], y: Float[Array, " p"]) -> Model:
    """`model` with its named parameters replaced by those of a search vector."""
    values = tuple(model.bounds[name].from_search(y[i]) for i, name in enumerate(names))
    return eqx.tree_at(lambda m: tuple(getattr(m, name) for name in names), model, values)


def search_bounds(
    bounds: Mapping[str, Interval], names: Sequence[str], dtype: np.dtype
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Lower and upper bounds of a search vector, on the host; inside by a few roundings, so that `exp` stays inside."""
    margin = 8.0 * float(np.finfo(dtype).eps)

    def scaled(value: float, interval: Interval, inward: float) -> float:
        if interval.scale == "linear":
            return value
        return math.log(value) + inward * max(1.0, abs(math.log(value)))

    lower = np.asarray([scaled(bounds[name].lower, bounds[name], margin) for name in names], dtype)
    upper = np.asarray([scaled(bounds[name].upper, bounds[name], -margin) for name in names], dtype)
    return lower, upper
