"""Array aliases and the one rule of dtypes: the result is as wide as the widest floating array that came in."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, dtypes
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real
from numpy.typing import NDArray

# One number a quote, or anything that broadcasts to it.
RealLike = Real[ArrayLike, "*#quotes"]
BoolLike = Bool[ArrayLike, "*#quotes"]
# A number, or a flag, for each of some options that a program works on together.
Block = Float[Array, " b"]
Flags = Bool[Array, " b"]
# Columns on the host.
FloatColumn = NDArray[np.float64]
Mask = NDArray[np.bool_]
Places = NDArray[np.int64]


def float_dtype(*values: ArrayLike) -> np.dtype[Any]:
    """Widest floating dtype among the arrays; Python numbers and integers follow them, alone they are JAX's default."""
    found = [
        np.dtype(value.dtype)
        for value in values
        if isinstance(value, Array | np.ndarray | np.generic)
        and jnp.issubdtype(value.dtype, jnp.floating)
        and not getattr(value, "weak_type", False)
    ]
    return np.dtype(dtypes.canonicalize_dtype(np.result_type(*found) if found else np.dtype(float)))


def float_arrays(*values: ArrayLike) -> list[Array]:
    """The values as JAX arrays of one floating dtype, each in its own shape."""
    dtype = float_dtype(*values)
    return [jnp.asarray(value, dtype) for value in values]
