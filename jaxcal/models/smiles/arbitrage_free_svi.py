"""ArbitrageFreeSVI: a hyperbola of its own for every expiry, tied so that the surface has no static arbitrage.

A smile of SVI is free of butterfly arbitrage exactly where its level `a` is not below a least one, known from its other
four numbers (`SVI.least_a`). The same holds for calendar arbitrage. With w_i(k) = a_i + b_i h_i(k), slice i is nowhere
below slice i - 1 exactly where neither of its wings is flatter and

    a_i >= a_{i-1} + max over k of (b_{i-1} h_{i-1}(k) - b_i h_i(k)).

So slices in the order of time, whose wings grow steeper by some steps and whose level is above the least one by some
lift, are all the surfaces of SVI slices without static arbitrage; the steps and the lifts are a box.
"""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal._types import BoolLike, RealLike, float_arrays
from jaxcal.formulas.black import otm_ratio
from jaxcal.formulas.implied_vol import implied_vol_of_logs
from jaxcal.models.base import AbstractVolModel
from jaxcal.models.interval import Interval
from jaxcal.models.smiles.essvi import increments, knots_rules, place_in, slopes, steps_of_slope
from jaxcal.models.smiles.svi import (
    KINK,
    SVI,
    butterfly_lifts,
    highest_peaks,
    hyperbola,
    log_strike,
    smooth_max,
    smooth_peak,
    vol_of,
)

_STEEPEST = 2.0  # of w, by Lee's bound
_FINE = 625  # places where slices that are nearly the same may touch: two closer than a twentieth of sigma are one
_AT_A_KNOT = 1e-6  # relative, in time


class Below(NamedTuple):
    """What the slice of the next expiry stands on.

    Attributes:
        right, left: sums of the steps of the wings so far.
        slice: of the expiry before; `b` is 0 where there is none.
    """

    right: Array
    left: Array
    slice: SVI


