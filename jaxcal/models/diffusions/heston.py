"""Heston (1993): square-root stochastic variance."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike
from jaxcal.models.analytic.critical_moments import CriticalMoments
from jaxcal.models.base import AbstractFourierModel, LogCFBasis
from jaxcal.models.complex_math import Cartesian, contract, expm1, log1p, real, reciprocal, sqrt, where
from jaxcal.models.interval import Interval


class Heston(AbstractFourierModel):
    """dS/S = sqrt(v) dW, dv = kappa (theta - v) dt + sigma sqrt(v) dB, d<W, B> = rho dt, v(0) = v0.

    Args:
        v0: variance today, per year.
        kappa: speed of mean reversion, per year.
        theta: long-run variance, per year.
        sigma: volatility of variance, per year.
        rho: correlation of the returns with the variance, in (-1, 1).

    References:
        S. Heston, Review of Financial Studies 6 (1993) 327-343; the branch-free form is "little trap" of H. Albrecher,
        P. Mayer, W. Schoutens, J. Tistaert, Wilmott (January 2007) 83-92.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.Heston(v0=0.04, kappa=4.0, theta=0.25, sigma=1.0, rho=-0.5)
        >>> forward = 100 * 2.718281828459045 ** -0.01
        >>> discount = 2.718281828459045 ** -0.01
        >>> round(float(jc.price(model, 100.0, 1.0, forward=forward, discount=discount)), 9)
        16.070154917
    """

    v0: Float[Array, "*batch"] | float
    kappa: Float[Array, "*batch"] | float
    theta: Float[Array, "*batch"] | float
    sigma: Float[Array, "*batch"] | float
    rho: Float[Array, "*batch"] | float

    bounds: ClassVar[Mapping[str, Interval]] = {
        "v0": Interval(1e-6, 25.0, "log"),
        "kappa": Interval(1e-3, 300.0, "log"),
        "theta": Interval(1e-6, 25.0, "log"),
        "sigma": Interval(1e-3, 100.0, "log"),
        "rho": Interval(-0.999, 0.999, "linear"),
    }

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        parameters = (self.v0, self.kappa, self.theta, self.sigma, self.rho)
        return heston_log_cf(*real(z, *parameters), z, *real(z, t))

    basis_size: ClassVar[int] = 5

    def basis(self, z: Cartesian, t: Float[Array, "*#shape"]) -> LogCFBasis:
        *parameters, t = real(z, self.v0, self.kappa, self.theta, self.sigma, self.rho, t)
        return heston_basis(parameters, z, t)

    def mix(self, direction: Any, t: Float[Array, "*shape"]) -> tuple[Any, ...]:
        moves = (direction.v0, direction.kappa, direction.theta, direction.sigma, direction.rho)
        return heston_mix((self.v0, self.kappa, self.theta, self.sigma, self.rho), moves)

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        return heston_moments(self.kappa, self.sigma, self.rho, t)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """|phi(r e^(iw))| falls like exp(-c r cos(w + asin rho)), c = (v0 + kappa theta t) / sigma, as r grows."""
        turn = jnp.arcsin(jnp.asarray(self.rho))
        return -jnp.pi / 2 - turn, jnp.pi / 2 - turn

    def violations(self) -> Mapping[str, BoolLike]:
        return heston_violations(self.v0, self.kappa, self.theta, self.sigma, self.rho)


def heston_violations(v0: Any, kappa: Any, theta: Any, sigma: Any, rho: Any) -> dict[str, BoolLike]:
    """The domain of Heston's five parameters, as `AbstractModel.violations` has it."""
    return {
        "v0 must not be negative": v0 < 0,
        "kappa must not be negative": kappa < 0,
        "theta must not be negative": theta < 0,
        "sigma must be positive": sigma <= 0,
        "rho must lie in (-1, 1)": abs(rho) >= 1,
    }


def heston_moments(
    kappa: Float[Array, ""] | float,
    sigma: Float[Array, ""] | float,
    rho: Float[Array, ""] | float,
    t: Float[Array, "*shape"],
) -> CriticalMoments:
    """Critical moments: where the explosion time of L. Andersen and V. Piterbarg (Finance and Stochastics 11, 2007,
    proposition 3.1) falls to `t`.
    """
    kappa, sigma, rho = (jnp.asarray(p, t.dtype) for p in (kappa, sigma, rho))
    return CriticalMoments.bisect(lambda q: heston_explodes(kappa, sigma, rho, q, t), t)


