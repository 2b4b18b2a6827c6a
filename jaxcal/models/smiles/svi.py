"""SVI: the total variance of one expiry as a hyperbola in log-strike, and Durrleman's condition for a smile."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxcal._types import BoolLike, RealLike, float_arrays
from jaxcal.formulas.black import log_moneyness
from jaxcal.models.base import AbstractVolModel
from jaxcal.models.interval import Interval


class Smile(NamedTuple):
    """Total variance w at some log-strikes k = ln(K / F), with its first and second derivative in k."""

    w: Array
    slope: Array
    curvature: Array

    def durrleman(self, k: Array) -> Array:
        """g(k) = (1 - k w' / (2 w))^2 - w'^2 / 4 (1 / w + 1 / 4) + w'' / 2.

        The risk-neutral density is g times a positive function: a smile has no butterfly arbitrage where g >= 0
        (V. Durrleman, thesis, Princeton 2003; J. Gatheral and A. Jacquier, Quantitative Finance 14, 2014, eq. 2.1).
        """
        return (
            (1.0 - 0.5 * k * self.slope / self.w) ** 2
            - 0.25 * self.slope**2 * (1.0 / self.w + 0.25)
            + 0.5 * self.curvature
        )


class SVI(AbstractVolModel):
    """Raw SVI: total variance w(k) = a + b (rho (k - m) + sqrt((k - m)^2 + sigma^2)), with k = ln(K / F).

    The five parameters are those of one expiry, and of variance times years: vol^2 = w / T. The bounds of a calibration
    exclude butterfly arbitrage: the slopes of both wings stay within Lee's bound, b (1 + |rho|) <= 2, and `a` at or
    above `least_a`. A model with other parameters may have some: `durrleman` shows it.

    Args:
        a: level.
        b: slope of the wings, not negative; b (1 - rho) to the left, b (1 + rho) to the right.
        rho: rotation, in (-1, 1).
        m: translation, in log-strike.
        sigma: width of the vertex, in log-strike, positive.

    Raises:
        ValueError: outside `jit`, where b is negative, rho not in (-1, 1), sigma not positive, or the minimum total
            variance, a + b sigma sqrt(1 - rho^2), negative.

    References:
        J. Gatheral, "A parsimonious arbitrage-free implied volatility parameterization", Global Derivatives, Madrid
        2004; J. Gatheral and A. Jacquier, "Arbitrage-free SVI volatility surfaces", Quantitative Finance 14 (2014),
        eq. 3.1; R. Lee, Mathematical Finance 14 (2004) 469-480.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> import jaxcal as jc
        >>> model = jc.SVI(a=0.01, b=0.1, rho=-0.4, m=0.05, sigma=0.2)
        >>> [round(float(v), 6) for v in model.vol(jnp.asarray([80.0, 100.0, 120.0]), 0.5, 100.0)]
        [0.330997, 0.255404, 0.239534]
    """

    a: Float[Array, "*batch"] | float
    b: Float[Array, "*batch"] | float
    rho: Float[Array, "*batch"] | float
    m: Float[Array, "*batch"] | float
    sigma: Float[Array, "*batch"] | float

    per_expiry: ClassVar[bool] = True
    bounds: ClassVar[Mapping[str, Interval]] = {
        "rho": Interval(-0.999, 0.999, "linear"),
        "b": Interval(1e-6, 1.999, "log", unit=lambda model: 1.0 / (1.0 + abs(model.rho))),
        "m": Interval(-3.0, 3.0, "linear"),
        "sigma": Interval(1e-4, 10.0, "log"),
        "a": Interval(0.0, 10.0, "linear", origin=lambda model: _smooth_least_a(model)),
    }

    def violations(self) -> Mapping[str, BoolLike]:
        square = 1.0 - self.rho * self.rho
        return {
            "b must not be negative": self.b < 0,
            "rho must lie in (-1, 1)": abs(self.rho) >= 1,
            "sigma must be positive": self.sigma <= 0,
            # tolerance for rounding: on its bound the minimum variance is zero
            "a + b sigma sqrt(1 - rho^2) must not be negative": (self.a < 0)
            & ((self.a * self.a) > (1.0 + 1e-5) * (self.b * self.sigma) * (self.b * self.sigma) * square),
        }

    def vol(self, strike: RealLike, expiry: RealLike, forward: RealLike) -> Float[Array, "..."]:
        """Black volatilities, decimal. NaN where strike, forward or expiry is not positive or variance is negative."""
        k, expiry = log_strike(strike, expiry, forward)
        return vol_of(self.total_variance(k), expiry)

    def total_variance(self, k: RealLike) -> Float[Array, "..."]:
        """w at log-strikes `k` = ln(K / F): variance times years.

        Example:
            >>> import jaxcal as jc
            >>> round(float(jc.SVI(a=0.01, b=0.1, rho=-0.4, m=0.05, sigma=0.2).total_variance(0.0)), 9)
            0.032615528
        """
        return self.smile(k).w

    def durrleman(self, k: RealLike) -> Float[Array, "..."]:
        """Durrleman's g at log-strikes `k` = ln(K / F): negative where there is butterfly arbitrage.

        Example:
            >>> import jaxcal as jc
            >>> vogt = jc.SVI(a=-0.0410, b=0.1331, rho=0.3060, m=0.3586, sigma=0.4153)
            >>> [round(float(g), 4) for g in vogt.durrleman(jnp.asarray([0.0, 0.8, 1.0]))]
            [1.0386, -0.0298, -0.0277]
        """
        return self.smile(k).durrleman(jnp.asarray(k))

    def smile(self, k: RealLike) -> Smile:
        """Total variance at log-strikes `k` with its first and second derivative.

        Example:
            >>> import jaxcal as jc
            >>> smile = jc.SVI(a=0.01, b=0.1, rho=-0.4, m=0.05, sigma=0.2).smile(0.05)
            >>> round(float(smile.slope), 6), round(float(smile.curvature), 6)
            (-0.04, 0.5)
        """
        a, b, rho, m, sigma, k = float_arrays(self.a, self.b, self.rho, self.m, self.sigma, k)
        value, slope, curvature = hyperbola(k - m, rho, sigma**2)
        return Smile(a + b * value, b * slope, b * curvature)

    def least_a(self) -> Float[Array, "*batch"]:
        """The least `a` without butterfly arbitrage, for b, rho, m and sigma as they are and b (1 + |rho|) <= 2.

        A smile has butterfly arbitrage exactly where its `a` is below this. At one log-strike k, Durrleman's g >= 0 is
        a quadratic inequality in 1 / w, and where it holds everywhere, k w' / (2 w) <= 1 - |w'| / 4 holds too (M.
        Fukasawa, Mathematical Finance 22, 2012); together they say that w is not below a number known in closed form.
        The result is the largest of these numbers less b (...), over all k, found to rounding. Its derivatives, of
        first order, are those of the closed form.

        Example:
            >>> import jaxcal as jc
            >>> vogt = jc.SVI(a=-0.0410, b=0.1331, rho=0.3060, m=0.3586, sigma=0.4153)
            >>> least = vogt.least_a()
            >>> repaired = jc.SVI(least, vogt.b, vogt.rho, vogt.m, vogt.sigma)
            >>> k = jnp.linspace(-3.0, 3.0, 601)
            >>> round(float(least), 6), bool(jnp.all(repaired.durrleman(k) > -1e-9))
            (-0.032674, True)
        """
        return jnp.max(butterfly_lifts(*float_arrays(self.b, self.rho, self.m, self.sigma))[..., :2], axis=-1)

    def jump_wings(self, expiry: RealLike) -> tuple[Array, Array, Array, Array, Array]:
        """The SVI-JW parameters (v, psi, p, c, v_tilde) at an expiry in years (Gatheral and Jacquier 2014, eq. 3.5).

        At-the-money variance, at-the-money skew, slopes of the left and right wing over at-the-money total volatility,
        and the minimum variance.

        Example:
            >>> import jaxcal as jc
            >>> vogt = jc.SVI(a=-0.0410, b=0.1331, rho=0.3060, m=0.3586, sigma=0.4153)
            >>> [round(float(x), 7) for x in vogt.jump_wings(1.0)]
            [0.0174263, -0.1752111, 0.6997381, 1.3167982, 0.0116249]
        """
        a, b, rho, sigma, t = float_arrays(self.a, self.b, self.rho, self.sigma, expiry)
        w, slope, _ = self.smile(0.0)
        root = jnp.sqrt(w)
        least = a + b * sigma * jnp.sqrt((1.0 - rho) * (1.0 + rho))
        return w / t, 0.5 * slope / root, b * (1.0 - rho) / root, b * (1.0 + rho) / root, least / t

    @classmethod
    def from_jump_wings(
        cls, v: RealLike, psi: RealLike, p: RealLike, c: RealLike, v_tilde: RealLike, expiry: RealLike
    ) -> "SVI":
        """The raw SVI of SVI-JW parameters; arguments as `jump_wings` returns them.

        Gatheral and Jacquier 2014, lemma 3.2, without its cases: with beta = m / sqrt(m^2 + sigma^2) both m and sigma
        follow from v - v_tilde. Where the smile has its minimum at the money, v = v_tilde, sigma is not determined and
        the result is NaN.

        Example:
            >>> import jaxcal as jc
            >>> model = jc.SVI.from_jump_wings(0.01742625, -0.1752111, 0.6997381, 1.316798, 0.0116249, 1.0)
            >>> round(float(model.m), 4), round(float(model.sigma), 4)
            (0.3586, 0.4153)
        """
        v, psi, p, c, v_tilde, t = float_arrays(v, psi, p, c, v_tilde, expiry)
        root = jnp.sqrt(v * t)
        b = 0.5 * root * (c + p)
        rho = (c - p) / (c + p)
        beta = rho - 2.0 * psi * root / b
        apart = jnp.sqrt((1.0 - rho) * (1.0 + rho) * (1.0 - beta) * (1.0 + beta))
        # 1 - rho beta - apart = 1 - cos of the angle between them, without its cancellation
        radius = (v - v_tilde) * t * (1.0 - rho * beta + apart) / (b * (rho - beta) ** 2)
        sigma = radius * jnp.sqrt((1.0 - beta) * (1.0 + beta))
        return cls(v_tilde * t - b * sigma * jnp.sqrt((1.0 - rho) * (1.0 + rho)), b, rho, radius * beta, sigma)


def hyperbola(x: Array, rho: Array, width: Array) -> Smile:
    """rho x + sqrt(x^2 + width) and its first and second derivative in x, for width > 0 and |rho| <= 1.

    Where rho and x have opposite signs the parts cancel: there the value is a quotient of positive numbers, and the
    slope is a difference from that of the asymptote.
    """
    r = jnp.sqrt(x * x + width)
    tilt = rho * x
    opposed = tilt < 0
    room = (1.0 - rho) * (1.0 + rho)
    value = jnp.where(opposed, (room * x * x + width) / (r + jnp.abs(tilt)), tilt + r)
    side = jnp.where(x < 0, -1.0, 1.0).astype(x.dtype)
    around = (rho + side) - side * width / (r * (r + jnp.abs(x)))
    slope = jnp.where(opposed & (x * x > width), around, rho + x / r)
    return Smile(value, slope, width / (r * r * r))


_REACH, _POINTS, _GOLDEN = 13.0, 79, 0.6180339887498949
KINK = 1e-3  # over which kinks of the least level, as between two binding log-strikes, are smoothed, by b sigma


def _lift(k: Array, b: Array, rho: Array, m: Array, sigma: Array) -> Array:
    """How large `a` must be for no butterfly arbitrage at log-strike `k`; see `SVI.least_a`.

    With p = w', q = w'', B = k p + p^2 / 4 and C = 1 + q / 2 - p^2 / 16, g = C - B / w + (k p / (2 w))^2: where B and
    the discriminant are positive, w must not be below the larger root, (B + sqrt(B^2 - k^2 p^2 C)) / (2 C).
    """
    value, p, q = hyperbola(k - m, rho, sigma**2)
    p, q = b * p, b * q
    pull = k * p
    lead, free = pull + 0.25 * p * p, 1.0 + 0.5 * q - p * p / 16
    square = lead * lead - pull * pull * free
    binds = (square > 0) & (lead > 0)
    root = (lead + jnp.sqrt(jnp.where(binds, square, 1.0))) / (2.0 * free)
    steep = 0.5 * pull / (1.0 - 0.25 * jnp.minimum(jnp.abs(p), 3.0))
    return jnp.maximum(jnp.where(binds, root, 0.0), steep) - b * value


@jax.jit
@partial(jnp.vectorize, signature="(),(),(),()->(n)")
def butterfly_lifts(b: Array, rho: Array, m: Array, sigma: Array) -> Array:
    """`highest_peaks` of `_lift`.

    The grid is fine around the vertex, on the scale of its width, and around the money, on that of the strikes at which
    k is comparable to the slope.
    """
    return highest_peaks(_lift, (m, sigma), (jnp.zeros_like(b), 0.1 * b), b, rho, m, sigma)


def highest_peaks(
    fn: Callable[..., Array],
    first: tuple[Array, Array],
    second: tuple[Array, Array],
    *parameters: Array,
    points: int = _POINTS,
) -> Array:
    """`[3]` the two highest peaks of `fn(k, *parameters)`, on a grid, then by golden section, and how low it falls
    between them; the second and that are -inf where there is one peak only. Derivatives are those of `fn` there.

    Args:
        fn: of log-strikes.
        first, second: centre and scale of the two halves of the grid, which reach 221,000 scales to both sides.
        parameters: numbers.
        points: of each half.
    """
    fixed = tuple(jax.lax.stop_gradient(x) for x in parameters)
    reach = jnp.sinh(jnp.linspace(-_REACH, _REACH, points, dtype=fixed[0].dtype))
    halves = (jax.lax.stop_gradient(centre) + jax.lax.stop_gradient(scale) * reach for centre, scale in (first, second))
    k = jnp.sort(jnp.concatenate(list(halves)))
    value = fn(k, *fixed)
    rising = jnp.concatenate([jnp.ones(1, bool), value[1:] > value[:-1]])
    falling = jnp.concatenate([value[1:] <= value[:-1], jnp.ones(1, bool)])
    # the largest is always one, or NaN
    peak = (rising & falling) | (jnp.arange(k.size) == jnp.argmax(value))
    best = jax.lax.top_k(jnp.where(peak, value, -jnp.inf), 2)[1]

    def narrow(_: Int[ArrayLike, ""], bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        keep_left = fn(left, *fixed) > fn(right, *fixed)
        return jnp.where(keep_left, low, left), jnp.where(keep_left, right, high)

    around = k[jnp.maximum(best - 1, 0)], k[jnp.minimum(best + 1, k.size - 1)]
    low, high = jax.lax.fori_loop(0, 40, narrow, around)
    found = fn(jax.lax.stop_gradient(0.5 * (low + high)), *parameters)
    index = jnp.arange(k.size, dtype=best.dtype)
    between = (index > jnp.min(best)) & (index < jnp.max(best))
    valley = fn(k[jnp.argmin(jnp.where(between, value, jnp.inf))], *parameters)
    second_peak = jnp.where(peak[best[1]], found[1], -jnp.inf)
    return jnp.stack([found[0], second_peak, jnp.where(peak[best[1]], valley, -jnp.inf)])


def smooth_peak(peaks: Float[Array, "*batch 3"], width: Array) -> Float[Array, "*batch"]:
    """The higher of `highest_peaks`; where they are no further apart than `width`, up to a quarter of it more, so that
    there is no kink, and nothing more where the valley between them ends.
    """
    first, second, valley = peaks[..., 0], peaks[..., 1], peaks[..., 2]
    several = jnp.isfinite(second)
    second, valley = (jnp.where(several, x, first - 2.0 * width) for x in (second, valley))
    near = jnp.maximum(width - jnp.abs(first - second), 0.0)
    depth = jnp.maximum(jnp.minimum(first, second) - valley, 0.0)
    return jnp.maximum(first, second) + 0.25 * near * near / width * depth / (depth + 0.25 * width)


def _smooth_least_a(model: SVI) -> Array:
    """`least_a` with the kink smoothed where two log-strikes bind: never below it, and no more than b sigma / 4000
    above. On the kink itself a solver would stall.
    """
    b, rho, m, sigma = float_arrays(model.b, model.rho, model.m, model.sigma)
    lifts = butterfly_lifts(b, rho, m, sigma)
    return smooth_max(lifts[..., 0], lifts[..., 1], KINK * b * sigma)


def smooth_max(x: Array, y: Array, width: Array) -> Array:
    """The larger of two numbers; where they are no further apart than `width`, up to a quarter of it more: no kink.

    Example:
        >>> [float(smooth_max(jnp.asarray(1.0), jnp.asarray(y), jnp.asarray(0.5))) for y in (0.0, 1.0)]
        [1.0, 1.125]
    """
    near = jnp.maximum(width - jnp.abs(x - y), 0.0)
    return jnp.maximum(x, y) + 0.25 * near * near / width


def log_strike(strike: RealLike, expiry: RealLike, forward: RealLike) -> tuple[Array, Array]:
    """ln(K / F), and the expiry broadcast to it; NaN where strike, forward or expiry is not positive."""
    strike, expiry, forward = jnp.broadcast_arrays(*float_arrays(strike, expiry, forward))
    valid = (strike > 0) & (forward > 0) & (expiry > 0)
    k = -log_moneyness(jnp.where(valid, forward, 1.0), jnp.where(valid, strike, 1.0))
    return k, jnp.where(valid, expiry, jnp.nan)


def vol_of(w: Array, expiry: Array) -> Array:
    """sqrt(w / T): NaN where w is negative; with derivative 0 where it is 0."""
    alive = w > 0
    return jnp.where(alive, jnp.sqrt(jnp.where(alive, w, 1.0) / expiry), jnp.where(w == 0, 0.0, jnp.nan))
