"""compare: several models to one surface, in and out of sample."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from jaxcal._arguments import host_only
from jaxcal._status import Outcome
from jaxcal.calibration.arguments import Bounds, weighted
from jaxcal.calibration.calibrate import calibrate
from jaxcal.calibration.calibration_spec import CalibrationSpec, spec_of
from jaxcal.calibration.comparison import Comparison, Entry, fitted_places
from jaxcal.calibration.objective.loss import AbstractLoss, is_automatic
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.objective.residuals import AbstractResidual
from jaxcal.calibration.objective.weights import AbstractWeights
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.goodness_of_fit import GoodnessOfFit
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

AnyModel = type[AbstractModel] | AbstractModel | CalibrationSpec

_EVERY, _FIRST = 5, 2  # quotes 2, 7, 12, ... are held out
_LEAST = 3  # quotes of a smile that may lose one
_STAY = LevenbergMarquardt(max_steps=0)


@host_only
def compare(
    models: Iterable[AnyModel] | Mapping[str, AnyModel],
    surface: Surface,
    *,
    residual: AbstractResidual | None = None,
    loss: AbstractLoss | str | None = None,
    weights: ArrayLike | AbstractWeights | str | None = None,
    repeats: int = 3,
    solver: AbstractLeastSquaresSolver | None = None,
    pricer: AbstractPricer | None = None,
    free: Sequence[str] | None = None,
    bounds: Bounds | None = None,
    prior: AbstractPrior | Sequence[AbstractPrior] | None = None,
) -> Comparison:
    """Fit several models to a surface and say how well each does, on the quotes it saw and on quotes it did not.

    Each model is fitted to all quotes, by implied volatility unless another residual is asked for. Then every fifth
    quote is held out, the model is fitted again from the start to the others, and the held-out quotes are priced with
    what came out.

    The choice of the held-out quotes is always the same: counted by expiry, then strike, the third, the eighth, and so
    on; a quote of an expiry with fewer than three stays. Most lie between quotes that the model saw, so the
    out-of-sample error shows how a model interpolates between strikes; it says nothing about tomorrow.

    Args:
        models: classes, to start from parameters read off the surface; instances, to start there; or a
            `CalibrationSpec` each, with bounds, priors and all else of its own. A mapping gives them names; otherwise
            they have those of their classes, with a number where a name comes again.
        surface: market quotes.
        residual: as in `calibrate`, of the fits; errors are those of implied volatility all the same.
        loss: as in `calibrate`, of the fits; errors are those of all quotes all the same.
        weights: as in `calibrate`, multiply the weights of the surface in the fits; a quote of weight 0 is left out.
            Errors are over the other quotes, unweighted.
        repeats: fits timed after the first, of which `seconds` is the median; 0 for none.
        solver, pricer, free, bounds, prior: as in `calibrate`, of every model: each must have the parameters they name.

    Returns:
        A `Comparison`. A model that cannot be fitted has an entry like the others, with the reason and without numbers.

    Raises:
        TypeError: something in `models` is not a model.
        ValueError: there is no model, no such loss, the weights are negative or not finite, or of another shape; or a
            model does not have the parameters that `free`, `bounds` or `prior` name.

    References:
        H. Akaike, "A new look at the statistical model identification", IEEE Transactions on Automatic Control 19
        (1974) 716-723: for normal errors of unknown variance the criterion is n ln(SSE / n) + 2 p, up to a constant.
        Residuals of neighbouring quotes are not independent, so it favours large models.

    Example:
        >>> import jaxcal as jc
        >>> truth = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
        >>> surface = jc.synthetic_surface(truth, expiry=[0.25, 1.0])
        >>> comparison = jc.compare([jc.BlackScholes, truth], surface, repeats=0)
        >>> comparison.to_frame()[["model", "num_parameters", "rmse_points", "rmse_out_points"]].round(2)
                  model  num_parameters  rmse_points  rmse_out_points
        0  BlackScholes               1         4.86              3.8
        1        Heston               5         0.00              0.0
    """
    given = {
        "residual": residual, "loss": loss, "solver": solver, "pricer": pricer, "free": free, "bounds": bounds,
        "prior": prior, "weights": weights,
    }  # fmt: skip
    specs = {name: _spec(name, model, given) for name, model in _named(models).items()}
    if weights is not None:
        surface = weighted(surface, weights, remembered=False)
    held_out = held_out_quotes(surface)
    entries = [
        _entry(name, spec, surface, weights is None, held_out, repeats) if isinstance(spec, CalibrationSpec) else spec
        for name, spec in specs.items()
    ]
    return Comparison(tuple(entries), surface, held_out)


def held_out_quotes(surface: Surface) -> np.ndarray:
    """`[E, K]` every fifth quote by expiry and strike, of the expiries with three quotes or more.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5, 1.0], [90.0, 95.0, 100.0, 110.0], [[0.2] * 4] * 2, forward=100.0)
        >>> held_out_quotes(surface)[:, :4].astype(int).tolist()
        [[0, 0, 1, 0], [0, 0, 0, 1]]
    """
    used = np.asarray(surface.weight) > 0
    place = np.cumsum(used.ravel()).reshape(used.shape) - 1
    return used & (place % _EVERY == _FIRST) & (used.sum(axis=-1, keepdims=True) >= _LEAST)


def _named(models: Iterable[AnyModel] | Mapping[str, AnyModel]) -> dict[str, AnyModel]:
    named: dict[str, AnyModel] = {}
    pairs: list[tuple[str, AnyModel]] = []
    if isinstance(models, Mapping):
        pairs += [(str(name), model) for name, model in models.items()]
    else:
        pairs += [("", model) for model in models]
    for own, model in pairs:
        plain = model.model if isinstance(model, CalibrationSpec) else model
        template = plain if isinstance(plain, type) else type(plain)
        if not issubclass(template, AbstractModel):
            raise TypeError(f"{model!r} is not a model: compare takes classes or instances of AbstractModel")
        name, number = own or template.__name__, 2
        while name in named:
            name, number = f"{template.__name__} ({number})", number + 1
        named[name] = model
    if not named:
        raise ValueError("there is no model to compare")
    return named


def _spec(name: str, model: AnyModel, given: Mapping[str, Any]) -> CalibrationSpec | Entry:
    """What is asked of a model, or why it cannot be fitted at all; a ValueError where the arguments do not suit it."""
    try:
        alone = spec_of(model)
    except Exception as error:  # whatever a model of the caller's own raises: the other models are still of use
        return _failed(name, error)
    try:
        return spec_of(alone, **given)
    except ValueError as error:
        if not given["free"] and not given["bounds"] and not given["prior"]:
            raise
        raise ValueError(f"{error}; give that model a CalibrationSpec of its own") from None


def _entry(
    name: str, spec: CalibrationSpec, surface: Surface, to_weigh: bool, held_out: np.ndarray, repeats: int
) -> Entry:
    """Of one model; the surface is still `to_weigh` by the spec, or has the weights that all models share."""
    try:
        plain, asked = spec.own(weights=None), surface
        if spec.weights is not None and to_weigh:
            asked = weighted(surface, spec.weights, remembered=True)
        fit, first = _timed(lambda: calibrate(plain, asked))
        again = [_timed(lambda: calibrate(plain, asked))[1] for _ in range(repeats)]
        refit = calibrate(plain, asked, weights=(~held_out).astype(float)) if held_out.any() else None
        fit = replace(fit, spec=spec)
        held_out_vol = _held_out_vol(refit, surface, held_out)
    except Exception as error:  # likewise
        return _failed(name, error)
    counted = fitted_places(fit)
    quotes, parameters = int(counted.sum()), _num_parameters(fit)
    # of a model with parameters of each expiry, over the expiries that have theirs
    rmse, inside, half_spreads = GoodnessOfFit.of(np.asarray(fit.model_vol), fit.surface, counted)
    priced = _priced(refit, held_out)
    out = (held_out_vol - np.asarray(surface.vol))[priced]
    return Entry(
        name,
        fit=fit,
        refit=refit,
        held_out_vol=held_out_vol,
        num_parameters=parameters,
        num_quotes=quotes,
        rmse_points=100.0 * rmse,
        num_held_out=out.size,
        rmse_out_points=100.0 * _rms(out),
        aic=_aic(rmse, quotes, parameters) if quotes == surface.num_quotes else math.nan,
        inside=inside,
        inside_out=GoodnessOfFit.of(held_out_vol, surface, priced).inside,
        rmse_half_spreads=half_spreads,
        first_seconds=first,
        seconds=float(np.median(again)) if again else math.nan,
        reason=str(fit.status),
    )


def _failed(name: str, error: Exception) -> Entry:
    return Entry(name, reason=f"{type(error).__name__}: {' '.join(str(error).split())}")


def _timed(run: Callable[[], Fit[Any]]) -> tuple[Fit[Any], float]:
    start = time.perf_counter()
    fit = jax.block_until_ready(run())
    return fit, time.perf_counter() - start


def _held_out_vol(refit: Fit[Any] | None, surface: Surface, held_out: np.ndarray) -> np.ndarray:
    """`[E, K]` volatility of the refitted model at the held-out quotes it has a model for; NaN elsewhere.

    The program of the fit, told to stop where it starts, prices them and checks itself on finer grids.
    """
    priced = _priced(refit, held_out)
    if refit is None or not priced.any():
        return np.full(held_out.shape, np.nan)
    spec = refit.spec
    # of the fit's own residual and loss, so that no other program is compiled; unless these may fail at a quote
    residual = spec.residual if spec.residual.by_quote else None
    loss = None if is_automatic(spec.loss) else spec.loss
    here = spec_of(refit.model, pricer=spec.pricer, bounds=spec.bounds, solver=_STAY, residual=residual, loss=loss)
    return np.where(priced, np.asarray(calibrate(here, surface).model_vol), np.nan)


def _priced(refit: Fit[Any] | None, held_out: np.ndarray) -> np.ndarray:
    """`[E, K]` the held-out quotes of expiries that the refit has a model for."""
    if refit is None or refit.status == Outcome.UNRESOLVED:
        return np.zeros_like(held_out)
    return held_out & fitted_places(refit).any(axis=-1, keepdims=True)


def _num_parameters(fit: Fit[Any]) -> int:
    """Free parameters; of every fitted expiry, where each has its own."""
    times = fitted_places(fit).any(axis=-1).sum() if fit.by_expiry else 1
    return int(fit.information.shape[-1] * times)


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(errors**2))) if errors.size else math.nan


def _aic(rmse: float, quotes: int, parameters: int) -> float:
    if not quotes or math.isnan(rmse):
        return math.nan
    return quotes * 2.0 * math.log(rmse) + 2.0 * parameters if rmse > 0 else -math.inf
