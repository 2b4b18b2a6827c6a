"""The Riccati equation of Heston's model solved bucket by bucket: its characteristic function, with its gradient."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from jaxcal.models.complex_math import reciprocal, sqrt


class _Bucket(NamedTuple):
    """The solution over one bucket of length tau, from maturity towards today.

    The coefficient D of the variance solves dD/dtau = -q/2 - beta D + sigma^2 D^2 / 2, with q = z (z + i) and
    beta = kappa - i rho sigma z. With d^2 = beta^2 + sigma^2 q, s = (1 - exp(-d tau)) / d and m = (beta - d) / 2 it
    goes from `start` to `end` = (start (exp(-d tau) - m s) - q s / 2) `ratio`, where `ratio` =
    1 / (1 + (m - sigma^2 start / 2) s); and `g`, the integral of D over the bucket, is (2 / sigma^2)
    (m tau + ln ratio). With start = 0 this is Heston's solution.
    """

    start: Array
    end: Array
    g: Array
    s: Array
    ratio: Array
    d: Array
    per_d: Array


def _bucket(kappa: Array, sigma: Array, rho: Array, z: Array, tau: Array, start: Array) -> _Bucket:
    q = z * (z + 1j)
    square = sigma * sigma
    beta = kappa - 1j * rho * sigma * z
    d = sqrt(beta * beta + square * q)
    d = jnp.where(d == 0, float(jnp.finfo(d.dtype).tiny) ** 0.25, d)  # removable: every result is even in d
    per_d = reciprocal(d)
    # of m and p = (beta + d) / 2 one cancels, m unless the two point in opposite directions (near z = -i when
    # kappa < rho sigma); m p = -sigma^2 q / 4
    opposed = jnp.real(beta) * jnp.real(d) + jnp.imag(beta) * jnp.imag(d) < 0
    far = jnp.where(opposed, beta - d, beta + d)
    near = -q * reciprocal(far)
    r = jnp.where(opposed, far / square, near)  # 2 m / sigma^2
    m, p = 0.5 * square * r, 0.5 * jnp.where(opposed, square * near, far)
    s = -jnp.expm1(-d * tau) * per_d
    fallen = 1.0 - d * s
    change = (m - 0.5 * square * start) * s
    # 1 + m s = exp(-d tau) + p s, whichever does not cancel
    divisor = jnp.where(opposed, fallen + (p - 0.5 * square * start) * s, 1.0 + change)
    ratio = reciprocal(divisor)
    end = (start * jnp.where(opposed, 1.0 - p * s, fallen - m * s) - 0.5 * q * s) * ratio
    a, b, x, y = jnp.real(change), jnp.imag(change), jnp.real(divisor), jnp.imag(divisor)
    safe = jnp.where(opposed, x * x + y * y, 1.0), jnp.where(opposed, 0.0, a * (2.0 + a) + b * b)
    modulus = 0.5 * (jnp.log(safe[0]) + jnp.log1p(safe[1]))
    g = r * tau - (2.0 / square) * jax.lax.complex(modulus, jnp.arctan2(y, x))
    # E[1] and E[exp X] are 1 whatever the rounding
    return _Bucket(start, end, jnp.where(q == 0, 0.0, g), s, ratio, d, per_d)


@jax.custom_jvp
def piecewise_heston_log_cf(
    v0: Array, kappa: Array, theta: Array, sigma: Array, rho: Array, z: Array, years: Array
) -> Array:
    """ln phi(z) where kappa, theta, sigma and rho, each real `[n]`, hold for `years` `[n, ...]` one after the other.

    One compiled loop over the buckets: the program is as small for ten of them as for one.
    """
    kappa, theta, sigma, rho, years = (x.astype(z.dtype) for x in (kappa, theta, sigma, rho, years))
    end, total, _ = _towards_today(kappa, theta, sigma, rho, z, years)
    return total + v0.astype(z.dtype) * end


def _towards_today(
    kappa: Array, theta: Array, sigma: Array, rho: Array, z: Array, years: Array
) -> tuple[Array, Array, Array]:
    """D today, the integral of kappa theta D, and the pieces of every bucket (stacked: XLA would otherwise compute them
    once for each).
    """

    def step(carry: tuple[Array, Array], bucket: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        start, total = carry
        kappa, theta, sigma, rho, tau = bucket
        found = _bucket(kappa, sigma, rho, z, tau, start)
        return (found.end, total + kappa * theta * found.g), jnp.stack(found)

    nothing = jnp.zeros_like(z)
    (end, total), pieces = jax.lax.scan(step, (nothing, nothing), (kappa, theta, sigma, rho, years), reverse=True)
    return end, total, pieces


@partial(piecewise_heston_log_cf.defjvp, symbolic_zeros=True)
def _piecewise_heston_log_cf_jvp(primals: tuple[Array, ...], tangents: tuple) -> tuple[Array, Array]:
    """Value and derivative in two passes: towards today for the value, and back with d ln phi / d D (an adjoint), so
    that the work grows with the number of buckets and not with its square.

    What the directions multiply is stacked and contracted in one real product, so that under `vmap` over directions (a
    Jacobian) XLA evaluates it once.
    """
    v0_, kappa_, theta_, sigma_, rho_, z, years_ = primals
    v0, kappa, theta, sigma, rho, years = (x.astype(z.dtype) for x in (v0_, kappa_, theta_, sigma_, rho_, years_))
    end, total, pieces = _towards_today(kappa, theta, sigma, rho, z, years)
    value = total + v0 * end
    in_parameters = not all(isinstance(x, SymbolicZero) for x in tangents[1:5])
    in_z, in_years = (not isinstance(x, SymbolicZero) for x in tangents[5:])
    tangent = jnp.zeros_like(value)
    if not isinstance(tangents[0], SymbolicZero):
        tangent = tangent + tangents[0].astype(z.dtype) * end
    if not (in_parameters or in_z or in_years):
        return value, tangent

    def step(carry: Array, bucket: tuple[Array, ...]) -> tuple[Array, Array]:
        """`carry` is d ln phi / d (D at the end of this bucket)."""
        pieces, kappa, theta, sigma, rho, tau = bucket
        found, level = _Bucket(*pieces), kappa * theta
        slopes = _slopes(found, kappa - 1j * rho * sigma * z, sigma, z * (z + 1j), tau)
        through_beta = carry * slopes.end_beta + level * slopes.g_beta
        rows = []
        if in_parameters:
            through_sigma = carry * slopes.end_sigma + level * slopes.g_sigma
            rows += [found.g, through_beta, through_sigma, 1j * z * through_beta]
        if in_z:
            through_q = carry * slopes.end_q + level * slopes.g_q
            rows += [through_q * (2.0 * z + 1j) - 1j * rho * sigma * through_beta]
        if in_years:
            rows += [carry * slopes.end_tau + level * found.end]
        basis = jnp.stack(rows)
        parts = jnp.stack([jnp.real(basis), jnp.imag(basis)], axis=1)
        return carry * slopes.end_start + level * slopes.g_start, parts

    today = v0 * jnp.ones_like(z)
    basis = jax.lax.scan(step, today, (pieces, kappa, theta, sigma, rho, years))[1]
    if in_parameters:
        moved = (
            jnp.zeros_like(x) if isinstance(dx, SymbolicZero) else dx for x, dx in zip(primals, tangents, strict=True)
        )
        _, in_kappa, in_theta, in_sigma, in_rho, *_ = moved
        coefficients = (
            theta_ * in_kappa + kappa_ * in_theta, in_kappa, in_sigma, -rho_ * in_sigma - sigma_ * in_rho
        )  # fmt: skip
        real, imaginary = jnp.tensordot(jnp.stack(coefficients, axis=1), basis[:, :4], 2)
        tangent = tangent + jax.lax.complex(real, imaginary)
    if in_z:
        row = jnp.sum(basis[:, 4 if in_parameters else 0], axis=0)
        tangent = tangent + jax.lax.complex(row[0], row[1]) * tangents[5]
    if in_years:
        row = basis[:, -1]
        tangent = tangent + jnp.sum(jax.lax.complex(row[:, 0], row[:, 1]) * tangents[6].astype(z.dtype), axis=0)
    return value, tangent


class _Slopes(NamedTuple):
    """Derivatives of a bucket's `end` and `g`: in beta and in sigma at fixed q, in q, in its `start`, in its length."""

    end_beta: Array
    end_sigma: Array
    end_q: Array
    end_start: Array
    end_tau: Array
    g_beta: Array
    g_sigma: Array
    g_q: Array
    g_start: Array


