"""The map between a model and a vector of its free parameters, on which a solver works."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from jaxcal.models.base import AbstractModel, Model
from jaxcal.models.interval import Interval


class Scales(eqx.Module):
    """A caller's changes to a model's search scales: static, so that another choice compiles another program.

    Attributes:
        own: by name, an `Interval` whose scale, unit and origin replace the model's; its bounds are not used here.
        ties: by name, the parameter that this one is equal to.
    """

    own: tuple[tuple[str, Interval], ...] = eqx.field(static=True, default=())
    ties: tuple[tuple[str, str], ...] = eqx.field(static=True, default=())

    def of(self, model: AbstractModel, name: str) -> Interval:
        """The search scale of a parameter."""
        return dict(self.own).get(name, model.bounds[name])


_OF_MODEL = Scales()


def to_vector(model: AbstractModel, names: Sequence[str], scales: Scales = _OF_MODEL) -> Float[Array, " p"]:
    """The named parameters of `model` on their search scales, one after the other; a field may be a vector."""
    model = _tied(model, scales)
    return jnp.concatenate([jnp.ravel(search_value(model, name, scales)) for name in names])


def search_value(model: AbstractModel, name: str, scales: Scales = _OF_MODEL) -> Float[Array, "..."]:
    """One parameter on its search scale."""
    interval = scales.of(model, name)
    return interval.to_search(jnp.asarray(interval.relative(jnp.asarray(getattr(model, name)), model)))


def from_vector(model: Model, names: Sequence[str], y: Float[Array, " p"], scales: Scales = _OF_MODEL) -> Model:
    """`model` with its named parameters replaced by those of a search vector, and tied ones by those they follow."""
    for _ in range(2 if scales.ties else 1):  # bounds may depend on tied parameters, which follow later ones
        position = 0
        for name in names:
            old = jnp.asarray(getattr(model, name))
            interval = scales.of(model, name)
            value = interval.absolute(interval.from_search(y[position : position + old.size].reshape(old.shape)), model)
            model = with_fields(model, {name: value})
            position += old.size
        model = _tied(model, scales)
    return model


def _tied(model: Model, scales: Scales) -> Model:
    """`model` with its tied parameters equal to those they follow."""
    ties = {name: jnp.asarray(getattr(model, other)) for name, other in scales.ties}
    return with_fields(model, ties) if ties else model


def with_fields(tree: Any, values: Mapping[str, Any]) -> Any:
    """A model, or another record of arrays, with other values of some of its fields."""
    return eqx.tree_at(lambda t: [getattr(t, name) for name in values], tree, list(values.values()))


def with_only(model: Model, values: Mapping[str, Any]) -> Model:
    """`model` with these values of its fields and NaN in all others."""
    return with_fields(jax.tree.map(lambda leaf: np.full(np.shape(leaf), np.nan), model), values)


def natural_vector(model: AbstractModel, names: Sequence[str]) -> Float[Array, " p"]:
    """The named parameters of `model` in their own units, one after the other."""
    return jnp.concatenate([jnp.ravel(jnp.asarray(getattr(model, name))) for name in names])


def with_natural(model: Model, names: Sequence[str], x: Float[Array, " p"]) -> Model:
    """`model` with its named parameters replaced by those of a vector in their own units."""
    return shaped(model, names, by_field(model, names, x))


def by_field(model: AbstractModel, names: Sequence[str], rows: Float[Array, "p ..."]) -> list[Array]:
    """The rows of each of the named parameters, from one row for every place of a vector of them."""
    sizes = [np.size(getattr(model, name)) for name in names]
    return jnp.split(rows, np.cumsum(sizes)[:-1].tolist())


def shaped(model: Model, names: Sequence[str], values: Sequence[Array], others: Array | None = None) -> Model:
    """`model` with its named fields replaced: each has its own axes first and then those of its value, whose first
    axis is the field's axes laid flat. The other array fields stay, or are `others` at each of their places.
    """
    shapes = [np.shape(getattr(model, name)) for name in names]
    parts = [value.reshape(*shape, *value.shape[1:]) for shape, value in zip(shapes, values, strict=True)]
    if others is not None:
        model = jax.tree.map(lambda leaf: jnp.broadcast_to(others, (*np.shape(leaf), *others.shape)), model)
    return with_fields(model, dict(zip(names, parts, strict=True)))


def batch_size(model: AbstractModel) -> int | None:
    """Length of the leading axis that some field of `model` has beyond its own shape; None for one model."""
    shapes = [(np.shape(getattr(model, f.name)), f.name in model.vectors) for f in dataclasses.fields(model)]
    sizes = [shape[0] for shape, vector in shapes if len(shape) > vector]
    return max(sizes) if sizes else None


def as_batch(model: Model, size: int) -> Model:
    """`model` with that leading axis on every field that is an array: a convention, such as a shift, has none."""

    def lead(name: str) -> Array:
        value = jnp.asarray(getattr(model, name))
        own = value.shape[value.ndim - (name in model.vectors and value.ndim > 0) :]
        return jnp.broadcast_to(value, (size, *own))

    names = [field.name for field in dataclasses.fields(model) if not field.metadata.get("static", False)]
    return with_fields(model, {name: lead(name) for name in names})


def labels(model: AbstractModel, names: Sequence[str]) -> tuple[str, ...]:
    """A label for each place of a search vector: the name, with its index where the field is a vector."""
    found: list[str] = []
    for name in names:
        size = np.size(getattr(model, name))
        found += [name] if np.ndim(getattr(model, name)) == 0 else [f"{name}[{i}]" for i in range(size)]
    return tuple(found)


def search_bounds(
    model: Any, bounds: Mapping[str, Interval], names: Sequence[str], dtype: np.dtype
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Lower and upper bounds of a search vector of `model`, on the host; inside by a few roundings, so that `exp`
    stays inside.
    """
    margin = 8.0 * float(np.finfo(dtype).eps)

    def scaled(value: float, interval: Interval, inward: float) -> float:
        if interval.scale == "linear":
            return value
        return math.log(value) + inward * max(1.0, abs(math.log(value)))

    sizes = [np.size(getattr(model, name)) for name in names]
    lower = np.asarray([scaled(bounds[name].lower, bounds[name], margin) for name in names], dtype)
    upper = np.asarray([scaled(bounds[name].upper, bounds[name], -margin) for name in names], dtype)
    return np.repeat(lower, sizes), np.repeat(upper, sizes)
