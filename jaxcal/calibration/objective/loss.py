"""Losses: functions of the residuals that limit the influence of bad quotes."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Scale = Float[Array | np.ndarray, "..."] | float | Literal["auto"]


class AbstractLoss(eqx.Module):
    """A loss rho(r) instead of half the square of a residual: even, and half the square for small r.

    A fit minimises the weighted sum of rho, as least squares of the signed roots g(r), with g^2 / 2 = rho: cost,
    gradient and the gain of a step are exact to rounding, and the solver learns the rest of the curvature rho'' from
    its steps.

    Subclass it for another loss: give `root`. One with a field `scale` that may be "auto" also gives `tuning`.

    Example:
        >>> class GemanMcClure(AbstractLoss):
        ...     scale: Scale = 0.01
        ...     def root(self, residual):
        ...         return residual / jnp.sqrt(1.0 + (residual / self.scale) ** 2)
        >>> print(f"{GemanMcClure().root(jnp.asarray(0.02)):.5f}")
        0.00894
    """

    tuning: ClassVar[float] = 1.0  # an automatic scale in standard deviations of the noise

    @abstractmethod
    def root(self, residual: Float[Array, "*q"]) -> Float[Array, "*q"]:
        """The signed root g of twice the loss, elementwise; differentiable, with slope 1 at 0 and positive elsewhere.

        `scale` is a number here.
        """


class Linear(AbstractLoss):
    """Half the square: least squares as it is.

    Example:
        >>> float(Linear().root(jnp.asarray(0.2)))
        0.2
    """

    def root(self, residual: Float[Array, "*q"]) -> Float[Array, "*q"]:
        return residual


class Huber(AbstractLoss):
    """Half the square up to `scale`, linear beyond (P. Huber, "Robust estimation of a location parameter", 1964).

    The influence of a quote is constant beyond `scale`: a share e of bad quotes on one side moves a fit by about e
    times the scale. It has one optimum if least squares have one.

    Args:
        scale: a residual, in its units (volatility as a decimal by default: 0.01 is one vol point), or "auto":
            1.345 standard deviations of the noise as the residuals show it, see `jaxcal.calibration.robust_scale`.

    Raises:
        ValueError: the scale is neither positive nor "auto".

    Example:
        >>> [round(0.5 * float(Huber(1.0).root(jnp.asarray(r))) ** 2, 3) for r in (0.5, 1.0, 3.0)]
        [0.125, 0.5, 2.5]
    """

    tuning: ClassVar[float] = 1.345  # as efficient as least squares to 95 % where the noise is normal
    scale: Scale = "auto"

    def __check_init__(self) -> None:
        _check(self)

    def root(self, residual: Float[Array, "*q"]) -> Float[Array, "*q"]:
        scale = jnp.asarray(self.scale, residual.dtype)
        size = jnp.abs(residual) / scale
        beyond = size > 1.0
        outer = jnp.sign(residual) * scale * jnp.sqrt(2.0 * jnp.where(beyond, size, 1.0) - 1.0)
        return jnp.where(beyond, outer, residual)


class SoftL1(AbstractLoss):
    """`scale^2 (sqrt(1 + (r / scale)^2) - 1)`: a smooth Huber loss, also called pseudo-Huber.

    Args:
        scale: as of `Huber`; "auto" is 1.287 standard deviations.

    Raises:
        ValueError: the scale is neither positive nor "auto".

    Example:
        >>> print(f"{0.5 * SoftL1(1.0).root(jnp.asarray(3.0)) ** 2:.4f}")
        2.1623
    """

    tuning: ClassVar[float] = 1.287
    scale: Scale = "auto"

    def __check_init__(self) -> None:
        _check(self)

    def root(self, residual: Float[Array, "*q"]) -> Float[Array, "*q"]:
        square = (residual / jnp.asarray(self.scale, residual.dtype)) ** 2
        return residual * jnp.sqrt(2.0 / (1.0 + jnp.sqrt(1.0 + square)))


class Cauchy(AbstractLoss):
    """`scale^2 / 2 log(1 + (r / scale)^2)`: quotes with large residuals have hardly any influence.

    The most robust against gross errors, but it may have several optima, so it needs a good start ("auto" starts from a
    least-squares fit).

    Args:
        scale: as of `Huber`; "auto" is 2.385 standard deviations.

    Raises:
        ValueError: the scale is neither positive nor "auto".

    Example:
        >>> print(f"{0.5 * Cauchy(1.0).root(jnp.asarray(3.0)) ** 2:.4f}")
        1.1513
    """

    tuning: ClassVar[float] = 2.385
    scale: Scale = "auto"

    def __check_init__(self) -> None:
        _check(self)

    def root(self, residual: Float[Array, "*q"]) -> Float[Array, "*q"]:
        square = (residual / jnp.asarray(self.scale, residual.dtype)) ** 2
        near = square < 1e-3
        safe = jnp.where(near, 1.0, square)
        inner = jnp.where(near, square, 0.0)
        # log(1 + u) / u by its series, where the quotient would lose digits
        series = 1.0 - inner * (1 / 2 - inner * (1 / 3 - inner * (1 / 4 - inner * (1 / 5 - inner / 6))))
        return residual * jnp.sqrt(jnp.where(near, series, jnp.log1p(safe) / safe))


LOSSES: dict[str, type[AbstractLoss]] = {"linear": Linear, "huber": Huber, "soft_l1": SoftL1, "cauchy": Cauchy}


def make_loss(loss: AbstractLoss | str | None) -> AbstractLoss | None:
    """A loss from what a caller gave: settings, a name for the defaults, or None; None for least squares.

    Raises:
        ValueError: no loss has that name.
        TypeError: it is neither.

    Example:
        >>> print(make_loss("linear"))
        None
    """
    if isinstance(loss, str):
        name = loss.strip().lower().replace("-", "_")
        if name not in LOSSES:
            raise ValueError(f"there is no loss {loss!r}; there are {', '.join(LOSSES)}")
        loss = LOSSES[name]()
    if loss is not None and not isinstance(loss, AbstractLoss):
        raise TypeError(f"loss is {loss!r}: it takes an AbstractLoss such as Huber(), or one of {', '.join(LOSSES)}")
    return None if isinstance(loss, Linear) else loss


def losses(loss: AbstractLoss | None, residual: Float[Array, "*q"]) -> Float[Array, "*q"]:
    """rho of every residual; half the squares without a loss."""
    return 0.5 * (residual if loss is None else loss.root(residual)) ** 2


def root_and_slope(loss: AbstractLoss, residual: Float[Array, "*q"]) -> tuple[Float[Array, "*q"], Float[Array, "*q"]]:
    """g and g' of every residual."""
    return jax.jvp(loss.root, (residual,), (jnp.ones_like(residual),))


