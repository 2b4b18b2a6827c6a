"""Parameters as numbers a solver moves: intervals, and the map between a model and a vector of its free fields."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

if TYPE_CHECKING:
    from jaxcal.models.base import AbstractModel


class Interval(NamedTuple):
    """Where a parameter may lie, and the scale it is searched on: "log" for positive parameters, "linear" otherwise."""

    lower: float
    upper: float
    scale: Literal["log", "linear"] = "linear"

    def to_search(self, value: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """The parameter on its search scale."""
        return jnp.log(value) if self.scale == "log" else value

    def from_search(self, value: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Back from the search scale."""
        return jnp.exp(value) if self.scale == "log" else value
