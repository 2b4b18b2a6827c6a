"""The early-exercise boundary of an American put, and its early-exercise premium over the European price.

L. Andersen, M. Lake and D. Offengenden, "High-performance American option pricing", Journal of Computational Finance
20(1) (2016): the boundary B(tau), where tau is the time to expiry, solves an integral equation (their "FP-B"). Here
its depth ln(B(0) / B(tau)), squared, is a polynomial in the square root of tau through a few Chebyshev points. The
initial guess is that of M. Li, "Analytical approximations for the critical stock prices of American options: a
performance comparison", Review of Derivatives Research 13 (2010) (QD+), started from P. Bjerksund and G. Stensland,
"Closed-form approximation of American options", Scandinavian Journal of Management 9 (1993); two Jacobi-Newton
iterations of the first paper follow. The premium of early exercise is an integral over the boundary:
I. Kim, "The analytic valuation of American options", Review of Financial Studies 3 (1990).

Nodes and weights, and the matrices that take the boundary from its points to them, are the same for all options. Sums
over nodes are written out: XLA neither vectorises a reduction over a leading axis nor fuses what comes before it. The
boundary is found in single precision, which moves prices by less than 1e-7 of the strike and costs half as much.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcal._types import Block
from jaxcal.formulas.normal import normal_cdf, normal_pdf

_POINTS, _QUADRATURE, _PREMIUM = 5, 6, 12  # of the boundary, of its integrals, of the premium's
_GROUPS = 4  # of the premium's nodes, each evaluated together
_NEWTON_STEPS, _ITERATIONS = 3, 2  # steps of Newton's method on Li's equation; Jacobi-Newton iterations
_ROOT_HALF = float(np.sqrt(0.5))
_SHALLOWEST = 1e-9  # depth of a boundary
_AT_YIELD = 0.6388  # standard deviations: the depth, just before expiry, where the yield is above the rate
_LONGEST_START, _LONGEST = 1.0, 0.25  # bounds on both kinds of steps, in standard deviations
_RESOLVED = 1e-5  # carry until expiry, in standard deviations, below which Li's equation is not solved
_LEAST = 1e-30  # of a probability that is divided by


class Exercise(NamedTuple):
    """Early-exercise premium and boundary of `[b]` puts.

    Attributes:
        premium: its value, over the strike.
        depth: `ln(B(0) / B(T))`, how far the boundary lies below its level at expiry.
        log_last: `ln(B(0) / strike)`: 0, or less where the yield is above the rate.
    """

    premium: Block
    depth: Block
    log_last: Block


def early_exercise(vol: Block, moneyness: Block, expiry: Block, rate: Block, dividend_yield: Block) -> Exercise:
    """The premium and the boundary of early exercise of American puts.

    Args:
        vol: `[b]` decimal per square root of a year, 1e-3 or more.
        moneyness: `[b]` `ln(spot / strike)`.
        expiry: `[b]` years, positive.
        rate: `[b]` continuously compounded decimal a year, positive: without a rate a put is not exercised early.
        dividend_yield: `[b]` the same.

    Returns:
        Premium and boundary; where `moneyness <= log_last - depth` the put is exercised at once, and the premium is
        none.

    Source: Andersen, Lake and Offengenden (2016), eq. 30 and section 5; Kim (1990), eq. 20.

    >>> put = early_exercise(*(jnp.array([x]) for x in (0.2, 0.0, 1.0, 0.05, 0.0)))
    >>> print(f"{put.premium[0]:.4f} {jnp.exp(put.log_last - put.depth)[0]:.3f}")
    0.0052 0.809
    """
    rule, dtype = _rule(_POINTS, _QUADRATURE, _PREMIUM), vol.dtype
    drift, root_t, variance = rate - dividend_yield, jnp.sqrt(expiry), vol * vol
    paid = dividend_yield > rate
    log_last = jnp.log(jnp.where(paid, rate / jnp.where(paid, dividend_yield, 1.0), 1.0))
    # of a perpetual put: the negative root of a quadratic equation, without cancellation
    slope, product = 0.5 - drift / variance, 2.0 * rate / variance
    root = jnp.sqrt(slope * slope + product)
    exponent = jnp.where(slope > 0, -product / (jnp.where(slope > 0, slope, 0.0) + root), slope - root)
    deepest = log_last + jnp.log1p(-1.0 / exponent)
    of_put = _Put(*(x.astype(np.float32)[None] for x in (vol, rate, dividend_yield, log_last, deepest, root_t)))
    depth = _start(of_put, rule)
    # a loop keeps XLA from computing an iteration again wherever its result is used
    depth = jax.lax.fori_loop(0, _ITERATIONS, lambda _, x: _improved(x, of_put, rule), depth).astype(dtype)

    squares = depth * depth
    centre, width = (moneyness - log_last)[None], (vol * root_t)[None]
    upward = ((drift + 0.5 * variance) * expiry)[None]
    gain, loss, inner = (rate * expiry)[None], (dividend_yield * expiry)[None], moneyness[None]

    # a loop again: unrolled, these nodes would take most of the compile time
    def added(_: None, nodes: tuple[Array, Array, Array]) -> tuple[None, Array]:
        half, weight, rows = nodes
        left, across = half * half, width * half
        beneath = sum((rows[:, j : j + 1] * squares[j : j + 1] for j in range(1, _POINTS)), rows[:, :1] * squares[:1])
        up = (centre + jnp.sqrt(jnp.maximum(beneath, 1e-24)) + upward * left) / across
        gained = gain * jnp.exp(-gain * left) * normal_cdf(across - up)
        return None, weight * (gained - loss * jnp.exp(inner - loss * left) * normal_cdf(-up))

    half, weight, rows = (jnp.asarray(x, dtype) for x in (rule.premium_half, rule.premium_weight, rule.to_premium))
    shape = (_GROUPS, -1)
    _, parts = jax.lax.scan(
        added, None, (half.reshape(*shape, 1), weight.reshape(*shape, 1), rows.reshape(*shape, _POINTS))
    )
    parts = parts.reshape(_PREMIUM, vol.size)
    total = sum((parts[j] for j in range(1, _PREMIUM)), parts[0])
    return Exercise(jnp.maximum(total, 0.0), depth[0], log_last)


class _Rule(NamedTuple):
    """Points and weights that all options share."""

    root: np.ndarray  # [n] the boundary's points: square roots of tau / T, without 0, where the boundary is known
    half: np.ndarray  # [l] (1 + y) / 2 of the quadrature of the boundary's integrals
    weight: np.ndarray  # [l]
    to_nodes: np.ndarray  # [l, n, n] from the boundary's points to where its integrals need it
    premium_half: np.ndarray  # [m]
    premium_weight: np.ndarray  # [m]
    to_premium: np.ndarray  # [m, n]


class _Put(NamedTuple):
    """`[1, b]` puts, in single precision."""

    vol: Array
    rate: Array
    dividend_yield: Array
    log_last: Array  # ln of the boundary at expiry, over the strike
    deepest: Array  # depth of the boundary of a perpetual put
    root_t: Array


@lru_cache
def _rule(points: int, quadrature: int, premium: int) -> _Rule:
    """With u = tau (1 - (1 + y)^2 / 4) the integrands are smooth in y, on [-1, 1]; u / T is common to all options."""
    chebyshev = np.cos(np.arange(points + 1) * np.pi / points)
    root = 0.5 * (1.0 + chebyshev[:-1])
    y, w = np.polynomial.legendre.leggauss(quadrature)
    half = 0.5 * (1.0 + y)
    beneath = root * np.sqrt(1.0 - half**2)[:, None]
    y2, w2 = np.polynomial.legendre.leggauss(premium)
    half2 = 0.5 * (1.0 + y2)
    return _Rule(
        root, half, half * w, _interpolation(chebyshev, 2.0 * beneath - 1.0), half2, half2 * w2,
        _interpolation(chebyshev, 2.0 * np.sqrt(1.0 - half2**2) - 1.0),
    )  # fmt: skip


def _interpolation(points: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Matrix `[..., n]` from values at all Chebyshev points but the last, where the value is 0, to those at `at`.

    The barycentric formula: J.-P. Berrut and L. Trefethen, SIAM Review 46 (2004), eq. 5.4.
    """
    signs = (-1.0) ** np.arange(len(points))
    signs[[0, -1]] *= 0.5
    difference = at[..., None] - points
    close = np.abs(difference) < 1e-14
    terms = signs / np.where(close, 1.0, difference)
    rows = np.where(close.any(-1, keepdims=True), close.astype(float), terms / terms.sum(-1, keepdims=True))
    return rows[..., :-1]


