"""Parameters as numbers a solver moves: intervals, and the map between a model and a vector of its free fields."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jaxcal.models.base import AbstractModel

Model = TypeVar("Model", bound="AbstractModel")


class Interval(NamedTuple):
    """Where a parameter may lie, and the scale it is searched on: "log" for positive parameters, "linear" otherwise.

    Example:
        >>> Interval(0.01, 10.0, "log").middle
        0.31622776601683794
    """

    lower: float
    upper: float
    scale: Literal["log", "linear"] = "linear"

    @property
    def middle(self) -> float:
        """The centre on the search scale."""
        return (self.lower * self.upper) ** 0.5 if self.scale == "log" else 0.5 * (self.lower + self.upper)

    def to_search(self, value: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """The parameter on its search scale."""
        return jnp.log(value) if self.scale == "log" else value

    def from_search(self, value: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Back from the search scale."""
        return jnp.exp(value) if self.scale == "log" else value


def to_vector(model: "AbstractModel", names: Sequence[str]) -> Float[Array, " p"]:
    """The named parameters of `model` on their search scales."""
    return jnp.stack([model.bounds[name].to_search(jnp.asarray(getattr(model, name))) for name in names])


def from_vector(model: Model, names: Sequence[str], y: Float[Array, " p"]) -> Model:
    """`model` with its named parameters replaced by those of a search vector."""
    values = tuple(model.bounds[name].from_search(y[i]) for i, name in enumerate(names))
    return eqx.tree_at(lambda m: tuple(getattr(m, name) for name in names), model, values)


def search_bounds(
    bounds: Mapping[str, Interval], names: Sequence[str], dtype: np.dtype
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Lower and upper bounds of a search vector, on the host."""

    def scaled(value: float, interval: Interval) -> float:
        return math.log(value) if interval.scale == "log" else value

    lower = np.asarray([scaled(bounds[name].lower, bounds[name]) for name in names], dtype)
    upper = np.asarray([scaled(bounds[name].upper, bounds[name]) for name in names], dtype)
    return lower, upper
