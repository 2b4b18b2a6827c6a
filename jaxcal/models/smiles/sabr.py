"""SABR: the smile of one expiry from Hagan's asymptotic formulas.

P. Hagan, D. Kumar, A. Lesniewski, D. Woodward, "Managing smile risk", Wilmott (September 2002) 84-108. Equation numbers
are those of the magazine; the preprint has B.67a where the magazine has A.67a. The formulas are expansions in time:
they are the definition of the model here, not its exact law, and may admit arbitrage at long expiries and low strikes.
"""

from collections.abc import Mapping
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal._types import BoolLike, RealLike, float_arrays
from jaxcal.formulas.bachelier import bachelier_price
from jaxcal.formulas.black import black_otm, log_moneyness
from jaxcal.formulas.implied_vol import implied_vol
from jaxcal.models.base import AbstractVolModel
from jaxcal.models.interval import Interval

_ALPHA = Interval(1e-6, 1e6, "log")
_RHO = Interval(-0.999, 0.999, "linear")
_NU = Interval(1e-3, 100.0, "log")


class SABR(AbstractVolModel):
    """dF = a (F + shift)^beta dW, da = nu a dB, d<W, B> = rho dt, a(0) = alpha; Hagan 2002, eq. 2.17a.

    The four parameters are those of one expiry. As in market practice a calibration moves `beta` only
    where `free` names it; it starts at 1.

    Args:
        alpha: volatility today, in units of forward^(1 - beta) per square root of year.
        beta: exponent, in [0, 1]: 1 is lognormal, 0 normal.
        rho: correlation of the forward with its volatility, in (-1, 1).
        nu: volatility of volatility, per square root of year.
        shift: added to forward and strike, in their unit, so that both may be negative down to it. A convention of the
            quotes and not a parameter: a Python number, 0 unless given.

    Raises:
        ValueError: outside `jit`, where alpha is not positive, beta not in [0, 1], rho not in (-1, 1), or nu or shift
            is negative.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> import jaxcal as jc
        >>> model = jc.SABR(alpha=0.0357, beta=0.5, rho=-0.25, nu=0.35)
        >>> [round(float(v), 6) for v in model.vol(jnp.asarray([0.02, 0.03, 0.04]), 1.0, 0.03)]
        [0.257584, 0.207647, 0.189216]
    """

    alpha: Float[Array, "*batch"] | float
    beta: Float[Array, "*batch"] | float
    rho: Float[Array, "*batch"] | float
    nu: Float[Array, "*batch"] | float
    shift: float = eqx.field(static=True, default=0.0)

    per_expiry: ClassVar[bool] = True
    held: ClassVar[frozenset[str]] = frozenset({"beta"})
    bounds: ClassVar[Mapping[str, Interval]] = {
        "alpha": _ALPHA,
        "beta": Interval(0.0, 1.0, "linear"),
        "rho": _RHO,
        "nu": _NU,
    }

    def violations(self) -> Mapping[str, BoolLike]:
        return {
            "alpha must be positive": self.alpha <= 0,
            "beta must lie in [0, 1]": (self.beta < 0) | (self.beta > 1),
            "rho must lie in (-1, 1)": abs(self.rho) >= 1,
            "nu must not be negative": self.nu < 0,
            "shift must not be negative": self.shift < 0,
        }

    def vol(self, strike: RealLike, expiry: RealLike, forward: RealLike) -> Float[Array, "..."]:
        """Black volatilities, decimal, of the plain forward and strike: what `black_price` turns into prices.

        With a shift, the formula gives the volatility of forward + shift; the volatility returned is the one that gives
        the same price without the shift. NaN where strike or forward is not positive, where the formula itself is
        negative (far beyond its expiries), and with a shift where the option's value is too small to be represented.
        """
        shifted = self.shifted_vol(strike, expiry, forward)
        if self.shift == 0:
            return shifted
        strike, expiry, forward, vol = jnp.broadcast_arrays(*float_arrays(strike, expiry, forward, shifted))
        value = black_otm(vol, strike + self.shift, expiry, forward=forward + self.shift)
        return _black_vol(value, strike, expiry, forward)

    def shifted_vol(self, strike: RealLike, expiry: RealLike, forward: RealLike) -> Float[Array, "..."]:
        """Black volatilities of forward + shift at strike + shift, decimal (eq. 2.17a): how shifted markets quote.

        NaN where strike + shift or forward + shift is not positive, and where the formula is negative.

        Example:
            >>> import jaxcal as jc
            >>> model = jc.SABR(alpha=0.01, beta=0.5, rho=-0.1, nu=0.15, shift=0.005)
            >>> round(float(model.shifted_vol(-0.001, 1.0, 0.0002)), 4)
            0.1518
        """
        alpha, beta, rho, nu, strike, expiry, forward = self._arguments(strike, expiry, forward)
        power, log_ratio, valid = _middle(beta, strike, forward)
        level, q = alpha / power, ((1.0 - beta) * log_ratio) ** 2
        growth = (1.0 - beta) ** 2 / 24 * level**2 + 0.25 * rho * beta * nu * level + (2.0 - 3.0 * rho**2) / 24 * nu**2
        smile = level / (1.0 + q / 24 * (1.0 + q / 80)) * _stretch(nu / level * log_ratio, rho)
        return _valid_vol(smile * (1.0 + growth * expiry), valid & (expiry > 0))

    def normal_vol(self, strike: RealLike, expiry: RealLike, forward: RealLike) -> Float[Array, "..."]:
        """Normal (Bachelier) volatilities, in the units of the forward per square root of year (eq. A.67a).

        The argument of `bachelier_price`. NaN where strike + shift or forward + shift is not positive: for rates of any
        sign take a shift, or `NormalSABR`.

        Example:
            >>> import jaxcal as jc
            >>> model = jc.SABR(alpha=0.041, beta=0.5, rho=-0.2, nu=0.33)
            >>> round(float(model.normal_vol(0.02, 2.0, 0.0209)), 4)
            0.0059
        """
        alpha, beta, rho, nu, strike, expiry, forward = self._arguments(strike, expiry, forward)
        power, log_ratio, valid = _middle(beta, strike, forward)
        level, p, q = alpha / power, log_ratio**2, ((1.0 - beta) * log_ratio) ** 2
        growth = (
            0.25 * rho * beta * nu * level - beta * (2.0 - beta) / 24 * level**2 + (2.0 - 3.0 * rho**2) / 24 * nu**2
        )
        middle = jnp.exp(0.5 * (jnp.log(jnp.where(valid, strike, 1.0)) + jnp.log(jnp.where(valid, forward, 1.0))))
        ratio = (1.0 + p / 24 * (1.0 + p / 80)) / (1.0 + q / 24 * (1.0 + q / 80))
        smile = level * middle * ratio * _stretch(nu / level * log_ratio, rho)
        return _valid_vol(smile * (1.0 + growth * expiry), valid & (expiry > 0))

    def _arguments(self, strike: RealLike, expiry: RealLike, forward: RealLike) -> list[Array]:
        *fields, strike, expiry, forward = float_arrays(
            self.alpha, self.beta, self.rho, self.nu, strike, expiry, forward
        )
        strike, expiry, forward = jnp.broadcast_arrays(strike, expiry, forward)
        return [*fields, strike + self.shift, expiry, forward + self.shift]