class ArbitrageFreeSVI(AbstractVolModel):
    """A slice of raw SVI for every expiry, free of static arbitrage for all parameters within the bounds: at, between
    and beyond the expiries, and at all strikes.

    Neither butterfly nor calendar arbitrage is excluded by a penalty or by more than there is to exclude: up to the
    smoothing of kinks (b sigma / 4000 in total variance) every surface of SVI slices without arbitrage is one of these.
    Where quotes would have it otherwise, a lift is 0: the slice rests on the one before, or on its butterfly bound.

    Between two knots the prices are a mixture of theirs at the same K / F, with which both kinds of arbitrage stay away
    (Gatheral and Jacquier 2014, lemma 5.1), such that at-the-money total variance is linear in time. Before the first
    knot total variance is proportional to time, beyond the last it grows by the same at every strike, at the pace that
    it has at the money in the last interval; neither brings arbitrage in: Durrleman's g is concave in a factor of w
    from 0 to 1, and not negative at both ends, and a higher level is a larger `a`.

    A calibration takes the quoted expiries for knots, and starts from a fit of `ESSVI`, whose slices are SVI, then
    expiry by expiry, each slice above the one before. An expiry with fewer quotes than five keeps what of its `ESSVI`
    slice its quotes do not determine. `of_slices` makes a surface from SVI slices, and `at_knots` gives them.

    Args:
        knots: `[n]` increasing expiries, years; not a parameter.
        right: `[n]` how much steeper the right wing is than that of the expiry before (the first: than 0): the slope of
            w is 2 (1 - exp(-x / 2)), where x is the sum of `right` so far.
        left: `[n]` likewise, for the left wing.
        m: `[n]` translation, in log-strike.
        sigma: `[n]` width of the vertex, in log-strike, positive.
        lift: `[n]` level of the slice above the least one without arbitrage, in total variance.

    Raises:
        ValueError: outside `jit`, where knots are not positive and increasing, right, left or lift are negative, the
            first of right or left is 0, or sigma is not positive.

    References:
        J. Gatheral and A. Jacquier, "Arbitrage-free SVI volatility surfaces", Quantitative Finance 14 (2014) 59-71; C.
        Martini and A. Mingone, "No arbitrage SVI", SIAM Journal on Financial Mathematics 13 (2022) 227-261.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> import jaxcal as jc
        >>> a, b, sigma = (jnp.asarray(x) for x in ([0.004, 0.03], [0.04, 0.1], [0.1, 0.2]))
        >>> slices = jc.SVI(a, b, rho=jnp.asarray([-0.4, -0.5]), m=jnp.asarray([0.0, 0.05]), sigma=sigma)
        >>> model = jc.ArbitrageFreeSVI.of_slices(jnp.asarray([0.25, 1.0]), slices)
        >>> [round(float(v), 6) for v in model.vol(jnp.asarray([80.0, 100.0, 120.0]), 0.5, 100.0)]
        [0.300723, 0.214656, 0.23488]
    """

    knots: Float[Array, "..."]
    right: Float[Array, "..."]
    left: Float[Array, "..."]
    m: Float[Array, "..."]
    sigma: Float[Array, "..."]
    lift: Float[Array, "..."]

    vectors: ClassVar[frozenset[str]] = frozenset({"knots", "right", "left", "m", "sigma", "lift"})
    bounds: ClassVar[Mapping[str, Interval]] = {
        "right": Interval(1e-8, 20.0, "linear"),
        "left": Interval(1e-8, 20.0, "linear"),
        "m": Interval(-3.0, 3.0, "linear"),
        "sigma": Interval(1e-4, 10.0, "log"),
        "lift": Interval(0.0, 10.0, "linear"),
    }

    def violations(self) -> Mapping[str, BoolLike]:
        return {
            **knots_rules(self.knots),
            "right must not be negative, nor its first 0": (self.right < 0).any(-1) | (self.right[..., 0] == 0),
            "left must not be negative, nor its first 0": (self.left < 0).any(-1) | (self.left[..., 0] == 0),
            "sigma must be positive": (self.sigma <= 0).any(-1),
            "lift must not be negative": (self.lift < 0).any(-1),
        }

    @classmethod
    def of_slices(cls, knots: RealLike, slices: SVI) -> "ArbitrageFreeSVI":
        """The surface of these slices, whose fields are `[n]`; where they have arbitrage, one without: wings that are
        flatter than before are as steep as before, and levels that are too low are the least ones.

        Example:
            >>> import jaxcal as jc
            >>> a, flat = jnp.asarray([0.02, 0.01]), jnp.full(2, 0.1)  # the second below the first
            >>> slices = jc.SVI(a, flat, 0.0 * flat, 0.0 * flat, flat)
            >>> found = jc.ArbitrageFreeSVI.of_slices(jnp.asarray([0.5, 1.0]), slices)
            >>> [round(float(x), 4) for x in found.at_knots().a]
            [0.02, 0.02]
        """
        knots, a, b, rho, m, sigma = float_arrays(knots, slices.a, slices.b, slices.rho, slices.m, slices.sigma)
        steps = (increments(steps_of_slope(b * (1.0 + side * rho), _STEEPEST)) for side in (1.0, -1.0))
        right, left = (step.at[0].max(1e-8) for step in steps)

        def turn(below: Below, here: tuple[Array, ...]) -> tuple[Below, Array]:
            a, right, left, m, sigma = here
            least, above = cls.above(below, right, left, m, sigma, jnp.zeros_like(a))
            lift = jnp.maximum(a - least.a, 0.0)
            return above._replace(slice=SVI(least.a + lift, least.b, least.rho, least.m, least.sigma)), lift

        _, lift = jax.lax.scan(turn, first_below(b.dtype), (a, right, left, m, sigma))
        return cls(knots, right, left, m, sigma, lift)

    @staticmethod
    def above(below: Below, right: Array, left: Array, m: Array, sigma: Array, lift: Array) -> tuple[SVI, Below]:
        """The slice that these numbers are above the one `below`, and what the next stands on."""
        right, left = below.right + right, below.left + left
        b, rho = _wings(*(-_STEEPEST * jnp.expm1(-x / _STEEPEST) for x in (right, left)))
        before, first = below.slice, below.slice.b <= 0
        lower = (
            jnp.where(first, y, x) for x, y in ((before.b, b), (before.rho, rho), (before.m, m), (before.sigma, sigma))
        )
        least, drop = _least(tuple(lower), (b, rho, m, sigma))
        # without a slice below only the butterfly bound counts
        level = _level(least, jnp.where(first, least - 1.0, before.a + drop), b * sigma)
        at = SVI(level + lift, b, rho, m, sigma)
        return at, Below(right, left, at)

    def at_knots(self) -> SVI:
        """The slices at the knots: fields `[n]`."""
        right, left, m, sigma, lift = float_arrays(self.right, self.left, self.m, self.sigma, self.lift)
        own = (*_wings(slopes(right, _STEEPEST), slopes(left, _STEEPEST)), m, sigma)
        before = tuple(jnp.concatenate([x[:1], x[:-1]]) for x in own)
        least, drop = _least(before, own)

        def next_level(before: Array, here: tuple[Array, ...]) -> tuple[Array, Array]:
            least, drop, scale, lift = here
            a = _level(least, before + drop, scale) + lift
            return a, a

        # the first stands on nothing: on a level that is too low to count
        lowest = jnp.min(least[:1]) - drop[0] - 1.0
        _, a = jax.lax.scan(next_level, lowest, (least, drop, own[0] * sigma, lift))
        return SVI(a, *own)

    def slices(self, expiry: Float[Array, "*shape"]) -> SVI:
        """The slices at expiries that are knots; NaN at others, where a smile is no hyperbola: `vol` knows it."""
        knots, t = float_arrays(self.knots, expiry)
        place, _ = place_in(knots, t)
        known = jnp.abs(t - knots[place]) <= _AT_A_KNOT * t
        return jax.tree.map(lambda x: jnp.where(known, x[place], jnp.nan), self.at_knots())

    def vol(self, strike: RealLike, expiry: RealLike, forward: RealLike) -> Float[Array, "..."]:
        """Black volatilities, decimal. NaN where strike, forward or expiry is not positive."""
        k, years = log_strike(strike, expiry, forward)
        return vol_of(self.total_variance(k, jnp.where(years > 0, years, 1.0)), years)

    def total_variance(self, k: RealLike, expiry: RealLike) -> Float[Array, "..."]:
        """w at log-strikes `k` = ln(K / F) and expiries in years: variance times years."""
        knots, k, t = float_arrays(self.knots, k, expiry)
        k, t = jnp.broadcast_arrays(k, t)
        place, share = place_in(knots, t)
        at = self.at_knots()
        here, before = (jax.tree.map(lambda x, i=i: x[i], at) for i in (place, jnp.maximum(place - 1, 0)))
        first, last = place == 0, share >= 1.0
        level, low = here.total_variance(0.0), jnp.where(first, 0.0, before.total_variance(0.0))
        w, growth = here.total_variance(k), (level - low) * jnp.maximum(share - 1.0, 0.0)
        between = ~first & ~last
        # placeholders elsewhere: what is not used must not spoil a derivative
        values = (before.total_variance(k), w, low, level, share)
        values = (jnp.where(between, x, safe) for x, safe in zip(values, (0.04, 0.09, 0.04, 0.09, 0.5), strict=True))
        mixed = _mixed(jnp.abs(k), *values)
        return jnp.where(between, mixed, jnp.where(last, w + growth, share * w))


