"""The strength of a prior from the quotes: the discrepancy principle and the L-curve, for every surface."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxcal._status import Outcome
from jaxcal.calibration.engine.grid_fit import GridFit, LossAndPrior
from jaxcal.calibration.engine.grid_refinement import choose
from jaxcal.calibration.engine.multistart import AbstractQuotes
from jaxcal.calibration.objective.loss import AbstractLoss, losses
from jaxcal.calibration.objective.prior import AbstractPrior, Combined, Scaled
from jaxcal.calibration.objective.residuals import AbstractResidual, HalfSpreadResidual
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel

Values = NDArray[np.floating]  # `[size]`, one of each surface
Some = NDArray[np.bool_]  # `[size]`

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


class SearchedPriors(NamedTuple):
    """The priors of surfaces, each with one strength that is to be found, and what their rules need.

    Attributes:
        rules: of each surface the part whose strength is to be found; all by the same rule.
        combine: the priors of all surfaces, as `LossAndPrior` has them, from a strength for each.
        noise: of each surface `[E, K]` residuals that are all noise; only "discrepancy" looks at them.
    """

    rules: Sequence[Scaled]
    combine: Callable[[Values], AbstractPrior]
    noise: Sequence[NDArray[np.floating]]


def searched_part(prior: AbstractPrior, template: type[AbstractModel]) -> Scaled:
    """The part of a prior whose strength is to be found.

    Raises:
        ValueError: several strengths are to be found; the model has parameters of every expiry.
    """
    rules = _searched(prior)
    if len(rules) > 1:
        raise ValueError("two priors have a strength that is to be found: give one of them a number")
    if template.per_expiry:
        raise ValueError(f"{template.__name__} is fitted expiry by expiry: give the strength of its prior as a number")
    return rules[0]


def noise_of_quotes(rule: Scaled, surface: Surface, residual: AbstractResidual) -> NDArray[np.floating]:
    """`[E, K]` residuals that are all noise: as given, or the half-spreads of the quotes.

    Raises:
        ValueError: the quotes have no spread and no noise is given.
    """
    if rule.strength != "discrepancy":
        return np.zeros(surface.vol.shape)
    if rule.noise is not None:
        return np.full(surface.vol.shape, float(rule.noise))
    if isinstance(residual, HalfSpreadResidual):
        return np.ones(surface.vol.shape)
    half = 0.5 * (np.asarray(surface.ask_vol) - np.asarray(surface.bid_vol))
    known = np.isfinite(half) & (np.asarray(surface.weight) > 0)
    if not known.any():
        raise ValueError("these quotes have no spread that says how noisy they are: give noise")
    return np.where(known, half, np.median(half[known]))


def search_of(
    prior: AbstractPrior, template: type[AbstractModel], surface: Surface, residual: AbstractResidual
) -> SearchedPriors:
    """Of the prior of one surface; see `searched_part` and `noise_of_quotes` for what is raised."""
    rule = searched_part(prior, template)
    noise = noise_of_quotes(rule, surface, residual)
    return SearchedPriors([rule], lambda strength: at_strength(prior, float(strength[0])), [noise])


def fit_at_own_strength(
    fit: Callable[[LossAndPrior], tuple[GridFit, LossAndPrior]],
    quotes: AbstractQuotes,
    own: LossAndPrior,
    priors: SearchedPriors,
) -> tuple[GridFit, LossAndPrior]:
    """Surfaces whose priors have the strength that their rules ask for, and the losses and priors that were used.

    `fit` is from wherever fits start. A loss whose scale comes from the residuals gets it there, without the prior.
    """
    nothing = np.zeros(quotes.size)
    plain, used = fit(own._replace(prior=priors.combine(nothing)))
    search = _Search(quotes, used, priors, np.asarray(plain.num_steps))
    misfit = search.misfit(plain)
    discrepancy = priors.rules[0].strength == "discrepancy"
    aim = np.maximum(search.noise(), _ALLOWED * misfit) if discrepancy else nothing
    size = search.penalty(plain)
    left = search.converged(plain) & (size > 0)
    if not left.any():
        return plain, used  # nothing to balance
    middle = np.sqrt(np.maximum(np.maximum(misfit, aim), _EXACT) / np.where(left, size, 1.0))
    by_rule = partial(_discrepancy, search, plain, left, aim) if discrepancy else partial(_corner, search, plain, left)
    found, strength = by_rule(middle)
    steps = jnp.asarray(search.steps) if isinstance(found.num_steps, jax.Array) else search.steps
    found = eqx.tree_at(lambda r: r.num_steps, found, steps)
    return found, used._replace(prior=priors.combine(np.where(left, strength, 0.0)))


class _Search:
    """Fits with other strengths, and their steps."""

    def __init__(self, quotes: AbstractQuotes, used: LossAndPrior, priors: SearchedPriors, steps: NDArray) -> None:
        self.quotes, self.used, self.priors, self.steps = quotes, used, priors, steps

    def fit(self, strength: Values, surfaces: Some, begin: GridFit) -> GridFit:
        """These surfaces, from where another fit ended; the others are as that fit."""
        found = self.quotes.refit(begin, surfaces, self.used._replace(prior=self.priors.combine(strength)))
        self.steps = self.steps + (np.asarray(found.num_steps) - np.asarray(begin.num_steps))
        return found

    def converged(self, found: GridFit) -> Some:
        return np.reshape((np.asarray(found.outcome) == Outcome.CONVERGED) & ~np.asarray(found.moved), -1)

    def misfit(self, found: GridFit) -> Values:
        """The weighted sum of twice the losses of the quotes: of the squares, without a loss."""
        return self._sums(self.quotes.residuals(found))

    def noise(self) -> Values:
        """The same, of residuals that are all noise."""
        return self._sums(self.priors.noise)

    def _sums(self, residuals: Sequence[NDArray] | NDArray) -> Values:
        own, weights = self.quotes.split(self.used.loss), self.quotes.weights
        return np.asarray([_sum(loss, *each) for loss, *each in zip(own, weights, residuals, strict=True)])

    def penalty(self, found: GridFit) -> Values:
        """The sum of squares of the prior of strength 1."""
        models = self.quotes.split(found.model)
        return np.asarray([
            float(jnp.sum(rule.prior(model) ** 2)) for rule, model in zip(self.priors.rules, models, strict=True)
        ])  # fmt: skip


def _discrepancy(search: _Search, plain: GridFit, left: Some, aim: Values, middle: Values) -> tuple[GridFit, Values]:
    """Bisection of the logarithm of the strength, which the misfit grows with."""
    low, high = np.log(middle / _REACH), np.log(middle * _REACH)
    best, found, strength, going, axes = plain, np.zeros_like(left), np.exp(low), left, np.shape(plain.cost)
    for _ in range(_MOST):
        trial = 0.5 * (low + high)
        fit = search.fit(np.exp(trial), going, best)
        misfit = search.misfit(fit)
        good = going & search.converged(fit) & (misfit <= aim)
        best = choose(good.reshape(axes), fit, best)
        found, strength = found | good, np.where(good, np.exp(trial), strength)
        low, high = np.where(good, trial, low), np.where(going & ~good, trial, high)
        going = going & ~(good & (misfit >= (1.0 - _CLOSE) * aim)) & (high - low >= 1e-3)
        if not going.any():
            break
    if (never := left & ~found).any():
        best = choose(never.reshape(axes), search.fit(np.exp(low), never, plain), best)
        strength = np.where(never, np.exp(low), strength)
    return best, strength


def _corner(search: _Search, plain: GridFit, left: Some, middle: Values) -> tuple[GridFit, Values]:
    """The point of greatest curvature of log prior against log misfit, over six decades of the strength."""
    factors = np.logspace(-3.0, 3.0, _POINTS)
    fits: list[GridFit] = []
    for factor in factors:
        fits.append(search.fit(middle * float(factor), left, fits[-1] if fits else plain))
    tiny = float(np.finfo(float).tiny)
    x = np.log(np.stack([search.misfit(fit) for fit in fits]) + tiny)
    y = np.log(np.stack([search.penalty(fit) for fit in fits]) + tiny)
    dx, dy = np.gradient(x, axis=0), np.gradient(y, axis=0)
    bend = (dx * np.gradient(dy, axis=0) - dy * np.gradient(dx, axis=0)) / np.maximum((dx**2 + dy**2) ** 1.5, 1e-12)
    good = np.stack([search.converged(fit) for fit in fits])
    place = np.argmax(np.where(good, bend, -np.inf)[1:-1], axis=0) + 1
    best = plain
    for number, fit in enumerate(fits):
        best = choose((left & (place == number)).reshape(np.shape(plain.cost)), fit, best)
    return best, middle * factors[place]


def _searched(prior: AbstractPrior) -> list[Scaled]:
    if isinstance(prior, Combined):
        return [rule for one in prior.priors for rule in _searched(one)]
    if not isinstance(prior, Scaled):
        return []
    return [prior] * isinstance(prior.strength, str) + _searched(prior.prior)


def _sum(loss: AbstractLoss | None, weight: NDArray, residuals: NDArray) -> float:
    known = (weight > 0) & np.isfinite(residuals)
    values = jnp.asarray(np.where(known, residuals, 0.0).reshape(weight.shape), weight.dtype)
    with jax.ensure_compile_time_eval():
        return float(np.sum(weight * 2.0 * np.asarray(losses(loss, values))))