def heston_explodes(kappa: Array, sigma: Array, rho: Array, q: Array, t: Array) -> Array:
    """Whether E[exp(q X)] is infinite at `t`, for real q outside [0, 1]."""
    beta = kappa - rho * sigma * q
    square = beta * beta - sigma**2 * (q * q - q)
    gamma = jnp.sqrt(jnp.where(square < 0, -square, 1.0))
    d = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    oscillating = 2.0 / gamma * jnp.arctan2(gamma, -beta)
    falling = beta < -d
    # ln((beta - d) / (beta + d)) / d, both differences negative
    safe = jnp.where(falling, beta, -2.0 * d)
    monotone = jnp.where(falling, jnp.log1p(-2.0 * d / (safe + d)) / d, jnp.inf)
    return jnp.where(square < 0, oscillating, monotone) <= t


class HestonTerms(NamedTuple):
    """Pieces shared by the value and the gradient.

    With q = z^2 + iz, beta = kappa - i rho sigma z, d = sqrt(beta^2 + sigma^2 q), r = (beta - d) / sigma^2,
    s = (1 - exp(-d t)) / d and y = sigma^2 r s / 2, the two affine coefficients are
    D = -(q / 2) s / (1 + y) and G = r t - (2 / sigma^2) ln(1 + y), and ln phi = kappa theta G + v0 D.
    """

    q: Cartesian
    beta: Cartesian
    d: Cartesian
    per_d: Cartesian
    r: Cartesian
    s: Cartesian
    y: Cartesian
    log: Cartesian
    ratio: Cartesian
    g: Cartesian
    big_d: Cartesian

    def value(self, v0: Array, level: Array) -> Cartesian:
        """ln phi, for level = kappa theta."""
        # E[1] and E[exp X] are 1 whatever the rounding
        return where(self.q.is_zero(), 0.0, level * self.g + v0 * self.big_d)


def heston_terms(kappa: Array, sigma: Array, rho: Array, z: Cartesian, t: Array) -> HestonTerms:
    """All that the value needs of the functions in `HestonTerms`."""
    q = z * z + 1j * z
    beta = kappa - (rho * sigma) * (1j * z)
    d = sqrt(beta * beta + sigma**2 * q)
    d = where(d.is_zero(), float(jnp.finfo(d.re.dtype).tiny) ** 0.25, d)  # removable: z = -i, kappa = rho sigma
    per_d = reciprocal(d)
    # beta - d cancels unless the two point in opposite directions (near z = -i when kappa < rho sigma)
    opposed = beta.re * d.re + beta.im * d.im < 0
    r = where(opposed, beta - d, -q) * reciprocal(where(opposed, sigma**2, beta + d))
    s = -expm1(-d * t) * per_d
    y = 0.5 * sigma**2 * r * s
    log, ratio = log1p(y), reciprocal(1.0 + y)
    return HestonTerms(q, beta, d, per_d, r, s, y, log, ratio, r * t - (2.0 / sigma**2) * log, -0.5 * q * s * ratio)


@jax.custom_jvp
def heston_log_cf(v0: Array, kappa: Array, theta: Array, sigma: Array, rho: Array, z: Array, t: Array) -> Array:
    """ln phi of Heston's model at complex `z`; the other arguments are real."""
    return heston_terms(kappa, sigma, rho, Cartesian.of(z), t).value(v0, kappa * theta).to_complex()


@partial(heston_log_cf.defjvp, symbolic_zeros=True)
def _log_cf_jvp(primals: tuple[Array, ...], tangents: tuple) -> tuple[Array, Array]:
    """Value and derivative in one pass: everything past `heston_terms` is multiplications.

    What the directions multiply is stacked and contracted in one real product, so that under `vmap` over directions (a
    Jacobian) XLA evaluates it once.
    """
    v0, kappa, theta, sigma, rho, z_, t = primals
    z = Cartesian.of(z_)
    terms = heston_terms(kappa, sigma, rho, z, t)
    value = terms.value(v0, kappa * theta).to_complex()
    slope = slope_of_s(terms, t)
    through_beta, through_sigma = heston_slopes(v0, kappa * theta, sigma, t, terms, slope)

    tangent = jnp.zeros_like(value)
    if not all(isinstance(x, SymbolicZero) for x in tangents[:5]):
        zero = jnp.zeros_like(v0)
        in_v0, in_kappa, in_theta, in_sigma, in_rho = (zero if isinstance(x, SymbolicZero) else x for x in tangents[:5])
        coefficients = heston_mix(primals[:5], (in_v0, in_kappa, in_theta, in_sigma, in_rho))
        tangent = contract(coefficients, heston_rows(terms, z, through_beta, through_sigma))
    if not isinstance(tangents[5], SymbolicZero):
        through_q = heston_slope_in_q(v0, kappa * theta, sigma, t, terms, slope)
        along_z = through_q * (2.0 * z + 1j) - (rho * sigma) * (1j * through_beta)
        tangent = tangent + along_z.to_complex() * tangents[5]
    if not isinstance(tangents[6], SymbolicZero):
        tangent = tangent + (heston_slope_in_t(v0, kappa * theta, sigma, terms) * tangents[6]).to_complex()
    return value, tangent


