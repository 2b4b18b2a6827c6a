"""Comparison: several models fitted to the same quotes, side by side."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxcal._shown import format_html
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.unfitted import is_unfitted
from jaxcal.market.surface import Surface
from jaxcal.models.parameters import labels

_UNKNOWN = float("nan")


@dataclass(frozen=True, eq=False)
class Entry:
    """One model of a comparison. Errors are in vol points, a hundredth of a volatility; NaN where there is none.

    Attributes:
        name: of the model, as the tables show it.
        fit: to all quotes; None where `calibrate` raised an error.
        refit: to the quotes that were not held out; None likewise, and where none was held out.
        held_out_vol: `[E, K]` volatility of the refitted model at the held-out quotes, decimal; NaN elsewhere, and
            where it is not known. None where `calibrate` raised an error.
        num_parameters: free parameters, those at their bounds included; of a model with parameters of each expiry, the
            sum over the expiries that it could be fitted to.
        num_quotes: quotes that `rmse_points` is over. Fewer than those of the surface where some expiry has too few for
            the parameters of its own.
        rmse_points: root mean square of model minus market volatility of the fit to all quotes, unweighted.
        num_held_out: quotes that `rmse_out_points` is over.
        rmse_out_points: the same, of the held-out quotes under the refitted model.
        aic: Akaike's criterion n ln(SSE / n) + 2 p, of the volatility differences (decimal) of the fit to all quotes,
            their sum of squares SSE, n = `num_quotes`, p = `num_parameters`. Only differences between models mean
            something, so a model that was not fitted to all expiries has none.
        inside: share of the quotes with both volatilities known whose fitted volatility lies from `bid_vol` to
            `ask_vol`.
        inside_out: the same, of the held-out quotes under the refitted model.
        rmse_half_spreads: root mean square of model minus market volatility over half of `ask_vol - bid_vol`, over the
            quotes where that is positive.
        first_seconds: of the first fit, what had to be compiled included.
        seconds: of a fit once the programs are there: the median of some.
        reason: how the fit ended, a sentence; or the error.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.22]], forward=100.0)
        >>> entry = jc.compare([jc.BlackScholes], surface, repeats=0).entries[0]
        >>> entry.name, entry.num_parameters, round(entry.rmse_points, 3), entry.converged
        ('BlackScholes', 1, 0.816, True)
    """

    name: str
    fit: Fit[Any] | None = None
    refit: Fit[Any] | None = None
    held_out_vol: np.ndarray | None = None
    num_parameters: int = 0
    num_quotes: int = 0
    rmse_points: float = _UNKNOWN
    num_held_out: int = 0
    rmse_out_points: float = _UNKNOWN
    aic: float = _UNKNOWN
    inside: float = _UNKNOWN
    inside_out: float = _UNKNOWN
    rmse_half_spreads: float = _UNKNOWN
    first_seconds: float = _UNKNOWN
    seconds: float = _UNKNOWN
    reason: str = ""

    @property
    def converged(self) -> bool:
        """Whether the fit to all quotes converged."""
        return self.fit is not None and self.fit.converged


@dataclass(frozen=True, eq=False)
class Comparison:
    """The result of `compare`: an entry for each model, in the order in which they were given.

    Attributes:
        entries: one a model.
        surface: what they were fitted to.
        held_out: `[E, K]` the quotes that the refits did not see.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.22]], forward=100.0)
        >>> comparison = jc.compare([jc.BlackScholes], surface, repeats=0)
        >>> comparison
        Comparison(1 model of 3 quotes, 1 held out: BlackScholes)
        >>> comparison.parameters()[["model", "parameter", "value"]].round(4)
                  model parameter  value
        0  BlackScholes     sigma   0.21
    """

    entries: tuple[Entry, ...]
    surface: Surface
    held_out: np.ndarray

    def __repr__(self) -> str:
        models = f"{len(self.entries)} model{'s' * (len(self.entries) != 1)}"
        sizes = f"{self.surface.num_quotes} quotes, {int(self.held_out.sum())} held out"
        return f"Comparison({models} of {sizes}: {', '.join(entry.name for entry in self.entries)})"

    def __str__(self) -> str:
        """The summary."""
        return self.summary()

    def _repr_html_(self) -> str:
        """The summary, in a notebook."""
        return format_html(self.summary())

    @property
    def fits(self) -> dict[str, Fit[Any]]:
        """The fits to all quotes by the names of their models; without those that raised an error."""
        return {entry.name: entry.fit for entry in self.entries if entry.fit is not None}

    @property
    def converged(self) -> bool:
        """Whether every model's fit to all quotes converged."""
        return all(entry.converged for entry in self.entries)

    def to_frame(self) -> pd.DataFrame:
        """One row a model: the attributes of `Entry` except the fits, its name as `model`, then `num_steps`,
        `converged` and `status`, the reason.
        """
        names = ["num_parameters", "num_quotes", "rmse_points", "num_held_out", "rmse_out_points", "aic", "inside"]
        names += ["inside_out", "rmse_half_spreads", "first_seconds", "seconds"]
        rows = [
            {"model": entry.name}
            | {name: getattr(entry, name) for name in names}
            | {"num_steps": 0 if entry.fit is None else int(entry.fit.num_steps)}
            | {"converged": entry.converged, "status": entry.reason}
            for entry in self.entries
        ]
        return pd.DataFrame(rows)

    def parameters(self) -> pd.DataFrame:
        """One row a fitted parameter: `model`, `parameter` (with its place where it is a vector), `expiry` (years, NaN
        where it is not of one expiry), `value`, `standard_error` (NaN where there is none, see `Fit.standard_errors`).
        """
        rows = [(name, *row) for name, fit in self.fits.items() for row in _parameter_rows(fit)]
        return pd.DataFrame(rows, columns=["model", "parameter", "expiry", "value", "standard_error"])

    def summary(self) -> str:
        """A table a person reads, and a sentence for every model that is not simply converged."""
        width = max([12, *(len(entry.name) for entry in self.entries)])
        heads = ("parameters", "RMSE", "held out", "AIC", "inside", "held out", "in half-spr.", "fit, ms", "first, s")
        lines = [f"{self!r}", "", f"{'model':<{width}}" + "".join(f"{head:>13}" for head in heads)]
        lines += [f"{entry.name:<{width}}" + "".join(f"{cell:>13}" for cell in cells(entry)) for entry in self.entries]
        lines += ["", "RMSE in vol points; inside: share of quotes fitted between bid and ask."]
        return "\n".join([*lines, *remarks(self)])