def first_below(dtype: jnp.dtype) -> Below:
    """What the first slice stands on: nothing."""
    zero = jnp.zeros((), dtype)
    return Below(zero, zero, SVI(zero, zero, zero, zero, jnp.ones((), dtype)))


def _wings(right: Array, left: Array) -> tuple[Array, Array]:
    """b and rho of the slopes of both wings."""
    return 0.5 * (right + left), (right - left) / (right + left)


def _least(before: tuple[Array, ...], own: tuple[Array, ...]) -> tuple[Array, Array]:
    """The least level without butterfly arbitrage, and how much above that of the slice before, of b, rho, m, sigma."""
    b, _, _, sigma = own
    width = KINK * b * sigma
    return smooth_peak(butterfly_lifts(*own), width), smooth_peak(_drops(*before, *own), width)


def _level(least: Array, above: Array, scale: Array) -> Array:
    return smooth_max(least, above, KINK * scale)


@jax.jit
@partial(jnp.vectorize, signature="(),(),(),(),(),(),(),()->(n)")
def _drops(b0: Array, rho0: Array, m0: Array, sigma0: Array, b: Array, rho: Array, m: Array, sigma: Array) -> Array:
    """`highest_peaks` of `_drop`, on a grid that is fine around both vertices."""
    return highest_peaks(_drop, (m0, sigma0), (m, sigma), b0, rho0, m0, sigma0, b, rho, m, sigma, points=_FINE)


def _drop(
    k: Array, b0: Array, rho0: Array, m0: Array, sigma0: Array, b: Array, rho: Array, m: Array, sigma: Array
) -> Array:
    """By how much one slice without its level is above another."""
    return b0 * hyperbola(k - m0, rho0, sigma0**2).w - b * hyperbola(k - m, rho, sigma**2).w


def _mixed(distance: Array, w_before: Array, w: Array, low: Array, level: Array, share: Array) -> Array:
    """Total variance of a mixture of the prices of two, at log-distance `distance` from the money; `low` and `level`
    are theirs at the money. In logarithms: far from the money prices underflow.
    """
    lowest, highest, middle = (
        jnp.exp(_log_prices(jnp.zeros_like(x), x)[0]) for x in (low, level, (1.0 - share) * low + share * level)
    )
    apart = highest > lowest
    weight = jnp.where(apart, (middle - lowest) / jnp.where(apart, highest - lowest, 1.0), share)
    weight = jnp.clip(weight, 1e-12, 1.0 - 1e-12)
    value, room = (
        jnp.minimum(jnp.logaddexp(jnp.log1p(-weight) + x, jnp.log(weight) + y), 0.0)  # rounding
        for x, y in zip(_log_prices(distance, w_before), _log_prices(distance, w), strict=True)
    )
    vol, _, _ = implied_vol_of_logs(value, room, distance, jnp.ones_like(distance))
    return vol**2


def _log_prices(distance: Array, w: Array) -> tuple[Array, Array]:
    """Logarithms of an out-of-the-money value over min(F, K), and of its distance to 1."""
    z, ratio, above = otm_ratio(distance, jnp.sqrt(w))
    one = jnp.log(ratio) - 0.5 * z * z - 0.5 * jnp.log(2.0 * jnp.pi)
    other = jnp.log1p(-jnp.exp(one))
    return jnp.where(above, other, one), jnp.where(above, one, other)
