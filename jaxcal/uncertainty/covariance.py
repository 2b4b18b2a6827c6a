"""Covariance matrices of fitted parameters."""

from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float
from numpy.typing import NDArray

from jaxcal._arguments import host_only, refuse_other
from jaxcal.calibration.objective.loss import AbstractLoss, curvature, influence
from jaxcal.calibration.results.fit import ONE_FIT, Fit
from jaxcal.calibration.results.standard_errors import search_covariance, search_slopes, weighted_misfit
from jaxcal.calibration.results.unfitted import is_unfitted
from jaxcal.models.base import AbstractModel, Model
from jaxcal.models.parameters import labels, with_only
from jaxcal.uncertainty.derivatives import Derivatives, derivatives

Kind = Literal["gauss_newton", "hessian", "sandwich"]
Clusters = Literal["expiry"] | None


class Covariance(eqx.Module):
    """The covariance matrix of the parameters of a fit, in their own units.

    Attributes:
        matrix: `[q, q]`; NaN in the rows and columns of fixed parameters, of those at their bounds, and of those that
            the quotes do not determine.
        labels: of its rows: names of parameters, with a place such as `rho[2]` for a vector, or for one of several
            expiries.
        kind: how it was found.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)
        >>> jc.covariance(jc.calibrate(jc.BlackScholes, surface)).labels
        ('sigma',)
    """

    matrix: Float[Array | np.ndarray, "q q"]
    labels: tuple[str, ...] = eqx.field(static=True)
    kind: Kind = eqx.field(static=True)

    def __repr__(self) -> str:
        """The kind and the matrix, with its numbers."""
        return f"Covariance({self.kind}, {', '.join(self.labels)}:\n{np.asarray(self.matrix)})"

    @property
    def correlation(self) -> NDArray[np.floating]:
        """`[q, q]` correlations of the errors; NaN where the covariance is."""
        matrix = np.asarray(self.matrix)
        size = np.sqrt(np.diagonal(matrix))
        with np.errstate(invalid="ignore", divide="ignore"):
            return matrix / (size[:, None] * size[None, :])

    def standard_errors(self, model: Model) -> Model:
        """Square roots of the diagonal in the shape of the fitted model; NaN where there is none."""
        with np.errstate(invalid="ignore"):
            errors = dict(zip(self.labels, np.sqrt(np.diagonal(np.asarray(self.matrix))), strict=True))

        def of(name: str) -> NDArray:
            found = [errors[label] for label in labels(model, [name])]
            return np.asarray(found).reshape(np.shape(getattr(model, name)))

        return with_only(model, {name: of(name) for name in model.bounds})

    def to_frame(self) -> pd.DataFrame:
        """The matrix with its labels on rows and columns."""
        return pd.DataFrame(np.asarray(self.matrix), index=list(self.labels), columns=list(self.labels))


@host_only
def covariance(fit: Fit, kind: Kind = "gauss_newton", *, clusters: Clusters = None) -> Covariance:
    """The covariance of the estimated parameters, over those inside their bounds.

    - "gauss_newton": `s^2 (J'J)^-1`, whose diagonal `fit.standard_errors` shows: valid if the model is true and the
      weighted noise has equal variance.
    - "hessian": `s^2 H^-1` with the full Hessian of the cost, second derivatives of the residuals included: they matter
      if the misfit is large.
    - "sandwich": `H^-1 M H^-1` with M the squared scores of the quotes, each divided by (1 - its leverage)^2 (HC3):
      valid for unequal variances and for a wrong model (H. White, "Maximum likelihood estimation of misspecified
      models", Econometrica 50, 1982; J. MacKinnon, H. White, 1985). With `clusters="expiry"` the scores of one expiry
      are summed first, for correlated residuals of neighbours; it needs several times more expiries than parameters.

    With a robust loss rho, scores are those of rho', J'J is weighted by the mean of rho'', and s^2 is Huber's. A
    prior adds to H and not to M.

    Args:
        fit: the result of `calibrate`.
        kind: one of the three.
        clusters: "expiry" or None; for the sandwich.

    Returns:
        A `Covariance` in the parameters' own units, by the delta method from the search scales. All NaN if there are no
        more quotes than parameters, or if the Hessian is not positive definite.

    Raises:
        ValueError: an unknown kind; clusters with another kind, of a model that is fitted by expiry, or of one expiry.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)
        >>> fit = jc.calibrate(jc.BlackScholes, surface)
        >>> for kind in ("gauss_newton", "hessian", "sandwich"):
        ...     print(f"{kind} {float(jc.covariance(fit, kind).matrix[0, 0]) ** 0.5:.5f}")
        gauss_newton 0.00333
        hessian 0.00333
        sandwich 0.00408
    """
    refuse_other("covariance", fit, Fit, ONE_FIT)
    if kind not in get_args(Kind):
        raise ValueError(f"kind is {kind!r}: it must be one of {', '.join(get_args(Kind))}")
    if clusters is not None and (
        clusters != "expiry" or kind != "sandwich" or fit.by_expiry or fit.surface.num_expiries < 2
    ):
        raise ValueError(f"clusters is {clusters!r}: it may be 'expiry', for a sandwich of two or more expiries")
    information: NDArray = np.asarray(fit.information, np.float64)
    at_bound: NDArray = np.asarray(fit.at_bound, bool)
    weight, residuals = np.asarray(fit.surface.weight, np.float64), np.asarray(fit.residuals, np.float64)
    model, loss = fit.model, fit.loss
    if not fit.by_expiry:
        information, at_bound, weight, residuals = information[None], at_bound[None], weight[None], residuals[None]
        model = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], model)
    loss = jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf), (len(weight), *np.shape(leaf))), loss)
    weight, residuals = weight.reshape(len(weight), -1), residuals.reshape(len(weight), -1)
    counts, misfit = np.sum(weight > 0, axis=1), weighted_misfit(loss, weight, residuals, information.shape[-1])
    if kind == "gauss_newton" or is_unfitted(fit.outcome).all():
        found = search_covariance(information, at_bound, misfit, counts)
    else:
        known = derivatives(fit)
        pull, bend = _pulls(loss, known.residual)
        if kind == "hessian":
            mean = np.sum(weight * bend, axis=1) / np.maximum(np.sum(weight, axis=1), np.finfo(float).tiny)
            found = _inverse(known.hessian, at_bound, misfit * mean, counts)
        else:
            dof = np.where(counts > at_bound.shape[1], counts - np.sum(~at_bound, axis=1), 0)
            bread = _inverse(known.hessian, at_bound, np.maximum(dof, 1).astype(float), counts)
            groups = np.repeat(np.arange(len(fit.surface.expiry)), fit.surface.vol.shape[1]) if clusters else None
            inner = np.nan_to_num(bread)
            found = inner @ _meat(known, weight, pull, bend, ~at_bound, groups) @ inner
            found = np.where(np.isfinite(bread), found, np.nan)
    return Covariance(_natural(fit, model, found), labels(fit.model, list(fit.model.bounds)), kind)


