"""Confidence intervals of the parameters of a fit."""

from typing import Any, Generic, Literal

import equinox as eqx
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from jaxcal._arguments import host_only
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.fits import Fits, gather
from jaxcal.calibration.results.parameter_scale import moved
from jaxcal.models.base import Model
from jaxcal.models.parameters import labels, with_only
from jaxcal.uncertainty.covariance import Kind, covariance
from jaxcal.uncertainty.profile import profiles
from jaxcal.uncertainty.student_t import t_quantile


class Intervals(eqx.Module, Generic[Model]):
    """Confidence intervals of the parameters of a fit, or of each of many.

    Attributes:
        lower, upper: models whose fields are the ends, in the parameters' units, of the shape of the fitted model's;
            NaN for a fixed parameter, for one at its bound and for one that the quotes do not determine.
        level: the coverage probability.
        method: "wald", "profile" or "bootstrap".

    Example:
        >>> import jaxcal as jc
        >>> vols = [[0.21, 0.2, 0.2]]
        >>> fit = jc.calibrate(jc.BlackScholes, jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], vols, forward=100.0))
        >>> print(jc.confidence_intervals(fit, level=0.9))
        parameter                    lower       upper   90 %, wald
        sigma                     0.193829    0.213303
    """

    lower: Model
    upper: Model
    level: float = eqx.field(static=True)
    method: str = eqx.field(static=True)

    def to_frame(self) -> pd.DataFrame:
        """One row a parameter, `parameter`, `lower`, `upper`; of many fits, columns `<parameter>_lower` and `_upper`
        and one row a fit.
        """
        names = list(self.lower.bounds)
        own = int(self.lower.per_expiry)
        if any(np.ndim(getattr(self.lower, name)) > max(own, name in self.lower.vectors) for name in names):
            columns: dict[str, NDArray] = {}
            for name in names:
                for end, model in (("lower", self.lower), ("upper", self.upper)):
                    values = np.asarray(getattr(model, name))
                    wide = values.ndim > 1
                    several = {f"{name}[{j}]_{end}": x for j, x in enumerate(values.T)} if wide else {}
                    columns |= several or {f"{name}_{end}": values}
            return pd.DataFrame(columns)
        rows: dict[str, Any] = {"parameter": labels(self.lower, names)}
        for end, model in (("lower", self.lower), ("upper", self.upper)):
            rows[end] = np.concatenate([np.ravel(np.asarray(getattr(model, name), np.float64)) for name in names])
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        """A table; of many fits the table of `to_frame`."""
        frame = self.to_frame()
        if "parameter" not in frame.columns:
            return str(frame)
        head = f"{'parameter':<22}{'lower':>12}{'upper':>12}   {100 * self.level:g} %, {self.method}"
        rows = zip(frame["parameter"], frame["lower"], frame["upper"], strict=True)
        return "\n".join([head, *(f"{name:<22}{low:>12.6g}{high:>12.6g}" for name, low, high in rows)])


