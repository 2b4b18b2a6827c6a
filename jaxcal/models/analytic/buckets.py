"""Buckets of time between knots, in each of which the parameters of a model are constant."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxcal._types import BoolLike, float_dtype
from jaxcal.models.base import AbstractModel


def numbers(value: Any) -> Any:
    """A field as given by a user: sequences and numpy arrays become JAX arrays, all else stays as it is.

    Example:
        >>> numbers([1, 2]).shape, numbers(0.5)
        ((2,), 0.5)
    """
    if not isinstance(value, (list, tuple, np.ndarray)):
        return value
    value = np.asarray(value)
    return jnp.asarray(value, float_dtype(value))


def per_bucket(value: ArrayLike, size: int, dtype: Any) -> Float[Array, " n"]:
    """A field that is one number or `[n]`, as `[n]`."""
    return jnp.broadcast_to(jnp.asarray(value, dtype), (size,))


def years_in_buckets(knots: Float[Array, " m"], t: Float[Array, "*shape"], rank: int | None = None) -> Array:
    """How long each of the n buckets lasts before `t`: `[n, ...]`, with axes of `t` after the first.

    With `rank`, axes of length 1 are put before those of `t` until there are that many.

    Example:
        >>> years_in_buckets(jnp.asarray([0.5, 1.0]), jnp.asarray(0.75)).tolist()
        [0.5, 0.25, 0.0]
    """
    lead = (None,) * (t.ndim if rank is None else rank)
    knots = knots.astype(t.dtype)
    start = jnp.concatenate([jnp.zeros(1, t.dtype), knots])[(..., *lead)]
    end = jnp.concatenate([knots, jnp.full(1, jnp.inf, t.dtype)])[(..., *lead)]
    t = t.reshape((1,) * (len(lead) - t.ndim) + t.shape)[None]
    return jnp.maximum(jnp.minimum(t, end) - start, 0.0)


def years_on_clock(knots: Float[Array, " n"], pace: Float[Array, " n"], t: Float[Array, "*shape"]) -> Array:
    """The time at `t` of a clock that runs as time does up to the first knot, and after each at its pace.

    Example:
        >>> years_on_clock(jnp.asarray([0.5, 1.0]), jnp.asarray([2.0, 0.5]), jnp.asarray([0.25, 3.0])).tolist()
        [0.25, 2.5]
    """
    if not np.size(knots):
        return t
    years = years_in_buckets(knots, t)
    pace = jnp.concatenate([jnp.ones(1, t.dtype), pace.astype(t.dtype)])
    return jnp.sum(pace[(..., *(None,) * t.ndim)] * years, axis=0)


def clock_at(
    knots: Float[Array, " n"], pace: Float[Array, " n"], at: Float[Array, " m"]
) -> tuple[Float[Array, ""] | float, Float[Array, " m"]]:
    """The clock of `knots` and `pace` as one whose knots are `at`: how long its year is, in years of the first clock,
    and its paces. The two show the same time at the new knots, and everywhere where these are among the new ones.

    Example:
        >>> unit, pace = clock_at(jnp.asarray([1.0]), jnp.asarray([3.0]), jnp.asarray([1.0, 2.0]))
        >>> float(unit), pace.tolist()
        (1.0, [3.0, 3.0])
    """
    if not at.size:
        return 1.0, at
    ends = jnp.concatenate([at, at[-1:] + 1.0])
    years = years_on_clock(knots, pace, ends)
    unit = _ratio(years[0], at[0])
    return unit, _ratio(jnp.diff(years), jnp.diff(ends)) / unit


def _ratio(clock: Array, time: Array) -> Array:
    """Of two durations; 1 where there is no time in between, of which the rules of a model say more."""
    return jnp.where(time > 0, clock / jnp.where(time > 0, time, 1.0), 1.0)


def lift(
    model: AbstractModel, knots: Sequence[float] | ArrayLike, vary: Sequence[str], allowed: Sequence[str]
) -> dict[str, Any]:
    """The parameters of `model`, those in `vary` repeated once a bucket.

    Raises:
        ValueError: for a name in `vary` that is not one of `allowed`.
    """
    if unknown := [name for name in vary if name not in allowed]:
        raise ValueError(f"{', '.join(unknown)} cannot vary in time: choose from {', '.join(allowed)}")
    size = np.size(knots) + 1
    fields = {name: getattr(model, name) for name in model.bounds}
    return {
        name: jnp.broadcast_to(jnp.asarray(value, float_dtype(value)), (size,)) if name in vary else value
        for name, value in fields.items()
    }


def check_buckets(model: Any, varying: Sequence[str]) -> None:
    """For `__check_init__`: raises ValueError where a field is neither a number nor one number a bucket."""
    fields = {name: getattr(model, name) for name in (*varying, "knots")}
    if not all(isinstance(value, (float, int, np.ndarray, Array)) for value in fields.values()):
        return  # JAX builds trees with placeholders too
    kind = type(model).__name__
    if np.ndim(fields["knots"]) != 1:
        raise ValueError(f"{kind}: knots must be a vector of times, not of shape {np.shape(fields['knots'])}")
    size = np.size(fields["knots"]) + 1
    for name in varying:
        if np.shape(fields[name]) not in ((), (size,)):
            raise ValueError(
                f"{kind}: {size - 1} knots make {size} buckets, so {name} must be a number or a vector of {size}, "
                f"not of shape {np.shape(fields[name])}"
            )


def bucket_violations(rules: Mapping[str, Any], knots: Any) -> dict[str, BoolLike]:
    """`rules` of single numbers, applied to every bucket, and those of the knots."""
    everywhere = {rule: broken if isinstance(broken, bool) else broken.any() for rule, broken in rules.items()}
    rising = (knots[:1] > 0).all() & (knots[1:] > knots[:-1]).all()  # False of NaN
    return everywhere | {
        "knots must be positive and increase": ~rising,
        "knots must be finite": (knots == np.inf).any(),
    }
