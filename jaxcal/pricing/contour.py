"""Contour: the path of integration of each quote, through its saddle point, cut where the integrand is negligible."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from jaxcal._reductions import max_together
from jaxcal.models.base import AbstractFourierModel
from jaxcal.pricing.pricer import PerQuote, total_vol_of
from jaxcal.pricing.revival import revival_bound

_ROOM = 0.02  # a strip narrower than this beyond the pole is left unused: the contour then crosses between the poles
_LOST = 3.0  # nats by which an integrand may be larger than at its saddle point
_NEAR_BOUND = -1.0  # k / s - s / 2 below which an option is worth more than its distance to the upper bound
_TILT = 0.4  # radians: the largest of five tilts that are tried, up or down; a Gaussian allows less than pi/4
OUTERMOST = 0.7  # radians: so far the integrand is taken to be as large as at the outermost tilt, without evaluation
# where the integrand is evaluated, in t
_SCAN = np.concatenate([[1.0, 2.0], np.arange(2.5, 14.5, 0.5), [15.0, 16.0, 18.0, 20.0, 24.0, 29.0, 35.0, 42.0]])
_CLOSER = 0.125  # spacing of a second scan, around the end found: peaks may fall between those points
_AROUND = np.arange(-1.0, 2.5, _CLOSER)
_HALVINGS = 20  # of the bracket of a saddle point
_ASIDE = 0.02  # of the distance to the nearest singularity: step of the finite difference for the width


class Contour(NamedTuple):
    """Where each quote's contour runs: crossing `q`, width `b`, `cosine` and `sine` of its tilt, last node `end`;
    `outer` if beyond the poles, where the integral is the option's value. Between them it is the value of the covered
    call, min(S, K): the upper bound less the option's value.
    """

    q: PerQuote
    b: PerQuote
    cosine: PerQuote
    sine: PerQuote
    end: PerQuote
    outer: Array

    def at(
        self, t: Float[Array, "#q n"], beside: Float[Array, "#q #n"] | None = None
    ) -> tuple[Complex[Array, "q n"], Complex[Array, "q n"]]:
        """The points z(t + i beside) and dz/dt there."""
        b, level = self.b[:, None], self.sine[:, None]
        cosine, sine = self.cosine[:, None], level
        if beside is not None:
            turn, lift = jnp.cos(beside), jnp.sin(beside)
            cosine, sine = cosine * turn - sine * lift, sine * turn + cosine * lift
        # b sinh(t) and b (cosh(t) - 1), of one exponential
        grown = jnp.expm1(t)
        shrunk = grown / (1.0 + grown)
        along, ahead = 0.5 * b * (grown + shrunk), 0.5 * b * (grown * shrunk)
        z = jax.lax.complex(along * cosine, -self.q[:, None] + ahead * sine + b * (sine - level))
        return z, jax.lax.complex((b + ahead) * cosine, along * sine)


def contour_of(
    model: AbstractFourierModel, log_strike: PerQuote, expiry: PerQuote, num_nodes: int, *, inside: bool = False
) -> Contour:
    """A contour for each quote at ln(K / F) and `expiry` years, for a rule of `num_nodes` nodes; not differentiated
    through. With `inside` all cross between the poles.
    """
    fixed = jax.lax.stop_gradient((model, log_strike, expiry))
    return jax.lax.stop_gradient(_place(*fixed, inside, num_nodes))


class _Search(NamedTuple):
    """State of the search for the saddle point: a bracket of the search variable, the logarithm of the integrand at two
    points, its slope at two, and the next point.
    """

    low: PerQuote
    high: PerQuote
    heights: tuple[Array, Array]
    slopes: tuple[Array, Array]
    at: PerQuote


class _Scan(NamedTuple):
    """For each tilt the end of its contour and the height of its peak; and the tilt scanned last, with its end."""

    ends: Float[Array, "w q"]
    peaks: Float[Array, "w q"]
    which: Int[Array, " q"]
    end: PerQuote


def _place(model: AbstractFourierModel, k: PerQuote, t: PerQuote, inside: bool, num_nodes: int) -> Contour:
    """The crossing, then the tilt and the end. Each is one loop whose iterations evaluate the model at equally many
    points, the last ones for another purpose, as every shape is compiled separately.
    """
    lower, upper = model.moment_bounds(t)
    call = k >= 0
    room = jnp.where(call, upper - 1.0, -lower).astype(t.dtype)
    total_vol = total_vol_of(model, t)
    outer = (room > _ROOM) & (jnp.abs(k) / total_vol - 0.5 * total_vol > _NEAR_BOUND) & (not inside)
    q, b, height = _crossing(model, k, t, room, outer)
    cosine, sine, end = _tilt(model, k, t, Contour(q, b, q, q, q, outer), height + k + jnp.log(b), num_nodes)
    return Contour(q, b, cosine, sine, end, outer)


def _crossing(
    model: AbstractFourierModel, k: PerQuote, t: PerQuote, room: PerQuote, outer: Array
) -> tuple[PerQuote, PerQuote, PerQuote]:
    """Where a contour crosses the axis, its width, and the logarithm of the integrand there."""
    origin, sign = jnp.where(k >= 0, 1.0, 0.0), jnp.where(k >= 0, 1.0, -1.0)
    direction = jnp.where(outer, sign, 1.0)

    def log_integrand(q: Array) -> tuple[Array, Array]:
        """The logarithm of the integrand on the axis, a convex function of q, and its slope d/dq."""
        z = jax.lax.complex(jnp.zeros_like(q), -q)
        value, slope = jax.jvp(lambda z: model.log_cf(z, t), (z,), (jnp.ones_like(z),))
        height = jnp.real(value) - k * q - jnp.log(jnp.abs(q * (q - 1.0)))
        return height, jnp.real(-1j * slope) - k - 1.0 / q - 1.0 / (q - 1.0)

    def candidates(s: _Search) -> tuple[Array, Array, Array, Array]:
        """The saddle point; a point kept away from the last finite moment, where a contour would be narrow; the one to
        cross at, the second unless too much cancels there; and the distance of the nearest singularity.
        """
        # the search variable is the logarithm of the distance from the pole outside, logit inside (0, 1)
        m = 0.5 * (s.low + s.high)
        saddle = jnp.where(outer, origin + sign * jnp.exp(jnp.where(outer, m, 0.0)), jax.nn.sigmoid(m))
        away = jnp.where(outer, origin + sign * jnp.minimum(jnp.abs(saddle - origin), 0.85 * room), saddle)
        q = jnp.where(s.heights[1] - s.heights[0] > _LOST, saddle, away)
        from_pole = jnp.minimum(jnp.abs(q), jnp.abs(q - 1.0))
        nearest = jnp.where(outer, jnp.minimum(from_pole, room - jnp.abs(q - origin)), from_pole)
        return saddle, away, q, nearest

    def look(turn: Int[Array, ""], s: _Search) -> _Search:
        """Halve the bracket; then evaluate the integrand at both candidates; then its slopes on both sides of the
        chosen one. The next point is carried: otherwise XLA would compute it again for each use.
        """
        height, slope = log_integrand(s.at)
        left = _HALVINGS - turn
        m, past = 0.5 * (s.low + s.high), slope * direction > 0
        low, high = jnp.where((left > 0) & ~past, m, s.low), jnp.where((left > 0) & past, m, s.high)
        one, two = (jnp.where(left >= -1, new, old) for new, old in zip((s.heights[1], height), s.heights, strict=True))
        found = _Search(low, high, (one, two), (s.slopes[1], slope), s.at)
        saddle, away, q, nearest = candidates(found)
        beside = q + jnp.where(left == -1, -_ASIDE, _ASIDE) * nearest
        return found._replace(at=jnp.where(left >= 1, saddle, jnp.where(left == 0, away, beside)))

    largest = jnp.where(outer, jnp.log(jnp.where(outer, room, 1.0)), 7.0)
    # a distribution as wide as that of a large volatility over many years has its saddle next to the pole
    least = jnp.where(outer, jnp.minimum(largest, 0.0) - 16.0, -7.0)
    none = (jnp.zeros_like(t), jnp.zeros_like(t))
    start = _Search(least, largest, none, none, t)
    found = jax.lax.fori_loop(0, _HALVINGS + 4, look, start._replace(at=candidates(start)[0]))
    _, _, q, nearest = candidates(found)
    before, after = found.slopes
    bend = (jnp.abs(after - before) + jnp.finfo(t.dtype).tiny) / (2.0 * _ASIDE * nearest)
    here, there = found.heights
    return q, jnp.minimum(1.0 / jnp.sqrt(bend), nearest), jnp.where(there - here > _LOST, here, there)


def _tilt(
    model: AbstractFourierModel, k: PerQuote, t: PerQuote, level: Contour, first: PerQuote, num_nodes: int
) -> tuple[PerQuote, PerQuote, PerQuote]:
    """Cosine and sine of the best tilt of a contour, and how far it then reaches, given its crossing and width, and the
    logarithm of the integrand at the crossing, which all tilts share.
    """
    lower, upper = (jnp.asarray(edge, t.dtype) for edge in model.decay_cone())
    # a half-plane of decay is that of an exponential, whose growth beyond it is slow and shows on the scan; jumps of
    # nearly one size, which make the cone narrower, grow in peaks that may fall between the points of the scan
    limited = upper - lower < 3.0
    below, above = limited & (lower > -_TILT), limited & (upper < _TILT)
    tilts = jnp.asarray(np.linspace(-1.0, 1.0, 5), t.dtype)
    tilts = tilts * jnp.where(tilts < 0, jnp.where(below, -lower, _TILT), jnp.where(above, upper, _TILT))
    cosines, sines = jnp.cos(tilts), jnp.sin(tilts)
    points, spacing = jnp.asarray(_SCAN, t.dtype), jnp.asarray(np.diff(_SCAN, prepend=0.0), t.dtype)
    around = jnp.asarray(np.pad(_AROUND, (0, _SCAN.size - _AROUND.size), "edge"), t.dtype)

    def look(turn: Int[Array, ""], s: _Scan) -> _Scan:
        """For one tilt, the last point at which the integrand is above rounding, and by how many nats it rises above
        its value at the saddle point; last, for the best tilt, a finer scan around the end found.
        """
        beyond = jnp.stack([jnp.where(below, jnp.inf, s.peaks[0]), jnp.where(above, jnp.inf, s.peaks[-1])])
        best = jnp.argmin(_log_errors(tilts, s.ends, s.peaks, beyond, num_nodes), axis=0)
        end = jnp.take_along_axis(s.ends, best[None, :], axis=0)
        again = turn == tilts.size
        which = jnp.where(again, best, turn)
        at = jnp.where(again, end[0][:, None] + around[None, :], points[None, :])
        z, dz = level._replace(cosine=cosines[which], sine=sines[which]).at(at)
        log_kernel = jnp.real(model.log_cf(z, t[:, None])) + k[:, None] * (1.0 + jnp.imag(z))
        found = log_kernel + jnp.log(jnp.abs(dz / (z * (z + 1j))))
        envelope = found + revival_bound(model, z, t[:, None])  # with the peaks that may follow
        floor = first + float(np.log(0.05 * jnp.finfo(t.dtype).eps))
        seen = at + jnp.where(again, 0.0, spacing)[None, :]
        last, top = max_together(
            jnp.where(envelope >= floor[:, None], seen, 1.0), jnp.where(jnp.isnan(found), -jnp.inf, found)
        )
        row = (jnp.arange(tilts.size) == turn)[:, None]
        ends = jnp.where(row, jnp.minimum(last, points[-1])[None, :], s.ends)
        peaks = jnp.where(row, jnp.maximum(top - first, 0.0)[None, :], s.peaks)
        return _Scan(ends, peaks, which, last)

    each, one = jnp.ones((tilts.size, t.size), t.dtype), jnp.ones_like(t)
    found = jax.lax.fori_loop(0, tilts.size + 1, look, _Scan(each, 0.0 * each, jnp.zeros(t.shape, int), one))
    return cosines[found.which], sines[found.which], jnp.maximum(found.end + _CLOSER, 1.0)


def _log_errors(
    tilts: Float[Array, " w"], ends: Float[Array, "w q"], peaks: Float[Array, "w q"], beyond: Float[Array, "2 q"],
    num_nodes: int,
) -> Float[Array, "w q"]:  # fmt: skip
    """Of the trapezoidal rule on each of the tilts: the integrand at another tilt, times exp(-2 pi distance / step).

    The smallest of these on either side counts, and the rounding error, which the peak on the contour itself sets.
    Where both are negligible, the shorter contour is better.
    """
    edges = jnp.asarray([-OUTERMOST, OUTERMOST], tilts.dtype)
    apart = jnp.concatenate([edges[:1], tilts, edges[1:]])[None, :, None] - tilts[:, None, None]
    everywhere = jnp.concatenate([beyond[:1], peaks, beyond[1:]])[None, :, :]
    bound = everywhere - 2.0 * jnp.pi * jnp.abs(apart) * (num_nodes / ends)[:, None, :]
    left = jnp.min(jnp.where(apart < 0, bound, jnp.inf), axis=1)
    right = jnp.min(jnp.where(apart > 0, bound, jnp.inf), axis=1)
    rounding = peaks + float(np.log(jnp.finfo(ends.dtype).eps))
    return jnp.maximum(jnp.maximum(left, right), rounding) + 0.1 * ends
