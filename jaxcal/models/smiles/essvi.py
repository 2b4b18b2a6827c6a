"""eSSVI: a smile of SSVI for every expiry, each with a skew and a curvature of its own, free of static arbitrage.

S. Hendriks and C. Martini, "The extended SSVI volatility surface", Journal of Computational Finance 22 (2019) 25-39. A
slice is SSVI with its own theta, rho and psi = theta phi; in terms of the slopes that 2 w has in its wings,
u = psi (1 + rho) to the right and d = psi (1 - rho) to the left, and of the width h = 1 / phi = theta / psi,

- a slice has no butterfly arbitrage where max(u, d) < 4 and max(u, d) <= 4 h (J. Gatheral and A. Jacquier,
  Quantitative Finance 14, 2014, theorem 4.2), and
- two slices have no calendar arbitrage where none of u, d and h falls (Hendriks and Martini 2019, proposition 3.5; A.
  Mingone, "No arbitrage global parametrization for the eSSVI volatility surface", Quantitative Finance 22, 2022).

So three rising sequences are a surface. Mingone writes the same set as a box of rho, increments of theta, and shares of
the interval that is left for psi; here the box is that of the increments of u, d and h, of which none depends on later
ones, and which have no kink where rho is the same at two expiries.
"""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal._types import BoolLike, RealLike, float_arrays
from jaxcal.models.base import AbstractVolModel
from jaxcal.models.interval import Interval
from jaxcal.models.smiles.ssvi import ssvi_smile
from jaxcal.models.smiles.svi import Smile, log_strike, vol_of

_STEEPEST = 4.0  # of 2 w, by Lee's bound


class SSVISlices(eqx.Module):
    """Smiles of SSVI, one for every place of its fields.

    Attributes:
        theta: at-the-money total variance.
        psi: theta phi.
        rho: correlation.

    Example:
        >>> slices = SSVISlices(jnp.asarray(0.04), jnp.asarray(0.2), jnp.asarray(-0.5))
        >>> round(float(slices.vol(100.0, 1.0, 100.0)), 6)
        0.2
    """

    theta: Float[Array, "*shape"]
    psi: Float[Array, "*shape"]
    rho: Float[Array, "*shape"]

    def vol(self, strike: RealLike, expiry: RealLike, forward: RealLike) -> Float[Array, "..."]:
        """Black volatilities, decimal. NaN where strike, forward or expiry is not positive."""
        k, years = log_strike(strike, expiry, forward)
        return vol_of(self.smile(k).w, years)

    def smile(self, k: RealLike) -> Smile:
        """Total variance at log-strikes `k` = ln(K / F), with its first and second derivative in `k`."""
        k, theta, psi, rho = jnp.broadcast_arrays(*float_arrays(k, self.theta, self.psi, self.rho))
        return ssvi_smile(k, theta, psi / theta, rho)


class _Knots(NamedTuple):
    """The slices at the knots: `[n]` each, of 2 w the slopes of its wings, and theta."""

    right: Array
    left: Array
    theta: Array


