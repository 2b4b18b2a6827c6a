"""A FourierGrid from the cosine expansion of F. Fang and C. Oosterlee, SIAM J. Sci. Comput. 31 (2008) 826-848.

Puts are priced and calls follow by parity. The range comes from Chernoff bounds on the tails instead of cumulants
(which fail on heavy tails), and is cut half way to the tail points: the cosine series reflects mass there onto where
the payoff is the same.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.complex_math import Cartesian
from jaxcal.pricing.fourier import FourierGrid
from jaxcal.pricing.pricer import AbstractValuePricer, PerExpiry, PerQuote, PerStrike, total_vol_of
from jaxcal.pricing.revival import beyond_last

_TAIL = 1e-11  # probability that may be lost beyond the range
_TRIALS = np.exp(np.linspace(-7.0, 0.0, 57))  # fractions of the moment interval at which the Chernoff bound is tried


class Cos(AbstractValuePricer):
    """Cosine expansion with `num_terms` terms an expiry, on the real line only.

    Args:
        num_terms: None chooses 512 inside `jit`; outside it, the first of 128, 512, 2048, ... 131,072 that agrees with
            half as many terms to 1e-9 of the forward.

    Example:
        >>> Cos(64).sized().num_terms
        64
    """

    num_terms: int | None = eqx.field(static=True, default=None)

    def sized(self) -> "Cos":
        return self if self.num_terms else Cos(512)

    def finer(self) -> "Cos | None":
        terms = self.sized().num_terms or 512
        return None if terms >= 131072 else Cos(4 * terms)

    @property
    def points(self) -> int:
        return self.sized().num_terms or 512

    def tolerance(self, dtype: jnp.dtype) -> float:
        return max(1e-9, 1000.0 * float(jnp.finfo(dtype).eps))

    def grid(
        self, model: AbstractFourierModel, expiry: PerExpiry, log_strike: PerStrike, total_vol: PerExpiry
    ) -> FourierGrid:
        terms = self.sized().num_terms or 512
        lower, upper = jax.lax.stop_gradient(cos_range(model, expiry, log_strike, total_vol))
        k = log_strike[:, :, None]
        a, b = lower[:, None, None], upper[:, None, None]
        u = jnp.arange(terms, dtype=expiry.dtype)[None, None, :] * (jnp.pi / (b - a))
        y = u * (k - a)
        # (22) and (23) of the paper over [a, k]
        sine, cosine = jnp.sin(y), jnp.cos(y)
        growth = (jnp.exp(k) * (cosine + u * sine) - jnp.exp(a)) / (1.0 + u * u)
        flat = jnp.where(u > 0, sine / jnp.where(u > 0, u, 1.0), k - a)
        payoff = 2.0 / (b - a) * (jnp.exp(k) * flat - growth)
        payoff = payoff * jnp.where(u > 0, 1.0, 0.5)
        nodes = jax.lax.complex(u, jnp.zeros_like(u))
        offset = jnp.where(log_strike >= 0, 1.0 - jnp.exp(log_strike), 0.0)
        weights = jnp.concatenate([payoff, jnp.zeros_like(payoff)], axis=-1)
        side = jnp.zeros(log_strike.shape, jnp.int32)
        return FourierGrid(expiry, Cartesian.of(nodes), Cartesian(jnp.zeros_like(u), -u * a), weights, side, offset)

    def value(self, model: AbstractFourierModel, expiry: PerQuote, log_strike: PerQuote) -> tuple[PerQuote, PerQuote]:
        grid = self.grid(model, expiry, log_strike[:, None], total_vol_of(model, expiry))
        terms = jnp.split(grid.weights[:, 0] * grid.factored_cf(model)[:, 0], 2, axis=-1)[0]
        low, high = jnp.split(terms, 2, axis=-1)
        value = grid.offset[:, 0] + jnp.sum(low, axis=-1) + jnp.sum(high, axis=-1)
        # the line -i/2, on which revivals are bounded, has the modulus of the real line or less
        last = grid.nodes[:, 0, -1] - 0.5j
        unseen = beyond_last(model, last, log_strike, expiry)
        return value, jnp.abs(jnp.sum(high, axis=-1)) + jnp.sqrt(jnp.sum(high**2, axis=-1)) + unseen


def cos_range(
    model: AbstractFourierModel, expiry: PerExpiry, log_strike: PerStrike, total_vol: PerExpiry
) -> tuple[PerExpiry, PerExpiry]:
    """The interval [a, b] of ln(S_T / F) for each expiry.

    P(X < x) <= M(-q) e^(q x) gives the tail points. Mass between a tail point and the end of the range is reflected by
    the series; a put's reflected payoff is right below every strike (up to e^a) and zero above, so the range may end
    half way. Where the model knows no moments beyond (0, 1) the range is 24 total volatilities each way.
    """
    low_q, high_q = model.moment_bounds(expiry)
    width = 8.0 / jnp.minimum(total_vol, 1e3)  # the optimum of the bound never lies beyond this
    fractions = jnp.asarray(_TRIALS, expiry.dtype)[None, :]
    k_low, k_high = jnp.min(log_strike, axis=-1), jnp.max(log_strike, axis=-1)
    # of a put's value in units of the forward: its payoff is up to its strike
    log_tail = float(np.log(_TAIL)) - jnp.maximum(k_high, 0.0)

    def log_moment(q: Array) -> Array:
        return jnp.real(model.log_cf(jax.lax.complex(jnp.zeros_like(q), -q), expiry[:, None]))

    down = jnp.minimum(-low_q, 1e3 * width)[:, None] * 0.999 * fractions
    up = jnp.minimum(high_q, 1e3 * width)[:, None] * 0.999 * fractions
    known = (low_q < -1e-6)[:, None] & jnp.ones_like(fractions, bool)
    lowest = jnp.max(
        jnp.where(known, (log_tail[:, None] - log_moment(-down)) / jnp.where(known, down, 1.0), -jnp.inf), axis=-1
    )
    highest = jnp.min((log_moment(up) - log_tail[:, None]) / up, axis=-1)
    spread = 24.0 * total_vol
    lowest = jnp.where(jnp.isfinite(lowest), lowest, -spread)
    highest = jnp.where(high_q > 1.0 + 1e-6, highest, jnp.maximum(highest, spread))
    # the reflected put is short by e^a or less where mass lies near a, by e^(2a - x) where it lies at x far below
    cut = jnp.minimum(0.5 * (lowest + k_low), float(np.log(_TAIL)))
    inverse = jnp.where(low_q < -1.001, log_moment(-jnp.ones_like(log_tail)[:, None])[:, 0], jnp.inf)
    cut = jnp.where(known[:, 0], jnp.minimum(cut, 0.5 * (float(np.log(_TAIL)) - inverse)), cut)
    a = jnp.maximum(cut, lowest)
    a = jnp.minimum(a, k_low - 0.1 * total_vol)
    b = jnp.maximum(0.5 * (highest + k_high), k_high + 0.1 * total_vol)
    return a, b
