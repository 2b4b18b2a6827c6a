"""Ladder: the grids of a fit from coarse to fine, and which of the fits from several starts go on to a finer one."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool

from jaxcal.calibration.engine.grid_fit import Round
from jaxcal.models.base import AbstractModel, AbstractVolModel
from jaxcal.pricing.laguerre import Laguerre
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.saddle import Saddle
from jaxcal.pricing.sinh import Sinh

# The grid of a fit, and the finer one that checks it; a single fit on `Sinh` is checked by the midpoints of its own.
Rung = tuple[AbstractPricer, AbstractPricer]

PERFECT = 1e-8  # root mean square error in volatility, a grid's own, after which no other start is tried
_BEHIND = 1.1  # of the best cost: above it, on a grid rebuilt once, a fit from another start is not worth a finer one
_LOWER = 0.999  # of the best cost: only below it is a fit worth contours of every quote's own, which take minutes
_REBUILDS = 3  # contours built at the solution before the prices there count as unresolved
_SINH, _SADDLE = Sinh(), Saddle()


def ladder_of(model: type[AbstractModel], pricer: AbstractPricer | None) -> tuple[Rung, ...]:
    """The grids of a fit of `model`, each with the finer one that checks it: the next pair is used where the prices
    moved.

    Example:
        >>> import jaxcal as jc
        >>> print(*(method for method, check in ladder_of(jc.Heston, None)[:3]))
        Sinh(num_nodes=36) Sinh(num_nodes=64) Sinh(num_nodes=128)
    """
    ladder = _ladder(pricer or _SINH)
    # in closed form there is no grid to refine
    return ladder[:1] if issubclass(model, AbstractVolModel) else ladder


@lru_cache
def _ladder(pricer: AbstractPricer) -> tuple[Rung, ...]:
    """The last pairs give every quote a contour of its own, which resolves what shared nodes cannot."""
    first = pricer.sized()
    pairs: list[Rung] = [(first, first.finer() or _SADDLE)]
    if isinstance(first, Sinh | Laguerre) and (first.num_nodes or 0) < 64:
        pairs += [(Sinh(64), Sinh(96)), (Sinh(128), Sinh(192)), (Sinh(384), Sinh(512))]
    return (*pairs, *[(Saddle(64), Saddle(128))] * _REBUILDS)


def last_shared(ladder: Sequence[Rung]) -> int:
    """The last rung before contours of a quote's own: a larger model begins there at most."""
    return max(0, sum(not isinstance(method, Saddle) for method, _ in ladder) - 1)


def goes_on(found: Round, best: Round) -> Bool[np.ndarray, "*b"]:
    """Whether a fit whose prices moved is worth a finer grid beside the best fit so far.

    A coarse grid may be wrong about the cost, so that this is asked after one rebuilt grid.
    """
    return np.asarray(found.moved & ~(found.cost > _BEHIND * best.cost))


def goes_to_contours(found: Round, best: Round) -> Bool[np.ndarray, "*b"]:
    """Whether a fit whose prices all shared grids moved is worth contours of every quote's own."""
    return np.asarray(found.moved & ~(found.cost >= _LOWER * best.cost))


def is_better(found: Round, best: Round) -> Bool[np.ndarray, "*b"]:
    """Whether a fit is better than the best so far: its cost lower, or its prices confirmed where those are not."""
    cost, moved = np.asarray(found.cost), np.asarray(found.moved)
    least, unsure = np.asarray(best.cost), np.asarray(best.moved)
    return np.asarray(np.isfinite(cost) & np.where(moved == unsure, ~(least <= cost), unsure | ~np.isfinite(least)))