class NormalSABR(AbstractVolModel):
    """dF = a dW, da = nu a dB, d<W, B> = rho dt, a(0) = alpha: SABR with beta = 0, for forwards of any sign.

    Hagan 2002, eq. A.59 with C(F) = 1, before the expansion in ln(F / K) that needs positive strikes.

    Args:
        alpha: volatility today, in the units of the forward per square root of year.
        rho: correlation of the forward with its volatility, in (-1, 1).
        nu: volatility of volatility, per square root of year.

    Raises:
        ValueError: outside `jit`, where alpha is not positive, rho not in (-1, 1), or nu is negative.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from jaxcal.models.smiles.sabr import NormalSABR
        >>> model = NormalSABR(alpha=0.007, rho=-0.18, nu=0.29)
        >>> round(float(model.normal_vol(-0.003, 0.25, -0.00383)), 6)
        0.006991
    """

    alpha: Float[Array, "*batch"] | float
    rho: Float[Array, "*batch"] | float
    nu: Float[Array, "*batch"] | float

    per_expiry: ClassVar[bool] = True
    bounds: ClassVar[Mapping[str, Interval]] = {"alpha": _ALPHA, "rho": _RHO, "nu": _NU}

    def violations(self) -> Mapping[str, BoolLike]:
        return {
            "alpha must be positive": self.alpha <= 0,
            "rho must lie in (-1, 1)": abs(self.rho) >= 1,
            "nu must not be negative": self.nu < 0,
        }

    def vol(self, strike: RealLike, expiry: RealLike, forward: RealLike) -> Float[Array, "..."]:
        """Black volatilities, decimal, of the Bachelier prices at `normal_vol`.

        NaN where strike or forward is not positive, and where the value is too small to be represented, or too large
        for any Black volatility.
        """
        normal = self.normal_vol(strike, expiry, forward)
        strike, expiry, forward, normal = jnp.broadcast_arrays(*float_arrays(strike, expiry, forward, normal))
        value = bachelier_price(normal, strike, expiry, forward=forward, is_call=strike >= forward)
        return _black_vol(value, strike, expiry, forward)

    def normal_vol(self, strike: RealLike, expiry: RealLike, forward: RealLike) -> Float[Array, "..."]:
        """Normal (Bachelier) volatilities, in the units of the forward per square root of year; strikes of any sign.

        The argument of `bachelier_price`. NaN where `expiry` is not positive or the formula is negative.
        """
        alpha, rho, nu, strike, expiry, forward = float_arrays(self.alpha, self.rho, self.nu, strike, expiry, forward)
        strike, expiry, forward = jnp.broadcast_arrays(strike, expiry, forward)
        smile = alpha * _stretch(nu / alpha * (forward - strike), rho)
        return _valid_vol(smile * (1.0 + (2.0 - 3.0 * rho**2) / 24 * nu**2 * expiry), expiry > 0)