def influence(loss: AbstractLoss | None, residual: Float[Array, "*q"]) -> Float[Array, "*q"]:
    """rho' of every residual: its influence."""
    return jax.jvp(lambda r: losses(loss, r), (residual,), (jnp.ones_like(residual),))[1]


def curvature(loss: AbstractLoss | None, residual: Float[Array, "*q"]) -> Float[Array, "*q"]:
    """rho'' of every residual; 1 without a loss. May be negative, as of `Cauchy` beyond its scale.

    Example:
        >>> float(curvature(None, jnp.asarray(0.02)))
        1.0
    """
    return jax.jvp(lambda r: influence(loss, r), (residual,), (jnp.ones_like(residual),))[1]


def is_automatic(loss: AbstractLoss | None) -> bool:
    """Whether the scale is still to be found."""
    return isinstance(getattr(loss, "scale", None), str)


def at_scale(loss: Any, scale: Any) -> Any:
    """The same loss with a scale."""
    return replace(loss, scale=scale)


def widened(loss: Any, factor: float) -> Any:
    """The same loss at a scale so much wider, which quotes far away still have a say in; one without a scale as it is.

    Example:
        >>> print(widened(Cauchy(2.0), 5.0).scale, widened(None, 5.0))
        10.0 None
    """
    scale = getattr(loss, "scale", None)
    return loss if scale is None else at_scale(loss, factor * scale)


def _check(loss: Any) -> None:
    scale = loss.scale
    if isinstance(scale, str):
        good = scale == "auto"
    elif isinstance(scale, float | int | np.ndarray):
        good = bool(np.all(np.asarray(scale) > 0))
    else:
        return  # on a device, or inside `jit`
    if not good:
        raise ValueError(f'the scale of {type(loss).__name__} is {scale!r}: it must be positive, or "auto"')
