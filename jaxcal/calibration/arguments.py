"""What a caller of `calibrate` may ask for, checked on the host: sentences instead of surprises."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from jaxcal.calibration.objective.weights import AbstractWeights, checked_values, find_weights, weighed
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractFourierModel, AbstractModel, AbstractVolModel
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import Scales

Model = TypeVar("Model", bound=AbstractModel)
Bounds = Mapping[str, Interval | tuple[float, float] | str]


def free_names(template: type[AbstractModel], free: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the parameters to fit, in the model's order; a ValueError names what is not one of them.

    Without `free` all of them, but for those that the model holds.
    """
    if not issubclass(template, AbstractFourierModel | AbstractVolModel):
        raise TypeError(f"{template.__name__} is neither an AbstractFourierModel nor an AbstractVolModel")
    known = tuple(template.bounds)
    if not known:
        raise ValueError(f"{template.__name__} has no bounds, so nothing to fit: give it bounds = {{name: Interval}}")
    if free is None:
        return tuple(name for name in known if name not in template.held)
    unknown = [name for name in free if name not in known]
    if unknown or not free:
        raise ValueError(f"free must name parameters of {template.__name__} ({', '.join(known)}), not {list(free)}")
    return tuple(name for name in known if name in free)


def intervals(template: type[AbstractModel], bounds: Bounds | None) -> dict[str, Interval]:
    """The model's bounds with the caller's in their place; a ValueError says which of those cannot be."""
    found = dict(template.bounds)
    for name, pair in (bounds or {}).items():
        if name not in found:
            raise ValueError(
                f"bounds name {name!r}, which is not a parameter of {template.__name__} ({', '.join(found)})"
            )
        if isinstance(pair, str):
            continue  # a tie
        lower, upper = float(pair[0]), float(pair[1])
        if _has_scale(pair):
            found[name] = pair
        scale = found[name].scale
        if not lower < upper or not math.isfinite(upper - lower) or (scale == "log" and lower <= 0):
            rule = "0 < lower < upper" if scale == "log" else "lower < upper"
            raise ValueError(f"bounds of {name} are ({lower}, {upper}): they must be finite with {rule}")
        found[name] = Interval(lower, upper, scale, found[name].unit, found[name].origin)
    return found


def find_scales(template: type[AbstractModel], bounds: Bounds | None) -> Scales:
    """The search scales and ties that bounds ask for; a ValueError where a tie cannot be."""
    known, ties = tuple(template.bounds), {}
    for name, other in (bounds or {}).items():
        if isinstance(other, str):
            if other not in known or other == name:
                raise ValueError(f"{name} is tied to {other!r}: it takes another parameter of {template.__name__}")
            ties[name] = other
    for name, other in ties.items():
        if other in ties:
            raise ValueError(f"{name} is tied to {other}, which is itself tied to {ties[other]}: tie both to that one")
    own = tuple((n, b._replace(lower=0.0, upper=0.0)) for n, b in (bounds or {}).items() if _has_scale(b))
    return Scales(own, tuple(ties.items()))


def without_ties(names: tuple[str, ...], free: Sequence[str] | None, scales: Scales) -> tuple[str, ...]:
    """The names of the parameters that are searched; a ValueError where a tied one was asked for, or none is left."""
    tied = dict(scales.ties)
    if both := [name for name in free or () if name in tied]:
        raise ValueError(f"{both[0]} is in free, and tied to {tied[both[0]]}: it cannot be both")
    return tuple(name for name in names if name not in tied)


def _has_scale(bound: Any) -> TypeGuard[Interval]:
    return isinstance(bound, Interval) and (bound.unit is not None or bound.origin is not None)


def checked_weights(weights: ArrayLike | AbstractWeights | str, surface: Surface) -> Float[Array, "e k"]:
    """Weights of the quotes, given or by a rule; a ValueError where their shape is another, one of them is negative or
    not finite, or the rule does not apply.
    """
    if isinstance(weights, str):
        weights = find_weights(weights)
    if isinstance(weights, AbstractWeights):
        return jnp.asarray(weighed(weights, surface), surface.vol.dtype)
    if np.shape(weights) != surface.weight.shape:
        raise ValueError(f"weights have shape {np.shape(weights)}, the surface has {surface.weight.shape}")
    return jnp.asarray(checked_values(weights), surface.vol.dtype)


def weighted(surface: Surface, weights: ArrayLike | AbstractWeights | str, *, remembered: bool) -> Surface:
    """The surface with its weights multiplied by others.

    Raises:
        ValueError: the weights cannot be; or they are `remembered`, by a spec, and the surface has some already: one of
            a fit has those that it was fitted with, and would get them twice.
    """
    if remembered:
        refuse_twice(weights, surface)
    return eqx.tree_at(lambda s: s.weight, surface, surface.weight * checked_weights(weights, surface))


def refuse_twice(weights: ArrayLike | AbstractWeights, surface: Surface) -> None:
    """See `weighted`."""
    if not np.isin(np.asarray(surface.weight), (0.0, 1.0)).all():
        rule = type(weights).__name__ if isinstance(weights, AbstractWeights) else "weights"
        raise ValueError(
            f"the spec has {rule}, and the surface has weights already, as that of a fit has: give weights='uniform' "
            "to leave it at those, or the weights by name to have both"
        )


def check_start(model: Model, surface: Surface) -> Model:
    """`model` with its numbers in the dtype of the surface, one set an expiry where the model has parameters of its own
    for each; a ValueError where a parameter has another shape.
    """
    expiries = surface.expiry.shape if model.per_expiry else ()
    one = type(model).__name__
    for name in model.bounds:
        shape = np.shape(getattr(model, name))
        if expiries and shape not in ((), expiries):
            raise ValueError(f"{name} has shape {shape}: {one} takes one number, or one an expiry {expiries}")
        if not expiries and len(shape) > (1 if name in model.vectors else 0):
            raise ValueError(f"{name} has shape {shape}, not that of one model")
    if isinstance(model, AbstractVolModel) and not expiries:
        quoted = np.asarray(surface.expiry)[np.any(np.asarray(surface.weight) > 0, axis=-1)]
        slices = model.slices(jnp.asarray(quoted)) if quoted.size else None
        unknown = [] if slices is None else np.flatnonzero(np.isnan(np.asarray(jax.tree.leaves(slices)[0])))
        if len(unknown):
            raise ValueError(
                f"{one} has no knot at {quoted[unknown[0]]:.6g} years, where the surface has quotes: give the class, "
                "whose fit takes the quoted expiries for knots"
            )
    return jax.tree.map(
        lambda leaf: np.broadcast_to(np.asarray(leaf, surface.vol.dtype), expiries or np.shape(leaf)), model
    )