class ESSVI(AbstractVolModel):
    """eSSVI: w(k) = (theta + rho psi k + sqrt((psi k + rho theta)^2 + theta^2 (1 - rho^2))) / 2 with theta, rho and psi
    of its own for every expiry, free of static arbitrage for all parameters within the bounds.

    Between two knots theta, psi and rho psi are linear in time, before the first they are proportional to it, beyond
    the last only theta grows, at the pace of the last interval. None of the conditions at the top of this file is lost
    there: u and d are linear, h is a quotient of two linear functions and so has no turn, and psi max(u, d), convex in
    time, stays below 4 theta, which is linear.

    A calibration takes the quoted expiries for knots. `of_slices` makes a surface from theta, rho and psi, and `slices`
    gives them at any expiry.

    Args:
        knots: `[n]` increasing expiries, years; not a parameter.
        right: `[n]` how much steeper the right wing is than that of the expiry before (the first: than 0): the slope of
            2 w is u = 4 (1 - exp(-x / 4)), where x is the sum of `right` so far.
        left: `[n]` likewise, for the left wing and d.
        width: `[n]` how much larger h = theta / psi is, in log-strike, than the least it may be: than that of the
            expiry before, and max(u, d) / 4.

    Raises:
        ValueError: outside `jit`, where knots are not positive and increasing, right, left or width are negative, or
            the first of right or left is 0.

    References:
        S. Hendriks and C. Martini (2019); A. Mingone (2022, arXiv 2204.00312); J. Corbetta, P. Cohort, I. Laachir and
        C. Martini, "Robust calibration and arbitrage-free interpolation of SSVI slices", Decisions in Economics and
        Finance 42 (2019) 665-677.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> import jaxcal as jc
        >>> theta, rho, psi = (jnp.asarray(x) for x in ([0.01, 0.05], [-0.5, -0.6], [0.1, 0.25]))
        >>> model = jc.ESSVI.of_slices(jnp.asarray([0.25, 1.0]), theta, rho, psi)
        >>> [round(float(v), 6) for v in model.vol(jnp.asarray([80.0, 100.0, 120.0]), 0.5, 100.0)]
        [0.303732, 0.216025, 0.179701]
    """

    knots: Float[Array, "..."]
    right: Float[Array, "..."]
    left: Float[Array, "..."]
    width: Float[Array, "..."]

    vectors: ClassVar[frozenset[str]] = frozenset({"knots", "right", "left", "width"})
    bounds: ClassVar[Mapping[str, Interval]] = {
        "right": Interval(1e-8, 40.0, "linear"),
        "left": Interval(1e-8, 40.0, "linear"),
        "width": Interval(0.0, 100.0, "linear"),
    }

    def violations(self) -> Mapping[str, BoolLike]:
        return {
            **knots_rules(self.knots),
            "right must not be negative, nor its first 0": (self.right < 0).any(-1) | (self.right[..., 0] == 0),
            "left must not be negative, nor its first 0": (self.left < 0).any(-1) | (self.left[..., 0] == 0),
            "width must not be negative": (self.width < 0).any(-1),
        }

    @classmethod
    def of_slices(cls, knots: RealLike, theta: RealLike, rho: RealLike, psi: RealLike) -> "ESSVI":
        """The surface of these slices, `[n]` each; where they have arbitrage, the nearest one above them: what falls
        from one expiry to the next stays as it was, and so do u, d and h where they are too large or too small.

        Example:
            >>> import jaxcal as jc
            >>> knots, theta = jnp.asarray([0.25, 1.0]), jnp.asarray([0.01, 0.05])
            >>> model = jc.ESSVI.of_slices(knots, theta, jnp.asarray([-0.5, -0.6]), jnp.asarray([0.1, 0.25]))
            >>> [round(float(x), 12) for x in model.slices(jnp.asarray(1.0)).psi.ravel()]
            [0.25]
        """
        knots, theta, rho, psi = float_arrays(knots, theta, rho, psi)
        steep = (increments(steps_of_slope(psi * (1.0 + side * rho), _STEEPEST)) for side in (1.0, -1.0))
        right, left = (step.at[0].max(1e-8) for step in steep)
        least = 0.25 * jnp.maximum(*(slopes(x, _STEEPEST) for x in (right, left)))
        h = jax.lax.cummax(jnp.maximum(theta / psi, least))
        before = jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]])
        return cls(knots, right, left, h - jnp.maximum(before, least))

    def slices(self, expiry: Float[Array, "*shape"]) -> SSVISlices:
        """theta, psi and rho at expiries in years."""
        knots, t = float_arrays(self.knots, expiry)
        at = self._at_knots()
        theta = interpolated(knots, at.theta, t, grows=True)
        right, left = (interpolated(knots, x, t) for x in (at.right, at.left))
        psi = 0.5 * (right + left)
        return SSVISlices(theta, psi, 0.5 * (right - left) / psi)

    def _at_knots(self) -> _Knots:
        right, left, width = float_arrays(self.right, self.left, self.width)
        right, left = slopes(right, _STEEPEST), slopes(left, _STEEPEST)
        least = 0.25 * jnp.maximum(right, left)

        def next_width(before: Array, here: tuple[Array, Array]) -> tuple[Array, Array]:
            h = jnp.maximum(before, here[0]) + here[1]
            return h, h

        _, h = jax.lax.scan(next_width, jnp.zeros_like(least[0]), (least, width))
        return _Knots(right, left, 0.5 * h * (right + left))

    def smile(self, k: RealLike, expiry: RealLike) -> Smile:
        """Total variance at log-strikes `k` = ln(K / F) and expiries in years, with its first and second derivative in
        `k`; the arguments broadcast.
        """
        return self.slices(jnp.asarray(expiry)).smile(k)

    def total_variance(self, k: RealLike, expiry: RealLike) -> Float[Array, "..."]:
        """w at log-strikes `k` = ln(K / F) and expiries in years: variance times years."""
        return self.smile(k, expiry).w

    def durrleman(self, k: RealLike, expiry: RealLike) -> Float[Array, "..."]:
        """Durrleman's g at log-strikes `k` and expiries in years: negative where there is butterfly arbitrage."""
        smile = self.smile(k, expiry)
        return smile.durrleman(jnp.broadcast_to(jnp.asarray(k, smile.w.dtype), smile.w.shape))

    def vol(self, strike: RealLike, expiry: RealLike, forward: RealLike) -> Float[Array, "..."]:
        """Black volatilities, decimal. NaN where strike, forward or expiry is not positive."""
        _, years = log_strike(strike, expiry, forward)
        return self.slices(jnp.where(years > 0, years, 1.0)).vol(strike, expiry, forward)


