"""Interval: where a parameter may lie, and the scale it is searched on."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Interval(NamedTuple):
    """Where a parameter may lie, and the scale it is searched on: "log" for positive parameters, "linear" otherwise.

    With `unit`, a function of the model, the bounds are those of parameter / unit(model): so a bound that depends on
    other parameters is a box for the solver. `unit` may use parameters that stand before this one in `bounds`.

    Example:
        >>> Interval(0.01, 10.0, "log").middle
        0.31622776601683794
        >>> Interval(0.0, 2.0, unit=lambda model: 1.0 / model.other).upper
        2.0
    """

    lower: float
    upper: float
    scale: Literal["log", "linear"] = "linear"
    unit: Callable[[Any], Any] | None = None

    @property
    def middle(self) -> float:
        """The centre on the search scale."""
        return (self.lower * self.upper) ** 0.5 if self.scale == "log" else 0.5 * (self.lower + self.upper)

    def to_search(self, value: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """The parameter, in its unit, on its search scale."""
        return jnp.log(value) if self.scale == "log" else value

    def from_search(self, value: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Back from the search scale."""
        return jnp.exp(value) if self.scale == "log" else value
