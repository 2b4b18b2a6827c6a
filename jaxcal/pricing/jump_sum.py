"""Prices as sums over the numbers of jumps: for jumps of nearly one size, whose phi revives without end.

Given the number n of jumps, ln(S_T / F) is ln f_n plus a variable without jumps, whose phi just decays (R. Merton,
Journal of Financial Economics 3 (1976), eq. 16, with any law in the place of Black's). Puts are weighted with the
distribution of n, calls with its distribution under the share as numeraire, both Poisson: each term is then at most the
put's strike, or 1, and the tails bound what is left out. All terms are positive, so far out-of-the-money values keep
their relative accuracy. It costs some hundred times a contour, so it is the last resort.
"""

import itertools
import math
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from jaxcal.compilation.quick_jit import QuickJit
from jaxcal.market.padding import power_of_two
from jaxcal.models.base import AbstractFourierModel
from jaxcal.pricing.pricer import PerQuote
from jaxcal.pricing.saddle import Saddle

_CHUNK = 2048  # terms priced by one program
_MOST_TERMS = 8192  # of one quote
_LEFT_OUT = 1e-18  # probability of numbers of jumps that are left out, at first
_FARTHEST = 500.0  # ln(K / f_n) beyond which a term is not computed, but bounded by its value there
_ATTEMPTS = ((128, False), (128, True), (512, True))  # nodes; whether the value found sets how much may be left out


def value_by_counts(
    model: AbstractFourierModel, expiry: NDArray, log_strike: NDArray, tolerance: float, *, relative: bool
) -> NDArray:
    """Out-of-the-money values of single quotes in units of the forward, on the host; NaN where the error is not known
    to be below `tolerance` (times the value, where `relative`), and for a model without `jump_kinds`.
    """
    result = np.full(log_strike.shape, np.nan, log_strike.dtype)
    kinds = model.jump_kinds(jnp.asarray(expiry))
    if kinds is None:
        return result
    expected, log_growth = (np.asarray(x, np.float64) for x in kinds)
    left_out = np.full(log_strike.shape, _LEFT_OUT)
    for nodes, again in _ATTEMPTS:
        rows = np.flatnonzero(np.isnan(result))
        if not rows.size:
            break
        terms = [_list_terms(expected[:, i], log_growth, float(log_strike[i]), left_out[i]) for i in rows]
        value, error = _sum_terms(model, expiry[rows], log_strike[rows], terms, nodes)
        known = error <= (tolerance * value if relative else tolerance)
        result[rows[known]] = value[known]
        if relative and not again:
            left_out[rows] = np.clip(1e-3 * tolerance * value, 1e-200, _LEFT_OUT)
    return result


class _Terms(NamedTuple):
    """Of one quote: numbers of jumps `[kinds, n]`, their weights, ln(K / f_n), a bound on the weight of what is left
    out, and the size of the summands of ln(K / f_n).
    """

    counts: NDArray
    weight: NDArray
    log_strike: NDArray
    left_out: float
    size: float


def _list_terms(expected: NDArray, log_growth: NDArray, log_strike: float, left_out: float) -> _Terms:
    """Numbers of jumps around the expected ones, of all kinds together."""
    grown = np.expm1(np.minimum(log_growth, 700.0))
    rate = expected * (1.0 + grown) if log_strike >= 0 else expected
    drift = float(expected @ grown)
    nothing = _Terms(np.zeros((len(rate), 0)), np.zeros(0), np.zeros(0), 1.0, 0.0)
    if not np.isfinite(drift) or not rate.max() < 1e9:
        return nothing
    # P(|N - rate| >= x) <= 2 exp(-x^2 / (2 (rate + x / 3))), so far to either side
    log = -math.log(left_out / len(rate))
    above, below = log / 3 + np.sqrt((log / 3) ** 2 + 2 * rate * log), np.sqrt(2 * rate * log)
    spans = [
        np.arange(max(0, math.floor(r - lower)), math.ceil(r + upper) + 1.0)
        for r, lower, upper in zip(rate, below, above, strict=True)
    ]
    if math.prod(map(len, spans)) > 64 * _MOST_TERMS:
        return nothing
    masses = [_poisson_masses(r, span) for r, span in zip(rate, spans, strict=True)]
    count = np.asarray(list(itertools.product(*spans))).T
    weight = np.prod(np.asarray(list(itertools.product(*masses))), axis=-1)
    kept = weight > left_out / len(weight)
    if kept.sum() > _MOST_TERMS:
        return nothing
    count, dropped = count[:, kept], float(weight[~kept].sum())
    log_strikes = log_strike + drift - log_growth @ count
    size = abs(drift) + float(np.max(np.abs(log_growth) @ count, initial=0.0))
    return _Terms(count, weight[kept], log_strikes, 2.0 * left_out + dropped, size)


