"""Priors (regularisation) as extra residuals of the parameters."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal._text import brief
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import search_value


class AbstractPrior(eqx.Module):
    """Residuals of the parameters, added to the residuals of the quotes. Subclass it for your own prior.

    Example:
        >>> class NearHalf(AbstractPrior):
        ...     def __call__(self, model):
        ...         return jnp.atleast_1d(0.1 * (model.sigma - 0.5))
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0], [[0.2, 0.2]], forward=100.0)
        >>> print(f"{jc.calibrate(jc.BlackScholes, surface, prior=NearHalf()).model.sigma:.3f}")
        0.201
    """

    @abstractmethod
    def __call__(self, model: AbstractModel) -> Float[Array, " r"]:
        """Any number of residuals; half their sum of squares is added to the cost.

        A residual of a quote is a volatility difference by default, so one of 0.01 counts like a quote of weight 1 that
        is missed by one vol point.
        """

    def complaint(self, template: type[AbstractModel]) -> str | None:
        """A sentence where the prior does not apply to a class of models; None, the answer given here, if it does."""
        return None


class Smoothness(AbstractPrior):
    """Regularises parameters that vary over time: `weight` times the difference of neighbours.

    Applies to every parameter that is a vector over time, and to no vector over interchangeable parts such as factors
    (`orders`), on its search scale (so relative differences of positive parameters).
    A residual of a quote is a volatility difference: with a weight of 0.001 and uniform quotes, a change of a factor
    of e from one interval to the next costs as much as one quote missed by 0.1 vol points.

    Args:
        weight: volatility difference that equals one unit on the search scale.

    Raises:
        ValueError: a weight that is negative or not finite.

    Example:
        >>> Smoothness(0.01).weight
        0.01
    """

    weight: Float[Array, ""] | float = 1e-3

    def __check_init__(self) -> None:
        if isinstance(self.weight, float | int) and not 0.0 <= self.weight < float("inf"):
            raise ValueError(f"the weight of Smoothness is {self.weight}: it must be finite and not negative")

    def __call__(self, model: AbstractModel) -> Float[Array, " r"]:
        parts = {name for part in model.orders() for name in part.names}
        vectors = [name for name in model.bounds if jnp.ndim(getattr(model, name)) == 1 and name not in parts]
        varying = [search_value(model, name) for name in vectors]
        steps = [jnp.diff(values) for values in varying]
        return self.weight * jnp.concatenate(steps) if steps else jnp.zeros(0)


class Scaled(AbstractPrior):
    """A prior times a strength: a number, or found for each surface by a rule.

    "discrepancy": the largest strength at which quotes are still fitted to their noise (V. Morozov, 1966). If the model
    misses them by more even without the prior, as is usual, the misfit (the weighted sum of squares) may rise by 5 %.
    "l_curve": the corner of the curve of log prior against log misfit (P. C. Hansen, "Analysis of discrete ill-posed
    problems by means of the L-curve", SIAM Review 34, 1992). Both take ten to thirty fits, each from the one before.

    Args:
        prior: what is scaled.
        strength: multiplies its residuals: not negative, or "discrepancy" or "l_curve".
        noise: standard deviation of a quote's residual, in its units (0.003 is 0.3 vol points); the half-spreads of
            the quotes if None. Only "discrepancy" uses it.

    Raises:
        ValueError: a strength that is neither; noise that is not positive.

    Example:
        >>> Scaled(Smoothness(), 2.0).strength
        2.0
    """

    prior: AbstractPrior
    strength: Float[Array, "..."] | float | Literal["discrepancy", "l_curve"] = 1.0
    noise: Float[Array, "..."] | float | None = None

    def __check_init__(self) -> None:
        _refuse_other(self.prior)
        if isinstance(self.strength, str):
            good = self.strength in ("discrepancy", "l_curve")
        else:
            good = not isinstance(self.strength, float | int) or 0.0 <= self.strength < float("inf")
        if not good:
            raise ValueError(
                f'strength is {self.strength!r}: it must be a number that is not negative, "discrepancy" or "l_curve"'
            )
        if isinstance(self.noise, float | int) and not 0.0 < self.noise < float("inf"):
            raise ValueError(f"noise is {self.noise}: it must be positive and finite")

    def __call__(self, model: AbstractModel) -> Float[Array, " r"]:
        residuals = self.prior(model)
        return jnp.asarray(self.strength, residuals.dtype) * residuals

    def complaint(self, template: type[AbstractModel]) -> str | None:
        return self.prior.complaint(template)


class Combined(AbstractPrior):
    """Several priors at once; `calibrate(..., prior=[a, b])` makes it.

    Example:
        >>> Combined((Smoothness(), Smoothness(0.01))).priors[1].weight
        0.01
    """

    priors: tuple[AbstractPrior, ...]

    def __check_init__(self) -> None:
        for prior in self.priors:
            _refuse_other(prior)

    def __call__(self, model: AbstractModel) -> Float[Array, " r"]:
        return jnp.concatenate([prior(model) for prior in self.priors])

    def complaint(self, template: type[AbstractModel]) -> str | None:
        return next((found for prior in self.priors if (found := prior.complaint(template))), None)


def make_prior(
    prior: AbstractPrior | Sequence[AbstractPrior] | None, template: type[AbstractModel]
) -> AbstractPrior | None:
    """One prior, or None, from what a caller gave.

    Raises:
        TypeError: something is not a prior.
        ValueError: it does not apply to the model.
    """
    if prior is None:
        return None
    if isinstance(prior, type) or not isinstance(prior, AbstractPrior | Iterable):
        _refuse_other(prior)
    given = (prior,) if isinstance(prior, AbstractPrior) else tuple(prior)
    for one in given:
        _refuse_other(one)
        if sentence := one.complaint(template):
            raise ValueError(sentence)
    if not given:
        return None
    return given[0] if len(given) == 1 else Combined(given)


def _refuse_other(one: object) -> None:
    if not isinstance(one, AbstractPrior):
        raise TypeError(f"prior holds {brief(repr(one))}: it takes an AbstractPrior such as Gaussian(...), or several")