def _middle(beta: Array, strike: Array, forward: Array) -> tuple[Array, Array, Array]:
    """(F K)^((1 - beta) / 2), ln(F / K), and where both are positive; placeholders elsewhere."""
    valid = (strike > 0) & (forward > 0)
    strike, forward = jnp.where(valid, strike, 1.0), jnp.where(valid, forward, 1.0)
    power = jnp.exp(0.5 * (1.0 - beta) * (jnp.log(forward) + jnp.log(strike)))
    return power, log_moneyness(forward, strike), valid


def _valid_vol(vol: Array, valid: Array) -> Array:
    return jnp.where(valid & (vol > 0), vol, jnp.nan)


def _black_vol(value: Array, strike: Array, expiry: Array, forward: Array) -> Array:
    """The Black volatility of an out-of-the-money value; a value that has underflowed has none."""
    vol = implied_vol(value, strike, expiry, forward=forward, is_call=strike >= forward)
    return jnp.where(value > 0, vol, jnp.nan)


def _stretch(z: Array, rho: Array) -> Array:
    """z / x(z), x(z) = ln((sqrt(1 - 2 rho z + z^2) + z - rho) / (1 - rho)): 1 at z = 0.

    With D = 1 - 2 rho z + z^2 and u = z / (1 + sqrt(D)), x(z) = 2 artanh(u), whose series serves near 0. Elsewhere
    x(z) = ln(1 + y) for r = |z| and rho turned to the side of z, y = 2 r / (sqrt(D) + 1 - r), which for r > 1 is
    (sqrt(D) + r - 1) / (1 - rho): in none of these does anything cancel, however near rho is to 1 or -1.
    """
    near = jnp.abs(z) < 0.1
    h = jnp.where(near, z, 0.0)
    root = 1.0 + jnp.sqrt(1.0 + h * (h - 2.0 * rho))
    square = (h / root) ** 2
    series = 1 / 13 * square + 1 / 11
    for n in (9, 7, 5, 3, 1):
        series = series * square + 1 / n
    r, turned = jnp.where(near, 1.0, jnp.abs(z)), 1.0 - jnp.where(z < 0, -rho, rho)
    root_far = jnp.sqrt((1.0 - r) ** 2 + 2.0 * r * turned)
    beyond = r > 1
    y = jnp.where(beyond, root_far + r - 1.0, 2.0 * r) / jnp.where(beyond, turned, root_far + 1.0 - r)
    return jnp.where(near, 0.5 * root / series, r / jnp.log1p(y))
