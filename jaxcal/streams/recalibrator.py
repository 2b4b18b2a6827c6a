"""Recalibrator: one model to a stream of surfaces, each fit starting from all that came before."""

# pyright: reportArgumentType=false
# (arrays on the host, where the nouns are declared with those of JAX)
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from os import PathLike
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxcal._arguments import host_only
from jaxcal._status import Outcome
from jaxcal.calibration.arguments import Bounds
from jaxcal.calibration.calibrate import calibrate
from jaxcal.calibration.calibration_spec import CalibrationSpec, spec_of
from jaxcal.calibration.engine.grid_fit import Method
from jaxcal.calibration.engine.grid_refinement import Refined, fit_grids, refine
from jaxcal.calibration.engine.shape_buckets import stacked
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.loss import AbstractLoss, at_scale, is_automatic
from jaxcal.calibration.objective.objective import Objective
from jaxcal.calibration.objective.residuals import AbstractResidual
from jaxcal.calibration.objective.weights import AbstractWeights
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.make_fit import make_empty_fit, make_step_fit, narrow_fit
from jaxcal.calibration.starts.starting_values import simpler_model
from jaxcal.dates.instants import years_since_1970
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import Scales, from_vector, search_bounds
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt
from jaxcal.streams.filter_step import Dynamics, Posterior, advance, effective_noise, estimate_noise, half_spread, tag
from jaxcal.streams.random_walk import Predicted, inverse_root, stationary_spread
from jaxcal.streams.state import StreamState, load_state
from jaxcal.streams.stream_fit import (
    StepFit,
    compare_optima,
    make_state,
    solve_step,
    usable_quotes,
)
from jaxcal.streams.update import Update

Model = TypeVar("Model", bound=AbstractModel)
Time = float | str | datetime | np.datetime64 | pd.Timestamp

# a thousandth of a parameter is far below what a surface determines, and the next surface comes soon
STREAM_SOLVER = LevenbergMarquardt(xtol=1e-3, ftol=1e-6, gtol=1e-4, max_steps=60)
_RECHECK = 1  # surface