def cells(entry: Entry) -> tuple[str, ...]:
    """The numbers of an entry as tables show them: parameters, RMSE in and out of sample, AIC, share inside bid-ask
    in and out of sample, RMSE in half-spreads, warm fit in milliseconds, first fit in seconds; "-" where there is none.
    """

    def text(number: float, form: str) -> str:
        return "-" if math.isnan(number) else format(number, form)

    return (
        str(entry.num_parameters) if entry.fit is not None else "-",
        text(entry.rmse_points, ".3f"),
        text(entry.rmse_out_points, ".3f"),
        text(entry.aic, ".1f"),
        text(entry.inside, ".0%"),
        text(entry.inside_out, ".0%"),
        text(entry.rmse_half_spreads, ".2f"),
        text(1e3 * entry.seconds, ".1f"),
        text(entry.first_seconds, ".1f"),
    )


def remarks(comparison: Comparison) -> list[str]:
    """A sentence for every model that did not converge, has parameters at bounds, or was not fitted to all quotes."""
    found, quotes = [], comparison.surface.num_quotes
    for entry in comparison.entries:
        if not entry.converged or (entry.fit is not None and entry.fit.status.at_bounds):
            found.append(f"{entry.name}: {entry.reason}")
        if 0 < entry.num_quotes < quotes:
            found.append(
                f"{entry.name}: compared on {entry.num_quotes} of {comparison.surface.num_quotes} quotes only."
            )
    return found


def fitted_places(fit: Fit[Any]) -> np.ndarray:
    """`[E, K]` the quotes that the fit has a model for: none of an expiry with too few for parameters of its own."""
    fitted = ~is_unfitted(fit.outcome)
    return (np.asarray(fit.surface.weight) > 0) & (fitted[:, None] if fitted.ndim else fitted)


def _parameter_rows(fit: Fit[Any]) -> list[tuple[str, float, float, float]]:
    errors = fit.standard_errors
    if not fit.by_expiry:
        names = labels(fit.model, fit.free)
        values = _numbers(fit.model, fit.free), _numbers(errors, fit.free)
        return [(name, _UNKNOWN, value, error) for name, value, error in zip(names, *values, strict=True)]
    rows = []
    for i in np.flatnonzero(fitted_places(fit).any(axis=-1)):
        model, spread = (jax.tree.map(lambda leaf, i=i: leaf[i], of_all) for of_all in (fit.model, errors))
        years = float(fit.surface.expiry[i])
        values = _numbers(model, fit.free), _numbers(spread, fit.free)
        rows += [(name, years, value, error) for name, value, error in zip(fit.free, *values, strict=True)]
    return rows


def _numbers(model: Any, names: tuple[str, ...]) -> list[float]:
    return np.concatenate([np.ravel(np.asarray(getattr(model, name), np.float64)) for name in names]).tolist()