def slopes(steps: Float[Array, " n"], steepest: float) -> Float[Array, " n"]:
    """Slopes of a wing that rise by `steps` from 0 on and stay below `steepest`.

    Example:
        >>> [round(float(x), 4) for x in slopes(jnp.asarray([0.1, 0.2, 100.0]), 2.0)]
        [0.0975, 0.2786, 2.0]
    """
    return -steepest * jnp.expm1(-jnp.cumsum(steps) / steepest)


def steps_of_slope(slope: Float[Array, " n"], steepest: float) -> Float[Array, " n"]:
    """The sums of steps whose `slopes` these are; those of slopes that are too steep are large.

    Example:
        >>> [round(float(x), 4) for x in steps_of_slope(jnp.asarray([0.0975, 0.2786]), 2.0)]
        [0.1, 0.3]
    """
    return -steepest * jnp.log1p(-jnp.minimum(slope / steepest, 0.9999))


def increments(values: Float[Array, " n"]) -> Float[Array, " n"]:
    """Steps, none negative, of the largest values so far.

    Example:
        >>> increments(jnp.asarray([1.0, 3.0, 2.0, 4.0])).tolist()
        [1.0, 2.0, 0.0, 1.0]
    """
    return jnp.diff(jax.lax.cummax(values), prepend=jnp.zeros_like(values[:1]))


def interpolated(
    knots: Float[Array, " n"], values: Float[Array, " n"], t: Float[Array, "*shape"], *, grows: bool = False
) -> Float[Array, "*shape"]:
    """Linear in time between knots, from 0 at time 0; beyond the last the same, or where it `grows` linear still.

    Knots that repeat the one before have no say.

    Example:
        >>> knots, values = jnp.asarray([1.0, 2.0]), jnp.asarray([1.0, 3.0])
        >>> interpolated(knots, values, jnp.asarray([0.5, 1.5, 3.0]), grows=True).tolist()
        [0.5, 2.0, 5.0]
    """
    place, share = place_in(knots, t)
    share = share if grows else jnp.minimum(share, 1.0)
    before = jnp.where(place > 0, values[jnp.maximum(place - 1, 0)], 0.0)
    return before * (1.0 - share) + values[place] * share


def place_in(knots: Float[Array, " n"], t: Float[Array, "*shape"]) -> tuple[Array, Array]:
    """The number of the knot that ends the interval of a time, and the share of the interval before that time: above 1
    beyond the last knot.

    Example:
        >>> place, share = place_in(jnp.asarray([1.0, 2.0]), jnp.asarray([1.5]))
        >>> place.tolist(), share.tolist()
        ([1], [0.5])
    """
    within = jnp.minimum(t, knots[-1])[..., None]
    place = jnp.sum(knots.reshape((1,) * t.ndim + knots.shape) < within, axis=-1)
    place = jnp.minimum(place, knots.shape[0] - 1)  # of a time that is NaN
    start = jnp.where(place > 0, knots[jnp.maximum(place - 1, 0)], 0.0)
    return place, (t - start) / (knots[place] - start)


def knots_rules(knots: Array) -> Mapping[str, BoolLike]:
    """The rule that `knots` are increasing times."""
    return {"knots must rise from above 0": (knots[..., 0] <= 0) | (knots[..., 1:] <= knots[..., :-1]).any(-1)}
