"""Standard errors of fitted parameters, for any number of fits at once."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from jaxcal.calibration.objective.loss import AbstractLoss, curvature, influence
from jaxcal.models.base import AbstractModel, Model
from jaxcal.models.parameters import Scales, from_vector, to_vector, with_fields

Numbers = NDArray[np.floating]


def standard_errors(
    models: Model, names: Sequence[str], information: Numbers, at_bound: NDArray[np.bool_], misfit: Numbers,
    quotes: NDArray[np.integer], scales: Scales = Scales(),
) -> Model:  # fmt: skip
    """A model whose fields are the standard errors of the parameters; all arguments have a leading axis of fits.

    From `s^2 (J' J)^-1` with `s^2` the weighted sum of squared residuals over (quotes - free parameters), over the
    parameters inside their bounds; NaN for a fixed parameter, for one at its bound, for one that the quotes do not
    determine, and where quotes are too few.

    Args:
        models: the fitted models.
        names: the parameters that were fitted.
        information: `[b, p, p]` J' J on the search scales.
        at_bound: `[b, p]`.
        misfit: `[b]` of `weighted_misfit`.
        quotes: `[b]` numbers of quotes used.
        scales: search scales and ties of the fits; a tied parameter has the error of the one it follows.
    """
    covariance = search_covariance(np.asarray(information, np.float64), at_bound, misfit, quotes)
    slopes = np.asarray(search_slopes(tuple(names), scales, models), np.float64)
    known = np.isfinite(np.diagonal(covariance, axis1=1, axis2=2))
    spread = np.where(known[:, :, None] & known[:, None, :], covariance, 0.0)
    with np.errstate(invalid="ignore"):
        variance = np.einsum("bij,bjk,bik->bi", slopes, spread, slopes)
        errors = np.where(known, np.sqrt(np.maximum(variance, 0.0)), np.nan)
    fields = [np.asarray(getattr(models, name)) for name in names]
    sizes = [field[0].size for field in fields]
    parts = np.split(errors, np.cumsum(sizes)[:-1], axis=1)
    values = [jnp.asarray(part.reshape(f.shape), f.dtype) for part, f in zip(parts, fields, strict=True)]
    unknown = jax.tree.map(lambda leaf: jnp.full(np.shape(leaf), jnp.nan, np.asarray(leaf).dtype), models)
    found = with_fields(unknown, dict(zip(names, values, strict=True)))
    for name, other in scales.ties:
        found = with_fields(found, {name: getattr(found, other)})
    return found


def weighted_misfit(loss: AbstractLoss | None, weight: Numbers, residuals: Numbers, num_parameters: int) -> Numbers:
    """`[b]` weighted sums of squared residuals; of rho' over the square of the mean of rho'' where there is a loss.

    Huber's estimate, with his correction for the number of parameters (1981, equation 6.5 of chapter 7): the noise
    that a few bad quotes seem to add is not taken for noise of all.

    Args:
        loss: with scales `[b]`, or None.
        weight, residuals: `[b, ...]`; NaN at padding.
        num_parameters: free ones.
    """
    weight, residuals = (np.reshape(x, (len(x), -1)).astype(np.float64) for x in (weight, residuals))
    if loss is None:
        return np.nansum(weight * residuals**2, axis=1)
    known = np.isfinite(residuals) & (weight > 0)
    shares = np.where(known, weight, 0.0)
    values = jnp.asarray(np.where(known, residuals, 0.0))
    pull, bend = (np.asarray(jax.vmap(fn)(loss, values)) for fn in (influence, curvature))
    total = np.maximum(shares.sum(axis=1), np.finfo(np.float64).tiny)
    mean = np.sum(shares * bend, axis=1) / total
    spread = np.sum(shares * (bend - mean[:, None]) ** 2, axis=1) / total
    count = np.maximum(known.sum(axis=1), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        correction = 1.0 + num_parameters / count * spread / mean**2
        found = correction**2 * np.sum(shares * pull**2, axis=1) / mean**2
    return np.where(mean > 0, found, np.nan)


@partial(jax.jit, static_argnums=0)
def search_slopes(names: tuple[str, ...], scales: Scales, models: AbstractModel) -> Array:
    """Derivatives of the parameters in their search vectors."""

    def of_one(model: AbstractModel) -> Array:
        def natural(y: Array) -> Array:
            moved = from_vector(model, names, y, scales)
            return jnp.concatenate([jnp.ravel(getattr(moved, name)) for name in names])

        return jax.jacfwd(natural)(to_vector(model, names, scales))

    return jax.vmap(of_one)(models)


def search_covariance(
    information: Numbers, at_bound: NDArray[np.bool_], misfit: Numbers, quotes: NDArray[np.integer]
) -> Numbers:
    """`s^2 (J' J)^-1` on the search scales; NaN where a parameter is at its bound or nothing determines it."""
    norm = np.sqrt(np.abs(np.diagonal(information, axis1=1, axis2=2)))
    # one that moves no quote, such as a pace of the clock after the last expiry, says nothing of the others
    inside = ~np.asarray(at_bound) & ~(norm == 0)
    size = inside.shape[1]
    dof = np.where(quotes > size, quotes - inside.sum(axis=1), 0)
    good = dof > 0
    norm = np.where(inside & (norm > 0), norm, 1.0)
    pair = inside[:, :, None] & inside[:, None, :]
    scaled = np.where(pair, information / (norm[:, :, None] * norm[:, None, :]), np.eye(size))
    good &= np.isfinite(scaled).all(axis=(1, 2))
    scaled[~good] = np.eye(size)
    good &= np.linalg.cond(scaled) < 1e15
    scaled[~good] = np.eye(size)
    covariance = np.linalg.inv(scaled) / (norm[:, :, None] * norm[:, None, :])
    covariance *= (misfit / np.maximum(dof, 1))[:, None, None]
    return np.where(pair & good[:, None, None], covariance, np.nan)
