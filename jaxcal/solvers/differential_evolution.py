"""Differential evolution: a population that searches a box, all of it evaluated at once."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer

_LEADERS = 0.2  # of the population: each member is drawn towards one of these best
_CROSSOVER = 0.9  # of the coordinates that a trial takes from the mutant
_SMALLEST, _LARGEST = 0.4, 1.0  # of the factor of a difference, drawn for each member and generation


class Population(NamedTuple):
    """Points and their costs; infinite where a cost is not a number."""

    y: Float[Array, "n p"]
    cost: Float[Array, " n"]


def differential_evolution(
    fn: Callable[[Float[Array, "n p"]], Float[Array, " n"]],
    y0: Float[Array, "n p"],
    lower: Float[Array, " p"],
    upper: Float[Array, " p"],
    *,
    generations: Int[Array, ""] | int,
    seed: Integer[Array, ""] | int = 0,
) -> Population:
    """Let a population evolve in the box `lower <= y <= upper` towards small values of `fn`.

    Every member y_i makes a trial from y_i + F (y_best - y_i) + F (y_a - y_b), y_best one of the best fifth, a and b
    drawn at random, and is replaced where the trial costs no more ("current to p-best": J. Zhang, A. Sanderson, IEEE
    Trans. Evol. Comput. 13 (2009) 945-958, eq. 6, without the archive and with F drawn from [0.4, 1]; the method is
    R. Storn's and K. Price's, J. Glob. Optim. 11 (1997) 341-359). A coordinate that would leave the box goes half way
    to the bound.

    Args:
        fn: the costs `[n]` of points `[n, p]`, in one evaluation; needs no derivative.
        y0: `[n, p]` the first generation, at least 4 members; moved into the box.
        lower, upper: `[p]` finite bounds.
        generations: evaluations of the population after the first.
        seed: of the random numbers.

    Returns:
        The last `Population`, in no order. May be called inside `jit`, and should be where speed matters.

    Raises:
        ValueError: fewer than 4 members.

    Example:
        >>> def ripples(y):                                        # many local minima, the best at 0
        ...     return jnp.sum(y**2 + 5.0 * (1.0 - jnp.cos(6.0 * y)), axis=1)
        >>> low, high = jnp.full(2, -5.0), jnp.full(2, 4.0)
        >>> y0 = jax.random.uniform(jax.random.key(1), (32, 2), minval=low[None], maxval=high[None])
        >>> last = differential_evolution(ripples, y0, low, high, generations=100)
        >>> bool(jnp.min(last.cost) < 1e-6)
        True
    """
    size, dimensions = y0.shape
    if size < 4:
        raise ValueError(f"differential evolution of {size} members: it takes at least 4")
    dtype, key = y0.dtype, jax.random.key(seed)
    lower, upper = lower[None, :], upper[None, :]
    leaders = max(1, round(_LEADERS * size))
    places = jnp.arange(size)

    def generation(i: Int[Array, ""] | int, now: Population) -> Population:
        keys = jax.random.split(jax.random.fold_in(key, i), 6)
        best = jnp.argsort(now.cost)[jax.random.randint(keys[0], (size,), 0, leaders)]
        a = (places + jax.random.randint(keys[1], (size,), 1, size)) % size
        b = (a + jax.random.randint(keys[2], (size,), 1, size)) % size
        factor = jax.random.uniform(keys[3], (size, 1), dtype, _SMALLEST, _LARGEST)
        mutant = now.y + factor * (now.y[best] - now.y + now.y[a] - now.y[b])
        mutant = jnp.where(mutant < lower, 0.5 * (now.y + lower), mutant)
        mutant = jnp.where(mutant > upper, 0.5 * (now.y + upper), mutant)
        taken = jax.random.uniform(keys[4], (size, dimensions), dtype) < _CROSSOVER
        # one coordinate at least
        taken |= jnp.arange(dimensions)[None, :] == jax.random.randint(keys[5], (size, 1), 0, dimensions)
        # the first generation evaluates the start: one evaluation in the program, not two
        trial = jnp.where(taken & (i > 0), mutant, now.y)
        cost = fn(trial).astype(dtype)
        cost = jnp.where(jnp.isfinite(cost), cost, jnp.inf)
        better = cost <= now.cost
        return Population(jnp.where(better[:, None], trial, now.y), jnp.where(better, cost, now.cost))

    first = Population(jnp.clip(y0, lower, upper), jnp.full((size,), jnp.inf, dtype))
    return jax.lax.fori_loop(0, generations + 1, generation, first)
