"""One step of the filter: the posterior, the test of the surface, and the next state."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcal._status import Outcome
from jaxcal.calibration.engine.grid_fit import GridFit
from jaxcal.market.surface import Surface
from jaxcal.streams.random_walk import (
    Matrix,
    Predicted,
    Vector,
    chi_squared,
    find_inflation,
    innovation,
    move_without_prior,
    predict,
    process_share,
)
from jaxcal.streams.state import StreamState
from jaxcal.streams.update import Update

_NORMAL = 1.4826  # standard deviations in a median absolute deviation
_LEAST_NOISE = 1e-4  # of a residual: below it a stream of perfect fits would find everything absurd
_MOST_CORRELATED = 0.98
_NEWEST = 0.1  # weight of the newest surface in the running noise
_CALMER = 0.7  # what a surface without surprise leaves of a hurried pace
_SURE = 0.9999  # of the tests whether a surface is out of reach, and whether it confirms another


class Dynamics(NamedTuple):
    """The dynamics of the parameters, settings of a `Recalibrator`; `spread` is stationary, on search scales."""

    spread: Vector
    memory: float
    confidence: float
    leap: float
    gate: float
    patience: int

    @property
    def stationary(self) -> Matrix:
        """The covariance where nothing is known but the mean."""
        return np.diag(self.spread**2)


class Posterior(NamedTuple):
    """The posterior of a fit under a prediction, and the move that the quotes alone would make.

    `move` and `information` (in units of the noise) are those of the quotes without the prior.
    """

    result: GridFit
    mean: Vector
    covariance: Matrix
    move: Vector
    information: Matrix
    noise: float
    correlation: float
    prior: Predicted

    @classmethod
    def of(
        cls, result: GridFit, mean: Vector, before: Vector, predicted: Matrix, noise: float, prior: Predicted
    ) -> "Posterior":
        """From a round with the prior `Predicted(before, noise L^-1)`."""
        both = np.asarray(result.information, np.float64) / noise**2
        precision = np.linalg.inv(predicted)
        information = both - precision
        move = move_without_prior(mean - before, information, precision)
        try:
            covariance = np.linalg.inv(both)
        except np.linalg.LinAlgError:  # a fit without numbers has no information either
            covariance = np.full_like(both, np.nan)
        return cls(result, mean, covariance, move, information, *estimate_noise(np.asarray(result.residuals)), prior)


def estimate_noise(residuals: Float[np.ndarray, "e k"]) -> tuple[float, float]:
    """Standard deviation of residuals (NaN at padding) by their median size, and the correlation of neighbours.

    Example:
        >>> noise, correlation = estimate_noise(np.asarray([[0.01, 0.01, -0.01, -0.01, np.nan]]))
        >>> print(f"{noise:.4f} {correlation:.3f}")
        0.0148 0.333
    """
    used = np.isfinite(residuals)
    if not used.any():
        return math.inf, 0.0
    both = used[:, 1:] & used[:, :-1]
    left, right = (np.where(both, r, 0.0) for r in (residuals[:, :-1], residuals[:, 1:]))
    size = 0.5 * float(np.sum(left**2) + np.sum(right**2))
    correlation = float(np.sum(left * right)) / size if size > 0 else 0.0
    noise = _NORMAL * float(np.median(np.abs(residuals[used])))
    return max(noise, _LEAST_NOISE), min(max(correlation, 0.0), _MOST_CORRELATED)


def effective_noise(noise: float, correlation: float, quotes: int, parameters: int) -> float:
    """The noise that makes correlated quotes count as their effective number of independent ones.

    A mean of `n` values with neighbours correlated by `c` varies like one of `n (1 - c) / (1 + c)` independent ones.

    Example:
        >>> round(effective_noise(0.01, 0.6, 400, 5), 6)
        0.02
    """
    fewer = (1.0 + correlation) / (1.0 - correlation)
    entries = 0.5 * parameters * (parameters + 1)  # of the information, which so many quotes determine at least
    return noise * math.sqrt(max(1.0, min(fewer, quotes / entries)))


def half_spread(surface: Surface) -> float:
    """Root mean square half-spread of the quotes that have two sides; 0 without any."""
    half = 0.5 * (np.asarray(surface.ask_vol) - np.asarray(surface.bid_vol))
    known = half[(np.asarray(surface.weight) > 0) & np.isfinite(half)]
    return float(np.sqrt(np.mean(known**2))) if known.size else 0.0


def advance(
    state: StreamState, years: float, walk: Dynamics, fit: Callable[[Matrix], Posterior]
) -> tuple[StreamState, Posterior]:
    """The state after a surface of the time `years`, and the fit that belongs to it.

    A surface that is likely under the prediction updates the state. An unlikely one inflates the covariance until it is
    likely, up to `leap` times the process noise. A surface out of reach even then, or missed by `gate` times the noise,
    is fitted under the stationary prior and put on probation: the state moves there only when `patience` such surfaces
    in a row agree.

    Args:
        state: before.
        years: not before `state.time`.
        walk: the settings.
        fit: of the surface, under a predicted covariance.
    """
    stationary, covariance, pace = walk.stationary, np.asarray(state.covariance), float(state.pace)
    days, size = 365.0 * (years - float(state.time)), len(walk.spread)
    share, most = (process_share(days * speed, walk.memory) for speed in (pace, max(pace, walk.leap)))
    posterior = first = fit(predict(covariance, stationary, share))
    before = innovation(first.move, first.information, predict(covariance, stationary, share))
    absurd = first.noise > walk.gate * float(state.noise)
    if math.isfinite(before) and before <= chi_squared(walk.confidence, size) and not absurd:
        update, pace = Update.UPDATED, 1.0 + (pace - 1.0) * (_CALMER if before < size else 1.0)
    else:
        needed, reached = 1.0, False
        if math.isfinite(before):
            furthest = innovation(first.move, first.information, predict(covariance, stationary, most))
            reached = furthest <= chi_squared(_SURE, size)
            needed = find_inflation(first.move, first.information, covariance, stationary, share, float(size))
        update = Update.REJECTED
        if reached:
            needed = min(needed, most)
            posterior = fit(predict(covariance, stationary, needed))
            update = Update.REJECTED if posterior.noise > walk.gate * float(state.noise) else Update.LOOSENED
        if update is Update.REJECTED:
            posterior = fit(stationary)
        if update is Update.LOOSENED:
            speed = math.log1p(-needed) / math.log1p(-share) if 0.0 < share < 1.0 and needed < 1.0 else walk.leap
            pace = min(walk.leap, max(1.0, speed) * pace)
    if int(posterior.result.outcome) != Outcome.CONVERGED or bool(posterior.result.moved):
        return replace(tag(state, Update.UNFITTED, before), unfitted=np.asarray(int(state.unfitted) + 1)), posterior
    if update is Update.REJECTED:
        agrees = _agrees(state, posterior, most, stationary)
        rejected = int(state.rejected) + 1 if agrees else 1
        if rejected < walk.patience:
            held = tag(state, Update.REJECTED, before)
            noted = {"candidate_noise": np.asarray(posterior.noise), "rejected": np.asarray(rejected)}
            noted["unfitted"] = np.asarray(0)
            return replace(held, candidate=posterior.mean, **noted), posterior
        update, pace = Update.SHIFTED, 1.0
    kept = 0.0 if update is Update.SHIFTED else 1.0 - _NEWEST
    steadied = math.exp(kept * math.log(float(state.noise)) + (1.0 - kept) * math.log(posterior.noise))
    fields: dict[str, Any] = {
        "model": posterior.result.model,
        "mean": posterior.mean,
        "covariance": posterior.covariance,
        "time": np.asarray(years),
        "noise": np.asarray(steadied),
        "correlation": np.asarray(kept * float(state.correlation) + (1.0 - kept) * posterior.correlation),
        "pace": np.asarray(pace),
        "update": np.asarray(update.value),
        "surprise": np.asarray(before),
        "candidate": np.full(size, np.nan),
        "candidate_noise": np.asarray(np.nan),
        "rejected": np.asarray(0),
        "since": np.asarray(int(state.since) + 1),
        "unfitted": np.asarray(0),
    }
    return replace(state, **fields), posterior


def tag(state: StreamState, update: Update, surprised: float = math.nan) -> StreamState:
    """The same state with another verdict."""
    return replace(state, update=np.asarray(update.value), surprise=np.asarray(surprised))


def _agrees(state: StreamState, posterior: Posterior, share: float, stationary: Matrix) -> bool:
    """Whether a rejected surface confirms the candidate of the one before it."""
    if not int(state.rejected):
        return False
    alike = 1 / 3 < posterior.noise / float(state.candidate_noise) < 3
    # both places are known as well as their own quotes say
    off = innovation(
        posterior.mean - np.asarray(state.candidate), posterior.information, share * stationary + posterior.covariance
    )
    return alike and off <= chi_squared(_SURE, len(posterior.mean))
