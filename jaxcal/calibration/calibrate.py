"""calibrate: one model to one surface."""

from collections.abc import Sequence
from typing import TypeVar

from numpy.typing import ArrayLike

from jaxcal._arguments import host_only
from jaxcal.calibration.arguments import Bounds, check_start, weighted
from jaxcal.calibration.best_fit import best_fit
from jaxcal.calibration.calibration_spec import CalibrationSpec, spec_of
from jaxcal.calibration.engine.multistart import FitSettings
from jaxcal.calibration.engine.one_surface import OneSurface
from jaxcal.calibration.objective.loss import AbstractLoss
from jaxcal.calibration.objective.objective import Objective
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.objective.residuals import AbstractResidual
from jaxcal.calibration.objective.weights import AbstractWeights
from jaxcal.calibration.prior_strength import is_searched, search_of
from jaxcal.calibration.results.fit import CalibrationError, Fit
from jaxcal.calibration.results.make_fit import make_fit
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver

Model = TypeVar("Model", bound=AbstractModel)


@host_only
def calibrate(
    model: type[Model] | Model | CalibrationSpec[Model],
    surface: Surface,
    *,
    residual: AbstractResidual | None = None,
    loss: AbstractLoss | str | None = None,
    weights: ArrayLike | AbstractWeights | str | None = None,
    solver: AbstractLeastSquaresSolver | None = None,
    pricer: AbstractPricer | None = None,
    free: Sequence[str] | None = None,
    bounds: Bounds | None = None,
    prior: AbstractPrior | Sequence[AbstractPrior] | None = None,
    throw: bool = False,
) -> Fit[Model]:
    """Fit a model to a surface by least squares, or with a robust loss, with exact derivatives.

    The pricing grid is built once, from the market; after the fit the quotes are priced again at the solution on a
    finer grid, and where that moves them, the grid is rebuilt there and the fit continues.

    Args:
        model: a class, to start from parameters read off the surface (for a model with several optima, from several
            points, of which the best is kept); or an instance, to start there and nowhere else; or a `CalibrationSpec`,
            whose parts the arguments below replace.
        surface: market quotes, `[E, K]`.
        residual: what is made small; `ImpliedVolResidual()` by default.
        loss: of every residual: `Huber(0.01)`, `SoftL1()`, `Cauchy()`, your own, or a name ("huber") for the one whose
            scale comes from the residuals; least squares by default.
        weights: multiply the weights of the surface (and the losses): `[E, K]`, as from `weights_from`; a rule such as
            `VegaWeights()`; or its name, "uniform", "vega" or "inverse_spread".
        solver: `LevenbergMarquardt()` by default; other numbers, as in `LevenbergMarquardt(xtol=1e-6)`, do not
            recompile.
        pricer: the Fourier method, `Sinh()` by default.
        free: names of the parameters to fit; all by default. The others stay as in `model`.
        bounds: by name, `(lower, upper)` to replace the model's own; an `Interval` with a unit or an origin, as
            `feller_bounds` gives; or the name of another parameter, to which this one is then tied.
        prior: residuals of the parameters, added to those of the quotes: `Gaussian(...)`, `toward(fit)`, `Feller()`,
            `Smoothness(...)` or your own; several in a sequence.
        throw: raise `CalibrationError` where the fit does not converge, instead of saying so in `fit.status`.

    Returns:
        A `Fit`, which keeps all of this as `fit.spec`. A surface that cannot be fitted (fewer quotes than parameters,
        no finite price at the start) is a status, not an error, and every number of that fit is NaN.

    Raises:
        ValueError: an unknown loss, a prior that names no parameter of the model, a tie that cannot be, an
            unknown parameter in `free` or `bounds`, an empty interval, weights that are negative or not
            finite, or of another shape.
            Also a class of your own whose `log_cf` is no law: see `check_model`.
        CalibrationError: with `throw`, where the fit does not converge.

    Example:
        >>> import jaxcal as jc
        >>> truth = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
        >>> strike, expiry = [80.0, 90.0, 100.0, 110.0, 120.0], [0.25, 1.0]
        >>> vol = [jc.model_vol(truth, strike, t, forward=100.0) for t in expiry]
        >>> fit = jc.calibrate(jc.Heston, jc.Surface.from_vols(expiry, strike, vol, forward=100.0))
        >>> print(f"{fit.model.kappa:.4f} {fit.model.rho:.4f}")
        1.5000 -0.6500
    """
    spec: CalibrationSpec[Model] = spec_of(
        model, residual=residual, loss=loss, weights=weights, solver=solver, pricer=pricer, free=free, bounds=bounds,
        prior=prior,
    )  # fmt: skip
    if spec.weights is not None:
        surface = weighted(surface, spec.weights, remembered=weights is None)
    quotes = OneSurface(FitSettings.of(spec), surface)
    searched = None
    if spec.prior is not None and is_searched(spec.prior):
        searched = search_of(spec.prior, spec.template, surface, spec.residual)
    start = spec.model if isinstance(spec.model, type) else check_start(spec.model, surface)
    found, used = best_fit(start, quotes, spec.loss, spec.prior, searched=searched, several=spec.free is None)
    objective = Objective(spec.residual, used.prior, used.loss, spec.scales)
    return _checked(make_fit(found, spec.names, surface, objective, spec), throw)


def _checked(fit: Fit[Model], throw: bool) -> Fit[Model]:
    if throw and not fit.converged:
        raise CalibrationError(str(fit.status))
    return fit
