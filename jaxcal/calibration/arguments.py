"""What a caller of `calibrate` may ask for, checked on the host: sentences instead of surprises."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractFourierModel, AbstractModel, AbstractVolModel
from jaxcal.models.interval import Interval

Model = TypeVar("Model", bound=AbstractModel)


def free_names(template: type[AbstractModel], free: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the parameters to fit, in the model's order; a ValueError names what is not one of them.

    Without `free` all of them, but for those that the model holds.
    """
    if not issubclass(template, AbstractFourierModel | AbstractVolModel):
        raise TypeError(f"{template.__name__} is neither an AbstractFourierModel nor an AbstractVolModel")
    known = tuple(template.bounds)
    if free is None:
        return tuple(name for name in known if name not in template.held)
    unknown = [name for name in free if name not in known]
    if unknown or not free:
        raise ValueError(f"free must name parameters of {template.__name__} ({', '.join(known)}), not {list(free)}")
    return tuple(name for name in known if name in free)


def intervals(
    template: type[AbstractModel], bounds: Mapping[str, Interval | tuple[float, float]] | None
) -> dict[str, Interval]:
    """The model's bounds with the caller's in their place; a ValueError says which of those cannot be."""
    found = dict(template.bounds)
    for name, pair in (bounds or {}).items():
        if name not in found:
            raise ValueError(
                f"bounds name {name!r}, which is not a parameter of {template.__name__} ({', '.join(found)})"
            )
        lower, upper = float(pair[0]), float(pair[1])
        scale = found[name].scale
        if not lower < upper or not math.isfinite(upper - lower) or (scale == "log" and lower <= 0):
            rule = "0 < lower < upper" if scale == "log" else "lower < upper"
            raise ValueError(f"bounds of {name} are ({lower}, {upper}): they must be finite with {rule}")
        found[name] = Interval(lower, upper, scale, found[name].unit, found[name].origin)
    return found


def checked_weights(weights: ArrayLike, surface: Surface) -> Float[Array, "e k"]:
    """Weights of the quotes; a ValueError where their shape is another, or one of them is negative or not finite."""
    values = np.asarray(weights, dtype=surface.vol.dtype)
    if values.shape != surface.weight.shape:
        raise ValueError(f"weights have shape {values.shape}, the surface has {surface.weight.shape}")
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError("weights must be finite and not negative")
    return jnp.asarray(values)


def start_of(model: Model, surface: Surface) -> Model:
    """`model` with its numbers in the dtype of the surface, one set an expiry where the model has parameters of its own
    for each; a ValueError where a parameter has another shape.
    """
    expiries = surface.expiry.shape if getattr(model, "per_expiry", False) else ()
    one = type(model).__name__
    for name in model.bounds:
        shape = np.shape(getattr(model, name))
        if expiries and shape not in ((), expiries):
            raise ValueError(f"{name} has shape {shape}: {one} takes one number, or one an expiry {expiries}")
        if not expiries and len(shape) > (1 if name in model.vectors else 0):
            raise ValueError(f"{name} has shape {shape}, not that of one model")
    return jax.tree.map(
        lambda leaf: np.broadcast_to(np.asarray(leaf, surface.vol.dtype), expiries or np.shape(leaf)), model
    )
