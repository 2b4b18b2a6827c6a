"""OneSurface: the quotes of one surface, fitted by the program of a single fit, or per expiry."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxcal.calibration.engine.fit_in_turn import fit_in_turn
from jaxcal.calibration.engine.grid_fit import GridFit, LossAndPrior, Method, solve_expiries, solve_on_grid
from jaxcal.calibration.engine.grid_refinement import GridPair, Rows, choose
from jaxcal.calibration.engine.multistart import AbstractFitter, AbstractQuotes, FitSettings, multistart, with_steps
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.starts.starting_values import PIECEWISE, find_start_rule, make_starts
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel, Model
from jaxcal.models.parameters import search_bounds, with_fields
from jaxcal.models.refusal import refuse_unlawful


@dataclass(frozen=True, eq=False)
class OneSurface(AbstractQuotes):
    """See `AbstractQuotes`: there is no axis of surfaces, and a number is a number."""

    settings: FitSettings
    surface: Surface

    @property
    def size(self) -> int:
        return 1

    def rows(self, template: type[AbstractModel]) -> tuple[int, ...]:
        return self.surface.expiry.shape if template.per_expiry else ()

    def with_settings(self, settings: FitSettings) -> "OneSurface":
        return replace(self, settings=settings)

    def starts(self, template: type[AbstractModel], simpler: AbstractModel | None) -> list[Any]:
        return make_starts(template, self.surface, simpler)

    def fitter(self, start: Any, own: LossAndPrior, grids: tuple[GridPair, ...]) -> "SingleFitter":
        refuse_unlawful(start, self.surface.expiry, numbers=False)
        names, limits, residual, solver, _, scales = self.settings
        one = jax.tree.map(lambda leaf: leaf[0], start) if start.per_expiry else start
        box = search_bounds(one, limits, names, self.surface.vol.dtype)
        methods = [Method(residual, own.prior, solver, box, *pair, own.loss, scales) for pair in grids]
        return SingleFitter(names, tuple(methods), Target.of(self.surface, spread=residual.needs_spread))

    def refit(self, found: GridFit, surfaces: NDArray[np.bool_], own: LossAndPrior) -> GridFit:
        return with_steps(multistart(found.model, self, own).found, found)

    def broadcast(self, settings: Any) -> Any:
        return settings

    def numbers(self, values: NDArray[np.floating]) -> float:
        return float(values[0])

    def split(self, tree: Any) -> list[Any]:
        return [tree]

    @property
    def weights(self) -> NDArray[np.floating]:
        return np.asarray(self.surface.weight)[None]

    def residuals(self, found: GridFit) -> NDArray[np.floating]:
        return np.asarray(found.residuals)[None]

    def rmse_vol(self, found: GridFit) -> NDArray[np.floating]:
        return rmse_of_surfaces(found.rmse_vol, self.surface.weight)[None]


@dataclass(frozen=True, eq=False)
class SingleFitter(AbstractFitter):
    """See `AbstractFitter`: a fit per expiry is one program, which refits all expiries."""

    names: tuple[str, ...]
    methods: tuple[Method, ...]  # by level
    target: Target

    def __call__(self, start: Any, level: NDArray[np.int64], rows: Rows, before: GridFit | None) -> GridFit:
        solve = solve_expiries if start.per_expiry else solve_on_grid
        for one in np.unique(level[rows]) if level.ndim else (int(level),):
            found = solve(self.names, self.methods[one], self.target, start)
            if before is not None:
                found = choose(np.asarray(rows & (level == one)), with_steps(found, before), before)
            before = found
        assert before is not None
        return before

    def stages(self, template: type[AbstractModel], starts: list[Any], level: NDArray[np.int64]) -> Iterable[Any]:
        """Bootstrap time-dependent parameters interval by interval first; the first start is also used as it is."""
        if find_start_rule(template).in_turn and self.names == tuple(template.bounds):
            quoted = np.flatnonzero(np.any(np.asarray(self.target.weight) > 0, axis=-1))
            target = jax.tree.map(lambda leaf: np.asarray(leaf)[quoted], self.target)
            return (fit_in_turn(self.names, self.methods[int(level)], target, start) for start in starts)
        if template not in PIECEWISE:
            return starts
        method = self.methods[int(level)]
        staged = (
            bootstrapped(lambda t, m: solve_on_grid(self.names, method, t, m), start, self.names, self.target)
            for start in starts
        )
        return chain(islice(staged, 1), starts[:1], staged)


def rmse_of_surfaces(rmse_vol: Any, weight: Any) -> NDArray[np.floating]:
    """`[*b]` over all quotes, from the values of every surface or expiry, given `[*b, E, K]` weights.

    Example:
        >>> rmse_of_surfaces(np.asarray([0.03, 0.04]), np.ones((2, 3))).round(4).tolist()
        0.0354
    """
    rmse_vol, weight = np.asarray(rmse_vol), np.asarray(weight)
    if rmse_vol.ndim == weight.ndim - 2:
        return rmse_vol
    counts = np.sum(weight > 0, axis=-1)
    return np.asarray(np.sqrt(np.sum(rmse_vol**2 * counts, axis=-1) / np.maximum(counts.sum(axis=-1), 1)))


def bootstrapped(
    run: Callable[[Target, Model], GridFit[Model]], start: Model, names: Sequence[str], target: Target
) -> Model:
    """`start` fitted to the expiries up to its first knot, then up to its second, and so on but for the last interval.

    An option's price depends only on the intervals before its expiry, so each fit adds the parameters of one interval,
    starting from the interval before. `run` fits to a target from a given start.
    """
    knots = np.asarray(getattr(start, "knots"))  # noqa: B009
    varying = [name for name in names if np.ndim(getattr(start, name)) == 1]
    model: Any = start
    for i, knot in enumerate(knots):
        weight = jnp.where((target.expiry <= knot * (1.0 + 1e-9))[:, None], target.weight, 0.0)
        model = run(target._replace(weight=weight), model).model
        ahead = {name: getattr(model, name) for name in varying}
        model = with_fields(model, {n: jnp.where(jnp.arange(len(knots) + 1) > i, v[i], v) for n, v in ahead.items()})
    return model
