# pyright: reportArgumentType=false
# (arrays on the host, where the nouns are declared with those of JAX)
"""What a caller of `calibrate_many` may give for each surface, put in order on the host. A rule that one surface breaks
becomes its reason; one that all break is a ValueError.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from numpy.typing import NDArray

from jaxcal.calibration.arguments import check_start, checked_weights, refuse_twice
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.prior import AbstractPrior, Scaled, make_prior
from jaxcal.calibration.objective.weights import AbstractWeights
from jaxcal.market.surface import Surface
from jaxcal.market.surface_rows import SurfaceRows
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import as_batch, batch_size

Tree = TypeVar("Tree")


def in_order(surfaces: Any) -> tuple[tuple, Sequence[Any]]:
    """Keys and surfaces; a ValueError where there are none."""
    if isinstance(surfaces, Surface):
        if surfaces.vol.ndim != 3:
            raise ValueError("calibrate_many takes several surfaces: a sequence, a dict, or one Surface of shape [B]")
        rows = SurfaceRows(surfaces)
        if not len(rows):
            raise ValueError("there are no surfaces to fit")
        return tuple(range(len(rows))), rows
    if isinstance(surfaces, Mapping):
        keys, given = tuple(surfaces), tuple(surfaces.values())
    else:
        given = tuple(surfaces)
        keys = tuple(range(len(given)))
    if not given:
        raise ValueError("there are no surfaces to fit")
    return keys, given


def by_position(values: Any, keys: tuple, what: str) -> list | None:
    """What a caller gave for each surface, in their order."""
    if values is None:
        return None
    if isinstance(values, str | AbstractWeights):
        return [values] * len(keys)
    if isinstance(values, Mapping):
        if unknown := [key for key in values if key not in set(keys)]:
            raise ValueError(f"{what} are given for {unknown[0]!r}, which is not one of the surfaces")
        return [values.get(key) for key in keys]
    values = list(values)
    if len(values) != len(keys):
        raise ValueError(f"there are {len(keys)} surfaces, but {what} for {len(values)}")
    return values


def starts_given(model: Any, keys: tuple) -> tuple[type[AbstractModel], list | None]:
    """The class to fit, and a start for each surface unless they start from their data."""
    if isinstance(model, type):
        return model, None
    if isinstance(model, AbstractModel):
        size = None if model.vectors else batch_size(model)
        if model.per_expiry or size is None:
            return type(model), [model] * len(keys)
        if size != len(keys):
            raise ValueError(f"there are {len(keys)} surfaces, but {size} starts")
        wide = as_batch(model, size)
        return type(model), [jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], wide) for i in range(size)]
    starts = by_position(model, keys, "starts") or []
    kinds = {type(start) for start in starts}
    if len(kinds) != 1 or not issubclass(next(iter(kinds)), AbstractModel):
        raise ValueError(f"starts must be models of one class, not {sorted(kind.__name__ for kind in kinds)}")
    return kinds.pop(), starts


class TargetRows(Mapping[int, Target]):
    """The targets of `SurfaceRows`; `stacked` has them all."""

    def __init__(self, stacked: Target) -> None:
        """Of all surfaces, on the host."""
        self.stacked = stacked

    def __len__(self) -> int:
        """How many."""
        return len(self.stacked.vol)

    def __iter__(self) -> Iterator[int]:
        """Their places."""
        return iter(range(len(self)))

    def __getitem__(self, i: int) -> Target:
        """One of them."""
        return jax.tree.map(lambda x: x[i], self.stacked)


def make_targets(
    given: Sequence[Any], weights: list | None, reasons: dict[int, str], *, spread: bool, remembered: bool
) -> Mapping[int, Target]:
    """The surfaces in terms of a fit, on the host, with their bid-ask spreads or without; what cannot be fitted gets a
    reason instead; so gets one that would have weights that a spec remembers twice, see `weighted`.
    """
    if isinstance(given, SurfaceRows) and weights is None:
        return TargetRows(jax.tree.map(np.asarray, Target.of(given.stacked, spread=spread)))
    found = {}
    for i, surface in enumerate(given):
        if not isinstance(surface, Surface):
            reasons[i] = f"Not fitted: a Surface is needed, not {type(surface).__name__}."
            continue
        target = jax.tree.map(np.asarray, Target.of(surface, spread=spread))
        try:
            if weights is not None and weights[i] is not None:
                if remembered:
                    refuse_twice(weights[i], surface)
                more = np.asarray(checked_weights(weights[i], surface))
                target = target._replace(weight=target.weight * more)
        except ValueError as error:
            reasons[i] = f"Not fitted: {error}."
            continue
        found[i] = target
    return found


def checked_starts(begin: list | None, given: Sequence[Any], reasons: dict[int, str]) -> list | None:
    """The starts in the dtype of the surfaces."""
    if begin is None:
        return None
    found = list(begin)
    for i, (start, surface) in enumerate(zip(begin, given, strict=True)):
        try:
            if i not in reasons:
                found[i] = check_start(start, surface)
        except ValueError as error:
            reasons[i] = f"Not fitted: {error}."
    return found


def for_each(settings: Tree, size: int, dtype: np.dtype) -> Tree:
    """Settings that all surfaces share, with a leading axis of surfaces on every leaf; numbers in `dtype`."""

    def wide(leaf: Any) -> NDArray:
        values = np.asarray(leaf)
        values = values.astype(dtype) if np.issubdtype(values.dtype, np.floating) else values
        return np.broadcast_to(values, (size, *values.shape))

    return jax.tree.map(wide, settings)


def make_priors(prior: Any, template: type[AbstractModel], keys: tuple) -> list[AbstractPrior | None]:
    """A prior, or None, for each surface, from what a caller gave for all or by key."""
    if not isinstance(prior, Mapping):
        return [make_prior(prior, template)] * len(keys)
    return [make_prior(one, template) for one in by_position(prior, keys, "priors") or []]


def stacked_priors(priors: list[AbstractPrior | None], dtype: np.dtype) -> Any:
    """Priors with a leading axis; a surface without one gets one of strength 0, so that one program serves all.

    Raises:
        ValueError: they are of different kinds.
    """
    some = [prior for prior in priors if prior is not None]
    if not some:
        return None
    if all(prior is some[0] for prior in priors):
        return for_each(some[0], len(priors), dtype)
    if len(some) < len(priors):
        priors = [Scaled(prior or some[0], float(prior is not None)) for prior in priors]
    if len({jax.tree.structure(prior) for prior in priors}) > 1:
        raise ValueError("the priors of the surfaces are of different kinds: fit those of each kind by themselves")
    alone = [for_each(prior, 1, dtype) for prior in priors]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *alone)


def stacked_starts(starts: list, batch: Target) -> Any:
    """Starts with a leading axis; those of models with parameters of each expiry padded to the batch's expiries."""

    def column(*leaves: Any) -> NDArray:
        arrays = [np.asarray(leaf, batch.vol.dtype) for leaf in leaves]
        if not arrays[0].ndim:
            return np.stack(arrays)
        size = batch.expiry.shape[1]
        return np.stack([np.concatenate([x, np.full(size - len(x), x[-1])]) for x in arrays])

    return jax.tree.map(column, *starts)