def _start(put: _Put, rule: _Rule) -> Array:
    """`[n, b]` depths by Bjerksund and Stensland, then by Newton's method on Li's equation (QD+, his eq. 24)."""
    root_tau = jnp.asarray(rule.root[:, None], np.float32) * put.root_t
    tau, deviation, variance = root_tau**2, put.vol * root_tau, put.vol**2
    drift = put.rate - put.dividend_yield
    # just before expiry: J. Evans, R. Kuske and J. Keller, "American options on assets with dividends near expiry",
    # Mathematical Finance 12 (2002), eqs. 1 to 3, here for all yields in one
    odds = 16.0 * jnp.pi * (put.rate * tau) ** 2 + 8.0 * jnp.pi * tau * jnp.maximum(drift, 0.0) ** 2 / variance
    soon = deviation * jnp.sqrt(jnp.maximum(-jnp.log(odds), 1e-12)) + put.log_last
    reach = jnp.expm1(put.deepest)  # of the reciprocal boundary, from expiry to the perpetual one
    pace = jnp.minimum((drift * tau - 2.0 * deviation) / reach, 0.0)
    later = jnp.where(drift >= 0, jnp.log1p(-reach * jnp.expm1(pace)), 0.0)
    depth = jnp.minimum(jnp.maximum(jnp.maximum(soon, later), _AT_YIELD * deviation), put.deepest)

    product, w = 2.0 * put.rate / variance, 2.0 * drift / variance - 1.0
    short = -jnp.expm1(-put.rate * tau)
    root = jnp.sqrt(w * w + 4.0 * product / short)
    with_rate, with_yield = 1.0 - short, jnp.exp(-put.dividend_yield * tau)
    of_gap = -0.5 * (w + root) + with_rate * product / root * (1.0 - product / (short * root * root)) / short
    of_theta = -product / (put.rate * root)

    # where waiting gains next to nothing, Li's equation is all rounding, and the initial guess is good to 2 %
    resolved = jnp.maximum(put.rate, -put.dividend_yield) * root_tau > _RESOLVED * put.vol

    def stepped(_: Array, depth: Array) -> Array:
        log_boundary = put.log_last - depth
        boundary = jnp.exp(log_boundary)
        d1 = (log_boundary + drift * tau) / deviation + 0.5 * deviation
        d2 = d1 - deviation
        cash = with_rate * 0.5 * jax.lax.erfc(_ROOT_HALF * d2)
        delta = with_yield * 0.5 * jax.lax.erfc(_ROOT_HALF * d1)
        density = with_yield * normal_pdf(d1) / deviation
        gap = 1.0 - boundary - cash + boundary * delta
        carry = put.dividend_yield * boundary * delta
        theta = put.rate * cash - carry - 0.5 * variance * boundary * density
        value = (1.0 - delta) * boundary + of_gap * gap + of_theta * theta
        # in ln of the boundary; boundary * density is the density of d2 times the discount factor
        in_theta = (
            boundary * density * (put.dividend_yield - put.rate - 0.5 * variance * (1.0 - d1 / deviation)) - carry
        )
        slope = boundary * ((1.0 - delta) * (1.0 - of_gap) + density) + of_theta * in_theta
        step = jnp.clip(value / slope, -_LONGEST_START * deviation, _LONGEST_START * deviation)
        return jnp.where(resolved, jnp.clip(depth + step, _SHALLOWEST, put.deepest), depth)

    return jax.lax.fori_loop(0, _NEWTON_STEPS, stepped, depth)