def _pulls(loss: AbstractLoss | None, residual: NDArray) -> tuple[NDArray, NDArray]:
    """rho' and rho'' of `[s, m]` residuals."""
    if loss is None:
        return residual, np.ones_like(residual)
    pull, bend = (np.asarray(jax.vmap(fn)(loss, jnp.asarray(residual))) for fn in (influence, curvature))
    return pull, bend


def _inverse(hessian: NDArray, at_bound: NDArray, misfit: NDArray, counts: NDArray) -> NDArray:
    """`misfit / dof` times the inverse over what is inside; NaN where it is no minimum."""
    found = search_covariance(hessian, at_bound, misfit, counts)
    pair = ~at_bound[:, :, None] & ~at_bound[:, None, :]
    finite = np.asarray(np.isfinite(hessian).all(axis=(1, 2)))
    inside = np.where(pair & finite[:, None, None], hessian, np.eye(hessian.shape[-1]))
    least: NDArray = np.linalg.eigvalsh(inside)
    good = finite & (least[:, 0] > 0)
    return np.where(good[:, None, None], found, np.nan)


def _meat(
    known: Derivatives, weight: NDArray, pull: NDArray, bend: NDArray, inside: NDArray, groups: NDArray | None
) -> NDArray:
    """`[s, p, p]` the squares of the scores; 0 at bounds."""
    found = np.zeros(known.hessian.shape)
    for i, rows in enumerate(inside):
        jacobian, used = known.jacobian[i][:, rows], weight[i] > 0
        score = (weight[i] * pull[i])[:, None] * jacobian
        if groups is None:
            share = weight[i] * np.maximum(bend[i], 0.0)
            root = np.sqrt(share)[:, None] * jacobian
            leverage = np.einsum("mi,ij,mj->m", root, np.linalg.pinv(root.T @ root), root)
            score = score / (1.0 - np.clip(leverage, 0.0, 0.99))[:, None]
            meat = score[used].T @ score[used]
        else:
            some = np.unique(groups[used])
            sums = np.stack([score[used & (groups == group)].sum(axis=0) for group in some])
            quotes, size = int(used.sum()), int(rows.sum())
            small = len(some) / (len(some) - 1) * (quotes - 1) / max(quotes - size, 1)
            meat = small * sums.T @ sums
        found[i][np.ix_(rows, rows)] = meat
    return found


def _natural(fit: Fit, models: AbstractModel, matrices: NDArray) -> NDArray:
    """`[q, q]` over all parameters, fixed ones included, from `[s, p, p]` on the search scales."""
    slopes = np.asarray(search_slopes(fit.free, fit.objective.scales, models), np.float64)
    known: NDArray = np.isfinite(np.diagonal(matrices, axis1=1, axis2=2))
    pair = known[:, :, None] & known[:, None, :]
    own = np.where(pair, slopes @ np.where(pair, matrices, 0.0) @ np.swapaxes(slopes, 1, 2), np.nan)
    every = labels(fit.model, list(fit.model.bounds))
    whole = np.full((len(every), len(every)), np.nan)
    if not fit.by_expiry:
        place = [every.index(label) for label in labels(fit.model, fit.free)]
        whole[np.ix_(place, place)] = own[0]
        return whole
    free = np.asarray([[every.index(f"{name}[{i}]") for name in fit.free] for i in range(len(own))])
    for i, place in enumerate(free):  # expiries were fitted by themselves: their errors do not vary together
        for j in range(len(own)):
            pairs = known[i][:, None] & known[j][None, :]
            whole[np.ix_(place, free[j])] = own[i] if i == j else np.where(pairs, 0.0, np.nan)
    return whole
