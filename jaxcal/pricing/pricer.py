"""The interface of a pricing method: a grid for a calibration, and values with a bound on their error."""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal.formulas.implied_vol import implied_vol_of_logs
from jaxcal.models.base import AbstractFourierModel
from jaxcal.pricing.fourier import FourierGrid
from jaxcal.pricing.revival import beyond_last, stepped_over

# One number a quote, one an expiry, and one for each strike of each expiry.
PerQuote = Float[Array, " q"]
PerExpiry = Float[Array, " e"]
PerStrike = Float[Array, "e k"]


class LogValue(NamedTuple):
    """Logarithms of out-of-the-money values over min(F, K), their upper bound: they do not underflow.

    Attributes:
        value: `[q]` ln of the value.
        room: `[q]` ln of 1 less the value, its distance to the upper bound.
        value_error, room_error: `[q]` bounds on the relative errors of value and room; infinite where unknown.
    """

    value: PerQuote
    room: PerQuote
    value_error: PerQuote
    room_error: PerQuote

    def vol(self, log_strike: PerQuote, expiry: PerQuote) -> PerQuote:
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
        """The error, in units of the forward, up to which a value is accepted."""

    @abstractmethod
    def grid(
        self, model: AbstractFourierModel, expiry: PerExpiry, log_strike: PerStrike, total_vol: PerExpiry
    ) -> FourierGrid:
        """A grid for `e` expiries (years) of `k` strikes ln(K / F), around the at-the-money total volatility
        `total_vol` (volatility times square root of time), for `model` and models near it.
        """

    @abstractmethod
    def value(self, model: AbstractFourierModel, expiry: PerQuote, log_strike: PerQuote) -> tuple[PerQuote, PerQuote]:
        """Out-of-the-money values of single quotes, in units of the forward, and a bound on their errors."""

    @abstractmethod
    def log_value(self, model: AbstractFourierModel, expiry: PerQuote, log_strike: PerQuote) -> LogValue:
        """The same by their logarithms."""


class AbstractValuePricer(AbstractPricer):
    """A Fourier method that takes the logarithms of its values."""

    def log_value(self, model: AbstractFourierModel, expiry: PerQuote, log_strike: PerQuote) -> LogValue:
        return by_logs(*self.value(model, expiry, log_strike), log_strike)


def by_logs(value: PerQuote, error: PerQuote, log_strike: PerQuote) -> LogValue:
    """`LogValue` of values in units of the forward with a bound on their errors."""
    bound = jnp.exp(jnp.minimum(log_strike, 0.0))
    inside = (value > 0) & (value < bound)
    over = jnp.where(inside, value / bound, 0.5)
    known, error = LogValue(jnp.log(over), jnp.log1p(-over), error, error), error / bound
    return known._replace(
        value_error=jnp.where(inside, error / over, jnp.inf),
        room_error=jnp.where(inside, error / (1.0 - over), jnp.inf),
    )


def shared_value(
    model: AbstractFourierModel, expiry: PerQuote, log_strike: PerQuote, grid_of: Callable[[int], FourierGrid],
    nodes: int, *, least: int, last: int, centre: Array | float = 0.0, on_ray: bool = False,
) -> tuple[PerQuote, PerQuote]:  # fmt: skip
    """Values of quotes on grids of so many nodes a side, one row a quote, and a bound on their errors.

    One coarser rule can agree by chance. Two, and what the last nodes still contribute, did not in 2,000 random models.

    Args:
        grid_of: a number of nodes to the grid.
        nodes: on each side.
        least: nodes of a coarser rule.
        last: number of nodes at the end that enter the error bound.
        centre: of the log-strikes in the factors of the grid.
        on_ray: whether the nodes lie on a ray from -i/2, beyond which peaks are bounded too.
    """

    def by_node(num_nodes: int) -> tuple[Array, Array, Array]:
        grid = grid_of(num_nodes)
        sides = grid.factored_cf(model)
        z, log_terms = (jnp.where(grid.side == 0, x[:, 0], x[:, 1]) for x in (grid.nodes, grid.log_terms(model)))
        terms = grid.weights[:, 0] * jnp.where(grid.side == 0, sides[:, 0], sides[:, 1])
        real, imaginary = jnp.split(terms, 2, axis=-1)
        log_terms += (log_strike - centre)[:, None].astype(z.dtype) * (1.0 - 1j * z)
        missed = stepped_over(model, z, expiry, log_terms)
        if on_ray:
            missed += beyond_last(model, z[:, -1], log_strike, expiry)
        tail = jnp.max(jnp.abs(real + imaginary)[:, -last:], axis=-1)
        return grid.offset[:, 0] + jnp.sum(terms, axis=-1), tail, missed

    value, tail, unseen = by_node(nodes)
    others = [by_node(max(least, part * nodes // 4))[0] for part in (2, 3)]
    missed = jnp.maximum(jnp.abs(value - others[0]), jnp.abs(value - others[1]))
    return value, missed + 30.0 * tail + unseen


def total_vol_of(model: AbstractFourierModel, expiry: PerExpiry) -> PerExpiry:
    """The model's own total volatility, from E[exp(X / 2)]: exact for Black-Scholes, else near that at the money."""
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
