"""How many things of a kind a program works on together: as many as a core's cache holds, or as fill an accelerator."""

from collections.abc import Callable
from typing import Any

import jax


def side_by_side(on_processor: int, on_accelerator: int) -> int:
    """One of two numbers, by JAX's default platform: a processor takes a few at a time; an accelerator starts a kernel
    for each operation, which takes longer than a few thousand numbers do.

    Example:
        >>> side_by_side(128, 8192)
        128
    """
    return on_processor if jax.default_backend() == "cpu" else on_accelerator


def map_some(fn: Callable[[Any], Any], rows: Any, together: int) -> Any:
    """`fn` of each row of a tree, so many of them at a time.

    Example:
        >>> import jax.numpy as jnp
        >>> map_some(lambda x: 2 * x, jnp.arange(3), together=1).tolist()
        [0, 2, 4]
    """
    return jax.lax.map(fn, rows) if together <= 1 else jax.lax.map(fn, rows, batch_size=together)
