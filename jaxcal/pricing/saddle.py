"""A FourierGrid through each quote's saddle point: relative accuracy far from the money, for any parameters.

On the imaginary axis, z = -iq, the integrand exp(k (1 - iz)) phi(z) / (z (z + i)) has a minimum on each side of its
poles q = 0 and q = 1. A contour that crosses there meets an integrand of the size of the price itself, so nothing
cancels (R. Lord and C. Kahl, Journal of Computational Finance 10(4), 2007, "Optimal Fourier inversion"). The contour
is a hyperbola z = -iq - i b sin w + b sinh(t + i w), on which the trapezoidal rule in t converges geometrically,
whatever the scales of the integrand (S. Boyarchenko and S. Levendorskii, IJTAF 22(3), 2019, "Sinh-acceleration").
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcal._reductions import sum_together
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.complex_math import Cartesian, exp, log
from jaxcal.pricing.contour import OUTERMOST, Contour, contour_of
from jaxcal.pricing.fourier import FourierGrid
from jaxcal.pricing.pricer import AbstractPricer, LogValue, PerExpiry, PerQuote, PerStrike
from jaxcal.pricing.revival import from_beside, revives, stepped_over

# offsets from the contour at which the integrand is bounded, in steps of the rule, and the number of intervals of it
_OFFSETS = (-8.0, -4.0, -2.0, -1.0, 1.0, 2.0, 4.0, 8.0)
_INTERVALS = 32


class Saddle(AbstractPricer):
    """One contour a quote: accurate to rounding for all parameters that were tried, at `num_nodes` characteristic
    functions a quote and about 250 more to place the contour.

    Args:
        num_nodes: nodes a quote; None chooses 128, and outside `jit` 512 or 2048 where that is not enough.

    Example:
        >>> Saddle().sized().num_nodes
        128
    """

    num_nodes: int | None = eqx.field(static=True, default=None)

    def sized(self) -> "Saddle":
        return self if self.num_nodes else Saddle(128)

    def finer(self) -> "Saddle | None":
        nodes = self.sized().num_nodes or 128
        return None if nodes >= 2048 else Saddle(4 * nodes)

    @property
    def points(self) -> int:
        return 256 + (self.sized().num_nodes or 128)

    def tolerance(self, dtype: jnp.dtype) -> float:
        return max(1e-10, 100.0 * float(jnp.finfo(dtype).eps))

    def grid(
        self, model: AbstractFourierModel, expiry: PerExpiry, log_strike: PerStrike, total_vol: PerExpiry
    ) -> FourierGrid:
        """One row a quote: the grid has `e * k` rows of one strike."""
        years = jnp.broadcast_to(expiry[:, None], log_strike.shape).ravel()
        return saddle_grid(model, log_strike.ravel(), years, self.sized().num_nodes or 128, inside=True)

    def value(self, model: AbstractFourierModel, expiry: PerQuote, log_strike: PerQuote) -> tuple[PerQuote, PerQuote]:
        grid, bound = grid_and_bound(model, log_strike, expiry, self.sized().num_nodes or 128)
        return values_on(grid, model, bound)

    def log_value(self, model: AbstractFourierModel, expiry: PerQuote, log_strike: PerQuote) -> LogValue:
        grid, bound = grid_and_bound(model, log_strike, expiry, self.sized().num_nodes or 128)
        return logs_on(grid, model, log_strike, bound)


class _Integral(NamedTuple):
    """Of each quote: exp(`shift`) `sum`, which is positive but for rounding; `error` bounds that of `sum`."""

    shift: PerQuote
    sum: PerQuote
    error: PerQuote


def values_on(
    grid: FourierGrid, model: AbstractFourierModel, log_bound: Float[Array, "q n"] | None = None
) -> tuple[PerQuote, PerQuote]:
    """Out-of-the-money values on a grid of `saddle_grid`, in units of the forward, and a bound on their errors; with
    `log_bound` see `stepped_over`.
    """
    found, bound = _integrate(grid, model, log_bound), grid.offset[:, 0]
    size = jnp.exp(found.shift)
    # what is left of a value far below its terms is rounding, of either sign
    value = jnp.where(bound > 0, jnp.clip(bound - size * found.sum, 0.0, bound), size * jnp.maximum(found.sum, 0.0))
    return value, size * found.error + 16.0 * float(jnp.finfo(value.dtype).eps) * bound


def logs_on(
    grid: FourierGrid, model: AbstractFourierModel, log_strike: PerQuote, log_bound: Float[Array, "q n"] | None = None
) -> LogValue:
    """The same by logarithms. Between the poles the integral is the distance to the upper bound, beyond them the value:
    either keeps its relative accuracy however small it is.
    """
    found = _integrate(grid, model, log_bound)
    inner, positive = grid.offset[:, 0] > 0, found.sum > 0
    integral = found.shift + jnp.log(jnp.where(positive, found.sum, 1.0)) - jnp.minimum(log_strike, 0.0)
    # with an error as large as the sum its logarithm is unknown, however little it moves a volatility
    known = positive & (integral < 0) & (found.error < 0.5 * found.sum) & _resolves_phase(grid, model, log_strike)
    error = jnp.where(known, found.error / jnp.where(positive, found.sum, 1.0), jnp.inf)
    integral = jnp.where(known, integral, -1.0)
    other = jnp.log(-jnp.expm1(integral))
    # the relative error of 1 less the integral
    left = error * jnp.exp(integral - other) + float(jnp.finfo(error.dtype).eps)
    value, room = jnp.where(inner, other, integral), jnp.where(inner, integral, other)
    return LogValue(value, room, jnp.where(inner, left, error), jnp.where(inner, error, left))


def _resolves_phase(grid: FourierGrid, model: AbstractFourierModel, log_strike: PerQuote) -> Array:
    """Whether the phase changes by less than a radian in the first step of a rule. At a saddle point it hardly changes;
    if that lies beyond the interval searched it changes so fast that the sum and its error mean nothing.
    """
    model, z, k = jax.lax.stop_gradient((model, grid.nodes[:, 0, :2], log_strike))
    here, step = z[:, 0], z[:, 1] - z[:, 0]
    slope = jax.jvp(lambda z: model.log_cf(z, grid.expiry), (here,), (jnp.ones_like(here),))[1]
    return jnp.abs(jnp.imag((slope - 1j * _complex(k) - 1.0 / here - 1.0 / (here + 1j)) * step)) < 1.0


def _integrate(grid: FourierGrid, model: AbstractFourierModel, log_bound: Float[Array, "q n"] | None) -> _Integral:
    """The trapezoidal rule on a grid of `saddle_grid`, its largest term scaled to 1."""
    log_terms = grid.log_terms(model)[:, 0]
    shift = jax.lax.stop_gradient(jnp.max(jnp.real(log_terms), axis=-1))
    scaled = log_terms - _complex(shift)[:, None]
    terms = exp(Cartesian.of(scaled))
    sign = jnp.where(grid.offset[:, 0] > 0, 1.0, -1.0)
    # the rounding error of an exponent is proportional to its size
    exponents = 4.0 + jnp.abs(log_terms) + jnp.abs(grid.log_factor.to_complex()[:, 0])
    # every other node: the trapezoidal rule with twice the step
    other = jnp.where(jnp.arange(terms.re.shape[-1]) % 2 == 0, 2.0 * terms.re, 0.0)
    total, halved, rounding = sum_together(terms.re, other, (jnp.abs(terms.re) + jnp.abs(terms.im)) * exponents)
    total, halved = sign * total, sign * halved
    # halving the step squares the relative error of a geometrically convergent rule; 5/4 instead of 2 is for safety
    scale = jnp.abs(total)
    missed = jnp.abs(total - halved) / jnp.where(scale > 0, scale, 1.0)
    rounding = 16.0 * scale + rounding
    bound = None if log_bound is None else log_bound - shift[:, None]
    unseen = stepped_over(model, grid.nodes[:, 0], grid.expiry, scaled, bound)
    eps = float(jnp.finfo(total.dtype).eps)
    return _Integral(shift, total, jax.lax.stop_gradient(scale * missed**1.25 + eps * rounding + unseen))


def grid_and_bound(
    model: AbstractFourierModel, log_strike: PerQuote, expiry: PerQuote, num_nodes: int
) -> tuple[FourierGrid, Float[Array, "q n"] | None]:
    """`saddle_grid`, and for `stepped_over` a bound on the error of each of its terms, for a model with revivals."""
    contour = contour_of(model, log_strike, expiry, num_nodes)
    bound = _log_bound(model, contour, log_strike, expiry, num_nodes) if revives(model, expiry) else None
    return _grid(contour, log_strike, expiry, num_nodes), bound


def saddle_grid(
    model: AbstractFourierModel, log_strike: PerQuote, expiry: PerQuote, num_nodes: int, *, inside: bool = False
) -> FourierGrid:
    """A grid of one row a quote, for quotes at ln(K / F) and `expiry` years.

    The placement is not differentiated through (the value does not depend on it); the kernel's dependence on
    `log_strike` is. With `inside` every contour crosses between the poles, where each model has its moments: such
    a grid stays right for other parameters, but far from the money only to rounding of the forward.
    """
    return _grid(contour_of(model, log_strike, expiry, num_nodes, inside=inside), log_strike, expiry, num_nodes)


def _grid(contour: Contour, k: PerQuote, expiry: PerQuote, num_nodes: int) -> FourierGrid:
    """The trapezoidal rule on a contour."""
    t = expiry
    step = contour.end / (num_nodes - 1)
    position = jnp.arange(num_nodes, dtype=t.dtype)[None, :]
    z, dz = contour.at(step[:, None] * position)
    measure = jnp.log(jnp.where(position == 0, 0.5, 1.0) * step[:, None] / jnp.pi)
    # a contour that crosses beyond a pole starts where z (z + i) < 0, at the cut of the logarithm: its phase would jump
    flip = jax.lax.complex(jnp.where(contour.outer, -1.0, 1.0).astype(t.dtype), jnp.zeros_like(t))[:, None]
    turn = jax.lax.complex(jnp.zeros_like(t), jnp.where(contour.outer, np.pi, 0.0).astype(t.dtype))[:, None]
    log_pole = log(flip * (z * (z + 1j))) + turn
    log_factor = _complex(k)[:, None] * (1.0 - 1j * z) + log(dz) - log_pole + _complex(measure)
    row = (k.size, 1)
    weights = jnp.broadcast_to(
        jnp.where(jnp.arange(2 * num_nodes) < num_nodes, -1.0, 0.0).astype(t.dtype), (*row, 2 * num_nodes)
    )
    offset = jnp.where(contour.outer, 0.0, jnp.where(k >= 0, 1.0, jnp.exp(k)))[:, None]
    z, log_factor = Cartesian.of(z[:, None, :]), Cartesian.of(log_factor[:, None, :])
    return FourierGrid(expiry, z, log_factor, weights, jnp.zeros(row, jnp.int32), offset)


def _log_bound(
    model: AbstractFourierModel, contour: Contour, k: PerQuote, t: PerQuote, num_nodes: int
) -> Float[Array, "q n"]:
    """Logarithm of a bound on the error of each term of that rule: the larger of those at the ends of the interval that
    it lies in.
    """
    contour, k, t = jax.lax.stop_gradient((contour, k, t))
    step, stride = contour.end / (num_nodes - 1), -(-num_nodes // _INTERVALS)
    intervals = -(-num_nodes // stride)
    places = step[:, None] * jnp.arange(0, stride * intervals + 1, stride, dtype=t.dtype)[None, :]
    aside = jnp.clip(step[:, None] * jnp.asarray(_OFFSETS, t.dtype)[None, :], -OUTERMOST, OUTERMOST)
    shape = (k.size, len(_OFFSETS), intervals + 1)

    def flat(x: Array) -> Array:
        return jnp.broadcast_to(x, shape).reshape(k.size, -1)

    z, dz = contour.at(flat(places[:, None, :]), flat(aside[:, :, None]))
    log_factor = jnp.log(jnp.abs(dz / (z * (z + 1j)))) + k[:, None] * (1.0 + jnp.imag(z))
    log_factor += jnp.log(step / jnp.pi)[:, None]
    bound = from_beside(model, z.reshape(shape), t, log_factor.reshape(shape), aside / step[:, None])
    return jnp.repeat(jnp.maximum(bound[:, :-1], bound[:, 1:]), stride, axis=-1)[:, :num_nodes]


def _complex(x: Array) -> Array:
    return jax.lax.complex(x, jnp.zeros_like(x))
