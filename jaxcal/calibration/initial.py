"""Where a fit starts: parameters read off the surface."""

from collections.abc import Callable
from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcal.calibration.residuals import MarketValues
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.models.black_scholes import BlackScholes
from jaxcal.models.heston import Heston

Model = TypeVar("Model", bound=AbstractModel)

_KAPPAS = np.geomspace(0.2, 40.0, 12)  # speeds of mean reversion tried


def start_from(model: type[Model], surface: Surface) -> Model:
    """A starting model for `surface`, within the model's bounds.

    Models without a rule of their own start in the middle of their bounds, on the search scale.
    """
    rule = _RULES.get(model)
    if rule is None:
        values = {name: jnp.asarray(interval.middle, surface.vol.dtype) for name, interval in model.bounds.items()}
    else:
        values = {
            name: jnp.clip(value, 1.01 * interval.lower, 0.99 * interval.upper) if interval.scale == "log" else value
            for (name, value), interval in zip(rule(surface).items(), model.bounds.values(), strict=True)
        }
    return model(**values)


def simpler_model(model: type[AbstractModel]) -> type[AbstractModel] | None:
    """The model that a fit of `model` starts from, or None where parameters are read off the surface."""
    return None


def starts_beyond(model: type[Model], simpler: AbstractModel, surface: Surface) -> list[Model]:
    """Starting models from the fit of a simpler one."""
    raise NotImplementedError


def _smiles(surface: Surface) -> tuple[Float[Array, " e"], Float[Array, " e"], Float[Array, " e"]]:
    """At-the-money volatility and skew d vol / d ln K of each expiry, by a weighted line, and the number of quotes.

    Quotes count by their distance from the money in standard deviations, so that wings do not tilt the line.
    """
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
    return jnp.where(count > 0, vol, 1.0), skew, count


def _black_scholes(surface: Surface) -> dict[str, Float[Array, ""]]:
    vol, _, count = _smiles(surface)
    return {"sigma": jnp.sum(vol * count) / jnp.maximum(jnp.sum(count), 1.0)}


def _heston(surface: Surface) -> dict[str, Float[Array, ""]]:
    """Variances from the term structure, rho sigma from the skews, for the speed of mean reversion that fits both best.

    Given kappa, the expected average variance is linear in (v0, theta), and to first order in sigma the skew is
    (rho sigma / 2 vol) (1 - (1 - e^-x) / x) / x with x = kappa T (A. Lewis, Option valuation under stochastic
    volatility, 2000).
    """
    vol, skew, count = _smiles(surface)
    used = count > 0
    weight = jnp.where(used, jnp.sqrt(count), 0.0)
    t = jnp.where(used, surface.expiry, 1.0)
    variance = vol**2
    level = jnp.sum(weight * variance) / jnp.maximum(jnp.sum(weight), 1e-12)

    candidates = []
    for kappa in _KAPPAS.tolist():
        x = kappa * t
        fading = -jnp.expm1(-x) / x
        # least squares for v0 and theta, drawn weakly to the mean level so that one expiry is enough
        ridge = 1e-3 * jnp.sum(weight)
        a, b, c = (
            jnp.sum(weight * f) + ridge * d
            for f, d in ((fading**2, 1), (fading * (1 - fading), 0), ((1 - fading) ** 2, 1))
        )
        right = (jnp.sum(weight * f * variance) + ridge * level for f in (fading, 1 - fading))
        first, second = right
        determinant = a * c - b * b
        v0 = jnp.maximum((c * first - b * second) / determinant, 0.1 * level)
        theta = jnp.maximum((a * second - b * first) / determinant, 0.1 * level)
        misfit = jnp.sum(weight * ((fading * v0 + (1 - fading) * theta) / level - variance / level) ** 2)
        shape = (1 - fading) / x / (2 * vol)
        slope = jnp.sum(weight * shape * skew) / jnp.sum(weight * shape**2)
        misfit += jnp.sum(weight * t * (shape * slope - skew) ** 2) / jnp.maximum(jnp.sum(weight * t * skew**2), 1e-12)
        candidates.append(jnp.stack([misfit, v0, jnp.asarray(kappa, vol.dtype), theta, slope]))
    table = jnp.stack(candidates)
    _, v0, kappa, theta, slope = table[jnp.argmin(table[:, 0])]
    # with rho about -0.6 when there is a skew, and a vol of variance that is alive when there is none
    sigma = jnp.maximum(jnp.abs(slope) / 0.6, 0.5 * jnp.sqrt(kappa * theta))
    return {"v0": v0, "kappa": kappa, "theta": theta, "sigma": sigma, "rho": jnp.clip(slope / sigma, -0.8, 0.8)}


_RULES: dict[type[AbstractModel], Callable[[Surface], dict[str, Float[Array, ""]]]] = {
    BlackScholes: _black_scholes,
    Heston: _heston,
}
