"""Recalibrator: one model to a stream of surfaces, each fit starting from all that came before."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from os import PathLike
from typing import Generic, Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array

from jaxcal._status import Outcome
from jaxcal.calibration.arguments import (
    Bounds,
    checked_weights,
    free_names,
    intervals,
    scales_of,
    start_of,
    without_ties,
)
from jaxcal.calibration.calibrate import calibrate, ladder_of, outcome_of
from jaxcal.calibration.fit import Fit
from jaxcal.calibration.loss import AbstractLoss, at_scale, is_automatic, loss_of
from jaxcal.calibration.prior import AbstractPrior
from jaxcal.calibration.random_walk import Predicted, inverse_root
from jaxcal.calibration.residuals import AbstractResidual, ImpliedVolResidual
from jaxcal.calibration.round import Method, Round, solve_round
from jaxcal.calibration.shapes import stacked
from jaxcal.calibration.stream_state import StreamState, load_state, on_host
from jaxcal.calibration.stream_step import Look, Walk, advance, effective_noise, marked, noise_of
from jaxcal.calibration.target import Target
from jaxcal.calibration.update import Update
from jaxcal.calibration.weights import AbstractWeights
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import Scales, labels, search_bounds, to_vector
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

Model = TypeVar("Model", bound=AbstractModel)
Time = float | str | datetime | np.datetime64 | pd.Timestamp

# a thousandth of a parameter is far below what a surface determines, and the next surface comes soon
_SOLVER = LevenbergMarquardt(xtol=1e-3, ftol=1e-6, gtol=1e-4, max_steps=60)
_YEAR = 365.0 * 86400.0  # seconds
_LOG_SPREAD, _LINEAR_SPREAD = 1.0, 0.075  # stationary: a factor of e; a share of the width of the bounds


class Recalibrator(eqx.Module, Generic[Model]):
    """Settings of a stream: `step` takes a state and a surface, and returns the next state and the fit.

    Parameters move as a random walk on their search scales (logarithms of positive ones), whose uncertainty ends at a
    stationary one; a surface is a noisy look at them. A step is one fit with the prediction as its prior, started
    there: the update of an iterated extended Kalman filter. Where quotes determine a parameter badly it moves little;
    where they insist, it follows. `docs/streams.md` says how, and how to choose.

    Args:
        model: a class, whose first fit starts from the data; or an instance, which also sets the fixed parameters.
        memory: days after which what was known is nearly forgotten; the smaller, the faster the parameters may move.
        spread: standard deviation of a parameter that nothing is known of but its mean, on its search scale, by name;
            1 (a factor of e) for those on a logarithmic scale, 7.5 % of the width of the bounds for others, where
            absent. Of two parameters, the one with twice the spread moves twice as far in a day.
        noise: of a quote's residual, in its units: "residuals", a running median of the stream, with fewer quotes
            counted where neighbours are missed alike; "spreads", the root mean square half-spread of the surface;
            or a number. The smaller, the closer the parameters follow the quotes.
        confidence: of the test of surprise: a surface that the prior finds less likely than this loosens it.
        leap: times the expected pace at which parameters may move at most, unless several surfaces agree.
        gate: times the running noise from which a surface counts as absurd.
        patience: surfaces in a row that must agree with one another before the stream follows them where it would not
            follow one.
        shape: expiries and strikes to pad to from the start: room for what may come, so that nothing compiles later.
        residual, loss, weights, solver, pricer, free, bounds: as of `calibrate`; a loss whose scale is "auto" takes it
            from the running noise.

    Raises:
        ValueError: a setting that cannot be; a model with parameters of each expiry, or with vectors.

    Example:
        >>> import jaxcal as jc
        >>> recalibrator, state = jc.Recalibrator(jc.BlackScholes), None
        >>> for day, vol in enumerate([0.2, 0.21, 0.2]):
        ...     smile = [[vol + 0.01, vol, vol + 0.004]]
        ...     surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], smile, forward=100.0)
        ...     state, fit = recalibrator.step(state, surface, f"2026-03-{day + 2:02d}T16:00Z")
        ...     print(f"{fit.model.sigma:.3f} {state.verdict}")
        0.205 Started: fitted to this surface alone.
        0.212 Updated: the quotes moved no more than expected.
        0.207 Updated: the quotes moved no more than expected.
    """

    model: type[Model] | Model
    memory: float = 60.0
    spread: Mapping[str, float] | None = None
    noise: Literal["residuals", "spreads"] | float = "residuals"
    confidence: float = 0.99
    leap: float = 10.0
    gate: float = 4.0
    patience: int = 3
    shape: tuple[int, int] = (1, 8)
    residual: AbstractResidual = ImpliedVolResidual()
    loss: AbstractLoss | str | None = None
    weights: AbstractWeights | str | None = None
    solver: AbstractLeastSquaresSolver = _SOLVER
    pricer: AbstractPricer | None = None
    free: Sequence[str] | None = None
    bounds: Bounds | None = None

    def __check_init__(self) -> None:
        template = self._template
        if getattr(template, "per_expiry", False) or template.vectors:
            raise ValueError(
                f"{template.__name__} has parameters of each expiry or interval: a stream takes a flat model"
            )
        positive = {"memory": self.memory, "leap": self.leap, "gate": self.gate, "patience": self.patience}
        for name, value in (positive | {f"spread of {n}": v for n, v in (self.spread or {}).items()}).items():
            if not 0.0 < value < math.inf:
                raise ValueError(f"{name} is {value}: it must be positive and finite")
        if not 0.5 <= self.confidence < 1.0:
            raise ValueError(f"confidence is {self.confidence}: it must lie in [0.5, 1)")
        if self.noise not in ("residuals", "spreads") and not (
            isinstance(self.noise, float) and 0.0 < self.noise < 1e9
        ):
            raise ValueError(f'noise is {self.noise!r}: it must be "residuals", "spreads" or a positive number')
        if unknown := [name for name in self.spread or {} if name not in self._names]:
            raise ValueError(f"spread names {unknown[0]!r}: the free parameters are {', '.join(self._names)}")
        loss_of(self.loss)
        intervals(template, self.bounds)

    def step(
        self, state: StreamState[Model] | None, surface: Surface, time: Time
    ) -> tuple[StreamState[Model] | None, Fit[Model]]:
        """Take in a surface.

        Args:
            state: what the previous step returned; None to start, from this surface alone.
            surface: market quotes, `[E, K]`.
            time: of the quotes: anything that pandas reads as a time (UTC without a zone), or years.

        Returns:
            The next state, and the fit of this surface. `state.verdict` is a sentence; where it begins with "Not used"
            the state is what it was (but for the verdict and the candidate of a rejected surface) and the fit says why
            in its status, or is that of a surface on probation. Without a state and without a fit to start from, the
            state is None again. `fit.information` is that of quotes and prior together.

        Raises:
            ValueError: the time cannot be read.
        """
        years = _years(time)
        if state is None:
            return self._started(surface, years)
        state = on_host(state)
        if not years >= float(state.time):
            return marked(state, Update.OUT_OF_ORDER), self._unfitted(state, surface, Outcome.INVALID)
        target = self._target(surface)
        if isinstance(target, Outcome):
            return marked(state, Update.UNUSABLE), self._unfitted(state, surface, target)
        shape = tuple(max(a, b) for a, b in zip(state.shape.tolist(), surface.vol.shape, strict=True))
        state = eqx.tree_at(lambda s: s.shape, state, np.asarray(shape))
        return self._advanced(state, surface, jax.tree.map(lambda leaf: leaf[0], stacked([target], shape)), years)

    def load(self, path: str | PathLike[str]) -> StreamState[Model]:
        """A state that `state.save(path)` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no state of this model with these free parameters.
        """
        state = load_state(path, self.model)
        if len(state.mean) != len(labels(state.model, self._names)):
            raise ValueError(f"{path}: the state has {len(state.mean)} free parameters, not {len(self._names)}")
        return state

    @property
    def _template(self) -> type[Model]:
        return self.model if isinstance(self.model, type) else type(self.model)

    @property
    def _scales(self) -> Scales:
        return scales_of(self._template, self.bounds)

    @property
    def _names(self) -> tuple[str, ...]:
        return without_ties(free_names(self._template, self.free), self.free, self._scales)

    @property
    def _walk(self) -> Walk:
        def default(interval: Interval) -> float:
            return _LOG_SPREAD if interval.scale == "log" else _LINEAR_SPREAD * (interval.upper - interval.lower)

        limits = intervals(self._template, self.bounds)
        spread = np.asarray([(self.spread or {}).get(name, default(limits[name])) for name in self._names])
        return Walk(spread, self.memory, self.confidence, self.leap, self.gate, self.patience)

    def _noise(self, noise: float, correlation: float, surface: Surface) -> float:
        """Of a quote, as the posterior counts it."""
        if self.noise == "spreads":
            return half_spread(surface) or noise
        if isinstance(self.noise, float):
            return self.noise
        return effective_noise(noise, correlation, surface.num_quotes, len(self._names))

    def _unfitted(self, state: StreamState[Model], surface: Surface, outcome: Outcome) -> Fit[Model]:
        """A fit that did not take place, at the model of the state."""
        dtype, size = surface.vol.dtype, len(state.mean)
        nothing = jnp.full(surface.vol.shape, jnp.nan, dtype)
        nan = jnp.asarray(jnp.nan, dtype)
        return Fit(
            model=jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), state.model),
            surface=surface,
            residuals=nothing,
            model_vol=nothing,
            information=jnp.full((size, size), jnp.nan, dtype),
            cost=nan,
            rmse_vol=nan,
            gradient=nan,
            num_steps=jnp.asarray(0, jnp.int32),
            outcome=jnp.asarray(outcome.value, jnp.int32),
            at_bound=jnp.zeros(size, bool),
            free=self._names,
            scales=self._scales,
        )

    def _target(self, surface: Surface) -> Target | Outcome:
        """The quotes on the host, or why they cannot be fitted."""
        target = Target(*map(np.asarray, Target.of(surface, spread=self.residual.needs_spread)))  # type: ignore[arg-type]
        try:
            if self.weights is not None:
                more = np.asarray(checked_weights(self.weights, surface))
                target = target._replace(weight=target.weight * more)  # type: ignore[arg-type]
        except ValueError:
            return Outcome.INVALID
        used = np.asarray(target.weight) > 0
        lines = used.any(axis=-1)
        good = all(
            np.isfinite(x[used]).all() and (x[used] > 0).all() for x in (target.vol, target.strike, target.weight)
        )
        good &= all(np.isfinite(x[lines]).all() and (x[lines] > 0).all() for x in (target.expiry, target.forward))
        good &= not np.isnan(np.asarray(target.weight)).any()
        if not good:
            return Outcome.INVALID
        return target if used.sum() >= len(self._names) else Outcome.TOO_FEW_QUOTES

    def _started(self, surface: Surface, years: float) -> tuple[StreamState[Model] | None, Fit[Model]]:
        fit = calibrate(
            self.model, surface, residual=self.residual, loss=self.loss, weights=self.weights, pricer=self.pricer,
            free=self.free, bounds=self.bounds,
        )  # fmt: skip
        if not (fit.converged and math.isfinite(years)):
            return None, fit
        noise, correlation = noise_of(np.asarray(fit.residuals))
        at = self._noise(noise, correlation, surface)
        precision = np.linalg.inv(self._walk.stationary)
        model = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), fit.model)
        state = StreamState(
            model=model,
            mean=np.asarray(to_vector(fit.model, self._names, self._scales), np.float64),
            covariance=np.linalg.inv(np.asarray(fit.information, np.float64) / at**2 + precision),
            time=np.asarray(years),
            noise=np.asarray(noise),
            correlation=np.asarray(correlation),
            pace=np.asarray(1.0),
            shape=np.asarray([max(a, b) for a, b in zip(self.shape, surface.vol.shape, strict=True)]),
            update=np.asarray(Update.STARTED.value),
            surprise=np.asarray(np.nan),
            candidate=np.full(len(precision), np.nan),
            candidate_noise=np.asarray(np.nan),
            rejected=np.asarray(0),
        )
        return state, fit

    def _advanced(
        self, state: StreamState[Model], surface: Surface, target: Target, years: float
    ) -> tuple[StreamState[Model], Fit[Model]]:
        """The next state and the fit, of quotes that are numbers and not older than the state."""
        names, scales, template = self._names, self._scales, self._template
        noise = self._noise(float(state.noise), float(state.correlation), surface)
        mean, start = np.asarray(state.mean), start_of(state.model, surface)
        box = search_bounds(start, intervals(template, self.bounds), names, np.asarray(surface.vol).dtype)
        loss = loss_of(self.loss)
        if loss is not None and is_automatic(loss):
            loss = at_scale(loss, loss.tuning * float(state.noise))

        def fit(covariance: np.ndarray) -> Look:
            prior = Predicted(names, mean, noise * inverse_root(covariance), scales)
            found, at = None, start
            for pricer, check in ladder_of(template, self.pricer):
                method = Method(self.residual, prior, self.solver, box, pricer, check, loss, scales)
                found, y = jax.device_get(_solved(names, method, target, at))
                if not found.moved:
                    break
                at = found.model
            assert found is not None
            return Look.of(found, np.asarray(y, np.float64), mean, covariance, noise)

        state, look = advance(state, years, self._walk, noise, fit)
        prior = Predicted(names, jnp.asarray(mean), jnp.asarray(noise * inverse_root(look.predicted)), scales)
        return state, _fit(look.result, surface, names, loss, prior, scales)


@partial(jax.jit, static_argnums=0)
def _solved(names: tuple[str, ...], method: Method, target: Target, start: Model) -> tuple[Round[Model], Array]:
    """A round, its outcome with what the finer grid says, and its search vector, from one program."""
    result = solve_round(names, method, target, start)
    result = eqx.tree_at(lambda r: r.outcome, result, outcome_of(result))
    return result, to_vector(result.model, names, method.scales)


def _fit(
    result: Round[Model], surface: Surface, names: tuple[str, ...], loss: AbstractLoss | None, prior: AbstractPrior,
    scales: Scales,
) -> Fit[Model]:  # fmt: skip
    """The fit of a round on the host, without its padding."""
    e, k = surface.vol.shape
    kept = [name for name in _OF_FIT if name not in ("residuals", "model_vol")]
    values = {name: getattr(result, name) for name in kept}
    values |= {name: getattr(result, name)[:e, :k] for name in ("residuals", "model_vol")}
    return Fit(surface=surface, free=names, loss=loss, prior=prior, scales=scales, **jax.device_put(values))


_OF_FIT = (
    "model", "residuals", "model_vol", "information", "cost", "rmse_vol", "gradient", "num_steps", "outcome", "at_bound"
)  # fmt: skip


def half_spread(surface: Surface) -> float:
    """Root mean square half-spread of the quotes that have two sides; 0 without any."""
    half = 0.5 * (np.asarray(surface.ask_vol) - np.asarray(surface.bid_vol))
    known = half[(np.asarray(surface.weight) > 0) & np.isfinite(half)]
    return float(np.sqrt(np.mean(known**2))) if known.size else 0.0


def _years(time: Time) -> float:
    """Years since 1970, actual/365; NaN where there is no time."""
    if isinstance(time, float | int):
        return float(time)
    try:
        stamp = pd.Timestamp(time)
    except (TypeError, ValueError) as error:
        raise ValueError(f"time is {time!r}, which is no time: {error}") from None
    if stamp is pd.NaT:
        return math.nan
    stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
    return stamp.value / 1e9 / _YEAR
