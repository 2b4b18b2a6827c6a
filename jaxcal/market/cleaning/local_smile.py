"""LocalSmile: what the neighbours of every quote say its volatility is, by a robust local fit that leaves it out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxcal._types import FloatColumn, Places

SIDE = 8  # neighbours on either side; with calls and puts at each strike these are four strikes
_FEWEST = 4  # neighbours that make a prediction
_ABSOLUTE, _BIWEIGHT = 6, 3  # steps: of least absolute residuals, which find the bulk, and of Tukey's biweight
_TUKEY = 4.685  # 95 % efficient on normal noise
_SMALLEST_NOISE = 0.15  # in scales: mids that agree better than this agree by chance of the tick size
_DEVIATION = 0.6745  # median absolute deviation of a standard normal variable
_DOUBT = 0.35  # of what the curvature contributes: the standard deviation of the prediction that stands for its bias
_BLOCK = 1 << 14  # places at a time, so that memory stays bounded
_RIDGE = 1e-3  # keeps the fit regular where all neighbours stand at one or two strikes


class LocalSmile(NamedTuple):
    """A prediction for every place asked for, from its neighbours alone.

    Attributes:
        value: `[m]` predicted ordinate, NaN where there are too few neighbours.
        error: `[m]` its standard deviation, which includes what the curvature may be wrong by.
        noise: `[m]` robust standard deviation of the neighbours about the fit, in multiples of their scales.
    """

    value: FloatColumn
    error: FloatColumn
    noise: FloatColumn


def local_smile(
    line: Places, x: FloatColumn, y: FloatColumn, scale: FloatColumn, at: Places, *, fewest: int = 1
) -> LocalSmile:
    """Predict ordinates from the nearest neighbours on the same line by a robust local parabola.

    For each place a parabola in `x` is fitted to the eight neighbours on either side (sixteen on one side at an end),
    without the place itself, weighted by the inverse square of the scales and by distance. It starts from least
    absolute residuals and ends with Tukey's biweight, so that a fifth of the neighbours may be wrong.

    Args:
        line: `[n]` which line (an expiry) each point is on; sorted.
        x: `[n]` abscissa, sorted on each line; several points may share one.
        y: `[n]` ordinate; finite.
        scale: `[n]` positive, how well each ordinate is known, such as half a spread.
        at: `[m]` positions in the arrays to predict.
        fewest: abscissae other than a place's own that its neighbours must have; with fewer nothing is predicted.

    Returns:
        The predictions, in the order of `at`.

    Source: W. S. Cleveland (1979), "Robust locally weighted regression and smoothing scatterplots"; Beaton and Tukey
        (1974) for the biweight.
    """
    parts = [_block(line, x, y, scale, at[i : i + _BLOCK], fewest) for i in range(0, max(len(at), 1), _BLOCK)]
    return LocalSmile(*map(np.concatenate, zip(*parts, strict=True)))


def _block(line: Places, x: FloatColumn, y: FloatColumn, scale: FloatColumn, at: Places, fewest: int) -> LocalSmile:
    places, use = _windows(line, at)
    step = x[places] - x[at][:, None]
    reach = np.maximum(np.where(use, np.abs(step), 0.0).max(1, initial=0.0), 1e-12)[:, None]
    u = np.clip(step / reach, -1.0, 1.0)
    kernel = np.where(use, (1.0 - 0.9 * np.abs(u) ** 3) ** 3, 0.0)
    ordinate, scales = y[places], np.where(use, scale[places], 1.0)
    base = kernel / scales**2
    base /= np.maximum(base.max(1, keepdims=True, initial=0.0), 1e-300)
    powers = np.stack([np.ones_like(u), u, u * u, u**3, u**4], -1)
    design = powers[..., :3]
    weight = base
    noise = np.full((len(at), 1), _SMALLEST_NOISE)
    for iteration in range(_ABSOLUTE + _BIWEIGHT):
        coefficients, _ = _solve(weight, powers, ordinate)
        residual = np.abs(ordinate - np.einsum("np,nkp->nk", coefficients, design)) / scales
        if iteration < _ABSOLUTE:
            weight = base / np.maximum(residual, 0.1)
        else:
            noise = np.maximum(_row_median(residual, use) / _DEVIATION, _SMALLEST_NOISE)[:, None]
            weight = base * np.clip(1.0 - (residual / (_TUKEY * noise)) ** 2, 0.0, None) ** 2
    coefficients, normal = _solve(weight, powers, ordinate)
    # The prediction is a sum over the ordinates with these factors; its error follows from theirs.
    unit = np.broadcast_to(np.array([[1.0], [0.0], [0.0]]), (len(at), 3, 1))
    factor = weight * np.einsum("np,nkp->nk", np.linalg.solve(normal, unit)[..., 0], design)
    error = noise[:, 0] * np.sqrt((factor**2 * scales**2).sum(1))
    value = coefficients[:, 0]
    error = np.hypot(error, _DOUBT * (value - _line_value(weight, u, ordinate)))
    others = use & (step != 0.0) & (np.diff(step, axis=1, prepend=np.nan) != 0.0)
    few = (use.sum(1) < _FEWEST) | (others.sum(1) < fewest)
    return LocalSmile(np.where(few, np.nan, value), np.where(few, np.nan, error), noise[:, 0])


def _windows(line: Places, at: Places) -> tuple[Places, NDArray[np.bool_]]:
    """Positions `[m, 2 SIDE + 1]` around each place, moved inwards at the ends of a line, and which are neighbours."""
    first, last = np.searchsorted(line, line[at], "left"), np.searchsorted(line, line[at], "right")
    start = np.clip(at - SIDE, first, np.maximum(first, last - 2 * SIDE - 1))
    places = start[:, None] + np.arange(2 * SIDE + 1)
    use = (places < last[:, None]) & (places != at[:, None])
    return np.minimum(places, len(line) - 1), use


def _solve(weight: FloatColumn, powers: FloatColumn, ordinate: FloatColumn) -> tuple[FloatColumn, FloatColumn]:
    """Coefficients `[m, 3]` of the weighted parabolas, and their normal matrices."""
    moments = np.einsum("nk,nkp->np", weight, powers)
    normal = moments[:, [[0, 1, 2], [1, 2, 3], [2, 3, 4]]]
    ridge = _RIDGE * moments[:, 0] + 1e-12
    normal[:, 2, 2] += ridge
    normal[:, 1, 1] += 1e-3 * ridge
    normal[:, 0, 0] += 1e-12
    right = np.einsum("nk,nkp->np", weight * ordinate, powers[..., :3])
    return np.linalg.solve(normal, right[..., None])[..., 0], normal


def _line_value(weight: FloatColumn, u: FloatColumn, ordinate: FloatColumn) -> FloatColumn:
    """The prediction of a straight line with the same weights."""
    w0, w1, w2 = weight.sum(1), (weight * u).sum(1), (weight * u * u).sum(1)
    y0, y1 = (weight * ordinate).sum(1), (weight * u * ordinate).sum(1)
    determinant = w0 * w2 - w1 * w1
    flat = determinant <= 1e-9 * w0 * w0
    return np.where(flat, y0 / np.maximum(w0, 1e-300), (w2 * y0 - w1 * y1) / np.where(flat, 1.0, determinant))


def _row_median(values: FloatColumn, use: NDArray[np.bool_]) -> FloatColumn:
    """Median of each row over the entries that are used; 0 where there is none."""
    count = use.sum(1)
    ordered = np.sort(np.where(use, values, np.inf), axis=1)
    rows = np.arange(len(values))
    middle = 0.5 * (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, count // 2])
    return np.where(count > 0, middle, 0.0)
