"""Gaussian priors: knowledge of the parameters besides the quotes."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.models.base import AbstractModel

On = Literal["natural", "search"]
Numbers = Array | np.ndarray | Sequence[Any] | float | int


class Gaussian(AbstractPrior):
    """Some parameters are normally distributed, about a mean, with standard deviations or a full covariance.

    The residuals are `strength L^-1 (x - mean)` with `L L' = covariance`. A fit that minimises
    `sum (r / noise)^2 + (x - mean)' covariance^-1 (x - mean)`, the posterior's mode where the noise of every quote
    is `noise`, is that with `strength = noise`.

    Args:
        mean: by name, in the parameter's own units; a vector for a field that is one.
        std: by name, or one number for all; or
        covariance: `[n, n]`, in the order of `mean`.
        on: what is normal: "natural", the parameter itself; or "search", its search scale, logarithmic for positive
            parameters: a standard deviation of 0.1 is then 10 %.
        strength: the noise of a quote's residual, in its units: 0.01 is one vol point.

    Raises:
        ValueError: neither or both of `std` and `covariance`, names or shapes that do not agree, a standard deviation
            or a strength that is not positive, a covariance that is not symmetric and positive definite. From
            `calibrate`: a name that is no parameter of the model.

    Example:
        >>> import jaxcal as jc
        >>> prior = Gaussian({"kappa": 2.0, "rho": -0.7}, covariance=[[0.25, 0.01], [0.01, 0.01]])
        >>> model = jc.Heston(v0=0.04, kappa=2.5, theta=0.04, sigma=0.5, rho=-0.7)
        >>> print(np.round(prior(model), 4))
        [ 0.01   -0.0020]
    """

    names: tuple[str, ...] = eqx.field(static=True)
    on: On = eqx.field(static=True)
    mean: tuple[Float[Array | np.ndarray, "..."], ...]
    root: Float[Array | np.ndarray, "*b n n"]
    strength: Float[Array | np.ndarray, "..."] | float

    def __init__(
        self,
        mean: Mapping[str, Numbers],
        *,
        std: Mapping[str, Numbers] | float | None = None,
        covariance: Numbers | None = None,
        on: On = "natural",
        strength: float = 0.01,
    ) -> None:
        self.names, self.on, self.strength = tuple(mean), on, strength
        values = [np.asarray(value, float) for value in mean.values()]
        size = sum(value.size for value in values)
        if not size or not all(np.isfinite(value).all() for value in values):
            raise ValueError(f"the means of a Gaussian prior are {dict(mean)}: there must be one, and all be finite")
        if on not in ("natural", "search"):
            raise ValueError(f'a Gaussian prior is on "natural" or "search" scales, not {on!r}')
        if isinstance(strength, float | int) and not 0.0 <= strength < np.inf:
            raise ValueError(f"the strength of a Gaussian prior is {strength}: it must be finite and not negative")
        if (std is None) == (covariance is None):
            raise ValueError("a Gaussian prior takes either std or covariance")
        self.mean = tuple(values)
        self.root = _inverse_root(np.diag(_deviations(mean, std) ** 2) if covariance is None else covariance, size)

    def __call__(self, model: AbstractModel) -> Float[Array, " r"]:
        off = []
        for name, mean in zip(self.names, self.mean, strict=True):
            value = jnp.asarray(getattr(model, name))
            centre = jnp.broadcast_to(jnp.asarray(mean, value.dtype), value.shape)
            if self.on == "search":
                interval = model.bounds[name]
                value, centre = (interval.to_search(interval.relative(x, model)) for x in (value, centre))
            off.append(jnp.ravel(value - centre))
        differences = jnp.concatenate(off)
        root = jnp.asarray(self.root, differences.dtype)
        return jnp.asarray(self.strength, differences.dtype) * (root @ differences)

    def complaint(self, template: type[AbstractModel]) -> str | None:
        known = tuple(template.bounds)
        if unknown := [name for name in self.names if name not in known]:
            return f"the prior names {unknown[0]!r}: {template.__name__} has {', '.join(known)}"
        for name, mean in zip(self.names, self.mean, strict=True):
            if self.on == "search" and template.bounds[name].scale == "log" and (np.asarray(mean) <= 0).any():
                return f"the prior's mean of {name} is {np.asarray(mean)}: on the search scale it must be positive"
            if np.ndim(mean) and name not in template.vectors:
                return f"the prior's mean of {name} has shape {np.shape(mean)}, and {template.__name__} has one number"
        return None


def _deviations(mean: Mapping[str, Numbers], std: Mapping[str, Numbers] | float | None) -> np.ndarray:
    by_name = std if isinstance(std, Mapping) else dict.fromkeys(mean, std)
    if set(by_name) != set(mean):
        raise ValueError(f"std is given for {', '.join(by_name)}, and mean for {', '.join(mean)}")
    parts = [np.broadcast_to(np.asarray(by_name[name], float), np.shape(mean[name])).ravel() for name in mean]
    found = np.concatenate(parts)
    if not ((found > 0) & np.isfinite(found)).all():
        raise ValueError(f"a standard deviation is {found.min()}: it must be positive and finite")
    return found


def _inverse_root(covariance: Numbers, size: int) -> np.ndarray:
    """L^-1 of a covariance L L'; a ValueError where it is none."""
    matrix = np.asarray(covariance, float)
    if matrix.shape != (size, size):
        raise ValueError(f"the covariance has shape {matrix.shape}, and the means are {size}")
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-8, atol=0.0):
        raise ValueError("the covariance of a prior must be finite and symmetric")
    try:
        factor = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        least = float(np.linalg.eigvalsh(matrix)[0])
        raise ValueError(
            f"the covariance of a prior must be positive definite: its smallest eigenvalue is {least:.3g}"
        ) from None
    return np.linalg.inv(factor)
