"""Surfaces of many sizes padded to a few common shapes, stacked on the host."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from jaxcal.calibration.arguments_of_many import TargetRows
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.market.padding import power_of_two

_MOST = 6  # shapes: each costs a compilation


def few_shapes(shapes: Sequence[tuple[int, int]], most: int = _MOST) -> list[tuple[NDArray[np.int64], tuple[int, int]]]:
    """Groups of positions with the shape (expiries, strikes) that each group is padded to, at most `most` of them.

    One shape stays as it is. Of several, each is rounded up to powers of two; then the pair whose union adds the least
    work is merged, until few enough are left.

    Example:
        >>> [(place.tolist(), shape) for place, shape in few_shapes([(3, 8), (4, 8), (8, 64)])]
        [([0, 1], (4, 8)), ([2], (8, 64))]
    """
    if len(set(shapes)) == 1:
        return [(np.arange(len(shapes)), shapes[0])]
    groups: dict[tuple[int, int], list[int]] = {}
    for i, (e, k) in enumerate(shapes):
        groups.setdefault((power_of_two(e), power_of_two(k)), []).append(i)

    def work(shape: tuple[int, int], count: int) -> float:
        # phi costs about as much at the nodes of an expiry as the sums for some thirty strikes
        return count * shape[0] * (30.0 + shape[1])

    while len(groups) > most:
        found = sorted(groups)
        pairs = [(a, b, (max(a[0], b[0]), max(a[1], b[1]))) for i, a in enumerate(found) for b in found[i + 1 :]]
        a, b, union = min(
            pairs,
            key=lambda p: work(p[2], len(groups[p[0]]) + len(groups[p[1]]))
            - work(p[0], len(groups[p[0]])) - work(p[1], len(groups[p[1]])),
        )  # fmt: skip
        members = groups.pop(a) + groups.pop(b)
        groups[union] = sorted(groups.get(union, []) + members)
    return [(np.asarray(groups[shape]), shape) for shape in sorted(groups)]


def stacked(targets: Sequence[Target], shape: tuple[int, int]) -> Target:
    """Targets on the host with a leading axis, padded to (expiries, strikes) by places without a quote."""
    dtype = np.asarray(targets[0].vol).dtype

    def filled(filler: float, *axes: int) -> Any:
        return np.full((len(targets), *axes), filler, dtype)

    e, k = shape
    sides = [None if side is None else filled(np.nan, e, k) for side in (targets[0].bid_vol, targets[0].ask_vol)]
    whole = Target(filled(1.0, e), filled(1.0, e), filled(1.0, e, k), filled(0.2, e, k), filled(0.0, e, k), *sides)
    for i, target in enumerate(targets):
        for field, values in zip(jax.tree.leaves(whole), jax.tree.leaves(target), strict=True):
            field[(i, *(slice(length) for length in values.shape))] = values
    return whole


def shapes_of(targets: Mapping[int, Target], chosen: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Expiries and strikes of some of the targets."""
    if isinstance(targets, TargetRows):
        e, k = targets.stacked.vol.shape[1:]
        return [(e, k)] * len(chosen)
    return [targets[i].vol.shape for i in chosen.tolist()]  # type: ignore[misc]


def stacked_targets(targets: Mapping[int, Target], chosen: NDArray[np.int64], shape: tuple[int, int]) -> Target:
    """Some of the targets with a leading axis, padded to this shape."""
    if not isinstance(targets, TargetRows):
        return stacked([targets[i] for i in chosen.tolist()], shape)
    whole = len(chosen) == len(targets)  # in their own order
    dtype = targets.stacked.vol.dtype
    return jax.tree.map(lambda x: (x if whole else x[chosen]).astype(dtype, copy=False), targets.stacked)
