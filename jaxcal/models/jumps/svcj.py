"""SVCJ: Heston's variance with correlated jumps of the price and of the variance (Duffie, Pan and Singleton 2000)."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike
from jaxcal.models.analytic.critical_moments import CriticalMoments
from jaxcal.models.analytic.given_jumps import by_row
from jaxcal.models.base import AbstractFourierModel, JumpKinds, LogCFBasis
from jaxcal.models.complex_math import Cartesian, contract, expm1, log1p, real, where
from jaxcal.models.diffusions.heston import (
    Heston,
    HestonTerms,
    heston_explodes,
    heston_log_cf,
    heston_mix,
    heston_rows,
    heston_slope_in_q,
    heston_slope_in_t,
    heston_slopes,
    heston_terms,
    heston_violations,
    slope_of_s,
)
from jaxcal.models.interval import Interval
from jaxcal.models.jumps.jump_integral import JumpIntegral
from jaxcal.models.jumps.merton import JUMP_BOUNDS, normal_jump_cone
from jaxcal.models.jumps.odd_parts import odd_jumps, odd_reversion


class SVCJ(AbstractFourierModel):
    """Heston's model with jumps of variance and price at the same Poisson times.

    The variance jumps by Z, exponential with mean `variance_jump_mean`; the log price by a normal amount with mean
    `jump_mean + jump_correlation Z` and standard deviation `jump_std`.

    Args:
        v0: variance today, per year.
        kappa: speed of mean reversion, per year.
        theta: long-run variance, per year, jumps not counted.
        sigma: volatility of variance, per year.
        rho: correlation of the returns with the variance, in (-1, 1).
        jump_intensity: expected number of jumps a year.
        jump_mean: mean of a jump of the log price where the variance does not jump.
        jump_std: standard deviation of a jump of the log price, given that of the variance.
        variance_jump_mean: mean jump of the variance, per year.
        jump_correlation: what the log price jumps for a unit of variance jump; not bounded by 1. Quotes see its product
            with `variance_jump_mean`, which must be below 1 (the price has no mean otherwise).

    Raises:
        ValueError: on construction with numbers outside the domain, as every model.

    References:
        D. Duffie, J. Pan, K. Singleton, Econometrica 68 (2000) 1343-1376, section 4.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.SVCJ(0.04, 3.0, 0.03, 0.4, -0.7, jump_intensity=1.0, jump_mean=-0.05, jump_std=0.05,
        ...                 variance_jump_mean=0.05, jump_correlation=-0.5)
        >>> round(float(jc.price(model, 100.0, 1.0, forward=100.0)), 9)
        8.638655716
    """

    v0: Float[Array, "*batch"] | float
    kappa: Float[Array, "*batch"] | float
    theta: Float[Array, "*batch"] | float
    sigma: Float[Array, "*batch"] | float
    rho: Float[Array, "*batch"] | float
    jump_intensity: Float[Array, "*batch"] | float
    jump_mean: Float[Array, "*batch"] | float
    jump_std: Float[Array, "*batch"] | float
    variance_jump_mean: Float[Array, "*batch"] | float
    jump_correlation: Float[Array, "*batch"] | float

    # the last is a box for jump_correlation * variance_jump_mean, the mean log return that comes with variance jumps
    bounds: ClassVar[Mapping[str, Interval]] = {
        **Heston.bounds,
        **JUMP_BOUNDS,
        "variance_jump_mean": Interval(1e-4, 10.0, "log"),
        "jump_correlation": Interval(-2.0, 0.9, "linear", unit=lambda model: 1.0 / model.variance_jump_mean),
    }

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        diffusion = (self.v0, self.kappa, self.theta, self.sigma, self.rho)
        jumps = (self.jump_intensity, self.jump_mean, self.jump_std, self.variance_jump_mean, self.jump_correlation)
        return _log_cf(*real(z, *diffusion, *jumps), z, *real(z, t))

    basis_size: ClassVar[int] = 10

    def basis(self, z: Cartesian, t: Float[Array, "*#shape"]) -> LogCFBasis:
        fields = tuple(getattr(self, name) for name in SVCJ.bounds)
        *parameters, t = real(z, *fields, t)
        found = _derivatives(parameters, z, t)
        return LogCFBasis(found.value, found.rows)

    def mix(self, direction: Any, t: Float[Array, "*shape"]) -> tuple[Any, ...]:
        here, moves = (tuple(getattr(model, name) for name in SVCJ.bounds) for model in (self, direction))
        return _mix(here, moves)

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """Heston's, as long as E[exp((jump_correlation q + D) Z)] is finite too; D grows with time, so at `t`."""
        parameters = (self.kappa, self.sigma, self.rho, self.variance_jump_mean, self.jump_correlation)
        kappa, sigma, rho, variance_mean, correlation = (jnp.asarray(p, t.dtype) for p in parameters)

        def infinite(q: Array) -> Array:
            beta, square = kappa - rho * sigma * q, q * q - q
            discriminant = beta * beta - sigma**2 * square
            x = 0.5 * t * jnp.sqrt(jnp.abs(discriminant) + jnp.finfo(t.dtype).tiny)
            # D = (q^2 - q) / (beta + d coth(d t / 2))
            steepness = beta + 2.0 / t * x / jnp.where(discriminant > 0, jnp.tanh(x), jnp.tan(x))
            room = 1.0 - correlation * variance_mean * q
            return heston_explodes(kappa, sigma, rho, q, t) | (variance_mean * square >= room * steepness)

        jumps = CriticalMoments.of_normal_jumps(jnp.asarray(self.jump_mean), jnp.asarray(self.jump_std), t)
        return CriticalMoments.bisect(infinite, t).within(jumps)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """As Bates: jumps of the variance only add to the decay."""
        turn = jnp.arcsin(jnp.asarray(self.rho))
        lower, upper = normal_jump_cone(jnp.asarray(self.jump_mean), jnp.asarray(self.jump_std))
        return jnp.maximum(lower, -jnp.pi / 2 - turn), jnp.minimum(upper, jnp.pi / 2 - turn)

    def revival(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Float[Array, "*shape"]:
        """How far Re(J I) is below |J I|, J the normal part of a jump and I its integral over time."""
        parameters = (self.kappa, self.sigma, self.rho, self.jump_mean, self.jump_std, self.variance_jump_mean)
        kappa, sigma, rho, mean, std, variance_mean = real(z, *parameters)
        intensity, correlation, years = real(z, self.jump_intensity, self.jump_correlation, t)
        nodes = Cartesian.of(z)
        terms = heston_terms(kappa, sigma, rho, nodes, years)
        jump, _, _, _, integral = _parts(sigma, mean, std, variance_mean, correlation, nodes, years, terms)
        jump = jump * integral.value
        return intensity * (jnp.sqrt(jump.square_modulus()) - jump.re)

    def jump_kinds(self, t: Float[Array, "*shape"]) -> JumpKinds:
        """A jump counts with what the variance that it brings makes of the price until `t`: nothing on average."""
        parameters = (self.jump_mean, self.jump_std, self.variance_jump_mean, self.jump_correlation)
        mean, std, variance_mean, correlation = (jnp.asarray(p).astype(t.dtype) for p in parameters)
        growth = mean + 0.5 * std**2 - jnp.log1p(-variance_mean * correlation)
        return JumpKinds((jnp.asarray(self.jump_intensity).astype(t.dtype) * t)[None], growth[None])

    def given_jumps(self, count: Float[Array, "kinds q"]) -> AbstractFourierModel:
        return _GivenJumps(self, count[0])

    def odd_parts(self) -> tuple[str, ...]:
        shared = self.jump_correlation * self.variance_jump_mean  # exponential: its deviation is its mean
        square = np.square(self.jump_mean + shared) + np.square(shared) + np.square(self.jump_std)
        jumps = odd_jumps(self.jump_intensity, square)
        return jumps + odd_reversion(self.kappa, self.bounds["kappa"])

    def violations(self) -> Mapping[str, BoolLike]:
        return heston_violations(self.v0, self.kappa, self.theta, self.sigma, self.rho) | {
            "jump_intensity must not be negative": self.jump_intensity < 0,
            "jump_std must not be negative": self.jump_std < 0,
            "variance_jump_mean must not be negative": self.variance_jump_mean < 0,
            "variance_jump_mean * jump_correlation must be below 1": self.variance_jump_mean * self.jump_correlation
            >= 1,
        }


class _GivenJumps(AbstractFourierModel):
    """SVCJ given the number of jumps by the time asked for, `[q]`: their times are uniform until then, so each has
    E[exp(i z N)] I / t for a characteristic function, where SVCJ has the exponential of that.
    """

    model: SVCJ
    count: Float[Array, " q"]

    bounds: ClassVar[Mapping[str, Interval]] = {}

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        model, nodes = self.model, Cartesian.of(z)
        diffusion = (model.v0, model.kappa, model.theta, model.sigma, model.rho)
        jumps = (model.jump_std, model.variance_jump_mean, model.jump_correlation)
        v0, kappa, theta, sigma, rho, std, variance_mean, correlation = real(z, *diffusion, *jumps)
        count, years = real(z, by_row(self.count, z), t)
        terms = heston_terms(kappa, sigma, rho, nodes, years)
        product = variance_mean * correlation
        brought = JumpIntegral.of(terms, sigma, variance_mean, 1j * nodes * product, years).excess * (1.0 / years)
        normal = (0.5 * std**2) * (nodes * nodes + 1j * nodes)
        one = log1p(brought) + 1j * nodes * jnp.log1p(-product) - normal
        return heston_log_cf(v0, kappa, theta, sigma, rho, z, years) + (count * one).to_complex()

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        return self.model.moment_bounds(t)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Heston's, cut to the +-pi/4 of the normal part of a jump."""
        turn = jnp.arcsin(jnp.asarray(self.model.rho))
        return jnp.maximum(-jnp.pi / 4, -jnp.pi / 2 - turn), jnp.minimum(jnp.pi / 4, jnp.pi / 2 - turn)


def _parts(
    sigma: Array, mean: Array, std: Array, variance_mean: Array, correlation: Array, z: Cartesian, t: Array,
    terms: HestonTerms,
) -> tuple[Cartesian, Array, Array, Cartesian, JumpIntegral]:  # fmt: skip
    """J = E[exp(i z N)], N the normal part of a jump; m = E[exp(jump)] and its factor 1 / (1 - mu rho_J);
    J I - t - i z t (m - 1), which the intensity multiplies; and I.
    """
    jumped = expm1(1j * z * mean - 0.5 * std**2 * (z * z))  # nothing cancels near z = 0
    product = variance_mean * correlation
    per_room = 1.0 / (1.0 - product)
    growth = (jnp.expm1(mean + 0.5 * std**2) + product) * per_room
    integral = JumpIntegral.of(terms, sigma, variance_mean, 1j * z * product, t)
    per_jump = jumped * integral.value + integral.excess - 1j * z * (t * growth)
    return 1.0 + jumped, 1.0 + growth, per_room, per_jump, integral


@jax.custom_jvp
def _log_cf(
    v0: Array, kappa: Array, theta: Array, sigma: Array, rho: Array, intensity: Array, mean: Array, std: Array,
    variance_mean: Array, correlation: Array, z: Array, t: Array,
) -> Array:  # fmt: skip
    """Section 4 of the paper; the variance's own coefficients are Heston's."""
    nodes = Cartesian.of(z)
    terms = heston_terms(kappa, sigma, rho, nodes, t)
    per_jump = _parts(sigma, mean, std, variance_mean, correlation, nodes, t, terms)[3]
    return _value(terms, v0, kappa * theta, intensity, per_jump).to_complex()


def _value(terms: HestonTerms, v0: Array, level: Array, intensity: Array, per_jump: Cartesian) -> Cartesian:
    jumps = where(terms.q.is_zero(), 0.0, intensity * per_jump)
    return terms.value(v0, level) + jumps


class _Derivatives(NamedTuple):
    """ln phi and `rows`, its derivatives in what `_mix` gives; and the pieces of those in z and in t."""

    value: Cartesian
    rows: tuple[Cartesian, ...]
    terms: HestonTerms
    slope: Cartesian
    jumped: Cartesian
    growth: Array
    integral: JumpIntegral
    weight: Cartesian
    through_beta: Cartesian
    along_a: Cartesian


def _derivatives(parameters: Sequence[Array], z: Cartesian, t: Array) -> _Derivatives:
    """Value and derivatives in one pass, in the manner of Heston's."""
    v0, kappa, theta, sigma, rho, intensity, mean, std, variance_mean, correlation = parameters
    terms = heston_terms(kappa, sigma, rho, z, t)
    jumped, growth, per_room, per_jump, integral = _parts(sigma, mean, std, variance_mean, correlation, z, t, terms)
    value = _value(terms, v0, kappa * theta, intensity, per_jump)

    slope = slope_of_s(terms, t)
    r, per_d = terms.r, terms.per_d
    weight = intensity * jumped
    through_beta, through_sigma = heston_slopes(v0, kappa * theta, sigma, t, terms, slope)
    turn = per_d * terms.beta
    through_beta += weight * integral.along(variance_mean, -r * per_d, slope * turn, -(sigma**2) * (r * per_d))
    r_dot = sigma * (r * r * per_d)
    b_dot = 2.0 * sigma * r + sigma**2 * r_dot
    through_sigma += weight * integral.along(variance_mean, r_dot, sigma * (slope * terms.q * per_d), b_dot)
    along_a = weight * integral.along_a(terms, variance_mean)

    iz, value_j = 1j * z, jumped * integral.value
    drift = iz * (growth * t)
    rows = (
        *heston_rows(terms, z, through_beta, through_sigma), per_jump, iz * value_j - drift,
        -std * (z * z * value_j + drift), weight * integral.along_mean(terms),
        -iz * along_a - (intensity * per_room) * drift,
    )  # fmt: skip
    return _Derivatives(value, rows, terms, slope, jumped, growth, integral, weight, through_beta, along_a)


def _mix(here: Sequence[Any], moves: Sequence[Any]) -> tuple[Any, ...]:
    """From the changes of the parameters, in their order."""
    *heston, intensity, _, _, variance_mean, correlation = here
    in_intensity, in_mean, in_std, in_variance, in_correlation = moves[5:]
    in_product = variance_mean * in_correlation + correlation * in_variance
    return (
        *heston_mix(heston, moves[:5]),
        in_intensity,
        intensity * in_mean,
        intensity * in_std,
        in_variance,
        in_product,
    )


@partial(_log_cf.defjvp, symbolic_zeros=True)
def _log_cf_jvp(primals: tuple[Array, ...], tangents: tuple) -> tuple[Array, Array]:
    v0, kappa, theta, sigma, rho, intensity, mean, std, variance_mean, correlation, z_, t = primals
    z = Cartesian.of(z_)
    found = _derivatives(primals[:10], z, t)
    terms, slope, integral, weight, growth = found.terms, found.slope, found.integral, found.weight, found.growth
    value = found.value.to_complex()

    tangent = jnp.zeros_like(value)
    if not all(isinstance(x, SymbolicZero) for x in tangents[:10]):
        zero = jnp.zeros_like(v0)
        moves = tuple(zero if isinstance(x, SymbolicZero) else x for x in tangents[:10])
        tangent = contract(_mix(primals[:10], moves), found.rows)
    if not isinstance(tangents[10], SymbolicZero):
        through_q = heston_slope_in_q(v0, kappa * theta, sigma, t, terms, slope)
        s_dot = 0.5 * sigma**2 * (slope * terms.per_d)
        b_dot = variance_mean * integral.per_a - 0.5 * sigma**2 * terms.per_d
        through_q += weight * integral.along(variance_mean, -0.5 * terms.per_d, s_dot, b_dot)
        turned = (rho * sigma) * found.through_beta + (variance_mean * correlation) * found.along_a
        along_z = through_q * (2.0 * z + 1j) - 1j * turned
        jump_slope = Cartesian(-(std**2) * z.re, mean - std**2 * z.im)
        growing = intensity * t * (growth - 1.0)
        along_z += weight * jump_slope * integral.value + Cartesian(jnp.zeros_like(growing), -growing)
        tangent = tangent + along_z.to_complex() * tangents[10]
    if not isinstance(tangents[11], SymbolicZero):
        along_t = heston_slope_in_t(v0, kappa * theta, sigma, terms)
        along_t += intensity * (found.jumped * integral.along_t(terms) - 1.0 - 1j * z * (growth - 1.0))
        tangent = tangent + (along_t * tangents[11]).to_complex()
    return value, tangent
