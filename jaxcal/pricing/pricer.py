"""What every way of pricing offers: a grid for a calibration, and values with a bound on their error."""

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal.formulas.implied_vol import implied_vol_of_logs
from jaxcal.models.base import AbstractFourierModel
from jaxcal.pricing.fourier import FourierGrid


class LogValue(NamedTuple):
    """Out-of-the-money values by logarithms, which underflow nowhere, over min(F, K), their upper bound.

    Attributes:
        value: `[q]` ln of the value.
        room: `[q]` ln of what it lacks of 1.
        value_error, room_error: `[q]` bounds on the relative errors of value and room; infinite where nothing is known.
    """

    value: Float[Array, " q"]
    room: Float[Array, " q"]
    value_error: Float[Array, " q"]
    room_error: Float[Array, " q"]

    def vol(self, log_strike: Float[Array, " q"], expiry: Float[Array, " q"]) -> Float[Array, " q"]:
        """Implied volatilities at ln(K / F) and `expiry` years; NaN where the bounds allow a relative error of more
        than 1e-9, or 1e4 roundings.
        """
        found, by_value, by_room = implied_vol_of_logs(self.value, self.room, log_strike, expiry)
        either = jnp.stack([self.value_error, self.room_error]), jnp.stack([by_value, by_room])
        error = jnp.max(jnp.where(either[1] > 0, either[0] * either[1], 0.0), axis=0)
        return jnp.where(error <= max(1e-9, 1e4 * float(jnp.finfo(found.dtype).eps)), found, jnp.nan)


class AbstractPricer(eqx.Module):
    """Settings of a Fourier method. Sizes are static: another size is another compiled program."""

    @abstractmethod
    def sized(self) -> "AbstractPricer":
        """Itself with every automatic size replaced by the one used inside `jit`."""

    @abstractmethod
    def finer(self) -> "AbstractPricer | None":
        """The next finer setting of the same method, or None at the finest."""

    @property
    @abstractmethod
    def points(self) -> int:
        """Evaluations of the characteristic function for one quote."""

    @abstractmethod
    def tolerance(self, dtype: jnp.dtype) -> float:
        """The error, in units of the forward, up to which a value is called right."""

    @abstractmethod
    def grid(
        self,
        model: AbstractFourierModel,
        expiry: Float[Array, " e"],
        log_strike: Float[Array, "e k"],
        total_vol: Float[Array, " e"],
    ) -> FourierGrid:
        """A grid for `e` expiries (years) of `k` strikes ln(K / F), around the at-the-money total volatility
        `total_vol` (volatility times square root of time), for `model` and models near it.
        """

    @abstractmethod
    def value(
        self, model: AbstractFourierModel, expiry: Float[Array, " q"], log_strike: Float[Array, " q"]
    ) -> tuple[Float[Array, " q"], Float[Array, " q"]]:
        """Out-of-the-money values of single quotes, in units of the forward, and a bound on their errors."""

    @abstractmethod
    def log_value(
        self, model: AbstractFourierModel, expiry: Float[Array, " q"], log_strike: Float[Array, " q"]
    ) -> LogValue:
        """The same by their logarithms."""


def by_logs(value: Float[Array, " q"], error: Float[Array, " q"], log_strike: Float[Array, " q"]) -> LogValue:
    """`LogValue` of values in units of the forward with a bound on their errors."""
    bound = jnp.exp(jnp.minimum(log_strike, 0.0))
    inside = (value > 0) & (value < bound)
    over = jnp.where(inside, value / bound, 0.5)
    known, error = LogValue(jnp.log(over), jnp.log1p(-over), error, error), error / bound
    return known._replace(
        value_error=jnp.where(inside, error / over, jnp.inf),
        room_error=jnp.where(inside, error / (1.0 - over), jnp.inf),
    )


def total_vol_of(model: AbstractFourierModel, expiry: Float[Array, " e"]) -> Float[Array, " e"]:
    """The model's own total volatility, from E[exp(X / 2)]: exact for Black-Scholes, near at the money otherwise."""
    z = jax.lax.complex(jnp.zeros_like(expiry), jnp.full_like(expiry, -0.5))
    return jnp.sqrt(jnp.maximum(-8.0 * jnp.real(model.log_cf(z, expiry)), jnp.finfo(expiry.dtype).tiny))


def tilts_inside(model: AbstractFourierModel, tilt: float, dtype: jnp.dtype) -> Float[Array, " 2"]:
    """Angles `tilt` up and down, in radians, moved into the model's cone of decay.

    It keeps half of the cone on its side: near the edge phi hardly decays, and a contour tilted to the other side, or
    beyond the edge, would meet an integrand that grows.
    """
    lower, upper = (jnp.asarray(angle, dtype) for angle in model.decay_cone())
    up, down = (jnp.clip(0.5 * edge, 0.0, tilt) for edge in (upper, -lower))
    return jnp.stack([up, -down])
