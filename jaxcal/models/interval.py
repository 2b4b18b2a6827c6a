"""Interval: the bounds of a parameter, and the scale of its search."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Interval(NamedTuple):
    """The bounds of a parameter, and the scale of its search: "log" for positive parameters, "linear" otherwise.

    With `origin` and `unit`, functions of the model, the bounds are those of (parameter - origin(model)) / unit(model):
    so a bound that depends on other parameters is a box constraint for the solver. Both may use parameters that stand
    before this one in `bounds`.

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
    origin: Callable[[Any], Any] | None = None

    @property
    def middle(self) -> float:
        """The centre on the search scale."""
        return (self.lower * self.upper) ** 0.5 if self.scale == "log" else 0.5 * (self.lower + self.upper)

    def relative(self, value: Any, model: Any) -> Any:
        """A parameter of `model` in the units of its bounds."""
        value = value if self.origin is None else value - self.origin(model)
        return value if self.unit is None else value / self.unit(model)

    def absolute(self, value: Any, model: Any) -> Any:
        """The inverse of `relative`."""
        value = value if self.unit is None else value * self.unit(model)
        return value if self.origin is None else value + self.origin(model)

    def known(self, model: Any) -> "Interval":
        """The same bounds of `model`, whose unit and origin are evaluated once: they may take long to compile."""
        unit, origin = (None if f is None else f(model) for f in (self.unit, self.origin))
        return self._replace(
            unit=None if unit is None else lambda _: unit, origin=None if origin is None else lambda _: origin
        )

    def to_search(self, value: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """A relative parameter on its search scale."""
        return jnp.log(value) if self.scale == "log" else value

    def from_search(self, value: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Back from the search scale."""
        return jnp.exp(value) if self.scale == "log" else value