class Recalibrator(eqx.Module, Generic[Model]):
    """Settings of a stream: `step` takes a state and a surface, and returns the next state and the fit.

    Parameters move as a random walk on their search scales (logarithms of positive ones), whose uncertainty ends at a
    stationary one; a surface is a noisy look at them. A step is one fit with the prediction as its prior, started
    there: the update of an iterated extended Kalman filter. Where quotes determine a parameter badly it moves little;
    where they insist, it follows. `docs/streams.md` says how, and how to choose.

    Args:
        model: a class, whose first fit starts from the data; or an instance, which also sets the fixed parameters; or a
            `CalibrationSpec` of either.
        memory: days after which what was known is nearly forgotten; the smaller, the faster the parameters may move.
        spread: stationary standard deviation of each parameter on its search scale, by name. Default: 1 (a factor of e)
            for log-scaled parameters, 7.5 % of the bound width otherwise. A parameter with twice the spread moves twice
            as far in a day.
        noise: of a quote's residual, in its units: "residuals", a running median of the stream, with fewer quotes
            counted where neighbours are missed alike; "spreads", the root mean square half-spread of the surface;
            or a number. The smaller, the closer the parameters follow the quotes.
        confidence: of the test of the normalised innovation squared; beyond it the covariance is inflated.
        leap: largest factor of the process noise by which parameters may move, unless several surfaces agree.
        gate: validation gate, in multiples of the running noise; a surface beyond it is absurd.
        patience: surfaces in a row that must agree before the stream follows them where it would not follow one.
        recheck: surfaces after which the model is also fitted without the past, from wherever `calibrate` starts; where
            that finds another optimum, which fits better on `patience` surfaces in a row, or far better on one, the
            stream goes there. 0 never does; 1 where absent, for models that `calibrate` starts from several points,
            else 0.
        shape: expiries and strikes to pad to from the start: room for what may come, so that nothing compiles later.
        residual, loss, weights, solver, pricer, free, bounds: as of `calibrate`; a loss whose scale is "auto" takes it
            from the running noise. The solver of a class or an instance stops at a thousandth of a parameter.

    Raises:
        ValueError: a setting that cannot be; a model with parameters of each expiry, or with vectors; a spec with a
            prior, as that of a step is what came before.

    Example:
        >>> import jaxcal as jc
        >>> recalibrator, state = jc.Recalibrator(jc.BlackScholes), None
        >>> for day, vol in enumerate([0.2, 0.21, 0.2]):
        ...     smile = [[vol + 0.01, vol, vol + 0.004]]
        ...     surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], smile, forward=100.0)
        ...     state, fit = recalibrator.step(state, surface, f"2026-03-{day + 2:02d}T16:00Z")
        ...     print(f"{fit.model.sigma:.3f} {state.verdict}")
        0.205 Started: fitted to this surface alone.
        0.215 Updated: the quotes moved no more than expected.
        0.205 Updated: the quotes moved no more than expected.
    """

    spec: CalibrationSpec[Model]
    model: type[Model] | Model
    walk: Dynamics
    noise: str | float
    shape: tuple[int, int]
    residual: AbstractResidual
    loss: AbstractLoss | None
    weights: AbstractWeights | np.ndarray | None
    solver: AbstractLeastSquaresSolver
    pricer: AbstractPricer | None
    free: tuple[str, ...]
    bounds: Mapping[str, Any]
    scales: Scales
    recheck: int

    def __init__(
        self,
        model: type[Model] | Model | CalibrationSpec[Model],
        *,
        memory: float = 60.0,
        spread: Mapping[str, float] | None = None,
        noise: str | float = "residuals",
        confidence: float = 0.8,
        leap: float = 10.0,
        gate: float = 4.0,
        patience: int = 2,
        recheck: int | None = None,
        shape: tuple[int, int] = (1, 8),
        residual: AbstractResidual | None = None,
        loss: AbstractLoss | str | None = None,
        weights: AbstractWeights | str | None = None,
        solver: AbstractLeastSquaresSolver | None = None,
        pricer: AbstractPricer | None = None,
        free: Sequence[str] | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        """See the class."""
        if solver is None and not isinstance(model, CalibrationSpec):
            solver = STREAM_SOLVER
        spec: CalibrationSpec[Model] = spec_of(
            model, residual=residual, loss=loss, weights=weights, solver=solver, pricer=pricer, free=free, bounds=bounds
        )
        template, names, limits = spec.template, spec.names, spec.limits
        if spec.prior is not None:
            raise ValueError("the spec has a prior: that of a stream is what came before, so leave it out")
        if template.per_expiry or template.vectors:
            raise ValueError(
                f"{template.__name__} has parameters of each expiry or interval: a stream takes flat models"
            )
        positive = {"memory": memory, "leap": leap, "gate": gate, "patience": patience}
        positive |= {f"the spread of {name}": value for name, value in (spread or {}).items()}
        for name, value in positive.items():
            if not 0.0 < value < math.inf:
                raise ValueError(f"{name} is {value}: it must be positive and finite")
        if recheck is not None and not recheck >= 0:
            raise ValueError(f"recheck is {recheck}: it must not be negative")
        if not 0.5 <= confidence < 1.0:
            raise ValueError(f"confidence is {confidence}: it must lie in [0.5, 1)")
        if isinstance(noise, str) != (noise in ("residuals", "spreads")) or not (
            isinstance(noise, str) or 0 < noise < 1e9
        ):
            raise ValueError(f'noise is {noise!r}: it must be "residuals", "spreads" or a positive number')
        if unknown := [name for name in spread or {} if name not in names]:
            raise ValueError(f"spread names {unknown[0]!r}; the free parameters are {', '.join(names)}")
        widths = np.asarray([(spread or {}).get(name, stationary_spread(limits[name])) for name in names])
        self.spec, self.model, self.noise, self.shape = spec, spec.model, noise, shape
        self.walk = Dynamics(widths, memory, confidence, leap, gate, patience)
        self.residual, self.loss, self.weights, self.solver = spec.residual, spec.loss, spec.weights, spec.solver
        self.pricer, self.free, self.bounds, self.scales = spec.pricer, names, spec.bounds, spec.scales
        several = isinstance(spec.model, type) and spec.free is None and simpler_model(template) is not None
        self.recheck = recheck if recheck is not None else _RECHECK if several else 0

    @host_only
    def step(
        self, state: StreamState[Model] | None, surface: Surface, time: Time
    ) -> tuple[StreamState[Model] | None, Fit[Model]]:
        """Take in a surface.

        Args:
            state: what the previous step returned; None to start, from this surface alone.
            surface: market quotes, `[E, K]`.
            time: of the quotes: anything that pandas reads as a time (UTC without a zone), or years.

        Returns:
            The next state, and the fit of this surface. `state.verdict` is a sentence. Where it begins with "Not used"
            the state believes what it believed, and the fit is one of no numbers whose status says why, or that of the
            surface by itself. Without a state, and without a fit to start from, the state is None again.
            `fit.information` is that of quotes and prior together.

        Raises:
            ValueError: the time cannot be read.
        """
        years = years_since_1970(time)
        target = usable_quotes(surface, self.residual, self.weights, len(self.free))
        if state is None:
            if isinstance(target, Outcome):
                return None, make_empty_fit(self.model, surface, target, self.spec)
            return self._started(surface, years)
        if not years >= float(state.time):
            late = make_empty_fit(state.model, surface, Outcome.INVALID, self.spec)
            return tag(state, Update.OUT_OF_ORDER), late
        if isinstance(target, Outcome):
            return tag(state, Update.UNUSABLE), make_empty_fit(state.model, surface, target, self.spec)
        shape = (max(int(state.shape[0]), surface.vol.shape[0]), max(int(state.shape[1]), surface.vol.shape[1]))
        state = state if shape == tuple(state.shape) else replace(state, shape=np.asarray(shape))
        return self._advanced(state, surface, jax.tree.map(lambda leaf: leaf[0], stacked([target], shape)), years)

    def load(self, path: str | PathLike[str]) -> StreamState[Model]:
        """A state that `state.save(path)` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no state of this model with these free parameters.
        """
        state = load_state(path, self.model)
        if len(state.mean) != len(self.free):
            raise ValueError(f"{path}: the state has {len(state.mean)} free parameters, not {len(self.free)}")
        return state

    def _noise(self, noise: float, correlation: float, surface: Surface, quotes: int) -> float:
        """Of a quote, as the posterior counts it."""
        if self.noise == "spreads":
            return half_spread(surface) or noise
        if not isinstance(self.noise, str):
            return self.noise
        return effective_noise(noise, correlation, quotes, len(self.free))

    def _started(self, surface: Surface, years: float) -> tuple[StreamState[Model] | None, Fit[Model]]:
        fit = self._alone(self.model, surface, self.shape)
        if not (fit.converged and math.isfinite(years)):
            return None, fit
        return self._settled(fit, years, self.shape, Update.STARTED), fit

    def _alone(self, start: type[Model] | Model, surface: Surface, shape: tuple[int, int]) -> Fit[Model]:
        """A fit without the past, in arrays of the stream's shape: another one would have to be compiled."""
        everything = CalibrationSpec(self.spec.template, bounds=self.bounds).names
        free = None if self.free == everything else self.free  # several starts are tried only for all
        whole = self.spec.own(model=start, free=free, solver=LevenbergMarquardt())
        fit = calibrate(whole, surface.widened(shape))
        return narrow_fit(replace(fit, spec=self.spec), surface)

    def _settled(self, fit: Fit[Model], years: float, shape: tuple[int, ...], update: Update) -> StreamState[Model]:
        """The state that begins with a fit."""
        noise = self._noise(*estimate_noise(np.asarray(fit.residuals)), fit.surface, fit.surface.num_quotes)
        return make_state(fit, self.free, self.scales, self.walk.stationary, noise, years, shape, update)

    def _rechecked(
        self, state: StreamState[Model], fit: Fit[Model], surface: Surface, years: float
    ) -> tuple[StreamState[Model], Fit[Model]]:
        """Now and then, whether another optimum fits better: a stream that follows one does not see the others."""
        known = bool(np.isfinite(state.rival).all())
        if not known and int(state.since) < self.recheck:
            return state, fit
        shape = (int(state.shape[0]), int(state.shape[1]))
        here = self._alone(fit.model, surface, shape)
        rival = from_vector(fit.model, self.free, jnp.asarray(state.rival), self.scales) if known else self.model
        there = self._alone(rival, surface, shape)
        state, go = compare_optima(state, here, there, self.scales, self.walk.patience)
        if not go:
            return state, fit
        return self._settled(there, years, shape, Update.MOVED), there

    def _advanced(
        self, state: StreamState[Model], surface: Surface, target: Target, years: float
    ) -> tuple[StreamState[Model], Fit[Model]]:
        """The next state and the fit, of quotes that are numbers and not older than the state."""
        names, scales = self.free, self.scales
        dtype = target.vol.dtype
        quotes = int(np.sum(target.weight > 0))
        noise = self._noise(float(state.noise), float(state.correlation), surface, quotes)
        mean = np.asarray(state.mean)
        start = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), state.model)
        box = search_bounds(start, self.spec.limits, names, dtype)
        loss = self.loss
        if loss is not None and is_automatic(loss):
            loss = at_scale(loss, loss.tuning * float(state.noise))

        grids, absurd = fit_grids(self.spec.template, self.pricer), self.walk.gate * float(state.noise)
        coarsest, one = np.zeros((), int), np.ones((), bool)

        def fit(covariance: np.ndarray) -> Posterior:
            prior = Predicted(names, mean, noise * inverse_root(covariance), scales)

            def run(model: Any, level: Any) -> StepFit:
                pricer, check = grids[int(level)]
                method = Method(self.residual, prior, self.solver, box, pricer, check, loss, scales)
                found, y = solve_step(names, method, target, model)
                return StepFit(found, y, absurd)

            begun = Refined(run(start, coarsest), coarsest)
            found, y, _ = refine(lambda b, level, _: run(b.result.model, level), begun, one, len(grids) - 1).found
            return Posterior.of(found, np.asarray(y, np.float64), mean, covariance, noise, prior)

        state, posterior = advance(state, years, self.walk, fit)
        found = make_step_fit(
            posterior.result, surface, Objective(self.residual, posterior.prior, loss, scales), self.spec
        )
        shape = target.vol.shape
        if int(state.update) == Update.UNFITTED and (alone := self._alone(self.model, surface, shape)).converged:
            sane = estimate_noise(np.asarray(alone.residuals))[0] <= self.walk.gate * float(state.noise)
            if sane and int(state.unfitted) >= self.walk.patience:
                state = self._settled(alone, years, shape, Update.RESTARTED)
            return state, alone
        return self._rechecked(state, found, surface, years) if self.recheck and state.used else (state, found)
