"""Multistart: the best of the fits from several starts, on grids from coarse to fine; of one surface or of many."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from numpy.typing import NDArray

from jaxcal._status import Outcome
from jaxcal.calibration.arguments import free_names
from jaxcal.calibration.calibration_spec import CalibrationSpec
from jaxcal.calibration.engine.grid_fit import GridFit, LossAndPrior
from jaxcal.calibration.engine.grid_refinement import (
    PERFECT,
    GridPair,
    Refined,
    Rows,
    choose,
    fit_grids,
    is_better,
    is_lower,
    is_worth_contours,
    is_worth_refining,
    last_shared,
    refine,
)
from jaxcal.calibration.objective.loss import widened
from jaxcal.calibration.objective.residuals import AbstractResidual
from jaxcal.calibration.starts.start_rule import StartRule
from jaxcal.calibration.starts.starting_values import find_start_rule, simpler_model
from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import Scales
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

_WIDER = 5.0  # times the scale of a loss, in which starts are carried first
_WIDE_STEPS, _OWN_STEPS = 60, 40
_ALIKE = 1e-4  # of the cost: two starts carried so near are at one place


class FitSettings(NamedTuple):
    """What is fitted and how, apart from the loss and the prior."""

    names: tuple[str, ...]
    limits: Mapping[str, Interval]
    residual: AbstractResidual
    solver: AbstractLeastSquaresSolver
    pricer: AbstractPricer | None
    scales: Scales

    @classmethod
    def of(cls, spec: CalibrationSpec) -> "FitSettings":
        """The parts of a spec."""
        return cls(spec.names, spec.limits, spec.residual, spec.solver, spec.pricer, spec.scales)

    def of_simpler(self, simpler: type[AbstractModel]) -> "FitSettings":
        """For the simpler model that the fit starts from: all of its parameters, within its own bounds."""
        return self._replace(names=free_names(simpler, None), limits=simpler.bounds, scales=Scales())


class AbstractQuotes(ABC):
    """The quotes of one surface, or of many, and how rows of fits are run.

    A row is a fit: of a surface, or of an expiry for a model fitted per expiry. Arrays over rows have the axes `*r`:
    none for one fit, `[E]` for its expiries, `[B]` and `[B, E]` for many surfaces.

    Attributes:
        settings: of the fits.
        size: how many surfaces.
    """

    settings: FitSettings

    @property
    @abstractmethod
    def size(self) -> int:
        """How many surfaces."""

    @abstractmethod
    def rows(self, template: type[AbstractModel]) -> tuple[int, ...]:
        """The axes `*r` of fits of this model."""

    @abstractmethod
    def with_settings(self, settings: FitSettings) -> "AbstractQuotes":
        """The same quotes for other fits."""

    @abstractmethod
    def starts(self, template: type[AbstractModel], simpler: AbstractModel | None) -> list[Any]:
        """Starting models, the most promising first; `simpler` is the fit of a simpler model, where there is one."""

    @abstractmethod
    def fitter(self, start: Any, own: LossAndPrior, grids: tuple[GridPair, ...]) -> "AbstractFitter":
        """What fits rows of the model of `start`, with a loss and a prior."""

    @abstractmethod
    def refit(self, found: GridFit, surfaces: NDArray[np.bool_], own: LossAndPrior) -> GridFit:
        """Refit these surfaces from their solutions, with another loss or prior; steps are added."""

    @abstractmethod
    def broadcast(self, settings: Any) -> Any:
        """What all surfaces share, in the form of `LossAndPrior`."""

    @abstractmethod
    def numbers(self, values: NDArray[np.floating]) -> Any:
        """A number for each surface, `[size]`, in that form."""

    @abstractmethod
    def split(self, tree: Any) -> list[Any]:
        """What is in that form, one a surface."""

    @property
    @abstractmethod
    def weights(self) -> NDArray[np.floating]:
        """`[size, E, K]`, 0 at padding."""

    @abstractmethod
    def residuals(self, found: GridFit) -> NDArray[np.floating]:
        """`[size, ...]`, NaN at padding."""

    @abstractmethod
    def rmse_vol(self, found: GridFit) -> NDArray[np.floating]:
        """`[size]`, over all expiries."""


class AbstractFitter(ABC):
    """Fits of rows of one model."""

    @abstractmethod
    def __call__(self, start: Any, level: NDArray[np.int64], rows: Rows, before: GridFit | None) -> GridFit:
        """Fit these `rows`, each from its start on the grid of its level; the others are as `before`, and earlier steps
        are added. Without `before` all rows are fitted.
        """

    def stages(self, template: type[AbstractModel], starts: list[Any], level: NDArray[np.int64]) -> Iterable[Any]:
        """The starts in order; lazily, since making one may take fits."""
        return starts


def multistart(
    model: type[AbstractModel] | AbstractModel, quotes: AbstractQuotes, own: LossAndPrior, *, several: bool = True
) -> Refined:
    """The best of the fits from several starts, or from the first; with the steps of all.

    Refine the grid once for each start whose prices move (without per-quote contours, unless there are no other grids).
    Then refine the lowest confirmed fit, or else the lowest, to the end. Refine another fit only while its cost is
    within 10 % of the best, and use per-quote contours only if its cost is lower. After a perfect fit no other start is
    fitted.

    Args:
        model: a class; or an instance to start from, with the axes of the rows.
        quotes: of one surface, or of many.
        own: the loss and the prior.
        several: whether more than the first start is tried.

    Returns:
        The last fit of each row, and the level of its grid. `[*r]`.

    Raises:
        ValueError: the model is no law.
    """
    template = model if isinstance(model, type) else type(model)
    level = np.zeros(quotes.rows(template), int)
    if isinstance(model, type):
        before = None
        if (simpler := simpler_model(template)) is not None:
            plain = quotes.with_settings(quotes.settings.of_simpler(simpler))
            before, first = multistart(simpler, plain, own._replace(prior=None))
            level = level if template.per_expiry else first
        starts = quotes.starts(template, None if before is None else before.model)
        starts = starts if several else starts[:1]  # from elsewhere the fixed parameters would be others
    else:
        starts = [model]
    grids = fit_grids(template, quotes.settings.pricer)
    last = len(grids) - 1
    shared = min(max(last_shared(grids), 1), last)
    level = np.asarray(np.minimum(level, last_shared(grids)))
    sifted: Any = 0
    rule = find_start_rule(template) if isinstance(model, type) else StartRule()
    sifts = rule.sifted and len(starts) > 1
    sifts = sifts and isinstance(quotes.settings.solver, LevenbergMarquardt)
    if sifts:
        promising, sifted = _sifted(starts, quotes, own, grids, level, shared)
        starts = [each.found.model for each in promising]
        level = np.asarray(np.maximum.reduce([each.level for each in promising]))
    fit = quotes.fitter(starts[0], own, grids)

    def again(found: GridFit, level: NDArray[np.int64], rows: Rows) -> GridFit:
        return fit(found.model, level, rows, found)

    def to_the_end(start: Refined, rows: Rows, last: Any) -> Refined:
        """Refined, and on from where it ended at the limit of steps."""
        found = refine(again, start, rows, last)
        for _ in range(rule.rounds - 1):
            limited = np.asarray(rows & (np.asarray(found.found.outcome) == Outcome.STEP_LIMIT))
            if not limited.any():
                break
            on = again(found.found, found.level, limited)
            found = refine(again, Refined(on, found.level), limited, last)
        return found

    by_start: list[Refined] = []
    rows = np.ones(level.shape, bool)
    for start in fit.stages(template, starts, level) if isinstance(model, type) else starts:
        found = fit(start, level, rows, _unfitted(by_start[0].found) if by_start else None)
        by_start.append(to_the_end(Refined(found, level), rows, np.minimum(level + 1, shared)))
        rows = np.asarray(rows & ~(np.asarray(by_start[-1].found.rmse_vol) <= PERFECT))
        if sifts:
            rows = np.asarray(rows & (np.asarray(by_start[-1].found.outcome) != Outcome.CONVERGED))
        if not rows.any():
            break
    everything = np.ones(level.shape, bool)
    first, *others = _ranked(by_start)
    best = to_the_end(first, everything, last)
    for other in others:
        other = refine(again, other, is_worth_refining(other.found, best.found), shared)
        other = refine(again, other, is_worth_contours(other.found, best.found), last)
        steps = best.found.num_steps + other.found.num_steps
        better = is_better(other.found, best.found)
        found = choose(better, other.found, best.found)
        best = Refined(eqx.tree_at(lambda r: r.num_steps, found, steps), np.where(better, other.level, best.level))
    if not sifts:
        return best
    steps = best.found.num_steps + sifted
    return best._replace(found=eqx.tree_at(lambda r: r.num_steps, best.found, steps))


def _sifted(
    starts: list[Any], quotes: AbstractQuotes, own: LossAndPrior, grids: tuple[GridPair, ...], level: NDArray[np.int64],
    last: int,
) -> tuple[list[Refined], Any]:  # fmt: skip
    """The two most promising starts of every row, carried some steps down a wider loss and then some down the loss
    itself, on grids up to the level `last`; and the steps that this took with all of them. The second is elsewhere than
    the first, and there for rows in which that does not converge.
    """
    best, second, steps, rows = None, None, 0, np.ones(level.shape, bool)
    solver: Any = quotes.settings.solver
    for start in starts:
        here = None
        for most, loss in ((_WIDE_STEPS, widened(own.loss, _WIDER)), (_OWN_STEPS, own.loss)):
            some = _with_most_steps(quotes, min(int(solver.max_steps), most))
            fit = some.fitter(start, own._replace(loss=loss), grids)

            def again(found: GridFit, level: NDArray[np.int64], rows: Rows, fit: "AbstractFitter" = fit) -> GridFit:
                return fit(found.model, level, rows, found)

            before, at = (None, level) if here is None else here
            here = refine(again, Refined(fit(start, at, rows, before), at), rows, last)
            start = here.found.model
        assert here is not None
        steps = steps + here.found.num_steps
        if best is None:
            best = here
            continue
        better = is_lower(here.found, best.found)
        best, behind = Refined(*choose(better, here, best)), Refined(*choose(better, best, here))
        alike = ~(np.abs(behind.found.cost - best.found.cost) > _ALIKE * np.abs(best.found.cost))
        behind = behind._replace(found=choose(np.asarray(alike), _unfitted(behind.found), behind.found))
        second = behind if second is None else Refined(*choose(is_lower(behind.found, second.found), behind, second))
    assert best is not None
    assert second is not None
    return [best, second], steps


def _with_most_steps(quotes: AbstractQuotes, most: int) -> AbstractQuotes:
    """The same quotes, fitted in so many steps at most."""
    solver: Any = quotes.settings.solver
    return quotes.with_settings(quotes.settings._replace(solver=replace(solver, max_steps=most)))


def with_steps(found: GridFit, before: GridFit) -> GridFit:
    """A fit with the steps of the previous ones added."""
    return eqx.tree_at(lambda r: r.num_steps, found, found.num_steps + before.num_steps)


def _unfitted(like: GridFit) -> GridFit:
    """No fit at all, of rows whose fit is perfect already."""
    cost, steps = np.full_like(like.cost, np.inf), np.zeros_like(like.num_steps)
    return eqx.tree_at(lambda r: (r.cost, r.num_steps), like, (cost, steps))


def _ranked(by_start: list[Refined]) -> list[Refined]:
    """The fits of every row, confirmed ones first, then by cost."""
    if len(by_start) == 1:
        return by_start
    cost, moved = (np.stack([np.asarray(getattr(each.found, name)) for each in by_start]) for name in ("cost", "moved"))
    order = np.lexsort((np.where(np.isnan(cost), np.inf, cost), moved), axis=0)

    def chosen(which: NDArray[np.int64]) -> Refined:
        found = by_start[0]
        for number, other in enumerate(by_start[1:], 1):
            found = Refined(*choose(np.asarray(which == number), other, found))
        return found

    return [chosen(np.asarray(which)) for which in order]
