"""Parity: forward and discount of one expiry from put-call parity, by robust regression."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatColumn = NDArray[np.float64]

_NEAR = 1.5  # pairs within this many at-the-money straddles of the forward (1.2 standard deviations) are used ...
_FEWEST = 10  # ... or this many nearest ones, where there are fewer
_BIWEIGHT = 4.685  # residuals beyond this many standard deviations get weight zero: 95 % efficient on normal noise
_SMALLEST_NOISE = 0.05  # in spreads: mids that agree better than this agree by chance of the tick size
_MEDIAN_DEVIATION = 0.6745  # of a standard normal variable
_LARGEST_SAMPLE = 60  # pairs from which the starting slope is taken


@dataclass(frozen=True)
class ParityFit:
    """What put-call parity says about one expiry.

    Attributes:
        forward: forward price, NaN where there is no pair.
        discount: discount factor, NaN where fewer than three strikes leave it open.
        forward_error: standard error of the forward, NaN where unknown. It takes the errors of the pairs for
            independent; on recorded chains neighbouring quotes err together, and the error is about three times this.
        discount_error: standard error of the discount, 0 where it was given, NaN where unknown.
        num_pairs: pairs near the money that were looked at, rogue ones included.
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
    in_coin: bool = False,
) -> ParityFit:
    """Forward and discount of one expiry from `call - put = discount * (forward - strike)`, robustly.

    Pairs near the money are weighted by the inverse square of their spread. Pairs that do not fit (a stale or a
    mistyped quote) get weight zero by Tukey's biweight, which starts from medians, so that one rogue pair does not
    move the result. In coin, `call - put = 1 - strike / forward` and the discount is 1.

    Args:
        strike: `[n]` positive strikes, one pair each, in any order.
        call: `[n]` discounted mid of the call.
        put: `[n]` discounted mid of the put.
        spread: `[n]` sum of both bid-ask spreads; what is zero or NaN is taken for the smallest positive one.
        discount: the discount factor where it is known.
        in_coin: prices are in the coin.

    Returns:
        The fit; NaN where the pairs do not tell. With fewer than three strikes and no `discount` the forward is
        taken with discount 1.

    Source: Beaton and Tukey (1974), "The fitting of power series", for the biweight; Sen (1968), "Estimates of the
        regression coefficient based on Kendall's tau", for the start.

    Example:
        >>> import numpy as np
        >>> from jaxcal.market.parity import fit_parity
        >>> strike = np.array([90.0, 100.0, 110.0, 120.0])
        >>> call = np.array([12.0, 6.0, 2.5, 1.0])
        >>> fit = fit_parity(strike, call, call - 0.98 * (101.0 - strike), np.full(4, 0.1))
        >>> print(round(fit.forward, 8), round(fit.discount, 8))
        101.0 0.98
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
    strike, difference, spread = strike[near], difference[near], _positive(spread[near], centre, in_coin)
    if in_coin or discount is not None or len(np.unique(strike)) < 3:
        factor = 1.0 if in_coin or discount is None else discount
        implied = strike / (1.0 - difference) if in_coin else strike + difference / factor
        scale = spread * implied if in_coin else spread / factor
        (forward,), covariance = _robust_fit(np.ones((len(strike), 1)), implied, scale, np.array([np.median(implied)]))
        known = in_coin or discount is not None
        error = float(np.sqrt(covariance[0, 0]))
        return ParityFit(float(forward), factor if known else np.nan, error, 0.0 if known else np.nan, len(strike))
    distance = strike - centre
    slope = _median_slope(distance, difference)
    start = np.array([np.median(difference - slope * distance), slope])
    (level, slope), covariance = _robust_fit(np.stack([np.ones_like(distance), distance], 1), difference, spread, start)
    if not slope < 0.0:
        return ParityFit(np.nan, np.nan, np.nan, np.nan, len(strike))
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
    design: FloatColumn, y: FloatColumn, scale: FloatColumn, start: FloatColumn
) -> tuple[FloatColumn, NDArray[np.float64]]:
    """Coefficients and their covariance by iterated weighted least squares with Tukey's biweight."""
    coefficients, precision = start, 1.0 / scale**2
    normal = np.eye(len(start))
    biweight = np.ones(len(y))
    for _ in range(50):
        residual = (y - design @ coefficients) / scale
        noise = max(float(np.median(np.abs(residual))) / _MEDIAN_DEVIATION, _SMALLEST_NOISE)
        biweight = np.clip(1.0 - (residual / (_BIWEIGHT * noise)) ** 2, 0.0, None) ** 2
        weighted = design * (biweight * precision)[:, None]
        normal = design.T @ weighted
        if np.linalg.matrix_rank(normal, hermitian=True) < len(start):
            return start, np.full((len(start), len(start)), np.nan)
        previous, coefficients = coefficients, np.linalg.solve(normal, weighted.T @ y)
        if np.allclose(coefficients, previous, rtol=1e-14, atol=0.0):
            break
    residual = (y - design @ coefficients) / scale
    freedom = biweight.sum() - len(start)
    variance = float((biweight * residual**2).sum() / freedom) if freedom > 0.5 else 0.25
    return np.asarray(coefficients, float), np.asarray(max(variance, _SMALLEST_NOISE**2) * np.linalg.inv(normal), float)
