"""Target: the quotes of a surface in the terms of a fit."""

from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from jaxcal.market.surface import Surface


class Target(NamedTuple):
    """What a fit is to reproduce: the fields of a surface that it needs, as JAX arrays or, on the host, numpy's. The
    spread only where the residual asks for it.
    """

    expiry: Float[Array, "*b e"]
    forward: Float[Array, "*b e"]
    strike: Float[Array, "*b e k"]
    vol: Float[Array, "*b e k"]
    weight: Float[Array, "*b e k"]
    bid_vol: Float[Array, "*b e k"] | None = None
    ask_vol: Float[Array, "*b e k"] | None = None

    @classmethod
    def of(cls, surface: Surface, *, spread: bool = False) -> "Target":
        """Of a surface, with or without its bid-ask spread."""
        sides = (surface.bid_vol, surface.ask_vol) if spread else ()
        return cls(surface.expiry, surface.forward, surface.strike, surface.vol, surface.weight, *sides)

    def slices(self) -> "Target":
        """Each expiry as a target of its own: the axis of expiries is then one of targets with one expiry."""
        axis = self.expiry.ndim
        return jax.tree.map(lambda field: field.reshape(*field.shape[:axis], 1, *field.shape[axis:]), self)
