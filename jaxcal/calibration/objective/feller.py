"""Feller's condition, 2 kappa theta >= sigma^2 (the variance stays positive): as a penalty, or as a constraint."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval

_FIELDS = ("kappa", "theta", "sigma")


class Feller(AbstractPrior):
    """A penalty: `weight` times the logarithm of sigma^2 / (2 kappa theta), where Feller's condition fails.

    Markets mostly violate the condition, and pricing does not need it; impose it to simulate paths. `feller_bounds`
    imposes it exactly.

    Args:
        weight: volatility difference that counts as much as a violation by a factor of e.

    Raises:
        ValueError: the weight is negative. From `calibrate`: the model has no such condition.

    Example:
        >>> import jaxcal as jc
        >>> print(Feller(0.1)(jc.Heston(v0=0.04, kappa=1.0, theta=0.5, sigma=2.0, rho=-0.5)).round(4))
        [0.1386]
    """

    weight: Float[Array, "..."] | float = 0.1

    def __check_init__(self) -> None:
        if isinstance(self.weight, float | int) and not 0.0 <= self.weight < float("inf"):
            raise ValueError(f"the weight of Feller is {self.weight}: it must be finite and not negative")

    def __call__(self, model: AbstractModel) -> Float[Array, " r"]:
        found = []
        for suffix in _suffixes(type(model)):
            kappa, theta, sigma = (jnp.asarray(getattr(model, name + suffix)) for name in _FIELDS)
            excess = jnp.maximum(jnp.log(sigma**2 / (2.0 * kappa * theta)), 0.0)
            found.append(jnp.asarray(self.weight, excess.dtype) * jnp.ravel(excess))
        return jnp.concatenate(found)

    def complaint(self, template: type[AbstractModel]) -> str | None:
        return (
            None if _suffixes(template) else f"{template.__name__} has no kappa, theta and sigma: no Feller condition"
        )


def feller_bounds(template: type[AbstractModel]) -> dict[str, Interval]:
    """Bounds under which every iterate of a fit satisfies Feller's condition: `calibrate(..., bounds=...)`.

    The fit searches sigma in units of sqrt(2 kappa theta), between 0.001 and 1: a box, so a solution on the condition's
    edge is found like any other at a bound, and the status names sigma.

    Raises:
        ValueError: the model has no such condition.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_quotes(jc.dax_quotes())
        >>> model = jc.calibrate(jc.Heston, surface, bounds=jc.feller_bounds(jc.Heston)).model
        >>> bool(model.sigma**2 <= 2.0 * model.kappa * model.theta)
        True
    """
    suffixes = _suffixes(template)
    if not suffixes:
        raise ValueError(f"{template.__name__} has no kappa, theta and sigma: no Feller condition")
    return {f"sigma{suffix}": Interval(1e-3, 1.0, "log", unit=_Edge(suffix)) for suffix in suffixes}


def _suffixes(template: type[AbstractModel]) -> list[str]:
    return [end for end in ("", "_1", "_2") if all(name + end in template.bounds for name in _FIELDS)]


@dataclass(frozen=True)
class _Edge:
    """The sigma on the edge; equal where the parameters are, so that nothing compiles again, and pickles."""

    suffix: str

    def __call__(self, model: Any) -> Any:
        kappa, theta = (getattr(model, name + self.suffix) for name in ("kappa", "theta"))
        return jnp.sqrt(2.0 * kappa * theta)
