"""through_fit: how anything computed from a fitted model moves with the quotes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxcal._arguments import host_only
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.fits import Fits
from jaxcal.models.base import AbstractFourierModel, AbstractModel, Model, faulty_parameters
from jaxcal.models.parameters import natural_vector, with_natural
from jaxcal.risk.quote_sensitivities import Quote, fitted, gathered, per_quote
from jaxcal.risk.refit import moving, refits

Mode = Literal["reverse", "forward"]


@host_only
def through_fit(
    fn: Callable[[Model], Any], fit: Fit[Model] | Fits[Model], *, wrt: Quote = "vol", mode: Mode = "reverse"
) -> Any:
    """Derivatives of `fn(fit.model)` with respect to the quotes, through the refit: a bucketed vega under the model, or
    the hedge of an exotic in quotes.

    The derivatives of `fn` in the parameters are multiplied by those of the parameters with respect to the quotes (see
    `quote_sensitivities`), from one linear system for any `fn`.

    Args:
        fn: from a model to any pytree of floating arrays, differentiable by JAX; for a model with parameters of every
            expiry it is given all of them, as `fit.model` has them.
        fit: the result of `calibrate`, or of `calibrate_many`: `fn` is then applied to each model.
        wrt: as in `quote_sensitivities`.
        mode: "reverse" for one number or a few, at the cost of one gradient each; "forward" for many, at the cost of
            one directional derivative a free parameter, and for functions without a reverse mode (a `while_loop`).

    Returns:
        The pytree of `fn` with `[E, K]` behind the axes of every leaf: 0 at padding, NaN where `fn` or
        `quote_sensitivities` is NaN. Of `Fits`, with a leading axis `[B]`, padded with 0 to the largest surface, NaN
        where there is no fit.

    Raises:
        ValueError: another `wrt` or `mode`.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.24, 0.2, 0.21]], forward=100.0)
        >>> fit = jc.calibrate(jc.BlackScholes, surface)
        >>> variance = jc.through_fit(lambda model: model.sigma**2, fit)
        >>> [round(float(x), 6) for x in variance[0, :3]]
        [0.144444, 0.144444, 0.144444]
    """
    for name, value, known in (("wrt", wrt, get_args(Quote)), ("mode", mode, get_args(Mode))):
        if value not in known:
            raise ValueError(f"{name} is {value!r}: it must be one of {', '.join(known)}")
    fits = [fit] if isinstance(fit, Fit) else fitted(fit)
    slopes = [jnp.asarray(per_quote(one, refit, wrt)) for one, refit in zip(fits, refits(fits), strict=True)]
    differentiate = partial(_gradients, fn, moving(fits[0]), mode)
    program = eqx.filter_jit(differentiate)

    def gradients_of(model: Model) -> Any:
        found, known = program(model)
        if known or not isinstance(model, AbstractFourierModel) or faulty_parameters(model):
            return found
        return differentiate(model)[0]  # outside jit, grids are refined where the pricer's own size is too coarse

    found = [_chained(gradients_of(one.model), slope) for one, slope in zip(fits, slopes, strict=True)]
    return found[0] if isinstance(fit, Fit) else gathered(fit, found)


def _gradients(
    fn: Callable[[Any], Any], names: Sequence[str], mode: Mode, model: AbstractModel
) -> tuple[Any, Bool[Array, ""]]:
    """Derivatives of `fn` in the free parameters, in their own units, along a last axis; NaN where `fn` is NaN (prices
    have derivatives of 0 there). And whether none is NaN.
    """

    def of_vector(x: Array) -> tuple[Any, Any]:
        value = jax.tree.map(jnp.asarray, fn(with_natural(model, names, x)))
        return value, value

    differentiate = jax.jacrev if mode == "reverse" else jax.jacfwd
    slopes, value = differentiate(of_vector, has_aux=True)(natural_vector(model, names))
    unknown = jax.tree.map(jnp.isnan, value)
    found = jax.tree.map(lambda nan, slope: jnp.where(nan[..., None], jnp.nan, slope), unknown, slopes)
    return found, ~jnp.asarray([jnp.any(nan) for nan in jax.tree.leaves(unknown)]).any()


def _chained(gradients: Any, slope: Array) -> Any:
    """Over the free parameters; for a model fitted per expiry, over the parameters of that expiry."""

    def one(gradient: Array) -> Array:
        if slope.ndim == 3:
            # padding moves no parameter, known or not
            return jnp.where(jnp.all(slope == 0, axis=0), 0.0, jnp.tensordot(gradient, slope, axes=1))
        expiries, count = slope.shape[:2]
        by_expiry = gradient.reshape(*gradient.shape[:-1], count, expiries)
        # an expiry that was not fitted has no parameters: nothing of them may reach its zeros
        alive = jnp.any(slope != 0, axis=(2, 3)).T
        return jnp.einsum("...pe,epk->...ek", jnp.where(alive, by_expiry, 0.0), slope[:, :, 0, :])

    return jax.tree.map(one, gradients)
