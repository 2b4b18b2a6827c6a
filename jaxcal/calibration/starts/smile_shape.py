"""SmileShape: at-the-money level and skew of each expiry."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from jaxcal.calibration.objective.fit_data import Target
from jaxcal.market.surface import Surface


class SmileShape(NamedTuple):
    """At-the-money level and skew, by a weighted line: weights fall with the distance from the money in standard
    deviations, so that wings do not tilt it. An expiry without quotes has vol 1, skew 0 and no quotes.

    On the host, where these few numbers cost nothing to compile; of many surfaces every field has a leading axis.
    """

    expiry: Float[NDArray, "*b e"]
    vol: Float[NDArray, "*b e"]
    skew: Float[NDArray, "*b e"]
    quotes: Float[NDArray, "*b e"]
    forward: Float[NDArray, "*b e"]

    @classmethod
    def of(cls, surface: Surface | Target) -> "SmileShape":
        """Of every expiry of a surface, or of many; `skew` is d vol / d ln K."""
        forward, years = (np.asarray(x, np.float64) for x in (surface.forward, surface.expiry))
        used = np.asarray(surface.weight) > 0
        level = np.broadcast_to(forward[..., None], used.shape)
        strike = np.where(used, np.asarray(surface.strike, np.float64), level)
        vols = np.where(used, np.asarray(surface.vol, np.float64), 0.2)
        log_strike = np.log1p((strike - level) / level)
        deviations = log_strike / (vols * np.sqrt(years)[..., None])
        weight = np.where(used, np.exp(-0.5 * deviations**2) + 1e-6, 0.0)
        total = np.sum(weight, axis=-1)
        safe = np.where(total > 0, total, 1.0)
        mean_k = np.sum(weight * log_strike, axis=-1) / safe
        mean_vol = np.sum(weight * vols, axis=-1) / safe
        centred = log_strike - mean_k[..., None]
        square = np.sum(weight * centred**2, axis=-1)
        product = np.sum(weight * centred * vols, axis=-1)
        skew = np.where(square > 1e-12, product / np.where(square > 1e-12, square, 1.0), 0.0)
        vol = np.clip(mean_vol - skew * mean_k, 0.5 * mean_vol, 2.0 * mean_vol)
        count = np.sum(used, axis=-1).astype(vol.dtype)
        return cls(np.where(count > 0, years, 1.0), np.where(count > 0, vol, 1.0), skew, count, forward)

    @property
    def level(self) -> Float[NDArray, "*b"]:
        """Mean at-the-money volatility, over quotes."""
        return np.asarray(np.sum(self.vol * self.quotes, axis=-1) / np.maximum(np.sum(self.quotes, axis=-1), 1.0))

    @property
    def side(self) -> Float[NDArray, "*b"]:
        """The side on which volatilities are higher: -1 for puts, 1 for calls."""
        weight = self.quotes * np.sqrt(self.expiry)
        return np.where(np.sum(weight * self.skew, axis=-1) > 0, 1.0, -1.0)
