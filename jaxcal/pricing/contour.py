"""Contour: where the integral of a quote's price runs, through its saddle point, as far as the integrand reaches."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, Int

from jaxcal.models.base import AbstractFourierModel
from jaxcal.pricing.pricer import total_vol_of

_ROOM = 0.02  # a strip narrower than this beyond the pole is left unused: the contour then crosses between the poles
_LOST = 3.0  # nats by which an integrand may be larger than at its saddle point
_NEAR_BOUND = -1.0  # k / s - s / 2 below which an option is worth more than what it lacks of its upper bound
_TILT = 0.4  # radians: of five tilts up to it, up and down, one is taken; a Gaussian allows less than pi/4
OUTERMOST = 0.7  # radians: what lies beyond the last two is not looked at, but known to be near
# where the integrand is looked at, in t
_SCAN = np.concatenate([[1.0, 2.0], np.arange(2.5, 14.5, 0.5), [15.0, 16.0, 18.0, 20.0, 24.0, 29.0, 35.0, 42.0]])
_CLOSER = 0.125  # and again around the end found, at this distance: peaks may fall between those points
_AROUND = np.arange(-1.0, 2.5, _CLOSER)


class Contour(NamedTuple):
    """Where each quote's contour runs: crossing `q`, width `b`, `tilt`, last node `end`; `outer` if beyond the
    poles, where the integral is the option's value. Between them it is that of the covered option, min(S, K): what the
    value lacks of its upper bound.
    """

    q: Float[Array, " q"]
    b: Float[Array, " q"]
    tilt: Float[Array, " q"]
    end: Float[Array, " q"]
    outer: Array

    def at(
        self, t: Float[Array, "#q n"], beside: Float[ArrayLike, "#q #n"] = 0.0
    ) -> tuple[Complex[Array, "q n"], Complex[Array, "q n"]]:
        """The points z(t + i beside) and dz/dt there."""
        b, tilt = self.b[:, None], self.tilt[:, None] + beside
        along, across = b * jnp.sinh(t), b * jnp.cosh(t)
        rise = -self.q[:, None] + (across - b) * jnp.sin(tilt) + b * (jnp.sin(tilt) - jnp.sin(self.tilt[:, None]))
        z = jax.lax.complex(along * jnp.cos(tilt), rise)
        return z, jax.lax.complex(across * jnp.cos(tilt), along * jnp.sin(tilt))


def contour_of(
    model: AbstractFourierModel,
    log_strike: Float[Array, " q"],
    expiry: Float[Array, " q"],
    num_nodes: int,
    *,
    inside: bool = False,
) -> Contour:
    """A contour for each quote at ln(K / F) and `expiry` years, to be cut into `num_nodes` nodes; not differentiated
    through. With `inside` all cross between the poles.
    """
    fixed = jax.lax.stop_gradient((model, log_strike, expiry))
    return jax.lax.stop_gradient(_place(*fixed, inside, num_nodes))


def _axis(q: Float[Array, " q"]) -> Complex[Array, " q"]:
    return jax.lax.complex(jnp.zeros_like(q), -q)


def _place(
    model: AbstractFourierModel, k: Float[Array, " q"], t: Float[Array, " q"], inside: bool, num_nodes: int
) -> Contour:
    lower, upper = model.moment_bounds(t)
    call = k >= 0
    room = jnp.where(call, upper - 1.0, -lower).astype(t.dtype)
    total_vol = total_vol_of(model, t)
    outer = (room > _ROOM) & (jnp.abs(k) / total_vol - 0.5 * total_vol > _NEAR_BOUND) & (not inside)
    origin, sign = jnp.where(call, 1.0, 0.0), jnp.where(call, 1.0, -1.0)

    def crossing(m: Array) -> Array:
        """Search variable: logarithm of the distance from the pole outside, logit inside (0, 1)."""
        return jnp.where(outer, origin + sign * jnp.exp(jnp.where(outer, m, 0.0)), jax.nn.sigmoid(m))

    def slope(q: Array) -> Array:
        """d/dq of the logarithm of the integrand on the axis, a convex function of q."""
        z = _axis(q)
        tangent = jax.jvp(lambda z: model.log_cf(z, t), (z,), (jnp.ones_like(z),))[1]
        return jnp.real(-1j * tangent) - k - 1.0 / q - 1.0 / (q - 1.0)

    def height(q: Array) -> Array:
        """That logarithm."""
        return jnp.real(model.log_cf(_axis(q), t)) - k * q - jnp.log(jnp.abs(q * (q - 1.0)))

    direction = jnp.where(outer, sign, 1.0)

    def halve(_: Int[ArrayLike, ""], bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = 0.5 * (low + high)
        past = slope(crossing(middle)) * direction > 0
        return jnp.where(past, low, middle), jnp.where(past, middle, high)

    largest = jnp.where(outer, jnp.log(jnp.where(outer, room, 1.0)), 7.0)
    # a law as wide as that of a large volatility over many years has its saddle next to the pole
    least = jnp.where(outer, jnp.minimum(largest, 0.0) - 16.0, -7.0)
    low, high = jax.lax.fori_loop(0, 20, halve, (least, largest))
    q = crossing(0.5 * (low + high))
    # stay away from the last finite moment, where a contour would be narrow, unless too much cancels at that distance
    away = jnp.where(outer, origin + sign * jnp.minimum(jnp.abs(q - origin), 0.85 * room), q)
    here, there = jax.vmap(height)(jnp.stack([q, away]))
    q = jnp.where(there - here > _LOST, q, away)
    from_pole = jnp.minimum(jnp.abs(q), jnp.abs(q - 1.0))
    nearest = jnp.where(outer, jnp.minimum(from_pole, room - jnp.abs(q - origin)), from_pole)
    small = 0.02 * nearest
    either = jnp.stack([q - small, q + small])
    before, after = jax.vmap(slope)(either)
    b = jnp.minimum(jnp.sqrt(2.0 * small / (jnp.abs(after - before) + jnp.finfo(t.dtype).tiny)), nearest)

    def size(tilt: Array, at: Array) -> tuple[Array, Array]:
        """Logarithm of the integrand on the contours of some tilt, and of what it may rise to again."""
        z, dz = Contour(q, b, tilt, q, outer).at(at)
        log_kernel = jnp.real(model.log_cf(z, t[:, None])) + k[:, None] * (1.0 + jnp.imag(z))
        here = log_kernel + jnp.log(jnp.abs(dz / (z * (z + 1j))))
        return here, here + model.revival(z, t[:, None])

    first = size(jnp.zeros_like(q), jnp.zeros((1, 1), t.dtype))[0]  # where all of them cross the axis
    floor = first + float(np.log(0.05 * jnp.finfo(t.dtype).eps))
    points, spacing = jnp.asarray(_SCAN, t.dtype), jnp.asarray(np.diff(_SCAN, prepend=0.0), t.dtype)

    def scan(tilt: Array) -> tuple[Array, Array]:
        """The last point at which the integrand is above rounding, and by how many nats it rises above its value at
        the saddle point.
        """
        found, levelled = size(jnp.full_like(q, tilt), points[None, :])
        last = jnp.max(jnp.where(levelled >= floor, points + spacing, 1.0), axis=-1)
        hill = jnp.max(jnp.where(jnp.isnan(found), -jnp.inf, found) - first, axis=-1)
        return jnp.minimum(last, points[-1]), jnp.maximum(hill, 0.0)

    lower, upper = (jnp.asarray(edge, t.dtype) for edge in model.decay_cone())
    # a half-plane of decay is that of an exponential, whose growth beyond it is slow and shows on the scan; jumps of
    # nearly one size, which make the cone narrower, grow in peaks that may fall between the points of the scan
    limited = upper - lower < 3.0
    below, above = limited & (lower > -_TILT), limited & (upper < _TILT)
    tilts = jnp.asarray(np.linspace(-1.0, 1.0, 5), t.dtype)
    tilts = tilts * jnp.where(tilts < 0, jnp.where(below, -lower, _TILT), jnp.where(above, upper, _TILT))
    ends, hills = jax.vmap(scan)(tilts)
    beyond = jnp.stack([jnp.where(below, jnp.inf, hills[0]), jnp.where(above, jnp.inf, hills[-1])])
    best = jnp.argmin(_log_errors(tilts, ends, hills, beyond, num_nodes), axis=0)
    tilt, end = tilts[best], jnp.take_along_axis(ends, best[None, :], axis=0)[0]
    again = end[:, None] + jnp.asarray(_AROUND, t.dtype)[None, :]
    end = jnp.max(jnp.where(size(tilt, again)[1] >= floor, again, 1.0), axis=-1)
    return Contour(q, b, tilt, jnp.maximum(end + _CLOSER, 1.0), outer)


def _log_errors(
    tilts: Float[Array, " w"], ends: Float[Array, "w q"], hills: Float[Array, "w q"], beyond: Float[Array, "2 q"],
    num_nodes: int,
) -> Float[Array, "w q"]:  # fmt: skip
    """Of the trapezoidal rule on each of the tilts: the integrand at another tilt, times exp(-2 pi distance / step).

    The least of these on either side counts, and what the hill on the contour itself makes of rounding. Where nothing
    is lost to either, the shorter contour is better.
    """
    edges = jnp.asarray([-OUTERMOST, OUTERMOST], tilts.dtype)
    apart = jnp.concatenate([edges[:1], tilts, edges[1:]])[None, :, None] - tilts[:, None, None]
    everywhere = jnp.concatenate([beyond[:1], hills, beyond[1:]])[None, :, :]
    bound = everywhere - 2.0 * jnp.pi * jnp.abs(apart) * (num_nodes / ends)[:, None, :]
    left = jnp.min(jnp.where(apart < 0, bound, jnp.inf), axis=1)
    right = jnp.min(jnp.where(apart > 0, bound, jnp.inf), axis=1)
    rounding = hills + float(np.log(jnp.finfo(ends.dtype).eps))
    return jnp.maximum(jnp.maximum(left, right), rounding) + 0.1 * ends
