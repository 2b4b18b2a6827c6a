"""Target: the quotes of a surface in the terms of a fit."""

from typing import NamedTuple

from jaxtyping import Array, Float

from jaxcal.market.surface import Surface


class Target(NamedTuple):
    """What a fit is to reproduce: the fields of a surface that it needs, as JAX arrays or, on the host, numpy's."""

    expiry: Float[Array, "*b e"]
    forward: Float[Array, "*b e"]
    strike: Float[Array, "*b e k"]
    vol: Float[Array, "*b e k"]
    weight: Float[Array, "*b e k"]

    @classmethod
    def of(cls, surface: Surface) -> "Target":
        """Of a surface."""
        return cls(surface.expiry, surface.forward, surface.strike, surface.vol, surface.weight)

    def slices(self) -> "Target":
        """Each expiry as a target of its own: the axis of expiries is then one of targets with one expiry."""
        axis = self.expiry.ndim
        return Target(*(field.reshape(*field.shape[:axis], 1, *field.shape[axis:]) for field in self))
