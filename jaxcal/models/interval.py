"""Interval: where a parameter may lie, and the scale it is searched on."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


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
