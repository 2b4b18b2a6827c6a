"""The strength of a prior from the quotes: the discrepancy principle and the L-curve, for one surface."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxcal.calibration.objective.loss import AbstractLoss, losses
from jaxcal.calibration.objective.prior import AbstractPrior, Combined, Scaled
from jaxcal.calibration.objective.residuals import HalfSpreadResidual
from jaxcal.calibration.results.fit import Fit
from jaxcal.models.base import AbstractModel

Model = TypeVar("Model", bound=AbstractModel)

_ALLOWED = 1.05  # of the misfit without a prior, where that is above the noise
_CLOSE = 0.01  # of the misfit that is aimed at
_MOST = 30  # fits
_REACH = 1e4  # how far a strength may be from where prior and quotes balance
_POINTS = 13  # of an L-curve
_EXACT = 1e-16  # a misfit below this is rounding


def is_searched(prior: AbstractPrior | None) -> bool:
    """Whether some strength is to be found by a rule."""
    if isinstance(prior, Combined):
        return any(is_searched(one) for one in prior.priors)
    return isinstance(prior, Scaled) and (isinstance(prior.strength, str) or is_searched(prior.prior))


def at_strength(prior: AbstractPrior, strength: float) -> AbstractPrior:
    """The prior with a number for a strength that is to be found."""
    if isinstance(prior, Combined):
        return Combined(tuple(at_strength(one, strength) if is_searched(one) else one for one in prior.priors))
    assert isinstance(prior, Scaled)
    inner = at_strength(prior.prior, strength) if is_searched(prior.prior) else prior.prior
    return Scaled(inner, strength if isinstance(prior.strength, str) else prior.strength)


def fit_with_own_strength(
    run: Callable[[type[Model] | Model, AbstractPrior, AbstractLoss | None], Fit[Model]],
    start: type[Model] | Model,
    loss: AbstractLoss | None,
    prior: AbstractPrior,
) -> Fit[Model]:
    """A fit whose prior has the strength that its rule asks for; `fit.prior` says which.

    `run` fits from a start with a prior and a loss. A loss whose scale comes from the residuals gets it from the fit
    without the prior.

    Raises:
        ValueError: several strengths are to be found; the quotes have no spread and no noise is given; the model has
            parameters of every expiry.
    """
    rules = _searched(prior)
    if len(rules) > 1:
        raise ValueError("two priors have a strength that is to be found: give one of them a number")
    template = start if isinstance(start, type) else type(start)
    if template.per_expiry:
        raise ValueError(f"{template.__name__} is fitted expiry by expiry: give the strength of its prior as a number")
    rule = rules[0]
    plain = run(start, at_strength(prior, 0.0), loss)
    steps, loss = [plain.num_steps], plain.loss
    misfit = _misfit(plain)
    aim = max(_noise(plain, rule), _ALLOWED * misfit) if rule.strength == "discrepancy" else 0.0
    size = float(jnp.sum(rule.prior(plain.model) ** 2))
    if not plain.converged or size == 0.0:
        return plain  # nothing to balance
    middle = math.sqrt(max(misfit, aim, _EXACT) / size)

    def at(strength: float, begin: Fit[Model]) -> Fit[Model]:
        fit = run(begin.model, at_strength(prior, strength), loss)
        steps.append(fit.num_steps)
        return fit

    fit = _discrepancy(at, plain, aim, middle) if rule.strength == "discrepancy" else _corner(at, plain, rule, middle)
    return eqx.tree_at(lambda f: f.num_steps, fit, jnp.sum(jnp.stack(steps)))


def _discrepancy(at: Callable[[float, Fit], Fit], plain: Fit, aim: float, middle: float) -> Fit:
    """Bisection of the logarithm of the strength, which the misfit grows with."""
    low, high = math.log(middle / _REACH), math.log(middle * _REACH)
    best, found = plain, False
    for _ in range(_MOST):
        fit = at(math.exp(0.5 * (low + high)), best)
        misfit = _misfit(fit)
        if fit.converged and misfit <= aim:
            best, found, low = fit, True, 0.5 * (low + high)
            if misfit >= (1.0 - _CLOSE) * aim:
                break
        else:
            high = 0.5 * (low + high)
        if high - low < 1e-3:
            break
    return best if found else at(math.exp(low), plain)


def _corner(at: Callable[[float, Fit], Fit], plain: Fit, rule: Scaled, middle: float) -> Fit:
    """The point of greatest curvature of log prior against log misfit, over six decades of the strength."""
    fits: list[Any] = []
    for factor in np.logspace(-3.0, 3.0, _POINTS):
        fits.append(at(middle * float(factor), fits[-1] if fits else plain))
    tiny = float(np.finfo(float).tiny)
    x = np.log([_misfit(fit) + tiny for fit in fits])
    y = np.log([float(jnp.sum(rule.prior(fit.model) ** 2)) + tiny for fit in fits])
    dx, dy = np.gradient(x), np.gradient(y)
    bend = (dx * np.gradient(dy) - dy * np.gradient(dx)) / np.maximum((dx**2 + dy**2) ** 1.5, 1e-12)
    good = np.asarray([fit.converged for fit in fits])
    return fits[int(np.argmax(np.where(good, bend, -np.inf)[1:-1])) + 1]


def _searched(prior: AbstractPrior) -> list[Scaled]:
    if isinstance(prior, Combined):
        return [rule for one in prior.priors for rule in _searched(one)]
    if not isinstance(prior, Scaled):
        return []
    return [prior] * isinstance(prior.strength, str) + _searched(prior.prior)


def _misfit(fit: Fit) -> float:
    """The weighted sum of twice the losses of the quotes: of the squares, without a loss."""
    return _sum(fit, np.asarray(fit.residuals))


def _noise(fit: Fit, rule: Scaled) -> float:
    """The same, of residuals that are all noise."""
    if rule.noise is not None:
        return _sum(fit, np.full(fit.surface.vol.shape, float(rule.noise)))
    surface = fit.surface
    if isinstance(fit.objective.residual, HalfSpreadResidual):
        return _sum(fit, np.ones(surface.vol.shape))
    half = 0.5 * (np.asarray(surface.ask_vol) - np.asarray(surface.bid_vol))
    known = np.isfinite(half) & (np.asarray(surface.weight) > 0)
    if not known.any():
        raise ValueError("these quotes have no spread that says how noisy they are: give noise")
    return _sum(fit, np.where(known, half, np.median(half[known])))


def _sum(fit: Fit, residuals: NDArray) -> float:
    weight = np.asarray(fit.surface.weight)
    values = jnp.asarray(np.where((weight > 0) & np.isfinite(residuals), residuals, 0.0), fit.residuals.dtype)
    with jax.ensure_compile_time_eval():
        return float(np.sum(weight * 2.0 * np.asarray(losses(fit.loss, values))))
