"""Merton's own formula: a Poisson mixture of Black prices, with a bound on what is left out.

Given n jumps, ln(S_T / F) is normal with variance v_n = sigma^2 t + n std^2 and E[S_T / F] = f_n (R. Merton, Journal of
Financial Economics 3 (1976), eq. 16). Puts are weighted with the distribution of n, calls with its distribution
under the share as numeraire, Poisson too: each term is then at most the put's strike, or 1, and the tails of the
Poisson distribution bound the terms left out. All terms are positive, so far out-of-the-money values keep their
relative accuracy.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import gammainc, gammaincc, gammaln

from jaxcal.formulas.black import black_price
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.jumps.merton import Merton
from jaxcal.pricing.pricer import AbstractValuePricer, PerExpiry, PerQuote, PerStrike


class SeriesGrid(eqx.Module):
    """Quotes at `expiry` [e] years and `log_strike` [e, k], priced by `num_terms` terms each."""

    expiry: PerExpiry
    log_strike: PerStrike
    num_terms: int = eqx.field(static=True)

    def value(self, model: AbstractFourierModel) -> PerStrike:
        """Undiscounted out-of-the-money values (call where K >= F, put below), in units of the forward."""
        expiry = jnp.broadcast_to(self.expiry[:, None], self.log_strike.shape)
        return _series(_merton(model), expiry.ravel(), self.log_strike.ravel(), self.num_terms)[0].reshape(expiry.shape)


class Series(AbstractValuePricer):
    """Poisson mixture of `num_terms` Black prices around the expected number of jumps; for `Merton` only.

    Args:
        num_terms: None chooses 64 inside `jit`; outside it, the first of 64, 256, 1024 and 4096 whose bound is small.

    Raises:
        TypeError: from `price` or `calibrate` with another model.

    Example:
        >>> import jaxcal as jc
        >>> model = jc.Merton(sigma=0.2, jump_intensity=0.5, jump_mean=-0.1, jump_std=0.15)
        >>> round(float(jc.price(model, 100.0, 1.0, forward=100.0, pricer=Series())), 9)
        9.164898622
    """

    num_terms: int | None = eqx.field(static=True, default=None)

    def sized(self) -> "Series":
        return self if self.num_terms else Series(64)

    def finer(self) -> "Series | None":
        terms = self.sized().num_terms or 64
        return None if terms >= 4096 else Series(4 * terms)

    @property
    def points(self) -> int:
        return self.sized().num_terms or 64

    def tolerance(self, dtype: jnp.dtype) -> float:
        return max(1e-10, 100.0 * float(jnp.finfo(dtype).eps))

    def grid(self, model: AbstractFourierModel, expiry: PerExpiry, log_strike: PerStrike, total_vol: PerExpiry) -> Any:
        _merton(model)
        return SeriesGrid(expiry, log_strike, self.points)

    def value(self, model: AbstractFourierModel, expiry: PerQuote, log_strike: PerQuote) -> tuple[PerQuote, PerQuote]:
        return _series(_merton(model), expiry, log_strike, self.points)


def _merton(model: AbstractFourierModel) -> Merton:
    if not isinstance(model, Merton):
        raise TypeError(f"Series prices Merton, not {type(model).__name__}: leave the pricer out, or use Saddle or Cos")
    return model


def _series(model: Merton, expiry: PerQuote, log_strike: PerQuote, num_terms: int) -> tuple[PerQuote, PerQuote]:
    """Values, and a bound on their truncation and rounding errors."""
    dtype = log_strike.dtype
    parameters = (model.sigma, model.jump_intensity, model.jump_mean, model.jump_std)
    sigma, intensity, mean, std = (jnp.asarray(p, dtype) for p in parameters)
    call = log_strike >= 0
    growth = mean + 0.5 * std**2
    jumps = intensity * expiry
    # the smallest number added keeps the derivative at no jumps right: p_1 = jumps there
    rate = jnp.where(call, jumps * jnp.exp(growth), jumps) + jnp.finfo(dtype).tiny
    first = jax.lax.stop_gradient(jnp.maximum(jnp.floor(rate - 0.5 * num_terms), 0.0))
    n = first[:, None] + jnp.arange(num_terms, dtype=dtype)[None, :]
    weight = jnp.exp(n * jnp.log(rate)[:, None] - rate[:, None] - gammaln(n + 1.0))

    # ln(K / f_n) where exp does not overflow; the value is flat beyond
    limit = 0.9 * math.log(float(jnp.finfo(dtype).max))
    distance = (log_strike + jumps * jnp.expm1(growth))[:, None] - n * growth
    ratio = jnp.exp(jnp.clip(jnp.where(call[:, None], distance, -distance), -limit, limit))
    variance = (sigma**2 * expiry)[:, None] + n * std**2
    total_vol = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)
    # a call in units of f_n with strike K / f_n, a put in units of K with forward f_n / K
    one = jnp.ones_like(ratio)
    strike, forward = jnp.where(call[:, None], ratio, one), jnp.where(call[:, None], one, ratio)
    term = black_price(total_vol, strike, one, forward=forward, is_call=jnp.broadcast_to(call[:, None], n.shape))
    unit = jnp.where(call, 1.0, jnp.exp(log_strike))
    value = unit * jnp.sum(weight * term, axis=-1)

    rate, rounded = jax.lax.stop_gradient((rate, value))
    above = gammainc(first + num_terms, rate)
    below = jnp.where(first > 0, gammaincc(jnp.maximum(first, 1.0), rate), 0.0)
    rounding = float(jnp.finfo(dtype).eps) * (16.0 + 4.0 * rate * jnp.log1p(rate)) * rounded
    return value, jax.lax.stop_gradient(unit) * (above + below) + rounding