def _poisson_masses(rate: float, n: NDArray) -> NDArray:
    if rate <= 0.0:
        return (n == 0).astype(float)
    return np.exp(n * math.log(rate) - rate - np.asarray([math.lgamma(x + 1.0) for x in n]))


def _sum_terms(
    model: AbstractFourierModel, expiry: NDArray, log_strike: NDArray, terms: list[_Terms], nodes: int
) -> tuple[NDArray, NDArray]:
    """Values of quotes, and bounds on their errors."""
    dtype, sizes = log_strike.dtype, [len(of_quote.weight) for of_quote in terms]
    count = np.concatenate([of_quote.counts for of_quote in terms], axis=1)
    k = np.concatenate([of_quote.log_strike for of_quote in terms])
    weight = np.concatenate([of_quote.weight for of_quote in terms])
    near = np.clip(k, -_FARTHEST, _FARTHEST)
    value, error = _price_terms(model, count.astype(dtype), np.repeat(expiry, sizes), near.astype(dtype), nodes)
    most = np.exp(np.minimum(near, 0.0))  # the value of a put is below its strike, that of a call below 1
    value, error = np.minimum(value, most), np.minimum(error, most)
    value, error = np.where(np.isnan(value + error), 0.0, value), np.where(np.isnan(value + error), most, error)
    # values fall with the distance of the strike
    value, error = np.where(near == k, value, 0.0), np.where(near == k, error, np.minimum(value + error, most))
    # puts in units of the strike, the other side by parity: intrinsic values to their own relative accuracy
    call = np.repeat(log_strike >= 0, sizes)
    scale = np.where(call, 1.0, np.exp(-near))
    inside = np.where(call, -np.expm1(np.minimum(k, 0.0)), -np.expm1(np.minimum(-k, 0.0)))
    row = np.repeat(np.arange(len(terms)), sizes)
    unit = np.where(log_strike >= 0, 1.0, np.exp(log_strike.astype(np.float64)))
    total = unit * np.bincount(row, weight * (scale * value + inside), minlength=len(terms))
    bound = unit * np.bincount(row, weight * scale * error, minlength=len(terms))
    bound += unit * np.asarray([of_quote.left_out for of_quote in terms])
    # a value changes with ln(K / f_n) by less than its unit, and hardly by more than so many times itself
    eps, size = float(np.finfo(dtype).eps), np.asarray([of_quote.size for of_quote in terms])
    bound += eps * (16.0 * total + size * np.minimum(unit, 1e4 * total))
    return np.minimum(total, unit), bound


def _price_terms(
    model: AbstractFourierModel, count: NDArray, expiry: NDArray, log_strike: NDArray, nodes: int
) -> tuple[NDArray, NDArray]:
    """Values and errors of terms, in float64, chunk by chunk."""
    value, error = np.zeros(log_strike.size), np.zeros(log_strike.size)
    for part in np.split(np.arange(log_strike.size), range(_CHUNK, log_strike.size, _CHUNK)):
        if part.size:
            padded = np.resize(part, power_of_two(part.size, 64))
            t, k = jnp.asarray(expiry[padded]), jnp.asarray(log_strike[padded])
            found = _given_counts(model, jnp.asarray(count[:, padded]), t, k, nodes)
            value[part], error[part] = (np.asarray(x, np.float64)[: part.size] for x in found)
    return value, error


@partial(QuickJit, static_argnums=4, task="sums over numbers of jumps")
def _given_counts(
    model: AbstractFourierModel, count: Float[Array, "kinds q"], expiry: PerQuote, log_strike: PerQuote, nodes: int
) -> tuple[PerQuote, PerQuote]:
    return Saddle(nodes).value(model.given_jumps(count), expiry, log_strike)
