"""Expansion: prices of a model around given quotes, as derivatives in log-strike, parameters and time."""

from collections.abc import Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal._reductions import sum_together
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.complex_math import Cartesian, exp
from jaxcal.models.parameters import natural_vector, with_natural
from jaxcal.pricing.pricer import LogValue, PerQuote
from jaxcal.pricing.saddle import grid_and_bound, logs_on, values_on


class Expansion(eqx.Module):
    """Out-of-the-money values over forward around quotes at ln(K / F) and T, by two rules on the same nodes: axis `r`.

    The first rule is the trapezoidal one with all nodes, the second with every other. On a contour where the rule
    converges geometrically the error of the first is about the square of their difference.

    Attributes:
        value: `[q]` by the first rule, with `error`, a bound on its error; and their logarithms, `logs`.
        by_strike: `[r, n, q]` derivatives of order 0 to n - 1 in ln(K / F).
        first: `[r, n - 1, d, q]` first derivatives of all of those but the last, in each direction: the parameters
            and, last, time in years.
        twice: `[r, d, q]` second derivative along each parameter; the last is 0.
        timed: `[r, d, q]` derivative along each parameter and time; the last is 0.

    Example:
        >>> import jaxcal as jc
        >>> found = expansion(jc.BlackScholes(0.2), ("sigma",), jnp.zeros(1), jnp.ones(1), 64, 1)
        >>> isinstance(found, Expansion), round(float(found.value[0]), 9), round(float(found.first[0, 0, 0, 0]), 9)
        (True, 0.079655675, 0.396952547)
    """

    value: PerQuote
    error: PerQuote
    logs: LogValue
    by_strike: Float[Array, "r n q"]
    first: Float[Array, "r m d q"]
    twice: Float[Array, "r d q"]
    timed: Float[Array, "r d q"]

    def near(self, rule: int | Array, log_strike: PerQuote, moves: Float[Array, " d"]) -> PerQuote:
        """Values after a move in ln(K / F) and in the directions. Its derivatives at no move are the model's: of order
        `n` in log-strike, of one less with one in a direction, and of second order in parameters.
        """
        total, power = self.by_strike[rule, 0], jnp.ones_like(log_strike)
        tilt = moves @ self.first[rule, 0]
        for n in range(1, self.by_strike.shape[1]):
            power = power * log_strike / n
            total = total + power * self.by_strike[rule, n]
            if n < self.first.shape[1]:
                tilt = tilt + power * (moves @ self.first[rule, n])
        return total + tilt + moves * moves @ self.twice[rule] / 2 + moves[-1] * (moves @ self.timed[rule])


def expansion(
    model: AbstractFourierModel,
    names: Sequence[str],
    log_strike: PerQuote,
    expiry: PerQuote,
    num_nodes: int,
    order: int,
) -> Expansion:
    """Expand around quotes, to `order` 1, 2 or 3, with `num_nodes` nodes on each quote's saddle-point contour.

    Log-strike enters as exp(k (1 - iz)), so its derivatives are powers of 1 - iz under the same integral: only
    parameters and time are differentiated by JAX, and the contours are placed once.

    Example:
        >>> import jaxcal as jc
        >>> found = expansion(jc.BlackScholes(0.2), ("sigma",), jnp.zeros(1), jnp.ones(1), 64, 2)
        >>> round(float(found.near(0, jnp.zeros(1), jnp.asarray([0.01, 0.0]))[0]), 6)
        0.083624
    """
    grid, bound = jax.lax.stop_gradient(grid_and_bound(model, log_strike, expiry, num_nodes))
    value, error = values_on(grid, model, bound)
    logs = logs_on(grid, model, log_strike, bound)
    point = natural_vector(model, names)

    def log_terms(point: Array, expiry: Array) -> Array:
        moved = eqx.tree_at(lambda g: g.expiry, grid, expiry)
        return moved.log_terms(with_natural(model, names, point))[:, 0]

    def slopes(v: Array, point: Array) -> tuple[Array, Array, Array]:
        """The logarithm of the integrand, and its derivatives along parameters and in time."""
        value, along = jax.jvp(lambda p: log_terms(p, expiry), (point,), (v,))
        return value, along, jax.jvp(lambda t: log_terms(point, t), (expiry,), (jnp.ones_like(expiry),))[1]

    def curvatures(v: Array) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
        """The same, and their derivatives along the same parameters."""
        return jax.jvp(partial(slopes, v), (point,), (v,))

    basis = jnp.eye(point.size, dtype=point.dtype)
    if order == 1:
        log, along, in_time = jax.vmap(partial(slopes, point=point), out_axes=(None, 0, None))(basis)
        second = ()
    else:
        (log, along, in_time), (_, *second) = jax.vmap(curvatures, out_axes=((None, 0, None), 0))(basis)
    # exp is differentiated by hand, so that all sums over the nodes are two reductions
    terms, later, each = exp(Cartesian.of(log)), Cartesian.of(in_time), Cartesian.of(along)
    factor, powers = Cartesian(1.0 + jnp.imag(grid.nodes[:, 0]), -jnp.real(grid.nodes[:, 0])), [terms]
    for _ in range(order):
        powers.append(powers[-1] * factor)
    found = _integrals(*powers, *(later * power for power in powers[:-1]))
    here, first = found[:, : order + 1], found[:, order + 1 :, None]
    wide = [Cartesian(power.re[None], power.im[None]) for power in powers[:-1]]
    growth = [each * each, each * Cartesian(later.re[None], later.im[None])]
    more = [wide[0] * (Cartesian.of(x) + y) for x, y in zip(second, growth[: len(second)], strict=True)]
    found = _integrals(*(each * power for power in wide), *more)
    first = jnp.concatenate([found[:, :order], first], axis=2)
    none = jnp.zeros_like(first[:, 0])
    twice, timed = (none.at[:, :-1].set(x) for x in (found[:, order], found[:, order + 1])) if second else (none, none)
    # what does not depend on a parameter: the upper bound, from which the integral between the poles is subtracted
    offset = grid.offset[:, 0]
    rises = jnp.where(log_strike < 0, offset, 0.0)
    constant = jnp.stack([offset, *(rises for _ in range(order))])
    return Expansion(value, error, logs, here + constant[None], first, twice, timed)


def _integrals(*terms: Cartesian) -> Float[Array, "r n *d q"]:
    """Of each of some integrands at the nodes, by both rules."""
    every = [-term.re for term in terms]
    kept = jnp.arange(every[0].shape[-1]) % 2 == 0
    found = sum_together(*every, *(jnp.where(kept, 2.0 * x, 0.0) for x in every))
    return jnp.stack([jnp.stack(found[: len(every)]), jnp.stack(found[len(every) :])])
