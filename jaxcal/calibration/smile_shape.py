"""SmileShape: level, skew and curvature of each expiry's smile at the money."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal.calibration.residuals import MarketValues
from jaxcal.calibration.target import Target
from jaxcal.market.surface import Surface


class SmileShape(NamedTuple):
    """What a smile shows at the money, by a weighted line: quotes count by their distance from the money in standard
    deviations, so that wings do not tilt it. An expiry without quotes has vol 1, skew 0 and no quotes.
    """

    expiry: Float[Array, " e"]
    vol: Float[Array, " e"]
    skew: Float[Array, " e"]
    quotes: Float[Array, " e"]
    forward: Float[Array, " e"]

    @classmethod
    def of(cls, surface: Surface | Target) -> "SmileShape":
        """Of every expiry of a surface; `skew` is d vol / d ln K."""
        market = MarketValues.of_surface(surface)
        deviations = market.log_strike / (market.vol * jnp.sqrt(market.expiry))
        weight = jnp.where(market.used, jnp.exp(-0.5 * deviations**2) + 1e-6, 0.0)
        total = jnp.sum(weight, axis=-1)
        safe = jnp.where(total > 0, total, 1.0)
        mean_k = jnp.sum(weight * market.log_strike, axis=-1) / safe
        mean_vol = jnp.sum(weight * market.vol, axis=-1) / safe
        centred = market.log_strike - mean_k[:, None]
        square = jnp.sum(weight * centred**2, axis=-1)
        product = jnp.sum(weight * centred * market.vol, axis=-1)
        skew = jnp.where(square > 1e-12, product / jnp.where(square > 1e-12, square, 1.0), 0.0)
        vol = jnp.clip(mean_vol - skew * mean_k, 0.5 * mean_vol, 2.0 * mean_vol)
        count = jnp.sum(market.used, axis=-1).astype(vol.dtype)
        expiry = jnp.where(count > 0, surface.expiry, 1.0)
        return cls(expiry, jnp.where(count > 0, vol, 1.0), skew, count, surface.forward)

    @property
    def level(self) -> Float[Array, ""]:
        """Mean at-the-money volatility, over quotes."""
        return jnp.sum(self.vol * self.quotes) / jnp.maximum(jnp.sum(self.quotes), 1.0)

    @property
    def side(self) -> Float[Array, ""]:
        """The side on which volatilities are higher: -1 for puts, 1 for calls."""
        weight = self.quotes * jnp.sqrt(self.expiry)
        return jnp.where(jnp.sum(weight * self.skew) > 0, 1.0, -1.0).astype(self.vol.dtype)
