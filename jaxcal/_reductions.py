"""Sums and maxima of several arrays as one reduction. XLA computes what an array is made of again in every reduction
that reads it; in one reduction it does so once, and the program is smaller too.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def sum_together(*arrays: Float[Array, "*q n"]) -> tuple[Float[Array, "*q"], ...]:
    """The sums of the rows of each array, all of one shape.

    Example:
        >>> [float(x[0]) for x in sum_together(jnp.ones((1, 3)), jnp.full((1, 3), 2.0))]
        [3.0, 6.0]
    """
    return _reduce(jnp.add, 0.0, arrays)


@sum_together.defjvp
def _sum_together_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[tuple, tuple]:
    # a reduction of several arrays has no transpose, which reverse mode needs
    return sum_together(*primals), tuple(jnp.sum(moves, axis=-1) for moves in tangents)


def max_together(*arrays: Float[Array, "*q n"]) -> tuple[Float[Array, "*q"], ...]:
    """The largest of the rows of each array, all of one shape; not to be differentiated.

    Example:
        >>> [float(x[0]) for x in max_together(jnp.asarray([[1.0, 3.0]]), jnp.asarray([[2.0, -1.0]]))]
        [3.0, 2.0]
    """
    return _reduce(jnp.maximum, -jnp.inf, arrays)


def _reduce(join: Callable[[Array, Array], Array], start: float, arrays: tuple[Any, ...]) -> tuple[Array, ...]:
    def both(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(join(x, y) for x, y in zip(a, b, strict=True))

    starts = tuple(jnp.asarray(start, x.dtype) for x in arrays)
    return tuple(jax.lax.reduce(arrays, starts, both, (arrays[0].ndim - 1,)))
