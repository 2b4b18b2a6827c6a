"""sin for long arrays: a polynomial, which vectorises where XLA calls the C library number by number."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

# pi in three parts, so that subtracting a multiple of it below 2^20 loses nothing (W. Cody and W. Waite, 1980)
_PI = (3.141592651605606, 1.9841871583270443e-09, 1.034036596358821e-18)


def sine(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sin(x) to rounding, for |x| below about a million.

    Example:
        >>> print(f"{sine(jnp.asarray(2.0)):.15f}")
        0.909297426825682
    """
    turns = jnp.round(x * (1.0 / math.pi))
    for part in _PI:
        x = x - turns * part
    square = x * x
    series = jnp.full_like(x, 1.0 / math.factorial(21))
    for n in range(19, 0, -2):
        series = (-1.0) ** (n // 2) / math.factorial(n) + series * square
    odd = turns - 2.0 * jnp.floor(0.5 * turns)
    return x * series * (1.0 - 2.0 * odd)
