"""quote_sensitivities: how fitted parameters move with the quotes."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxcal._arguments import host_only
from jaxcal.calibration.engine.grid_refinement import take_rows
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.fits import Fits
from jaxcal.formulas.black import black_vega
from jaxcal.market.surface import Surface
from jaxcal.models.base import Model
from jaxcal.models.parameters import by_field, shaped
from jaxcal.risk.refit import Refit, moving, refits

Quote = Literal["vol", "price"]


@host_only
def quote_sensitivities(fit: Fit[Model] | Fits[Model], *, wrt: Quote = "vol") -> Model:
    """Derivatives of the fitted parameters in the quotes they were fitted to, by the implicit function theorem.

    At a minimum the gradient of the objective is zero whatever the quotes; so the parameters move by minus the inverse
    Hessian times the derivative of the gradient in the quotes. The Hessian is the full one, with the second
    derivatives of the residuals and the prior: J' J alone is wrong by tens of per cent where a model misses
    the market. Before that the minimum is polished by Newton's method on a grid finer than that of the fit.

    Args:
        fit: the result of `calibrate`, or of `calibrate_many`.
        wrt: "vol" for one unit of target volatility (0.01 is a vol point); "price" for one unit of the discounted
            price, through the vega of the quote.

    Returns:
        A model whose leaves are `[E, K]`, in the parameters' own units: 0 at padding, for fixed parameters and for
        those at a bound, which stay there; NaN where a fit did not converge, or where the quotes do not determine the
        parameters (the Hessian is not positive definite). Vectors have their own axis first, `[n, E, K]`. Where every
        expiry was fitted by itself, `[e, k]` is the derivative of the parameter of expiry e in quote k of that expiry,
        and quotes of other expiries have no part in it. Of `Fits` the leaves have a leading axis `[B]`, padded with 0
        to the largest surface, NaN where there is no fit.

    Raises:
        ValueError: another `wrt`.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.24, 0.2, 0.21]], forward=100.0)
        >>> slope = jc.quote_sensitivities(jc.calibrate(jc.BlackScholes, surface))
        >>> [round(float(x), 6) for x in slope.sigma[0, :3]]
        [0.333333, 0.333333, 0.333333]
    """
    if wrt not in get_args(Quote):
        raise ValueError(f"wrt is {wrt!r}: it must be one of {', '.join(get_args(Quote))}")
    fits = [fit] if isinstance(fit, Fit) else fitted(fit)
    models = [_model(one, per_quote(one, refit, wrt)) for one, refit in zip(fits, refits(fits), strict=True)]
    return models[0] if isinstance(fit, Fit) else gathered(fit, models)


def fitted(fits: Fits) -> list[Fit]:
    """The fits of a `Fits` that are fits at all."""
    found = [fits[key] for i, key in enumerate(fits.keys) if i not in fits.reasons]
    if not found:
        raise ValueError("no surface was fitted: " + next(iter(fits.reasons.values()), "there is none"))
    return found


def per_quote(fit: Fit, refit: Refit, wrt: Quote) -> NDArray[np.floating]:
    """The slopes of a refit per unit of the chosen quote."""
    if wrt == "vol":
        return refit.slope
    vega = _vega(fit.surface)
    used = np.asarray(fit.surface.weight) > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        per_price = np.where(used, 1.0 / vega, 0.0)
    return refit.slope * (per_price[:, None, None, :] if refit.slope.ndim == 4 else per_price)


def _vega(surface: Surface) -> NDArray[np.floating]:
    wide = (x[:, None] for x in (surface.expiry, surface.forward, surface.discount))
    expiry, forward, discount = wide
    return np.asarray(black_vega(surface.vol, surface.strike, expiry, forward=forward, discount=discount))


def _model(fit: Fit[Model], slope: NDArray[np.floating]) -> Model:
    """Slopes as a model."""
    zero, names = jnp.zeros(fit.surface.vol.shape, slope.dtype), moving(fit)
    if slope.ndim == 4:
        # the axis of expiries is that of the parameters and of the quotes at once
        one: Any = take_rows(fit.model, 0)
        return shaped(one, names, [jnp.asarray(slope[None, :, j, 0, :]) for j in range(len(names))], others=zero)
    return shaped(fit.model, names, by_field(fit.model, names, jnp.asarray(slope)), others=zero)


def gathered(fits: Fits, trees: list[Any]) -> Any:
    """Trees of arrays of all fitted surfaces as one, with a leading axis in the caller's order."""
    places = [i for i in range(len(fits)) if i not in fits.reasons]

    def one(*leaves: Any) -> Any:
        size = np.max([np.shape(leaf) for leaf in leaves], axis=0)
        whole = np.full((len(fits), *size), np.nan, np.asarray(leaves[0]).dtype)
        for place, leaf in zip(places, leaves, strict=True):
            whole[place] = 0.0
            whole[(place, *(slice(length) for length in np.shape(leaf)))] = leaf
        return jnp.asarray(whole)

    return jax.tree.map(one, *trees)