@host_only
def confidence_intervals(
    fit: Fit[Model] | Fits[Model],
    level: float = 0.95,
    method: Literal["wald", "profile"] = "wald",
    *,
    kind: Kind = "gauss_newton",
    **refit: Any,
) -> Intervals[Model]:
    """Confidence intervals of the parameters, with coverage `level` if the model is true and the noise of the quotes is
    independent with equal variance (in the units of the residual, after weights).

    Wald: the standard error times Student's t, on the logarithm of a positive parameter and on Fisher's z of a
    correlation, so that no end leaves the bounds. Profile: from the profile likelihood (see `profile`); takes some
    dozens of fits, and holds for poorly determined parameters too, whose cost is not quadratic.

    Args:
        fit: the result of `calibrate`; or of `calibrate_many`, for "wald".
        level: the probability, 0.95 by default.
        method: "wald" or "profile".
        kind: of the covariance behind the standard errors, as in `covariance`; only for "wald" of one fit.
        refit: with "profile", further arguments of `profile`.

    Returns:
        `Intervals`. Quotes minus free parameters inside their bounds are the degrees of freedom of t.

    Raises:
        ValueError: a level that is not between 0 and 1; another method; a profile of many fits.

    Example:
        >>> import jaxcal as jc
        >>> truth = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
        >>> surface = jc.synthetic_surface(truth, expiry=[0.1, 0.5, 1.0, 2.0], moneyness=[-2.0, -1.0, 0.0, 1.0])
        >>> noise = 1e-3 * np.random.default_rng(1).standard_normal(surface.vol.shape)
        >>> fit = jc.calibrate(jc.Heston, eqx.tree_at(lambda s: s.vol, surface, surface.vol + noise))
        >>> found = jc.confidence_intervals(fit)
        >>> bool(found.lower.rho < -0.65 < found.upper.rho)
        True
    """
    t_quantile(level, 1)  # a level that cannot be is refused before anything is done
    if method == "profile":
        if not isinstance(fit, Fit):
            raise ValueError("profiles are of one fit: give fits[key]")
        return _by_profile(fit, level, **refit)
    if method != "wald":
        raise ValueError(f'method is {method!r}: it must be "wald" or "profile"')
    if refit:
        raise ValueError(f"{', '.join(refit)}: only the method profile fits again")
    if isinstance(fit, Fits):
        if kind != "gauss_newton":
            raise ValueError(f"the covariance of many fits is that of gauss_newton, not {kind}")
        errors: Any = fit.standard_errors
    else:
        errors = fit.standard_errors if kind == "gauss_newton" else covariance(fit, kind).standard_errors(fit.model)
    quantile = np.vectorize(lambda dof: t_quantile(level, int(dof)))(degrees_of_freedom(fit))
    ends = (_moved(fit.model, errors, sign * quantile) for sign in (-1.0, 1.0))
    return Intervals(*ends, level=level, method=method)


def degrees_of_freedom(fit: Fit | Fits) -> NDArray[np.integer]:
    """Quotes minus free parameters inside their bounds, 0 where there are fewer quotes than free parameters: one
    number, or one for each expiry of a model that is fitted by expiry; of many fits with a leading axis.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)
        >>> int(degrees_of_freedom(jc.calibrate(jc.BlackScholes, surface)))
        2
    """
    if isinstance(fit, Fit):
        slices = int(fit.by_expiry)
        weight = np.asarray(fit.surface.weight)
        return _dof(weight.reshape(*weight.shape[:slices], -1), np.asarray(fit.at_bound))
    found = []
    for part in fit.parts:
        slices = 1 + part.result.by_expiry
        found.append(_dof(part.weight.reshape(*part.weight.shape[:slices], -1), np.asarray(part.result.at_bound)))
    return gather(fit, found, 0)


def _dof(weight: NDArray, at_bound: NDArray) -> NDArray[np.integer]:
    quotes, size = np.sum(weight > 0, axis=-1), at_bound.shape[-1]
    return np.where(quotes > size, quotes - np.sum(~at_bound, axis=-1), 0)


def _moved(model: Model, errors: Model, quantile: ArrayLike) -> Model:
    """Every parameter by so many of its standard errors."""

    def of(name: str) -> NDArray:
        error = np.asarray(getattr(errors, name), np.float64)
        times = np.reshape(quantile, np.shape(quantile) + (1,) * (error.ndim - np.ndim(quantile)))
        return moved(model, name, times * error)

    return with_only(model, {name: of(name) for name in model.bounds if np.size(getattr(model, name))})


def _by_profile(fit: Fit[Model], level: float, **refit: Any) -> Intervals[Model]:
    found = profiles(fit, fit.free, level=level, **refit)
    ends = {name: found[name].interval(level) for name in fit.free}
    models = (with_only(fit.model, {name: np.asarray(both[side]) for name, both in ends.items()}) for side in (0, 1))
    return Intervals(*models, level=level, method="profile")
