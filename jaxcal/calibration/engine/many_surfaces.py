"""ManySurfaces: the quotes of many surfaces of one padded shape, fitted side by side."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from jaxcal.calibration.arguments_of_many import for_each
from jaxcal.calibration.engine.dispatch import Devices, Precision, fit_batch, on_processors, run_in_pieces
from jaxcal.calibration.engine.grid_fit import GridFit, Limits, LossAndPrior, Method
from jaxcal.calibration.engine.grid_refinement import GridPair, Rows, put_rows, take_rows
from jaxcal.calibration.engine.multistart import AbstractFitter, AbstractQuotes, FitSettings, multistart
from jaxcal.calibration.engine.one_surface import rmse_of_surfaces
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.starts.starting_values import starting_models, starting_models_on_device
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import search_bounds
from jaxcal.models.refusal import refuse_unlawful

_BLOCK = 1024  # surfaces whose starts are made together: what they need stays in a core's cache
_RARE = 32  # of how many rows one may go on to a finer grid by a program that is soon compiled and slow


@dataclass(frozen=True, eq=False)
class ManySurfaces(AbstractQuotes):
    """See `AbstractQuotes`: numpy arrays with a leading axis of surfaces, those of `LossAndPrior` too.

    Attributes:
        target: of all surfaces.
        precision: of the fits.
        devices: where to fit; None for all.
    """

    settings: FitSettings
    target: Target
    precision: Precision = "float64"
    devices: Devices = None

    @property
    def size(self) -> int:
        return len(self.target.expiry)

    def rows(self, template: type[AbstractModel]) -> tuple[int, ...]:
        return self.target.expiry.shape if template.per_expiry else self.target.expiry.shape[:1]

    def with_settings(self, settings: FitSettings) -> "ManySurfaces":
        return replace(self, settings=settings)

    def starts(self, template: type[AbstractModel], simpler: AbstractModel | None) -> list[Any]:
        if not on_processors(self.devices):
            make = partial(starting_models_on_device, template)
            return run_in_pieces(make, (self.target, simpler), self.size, self.devices)

        def some(first: int) -> list[Any]:
            target, before = take_rows((self.target, simpler), slice(first, first + _BLOCK))
            return starting_models(template, target, target.vol.dtype, before)

        blocks = range(0, self.size, _BLOCK)
        if len(blocks) == 1:
            return some(0)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            each = list(pool.map(some, blocks))
        return [jax.tree.map(lambda *leaves: np.concatenate(leaves), *starts) for starts in zip(*each, strict=True)]

    def fitter(self, start: Any, own: LossAndPrior, grids: tuple[GridPair, ...]) -> "BatchFitter":
        refuse_unlawful(start, numbers=False)
        target = self.target
        if start.per_expiry:
            expiries = target.expiry.shape[1]
            own = jax.tree.map(lambda leaf: np.repeat(leaf, expiries, axis=0), own)
            target = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), target.slices())
        one = take_rows(start, (0, 0) if start.per_expiry else 0)
        box = search_bounds(one, self.settings.limits, self.settings.names, target.vol.dtype)
        return BatchFitter(self, target, own, grids, box)

    def refit(self, found: GridFit, surfaces: NDArray[np.bool_], own: LossAndPrior) -> GridFit:
        chosen = np.flatnonzero(surfaces)
        some = replace(self, target=take_rows(self.target, chosen))
        result = multistart(take_rows(found.model, chosen), some, take_rows(own, chosen)).found
        return _added(found, chosen, result)

    def broadcast(self, settings: Any) -> Any:
        return for_each(settings, self.size, self.target.vol.dtype)

    def numbers(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        return values.astype(self.target.vol.dtype)

    def split(self, tree: Any) -> list[Any]:
        return [take_rows(tree, i) for i in range(self.size)]

    @property
    def weights(self) -> NDArray[np.floating]:
        return np.asarray(self.target.weight)

    def residuals(self, found: GridFit) -> NDArray[np.floating]:
        return np.asarray(found.residuals, float)

    def rmse_vol(self, found: GridFit) -> NDArray[np.floating]:
        return rmse_of_surfaces(found.rmse_vol, self.target.weight)


@dataclass(frozen=True, eq=False)
class BatchFitter(AbstractFitter):
    """See `AbstractFitter`: only the requested rows are fitted, rows of one level as one batch."""

    quotes: ManySurfaces
    target: Target  # one a row
    own: LossAndPrior  # likewise
    grids: tuple[GridPair, ...]
    box: Limits

    def __call__(self, start: Any, level: NDArray[np.int64], rows: Rows, before: GridFit | None) -> GridFit:
        axes = rows.shape
        chosen = np.flatnonzero(rows)
        flat = (lambda leaf: leaf.reshape(-1, *leaf.shape[len(axes) :])) if len(axes) > 1 else (lambda leaf: leaf)
        found = self._fits(chosen, _of_rows(jax.tree.map(flat, start), chosen), level.ravel()[chosen])
        if before is not None:
            found = _added(jax.tree.map(flat, before), chosen, found)
        return jax.tree.map(lambda leaf: leaf.reshape(*axes, *leaf.shape[1:]), found) if len(axes) > 1 else found

    def _fits(self, rows: NDArray[np.int64], start: Any, level: NDArray[np.int64]) -> GridFit:
        names, _, residual, solver, _, scales = self.quotes.settings
        parts, order = [], []
        for one in np.unique(level):
            at = np.flatnonzero(level == one)
            pricer, check = self.grids[one]
            method = Method(residual, None, solver, self.box, pricer, check, None, scales)
            target, own = _of_rows((self.target, self.own), rows[at])
            rare = bool(one) and _RARE * len(at) <= len(self.target.expiry)
            begin = _of_rows(start, at)
            parts.append(
                fit_batch(names, method, target, begin, self.quotes.precision, self.quotes.devices, own, rare=rare)
            )
            order.append(at)
        if len(parts) == 1:
            return parts[0]
        back = np.argsort(np.concatenate(order))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[back], *parts)


def _of_rows(tree: Any, rows: NDArray[np.int64]) -> Any:
    """`take_rows` of rows in their order: the tree itself, not a copy, where these are all."""
    return jax.tree.map(lambda leaf: leaf if len(leaf) == len(rows) else leaf[rows], tree)


def _added(found: GridFit, rows: NDArray[np.int64], result: GridFit) -> GridFit:
    """`found` with the results of a later round in some rows, whose steps are added."""
    return put_rows(found, rows, eqx.tree_at(lambda r: r.num_steps, result, result.num_steps + found.num_steps[rows]))