def heston_basis(parameters: Sequence[Array], z: Cartesian, t: Array) -> LogCFBasis:
    """`AbstractFourierModel.basis` of Heston's part of a model, from its five parameters."""
    v0, kappa, theta, sigma, rho = parameters
    terms = heston_terms(kappa, sigma, rho, z, t)
    slopes = heston_slopes(v0, kappa * theta, sigma, t, terms, slope_of_s(terms, t))
    return LogCFBasis(terms.value(v0, kappa * theta), heston_rows(terms, z, *slopes))


def heston_mix(parameters: Sequence[Any], moves: Sequence[Any]) -> tuple[Any, ...]:
    """`AbstractFourierModel.mix` of Heston's part of a model, from its five parameters and their changes."""
    _, kappa, theta, sigma, rho = parameters
    in_v0, in_kappa, in_theta, in_sigma, in_rho = moves
    return in_v0, theta * in_kappa + kappa * in_theta, in_kappa, in_sigma, -rho * in_sigma - sigma * in_rho


def heston_rows(
    terms: HestonTerms, z: Cartesian, through_beta: Cartesian, through_sigma: Cartesian
) -> tuple[Cartesian, ...]:
    """Derivatives of ln phi in v0, kappa theta, beta, sigma, and in beta times iz."""
    return terms.big_d, terms.g, through_beta, through_sigma, 1j * z * through_beta


def heston_slopes(
    v0: Array, level: Array, sigma: Array, t: Array, terms: HestonTerms, slope: Cartesian
) -> tuple[Cartesian, Cartesian]:
    """Derivatives of ln phi through beta and through sigma at fixed q, for level = kappa theta.

    With ' = d/dd: d_beta = beta / d, d_sigma = sigma q / d, r_beta = -r / d, r_sigma = sigma r^2 / d;
    y = sigma^2 r s / 2 then folds D's into a few products.
    """
    q, beta, _, per_d, r, s, y, log, ratio, _, _ = terms
    rs, rd, half_q = r * s, r * per_d, 0.5 * (q * ratio)
    rising = (slope * beta - s) * ratio
    mixed = (rs + q * slope) * ratio
    through_beta = -level * (rd * (rising + t)) - v0 * (half_q * per_d * (s + rising))
    less = log1p_less_ratio(y, log, ratio)
    through_sigma = (level * sigma) * (rd * (r * t - mixed)) + (4.0 * level / sigma**3) * less
    through_sigma -= (v0 * sigma) * (half_q * (per_d * (mixed - rs) - rs * s * ratio))
    return through_beta, through_sigma


def heston_slope_in_q(
    v0: Array, level: Array, sigma: Array, t: Array, terms: HestonTerms, slope: Cartesian
) -> Cartesian:
    """Derivative of ln phi through q, at fixed beta and sigma."""
    q, _, _, per_d, r, s, _, _, ratio, _, _ = terms
    square = sigma**2
    y_q = (0.25 * square) * (per_d * (square * (r * slope) - s))
    d_q = -0.5 * (ratio * (s + q * (0.5 * square * (slope * per_d) - s * ratio * y_q)))
    g_q = 0.5 * (per_d * ((s - square * (r * slope)) * ratio - t))
    return level * g_q + v0 * d_q


def heston_slope_in_t(v0: Array, level: Array, sigma: Array, terms: HestonTerms) -> Cartesian:
    """Derivative of ln phi in time, by the Riccati equation of D."""
    big_d = terms.big_d
    return level * big_d + v0 * (-0.5 * terms.q - terms.beta * big_d + 0.5 * sigma**2 * (big_d * big_d))


def slope_of_s(terms: HestonTerms, t: Array) -> Cartesian:
    """ds/dd for s = (1 - exp(-d t)) / d, by its series where the closed form cancels."""
    d, s = terms.d, terms.s
    x = d * t
    small = x.square_modulus() < 0.05**2
    closed = (t * (1.0 - d * s) - s) * terms.per_d
    h = where(small, x, 0.0)
    series = -0.5 + h * (1 / 3 + h * (-1 / 8 + h * (1 / 30 + h * (-1 / 144 + h * (1 / 840 + h * (-1 / 5760))))))
    return where(small, t * t * series, closed)


def log1p_less_ratio(y: Cartesian, log: Cartesian, ratio: Cartesian) -> Cartesian:
    """ln(1 + y) - y / (1 + y), which starts with y^2 / 2, by its series where the closed form cancels."""
    small = y.square_modulus() < 0.03**2
    h = where(small, y, 0.0)
    series = h * (8 / 9) - 7 / 8
    for n in range(7, 1, -1):
        series = series * h + (-1) ** n * (n - 1) / n
    return where(small, h * h * series, log - y * ratio)