def _improved(depth: Array, put: _Put, rule: _Rule) -> Array:
    """`[n, b]` depths after one iteration: Newton's method in ln B, for a parallel move of the boundary."""
    root_tau = jnp.asarray(rule.root[:, None], np.float32) * put.root_t
    tau, deviation = root_tau**2, put.vol * root_tau
    per_deviation = 1.0 / deviation
    drift = put.rate - put.dividend_yield
    upward = (drift + 0.5 * put.vol**2) * tau
    squares = depth * depth
    over, under = jnp.zeros_like(depth), jnp.zeros_like(depth)
    for half, weight, rows in zip(rule.half.tolist(), rule.weight.tolist(), rule.to_nodes, strict=True):
        of_points = jnp.asarray(rows, np.float32)
        beneath = sum(
            (of_points[:, j : j + 1] * squares[j : j + 1] for j in range(1, _POINTS)), of_points[:, :1] * squares[:1]
        )
        beneath = jnp.sqrt(jnp.maximum(beneath, 1e-24))
        up = (beneath - depth + upward * (half * half)) * (per_deviation * (1.0 / half))
        elapsed = tau * (1.0 - half * half)
        # Phi is (1 + erf) / 2; erf in single precision vectorises, and far tails do not matter beside nodes near 0
        over = over + weight * jnp.exp(put.rate * elapsed) * (1.0 + jax.lax.erf(_ROOT_HALF * (up - deviation * half)))
        under = under + weight * jnp.exp(put.dividend_yield * elapsed) * (1.0 + jax.lax.erf(_ROOT_HALF * up))
    up_end = (put.log_last - depth + upward) * per_deviation
    down_end = up_end - deviation
    over = jnp.maximum(normal_cdf(down_end) + 0.5 * put.rate * tau * over, _LEAST)
    under = jnp.maximum(normal_cdf(up_end) + 0.5 * put.dividend_yield * tau * under, _LEAST)
    residual = put.log_last - depth + drift * tau - jnp.log(over / under)
    turn = (normal_pdf(down_end) / over - normal_pdf(up_end) / under) * per_deviation
    step = jnp.clip(residual / (1.0 - turn), -_LONGEST * deviation, _LONGEST * deviation)
    return jnp.clip(depth + step, _SHALLOWEST, put.deepest)
