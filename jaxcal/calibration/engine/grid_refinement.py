"""Grid refinement: the grids of a fit from coarse to fine, and which fits to refine."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from jaxcal.calibration.engine.grid_fit import GridFit
from jaxcal.calibration.engine.readable import num_unreadable
from jaxcal.models.base import AbstractModel, AbstractVolModel
from jaxcal.pricing.laguerre import Laguerre
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.saddle import Saddle
from jaxcal.pricing.sinh import Sinh

# The grid of a fit, and the finer one that checks it; a single fit on `Sinh` is checked by the midpoints of its own.
GridPair = tuple[AbstractPricer, AbstractPricer]
Rows = NDArray[np.bool_]  # which fits of a batch, `[*b]`; of one fit no axis

PERFECT = 1e-8  # root mean square error in volatility, a grid's own, after which no other start is tried
_WORTH_REFINING = (
    1.1  # of the best cost: above it, on a grid rebuilt once, a fit from another start is not worth a finer one
)
_WORTH_CONTOURS = (
    0.999  # of the best cost: only below it is a fit worth contours of every quote's own, which take minutes
)
_TIE = 1e-2  # of the cost, half a percent of the misfit: less says nothing about which fit is right
_REBUILDS = 3  # contours built at the solution before the prices there count as unresolved
_SINH, _SADDLE = Sinh(), Saddle()

# Grids for second derivatives at a fit: the first is taken that gives the residuals, or the volatilities, which the fit
# reported, to a root mean square difference in volatility: absolute, or of the fit's misfit.
_DERIVATIVE_GRIDS: tuple[AbstractPricer, ...] = (Sinh(96), Sinh(192), Sinh(512), Saddle(128))
_SAME, _OF_MISFIT = 1e-7, 1e-4


class Refined(NamedTuple):
    """A result on a grid, whose field `moved`, `[*b]`, says where the next grid disagrees; and the level of that grid,
    `[*b]`, counted from the coarsest.
    """

    found: Any
    level: NDArray[np.int64]


def refine(run: Callable[[Any, NDArray[np.int64], Rows], Any], start: Refined, rows: Rows, last: Any) -> Refined:
    """Repeat on finer grids, up to the level `last`, until the result no longer moves.

    Args:
        run: takes the result, the levels and the rows to repeat; other rows stay as they are.
        start: on the first grid.
        rows: which may be refined.
        last: a level, or one for each row.
    """
    found, level = start
    while True:
        rows = np.asarray(rows & np.asarray(found.moved) & (level < last))
        if not rows.any():
            return Refined(found, level)
        level = np.where(rows, level + 1, level)
        found = run(found, level, rows)


def fit_grids(model: type[AbstractModel], pricer: AbstractPricer | None) -> tuple[GridPair, ...]:
    """The grids of a fit of `model`, each with the finer one that checks it: if the prices move, the next pair is used.

    Example:
        >>> import jaxcal as jc
        >>> print(*(method for method, check in fit_grids(jc.Heston, None)[:3]))
        Sinh(num_nodes=36) Sinh(num_nodes=64) Sinh(num_nodes=128)
    """
    grids = _fit_grids(pricer or _SINH)
    # in closed form there is no grid to refine
    return grids[:1] if issubclass(model, AbstractVolModel) else grids


@lru_cache
def _fit_grids(pricer: AbstractPricer) -> tuple[GridPair, ...]:
    """The last pairs use per-quote contours, which resolve what shared nodes cannot."""
    first = pricer.sized()
    pairs: list[GridPair] = [(first, first.finer() or _SADDLE)]
    if isinstance(first, Sinh | Laguerre) and (first.num_nodes or 0) < 64:
        pairs += [(Sinh(64), Sinh(96)), (Sinh(128), Sinh(192)), (Sinh(384), Sinh(512))]
    return (*pairs, *[(Saddle(64), Saddle(128))] * _REBUILDS)


def last_shared(grids: Sequence[GridPair]) -> int:
    """The last level before per-quote contours: a larger model begins there at most."""
    return max(0, sum(not isinstance(method, Saddle) for method, _ in grids) - 1)


def is_worth_refining(found: GridFit, best: GridFit) -> Bool[np.ndarray, "*b"]:
    """Whether a fit whose prices moved is worth a finer grid beside the best fit so far.

    A coarse grid may be wrong about the cost, so that this is asked after one rebuilt grid.
    """
    return np.asarray(found.moved & ~(found.cost > _WORTH_REFINING * best.cost))


def is_worth_contours(found: GridFit, best: GridFit) -> Bool[np.ndarray, "*b"]:
    """Whether a fit that all shared grids moved is worth per-quote contours."""
    return np.asarray(found.moved & ~(found.cost >= _WORTH_CONTOURS * best.cost))


def is_lower(found: GridFit, best: GridFit) -> Bool[np.ndarray, "*b"]:
    """Whether the cost of a fit is lower than the least so far, or its prices are confirmed where those are not."""
    least, unsure = np.asarray(best.cost), np.asarray(best.moved)
    lower = ~(least <= np.asarray(found.cost))
    sure = np.where(np.asarray(found.moved) == unsure, lower, unsure | ~np.isfinite(least))
    return np.asarray(np.isfinite(np.asarray(found.cost)) & sure)


def is_better(found: GridFit, best: GridFit) -> Bool[np.ndarray, "*b"]:
    """The same, but of two that are as good to `_TIE` the better one is that which a person can read."""
    cost, least = np.asarray(found.cost), np.asarray(best.cost)
    odd, fewest = num_unreadable(found), num_unreadable(best)
    tied = (np.abs(cost - least) <= _TIE * np.minimum(cost, least)) & (odd != fewest)
    tied &= np.asarray(found.moved) == np.asarray(best.moved)
    return np.where(tied, odd < fewest, is_lower(found, best))


def derivative_grids(model: AbstractModel) -> tuple[AbstractPricer | None, ...]:
    """The grids for second derivatives at a fit of `model`; None for a model that needs none."""
    return (None,) if isinstance(model, AbstractVolModel) else _DERIVATIVE_GRIDS


def agreement(misfit: NDArray, dtype: Any) -> NDArray:
    """The tolerance, in volatility, between values of a grid and those of a fit with this misfit."""
    eps = float(np.finfo(dtype).eps)
    return np.asarray(np.maximum(max(_SAME, 1000.0 * eps), _OF_MISFIT * misfit))


def take_rows(tree: Any, chosen: Any) -> Any:
    """Some rows of every array of a tree.

    Example:
        >>> take_rows((np.asarray([1, 2, 3]),), np.asarray([2, 0]))
        (array([3, 1]),)
    """
    return jax.tree.map(lambda leaf: leaf[chosen], tree)


def put_rows(tree: Any, rows: NDArray[np.int64], new: Any) -> Any:
    """A copy with the rows replaced by those of `new`.

    Example:
        >>> put_rows(np.asarray([1, 2, 3]), np.asarray([2, 0]), np.asarray([7, 8]))
        array([8, 2, 7])
    """

    def replaced(old: NDArray, new: NDArray) -> NDArray:
        whole = np.array(old)
        whole[rows] = new
        return whole

    return jax.tree.map(replaced, tree, new)


def choose(rows: Rows, first: Any, other: Any) -> Any:
    """`first` in these rows and `other` elsewhere: trees whose leaves have the axes of `rows` before their own.

    Example:
        >>> choose(np.asarray([True, False]), np.asarray([1, 2]), np.asarray([3, 4]))
        array([1, 4])
    """
    if rows.all():
        return first
    if not rows.any():
        return other

    def chosen(a: Any, b: Any) -> Any:
        where = jnp.where if isinstance(a, jax.Array) else np.where
        return where(rows.reshape(rows.shape + (1,) * (a.ndim - rows.ndim)), a, b)

    return jax.tree.map(chosen, first, other)
