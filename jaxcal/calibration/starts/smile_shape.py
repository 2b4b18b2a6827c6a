"""SmileShape: at-the-money level and skew of each expiry."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float
from numpy.typing import NDArray

from jaxcal.calibration.objective.fit_data import Target
from jaxcal.market.surface import Surface


def namespace_of(x: Any) -> Any:
    """The functions for an array: JAX's inside `jit`, numpy's elsewhere."""
    return jnp if isinstance(x, Tracer) else np


class SmileShape(NamedTuple):
    """At-the-money level and skew, by a weighted line: weights fall with the distance from the money in standard
    deviations, so that wings do not tilt it. An expiry without quotes has vol 1, skew 0 and no quotes.

    On the host, where these few numbers cost nothing to compile; inside `jit` where it runs. Of many surfaces every
    field has a leading axis.
    """

    expiry: Float[NDArray | Array, "*b e"]
    vol: Float[NDArray | Array, "*b e"]
    skew: Float[NDArray | Array, "*b e"]
    quotes: Float[NDArray | Array, "*b e"]
    forward: Float[NDArray | Array, "*b e"]

    @classmethod
    def of(cls, surface: Surface | Target) -> "SmileShape":
        """Of every expiry of a surface, or of many; `skew` is d vol / d ln K."""
        xp = namespace_of(surface.vol)
        dtype = np.float64 if xp is np else jnp.result_type(float)
        forward, years = (xp.asarray(x, dtype) for x in (surface.forward, surface.expiry))
        used = xp.asarray(surface.weight) > 0
        level = xp.broadcast_to(forward[..., None], used.shape)
        strike = xp.where(used, xp.asarray(surface.strike, dtype), level)
        vols = xp.where(used, xp.asarray(surface.vol, dtype), 0.2)
        log_strike = xp.log1p((strike - level) / level)
        deviations = log_strike / (vols * xp.sqrt(years)[..., None])
        weight = xp.where(used, xp.exp(-0.5 * deviations**2) + 1e-6, 0.0)
        total = xp.sum(weight, axis=-1)
        safe = xp.where(total > 0, total, 1.0)
        mean_k = xp.sum(weight * log_strike, axis=-1) / safe
        mean_vol = xp.sum(weight * vols, axis=-1) / safe
        centred = log_strike - mean_k[..., None]
        square = xp.sum(weight * centred**2, axis=-1)
        product = xp.sum(weight * centred * vols, axis=-1)
        skew = xp.where(square > 1e-12, product / xp.where(square > 1e-12, square, 1.0), 0.0)
        vol = xp.clip(mean_vol - skew * mean_k, 0.5 * mean_vol, 2.0 * mean_vol)
        count = xp.sum(used, axis=-1).astype(vol.dtype)
        return cls(xp.where(count > 0, years, 1.0), xp.where(count > 0, vol, 1.0), skew, count, forward)

    @property
    def xp(self) -> Any:
        """The functions for its arrays: numpy's or JAX's."""
        return namespace_of(self.vol)

    @property
    def level(self) -> Float[NDArray | Array, "*b"]:
        """Mean at-the-money volatility, over quotes."""
        return self.xp.asarray(
            self.xp.sum(self.vol * self.quotes, axis=-1) / self.xp.maximum(self.xp.sum(self.quotes, axis=-1), 1.0)
        )

    @property
    def side(self) -> Float[NDArray | Array, "*b"]:
        """The side on which volatilities are higher: -1 for puts, 1 for calls."""
        weight = self.quotes * self.xp.sqrt(self.expiry)
        return self.xp.where(self.xp.sum(weight * self.skew, axis=-1) > 0, 1.0, -1.0)
