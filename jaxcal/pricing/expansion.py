"""Expansion: prices of a model around given quotes, as derivatives in log-strike, parameters and time."""

from collections.abc import Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.parameters import natural_vector, with_natural
from jaxcal.pricing.fourier import FourierGrid
from jaxcal.pricing.pricer import LogValue
from jaxcal.pricing.saddle import grid_and_bound, logs_on, values_on

_RULES = 2  # the rule of all nodes, and that of every other node, which tells how far to trust it


class Expansion(eqx.Module):
    """Out-of-the-money values over forward around quotes at ln(K / F) and T, by two rules on the same nodes: axis `r`.

    The first rule is the trapezoidal one with all nodes, the second with every other. On a contour where the rule
    converges geometrically the error of the first is about the square of what they differ by.

    Attributes:
        value: `[q]` by the first rule, with `error`, a bound on its error; and their logarithms, `logs`.
        by_strike: `[r, n, q]` derivatives of order 0 to n - 1 in ln(K / F).
        first: `[r, n, d, q]` of those the first derivative in each direction: the parameters and, last, time in years.
        twice: `[r, d, q]` second derivative along each parameter; the last is 0.
        timed: `[r, d, q]` derivative along each parameter and time; the last is 0.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> found = expansion(jc.BlackScholes(0.2), ("sigma",), jnp.zeros(1), jnp.ones(1), 64, 1)
        >>> isinstance(found, Expansion), round(float(found.value[0]), 9), round(float(found.first[0, 0, 0, 0]), 9)
        (True, 0.079655675, 0.396952547)
    """

    value: Float[Array, " q"]
    error: Float[Array, " q"]
    logs: LogValue
    by_strike: Float[Array, "r n q"]
    first: Float[Array, "r n d q"]
    twice: Float[Array, "r d q"]
    timed: Float[Array, "r d q"]

    def near(self, rule: int | Array, log_strike: Float[Array, " q"], moves: Float[Array, " d"]) -> Float[Array, " q"]:
        """Values after a move in ln(K / F) and in the directions. Its derivatives at no move are the model's: of order
        `n` in log-strike, of one less with one in a direction, and of second order in parameters.
        """
        total, power = self.by_strike[rule, 0], jnp.ones_like(log_strike)
        tilt = moves @ self.first[rule, 0]
        for n in range(1, self.by_strike.shape[1]):
            power = power * log_strike / n
            total = total + power * self.by_strike[rule, n]
            tilt = tilt + power * (moves @ self.first[rule, n])
        return total + tilt + moves * moves @ self.twice[rule] / 2 + moves[-1] * (moves @ self.timed[rule])


def expansion(
    model: AbstractFourierModel,
    names: Sequence[str],
    log_strike: Float[Array, " q"],
    expiry: Float[Array, " q"],
    num_nodes: int,
    order: int,
) -> Expansion:
    """Expand around quotes, to `order` 1, 2 or 3, with `num_nodes` nodes on each quote's saddle-point contour.

    Log-strike enters as exp(k (1 - iz)), so its derivatives are powers of 1 - iz under the same integral: only
    parameters and time are differentiated by JAX, and the contours are placed once.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> found = expansion(jc.BlackScholes(0.2), ("sigma",), jnp.zeros(1), jnp.ones(1), 64, 2)
        >>> round(float(found.near(0, jnp.zeros(1), jnp.asarray([0.01, 0.0]))[0]), 6)
        0.083624
    """
    grid, bound = jax.lax.stop_gradient(grid_and_bound(model, log_strike, expiry, num_nodes))
    value, error = values_on(grid, model, bound)
    logs = logs_on(grid, model, log_strike, bound)
    point = natural_vector(model, names)
    still = jnp.zeros(point.size + 1, point.dtype)
    basis = jnp.eye(still.size, dtype=still.dtype)
    sums = partial(_sums, grid, order)

    def at(moves: Array) -> Array:
        return sums(with_natural(model, names, point + moves[:-1]), expiry + moves[-1])

    def along(v: Array) -> tuple[Array, Array]:
        return jax.jvp(at, (still,), (v,))

    # what is no function of a parameter: the other side of parity under the contour
    offset = grid.offset[:, 0]
    rises = jnp.where(log_strike < 0, offset, 0.0)
    constant = jnp.stack([offset, *(rises for _ in range(order))])
    if order == 1:
        here, first = jax.vmap(along, out_axes=(None, 2))(basis)
        twice = timed = jnp.zeros_like(first[:, 0])
    else:

        def pair(v: Array, w: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            return jax.jvp(lambda moves: jax.jvp(at, (moves,), (v,)), (still,), (w,))

        # each parameter twice, then each with time, in one program
        count = point.size
        later = jnp.broadcast_to(basis[-1:], (count, still.size))
        pairs = jnp.concatenate([basis[:-1]] * 2), jnp.concatenate([basis[:-1], later])
        (here, by_v), (by_w, second) = jax.vmap(pair, out_axes=((None, 2), (2, 2)))(*pairs)
        first = jnp.concatenate([by_v[:, :, :count], by_w[:, :, count : count + 1]], axis=2)
        none = jnp.zeros_like(second[:, 0, :1])
        twice = jnp.concatenate([second[:, 0, :count], none], axis=1)
        timed = jnp.concatenate([second[:, 0, count:], none], axis=1)
    return Expansion(value, error, logs, here + constant[None], first, twice, timed)


def _sums(
    grid: FourierGrid, order: int, model: AbstractFourierModel, expiry: Float[Array, " q"]
) -> Float[Array, "r n q"]:
    """By both rules, the integrals with 1, 1 - iz, (1 - iz)^2, ... under them."""
    moved = eqx.tree_at(lambda g: g.expiry, grid, expiry)
    re, im = jnp.split(moved.factored_cf(model)[:, 0], 2, axis=-1)
    factor = 1.0 - 1j * grid.nodes[:, 0]
    found, power = [], jnp.ones_like(factor)
    for _ in range(order + 1):
        terms = re * jnp.real(power) - im * jnp.imag(power)
        found.append(jnp.stack([-jnp.sum(terms, axis=-1), -2.0 * jnp.sum(terms[:, ::2], axis=-1)]))
        power = power * factor
    return jnp.stack(found, axis=1)
