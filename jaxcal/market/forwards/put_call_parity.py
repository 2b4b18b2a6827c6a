"""Parity: forward and discount of one expiry from put-call parity, by robust regression."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jaxcal._types import FloatColumn

_NEAR = 1.5  # pairs within this many at-the-money straddles of the forward (1.2 standard deviations) are used ...
_FEWEST = 10  # ... or this many nearest ones, where there are fewer
_BIWEIGHT = 4.685  # residuals beyond this many standard deviations get weight zero: 95 % efficient on normal noise
_SPREAD_NOISE = 12**-0.5  # in spreads, before the pairs are looked at: the truth is anywhere between bid and ask ...
_SPREAD_PAIRS = 2.0  # ... which counts as much as this many pairs
_SMALLEST_NOISE = 0.05  # in spreads: mids that agree better than this agree by chance of the tick size
_MEDIAN_DEVIATION = 0.6745  # of a standard normal variable
_SPREAD_OF_WEIGHTED = 1.17  # variance of normal noise over that of biweighted residuals, at 95 % efficiency
_NORMAL_95 = 1.959964  # standard deviations either side of the mean that hold 95 %
_LARGEST_SAMPLE = 60  # pairs from which the starting slope is taken


@dataclass(frozen=True)
class ParityFit:
    """The estimates from put-call parity for one expiry.

    Attributes:
        forward: forward price, NaN where there is no pair.
        discount: discount factor, NaN where fewer than three strikes leave it open. It is what the pairs say, be that
            negative or a hundred; where it is not positive there is no forward.
        forward_error: standard error of the forward, NaN where unknown. Two of them are a 95 % interval: with few pairs
            it is wider, as Student's t is. It assumes independent errors of the pairs; on recorded chains neighbouring
            quotes are correlated, and the error is about three times this.
        discount_error: standard error of the discount, in the same sense; that of the argument where it was given, NaN
            where unknown.
        num_pairs: pairs near the money, outliers included.
    """

    forward: float
    discount: float
    forward_error: float
    discount_error: float
    num_pairs: int


def fit_parity(
    strike: FloatColumn,
    call: FloatColumn,
    put: FloatColumn,
    spread: FloatColumn,
    *,
    discount: float | None = None,
    discount_error: float = 0.0,
    in_coin: bool = False,
) -> ParityFit:
    """Forward and discount of one expiry from `call - put = discount * (forward - strike)`, robustly.

    Pairs near the money are weighted by the inverse square of their spread. Pairs that do not fit (a stale or a
    mistyped quote) get weight zero by Tukey's biweight, which starts from medians, so that one rogue pair does not
    move the result. In coin, `call - put = 1 - strike / forward` and the discount is 1.

    The noise of the pairs is estimated from their residuals and from their spread: before a pair is seen the truth may
    be anywhere between bid and ask, so three pairs that happen to lie on a line do not pass for exact, and no pair is
    called rogue for a residual that its spread explains. The more pairs, the less the spread counts; and the less where
    the residuals contradict it.

    Args:
        strike: `[n]` positive strikes, one pair each, in any order.
        call: `[n]` discounted mid of the call.
        put: `[n]` discounted mid of the put.
        spread: `[n]` sum of both bid-ask spreads; what is zero or NaN is taken for the smallest positive one.
        discount: the discount factor where it is known.
        discount_error: its standard error, which is part of that of the forward where the pairs lie to one side.
        in_coin: prices are in the coin.

    Returns:
        The fit; NaN where the pairs do not tell. With fewer than three strikes and no `discount` the forward is
        taken with discount 1.

    Source: Beaton and Tukey (1974), "The fitting of power series", for the biweight; Sen (1968), "Estimates of the
        regression coefficient based on Kendall's tau", for the start; DuMouchel and O'Brien (1989), "Integrating a
        robust option into a multiple regression computing environment", for the residuals where pairs are few.
    """
    order = np.lexsort((put, call, strike))  # sums must not depend on the order of the rows
    strike, difference, straddle, spread = strike[order], (call - put)[order], (call + put)[order], spread[order]
    if in_coin and len(strike):
        keep = difference < 1.0
        strike, difference, straddle, spread = strike[keep], difference[keep], straddle[keep], spread[keep]
    if not len(strike):
        return ParityFit(np.nan, np.nan, np.nan, np.nan, 0)
    # Where call and put cost the same, the strike is the forward whatever the discount.
    rough = strike / (1.0 - difference) if in_coin else strike + difference
    centre = float(np.median(rough[np.argsort(np.abs(difference), kind="stable")[:5]]))
    near = _near_the_money(strike, centre, straddle * (centre if in_coin else 1.0))
    strike, difference, known_spread = strike[near], difference[near], float(np.mean(spread[near] > 0.0))
    spread = _positive(spread[near], centre, in_coin)
    if in_coin or discount is not None or len(np.unique(strike)) < 3:
        factor = 1.0 if in_coin or discount is None else discount
        implied = strike / (1.0 - difference) if in_coin else strike + difference / factor
        scale = spread * implied if in_coin else spread / factor
        design, start = np.ones((len(strike), 1)), np.array([np.median(implied)])
        (forward,), covariance = _robust_fit(design, implied, scale, start, known_spread)
        if discount is None and not in_coin:
            return ParityFit(float(forward), np.nan, float(np.sqrt(covariance[0, 0])), np.nan, len(strike))
        beside = float(forward - np.average(strike, weights=scale**-2.0)) / factor
        error = float(np.sqrt(covariance[0, 0] + (beside * discount_error) ** 2))
        return ParityFit(float(forward), factor, error, 0.0 if in_coin else discount_error, len(strike))
    distance = strike - centre
    slope = _median_slope(distance, difference)
    design = np.stack([np.ones_like(distance), distance], 1)
    start = np.array([np.median(difference - slope * distance), slope])
    (level, slope), covariance = _robust_fit(design, difference, spread, start, known_spread)
    if not slope < 0.0:
        return ParityFit(np.nan, float(-slope), np.nan, float(np.sqrt(covariance[1, 1])), len(strike))
    gradient = np.array([-1.0 / slope, level / slope**2])
    errors = np.sqrt([gradient @ covariance @ gradient, covariance[1, 1]])
    return ParityFit(float(centre - level / slope), float(-slope), float(errors[0]), float(errors[1]), len(strike))


def _near_the_money(strike: FloatColumn, centre: float, straddle: FloatColumn) -> NDArray[np.int64]:
    """Positions, in order of strike, of the pairs near the money: far ones have wide spreads and stale sides."""
    distance = np.abs(strike - centre)
    nearest = np.argsort(distance, kind="stable")
    width = _NEAR * float(np.median(straddle[nearest[:3]]))
    return np.sort(nearest[: max(int((distance <= width).sum()), _FEWEST)])


def _positive(spread: FloatColumn, centre: float, in_coin: bool) -> FloatColumn:
    """Spreads to divide by; prices without a spread all count the same."""
    positive = spread[spread > 0.0]
    smallest = positive.min() if positive.size else 1e-4 * (1.0 if in_coin else centre)
    return np.where(spread > 0.0, spread, smallest)


def _median_slope(x: FloatColumn, y: FloatColumn) -> float:
    """Median of the slopes between all pairs of points (the Theil-Sen estimate)."""
    if len(x) > _LARGEST_SAMPLE:
        kept = np.linspace(0, len(x) - 1, _LARGEST_SAMPLE).round().astype(int)
        x, y = x[kept], y[kept]
    i, j = np.triu_indices(len(x), 1)
    apart = x[i] != x[j]
    return float(np.median((y[j] - y[i])[apart] / (x[j] - x[i])[apart]))


def _robust_fit(
    design: FloatColumn, y: FloatColumn, scale: FloatColumn, start: FloatColumn, known_spread: float
) -> tuple[FloatColumn, NDArray[np.float64]]:
    """Coefficients and their covariance by iterated weighted least squares with Tukey's biweight.

    `known_spread` is the share of the pairs whose `scale` is a spread. The covariance is that of the normal variable of
    which as much lies within 1.96 deviations as of Student's t; NaN where the pairs do not tell.
    """
    number, size = design.shape
    precision, left = 1.0 / scale**2, float(number - size)
    at_hand = _SPREAD_PAIRS * known_spread
    rows = design / scale[:, None]
    leverage = np.einsum("ij,ji->i", rows, np.linalg.pinv(rows))
    # a fit goes nearer to the points that hold it: residuals as they would be if all held it alike
    inflation = 1.0 / np.sqrt(np.clip(1.0 - leverage, 1e-4, None))
    coefficients, normal, biweight = start, np.eye(size), np.ones(number)
    for _ in range(50):
        residual = (y - design @ coefficients) / scale * (inflation if left else 1.0)
        # as many residuals as there are coefficients may be none, whatever the noise
        noise = float(np.median(np.sort(np.abs(residual))[size - 1 :])) / _MEDIAN_DEVIATION
        variance, freedom = _pooled(noise**2, left, at_hand)
        farthest = _BIWEIGHT * _widening(freedom) * np.sqrt(variance)
        biweight = np.clip(1.0 - (residual / farthest) ** 2, 0.0, None) ** 2
        weighted = design * (biweight * precision)[:, None]
        normal = design.T @ weighted
        if np.linalg.matrix_rank(normal, hermitian=True) < size:
            return start, np.full((size, size), np.nan)
        previous, coefficients = coefficients, np.linalg.solve(normal, weighted.T @ y)
        if np.allclose(coefficients, previous, rtol=1e-14, atol=0.0):
            break
    residual = (y - design @ coefficients) / scale
    left = max(float(biweight.sum()) - size, 0.0)
    squares = _SPREAD_OF_WEIGHTED * float((biweight * residual**2).sum())
    variance, freedom = _pooled(squares / max(left, 1e-12), left, at_hand)
    scale_of_errors = variance * _widening(freedom) ** 2 if freedom >= 0.5 else np.nan
    return np.asarray(coefficients, float), np.asarray(scale_of_errors * np.linalg.inv(normal), float)


def _pooled(variance: float, freedom: float, at_hand: float) -> tuple[float, float]:
    """The variance of the noise and its degrees of freedom, from the residuals and from the spread.

    What is `at_hand` from the spread counts as so many residuals, less where theirs is the larger variance: then the
    quotes are not of one moment, and the spread says nothing of it.
    """
    of_spread = _SPREAD_NOISE**2
    if freedom > 0.0:
        at_hand *= min(1.0, of_spread / variance) if variance > 0.0 else 1.0
    both = at_hand + freedom
    pooled = (at_hand * of_spread + freedom * variance) / both if both > 0.0 else 0.0
    return max(pooled, _SMALLEST_NOISE**2), both


def _widening(freedom: float) -> float:
    """How much wider than the normal distribution Student's t is at 95 %, with so many degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 0.5), 0.975)) / _NORMAL_95