def _slopes(found: _Bucket, beta: Array, sigma: Array, q: Array, tau: Array) -> _Slopes:
    """In terms of d^2, of which all is a smooth function: times exp(-d tau / 2), cosh(d tau / 2) and sinh(d tau / 2) /
    (d / 2) are (1 + exp(-d tau)) / 2 and s, with derivatives tau s / 8 and `bend`. The divisions by d and by sigma^2 of
    the textbook form are gone but one.
    """
    start, end, g, s, ratio, d, per_d = found
    square = sigma * sigma
    bend = _bend(d, per_d, s, tau)
    tilt = beta - square * start
    eighth = 0.125 * tau * s
    through_d2 = (start - end) * eighth - 0.5 * bend * (start * beta + q + end * tilt)
    rise = 2.0 * eighth + tilt * bend
    end_start = (1.0 - d * s) * ratio * ratio
    return _Slopes(
        end_beta=(2.0 * beta * through_d2 - 0.5 * s * (start + end)) * ratio,
        end_sigma=sigma * (2.0 * q * through_d2 + s * start * end) * ratio,
        end_q=(square * through_d2 - 0.5 * s) * ratio,
        end_start=end_start,
        end_tau=(-0.5 * q - beta * start + 0.5 * square * start * start) * end_start,
        g_beta=(2.0 * bend * (q + beta * start) - 4.0 * eighth * start) * ratio,
        g_sigma=(2.0 / sigma) * ((s * start - q * rise) * ratio - g),
        g_q=-rise * ratio,
        g_start=s * ratio,
    )


def _bend(d: Array, per_d: Array, s: Array, tau: Array) -> Array:
    """(tau (1 + exp(-d tau)) / 2 - s) / (2 d^2), by its series where the closed form cancels."""
    x = d * tau
    small = jnp.abs(jnp.real(x)) + jnp.abs(jnp.imag(x)) < 0.25
    h = jnp.where(small, x, 0.0)
    series = jnp.zeros_like(h)
    for n in range(10, -1, -1):
        series = (0.25 / math.factorial(n + 2) - 0.5 / math.factorial(n + 3)) - h * series
    return jnp.where(small, tau**3 * series, (tau * (1.0 - 0.5 * d * s) - s) * (0.5 * per_d * per_d))
