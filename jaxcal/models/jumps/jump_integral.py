"""JumpIntegral: what exponential jumps of the variance add to an affine characteristic function."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from jaxcal.models.complex_math import Cartesian, log1p, reciprocal, where
from jaxcal.models.diffusions.heston import HestonTerms


class JumpIntegral(NamedTuple):
    """I = integral over [0, t] of 1 / (A - mu D(tau)), D the coefficient of v(0) in Heston's ln phi.

    With the functions of `HestonTerms`, P = A - mu r, c = mu r / A, b = (sigma^2 r + mu q / A) / 2 and x = b s,

        A - mu D = A (1 + x) / (1 + y)    and    I = (t - c E) / P,    E = ln(1 + x) / b.

    (A partial fraction in s, as ds = (1 - d s) dtau. Without jumps of the variance c = 0, A = P = 1 and I = t.)
    Where the integrand is finite the logarithm is the principal one, as in ln(1 + y).

    Attributes:
        value: I.
        excess: I - t, to its own relative accuracy.
        denominator, per_a, c, e: P, 1 / A, c and E.
        ratio: 1 / (1 + x).
        bend: minus the derivative of E in b.
    """

    value: Cartesian
    excess: Cartesian
    denominator: Cartesian
    per_a: Cartesian
    c: Cartesian
    e: Cartesian
    ratio: Cartesian
    bend: Cartesian

    @staticmethod
    def of(terms: HestonTerms, sigma: Array, mean: Array, shift: Cartesian, t: Array) -> "JumpIntegral":
        """For A = 1 - `shift`, mu = `mean`, real."""
        a = 1.0 - shift
        per_a = reciprocal(a)
        c, denominator = mean * terms.r * per_a, a - mean * terms.r
        denominator = where(denominator.is_zero(), float(jnp.finfo(t.dtype).eps), denominator)  # removable
        x = 0.5 * ((sigma**2 * terms.r + mean * (terms.q * per_a)) * terms.s)
        x = where(x.is_zero(), float(jnp.finfo(t.dtype).tiny) ** 0.25, x)
        log, ratio = log1p(x), reciprocal(1.0 + x)
        mean_log = log * reciprocal(x)
        # minus the derivative of ln(1 + x) / x, by its series where the closed form cancels
        small = x.square_modulus() < 0.01**2
        h = where(small, x, 0.0)
        series = 1 / 2 - h * (2 / 3 - h * (3 / 4 - h * (4 / 5 - h * (5 / 6 - h * (6 / 7)))))
        bend = where(small, series, mean_log - ratio) * reciprocal(where(small, 1.0, x)) * terms.s * terms.s
        e = terms.s * mean_log
        excess = (t * (shift + mean * terms.r) - c * e) * reciprocal(denominator)
        return JumpIntegral(t + excess, excess, denominator, per_a, c, e, ratio, bend)

    def along(self, mean: Array, r_dot: Cartesian, s_dot: Cartesian, twice_b_dot: Cartesian) -> Cartesian:
        """Derivative of I through r, s and b, for their derivatives in some direction; A and mu stay."""
        e_dot = s_dot * self.ratio - 0.5 * twice_b_dot * self.bend
        return (mean * (r_dot * (self.value - self.e * self.per_a)) - self.c * e_dot) * reciprocal(self.denominator)

    def along_mean(self, terms: HestonTerms) -> Cartesian:
        """Derivative of I in mu, at fixed A."""
        through_b = 0.5 * (self.c * self.bend * terms.q * self.per_a)
        return (terms.r * (self.value - self.e * self.per_a) + through_b) * reciprocal(self.denominator)

    def along_a(self, terms: HestonTerms, mean: Array) -> Cartesian:
        """Derivative of I in A."""
        through_b = (0.5 * mean) * (self.c * self.bend * terms.q * self.per_a * self.per_a)
        return -(self.value - self.c * self.e * self.per_a + through_b) * reciprocal(self.denominator)

    def along_t(self, terms: HestonTerms) -> Cartesian:
        """The integrand at t."""
        return (1.0 + terms.y) * self.per_a * self.ratio
