"""Fit: a fitted model, how it fits, and how far to trust it."""

import dataclasses
from typing import Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from jaxcal._shown import format_html
from jaxcal._status import Outcome, Status
from jaxcal.calibration.calibration_spec import CalibrationSpec
from jaxcal.calibration.objective.loss import AbstractLoss
from jaxcal.calibration.objective.objective import Objective
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.objective.residuals import BidAskResidual, ImpliedVolResidual, VegaPriceResidual
from jaxcal.calibration.results.diagnostics import Diagnostics, diagnostics_of
from jaxcal.calibration.results.effective_parameters import effective_number
from jaxcal.calibration.results.goodness_of_fit import GoodnessOfFit
from jaxcal.calibration.results.standard_errors import standard_errors, weighted_misfit
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import labels

Model = TypeVar("Model", bound=AbstractModel)


class CalibrationError(RuntimeError):
    """A fit that did not converge, raised only by `calibrate(..., throw=True)`.

    Example:
        >>> raise CalibrationError("Not converged")
        Traceback (most recent call last):
        jaxcal.calibration.results.fit.CalibrationError: Not converged
    """


ONE_FIT = "give it what calibrate returns, or one of many as fits[0]"  # the remedy where something else is given


class Fit(eqx.Module, Generic[Model]):
    """The result of `calibrate`.

    Where the status says "Not fitted" every number is NaN, and no step was made. Where every expiry is fitted by itself
    those that were not have NaN, and so have the figures over all of them.

    Attributes:
        model: the fitted model.
        surface: what it was fitted to.
        residuals: `[E, K]` model minus market, in the units of the chosen residual (volatility by default), before
            weights; NaN at padding.
        model_vol: `[E, K]` implied volatility of the model, decimal, as `model_vol` has it; NaN at padding and where it
            is not known. Where a value is below a ten-millionth of the forward, default residuals are not its
            difference from the market's volatility (see `ImpliedVolResidual`).
        information: `[p, p]` J' J of the weighted residuals, on the search scales of the free parameters; `[E, p, p]`
            where every expiry was fitted by itself, as are `outcome` and `at_bound`.
        cost: the weighted sum of the losses of the residuals, half their squares by default, and half the sum of
            squares of a prior's residuals.
        rmse_vol: root mean square of model minus market volatility over the quotes used, unweighted, decimal; NaN
            where `model_vol` of one of them is not known.
        gradient: largest cosine between the residuals and a free column of their Jacobian; 0 at an optimum.
        num_steps: evaluations of the residuals and their Jacobian.
        free: names of the parameters that were fitted.
        objective: the residual, the loss with the scale that was used, the prior with the strength that was used, and
            the ties.
        spec: all that was asked for, as it was: `calibrate(fit.spec, surface)` asks again.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.2, 0.2, 0.2]], forward=100.0)
        >>> fit = jc.calibrate(jc.BlackScholes, surface)
        >>> fit.converged, round(float(fit.model.sigma), 6)
        (True, 0.2)
    """

    model: Model
    surface: Surface
    residuals: Float[Array, "e k"]
    model_vol: Float[Array, "e k"]
    information: Float[Array, "*slices p p"]
    cost: Float[Array, ""]
    rmse_vol: Float[Array, ""]
    gradient: Float[Array, ""]
    num_steps: Int[Array, ""]
    outcome: Int[Array, "*slices"]
    at_bound: Array
    free: tuple[str, ...] = eqx.field(static=True)
    objective: Objective = Objective()
    spec: CalibrationSpec[Model] = None  # type: ignore[assignment]  (no fit of the library is without one)

    @property
    def loss(self) -> AbstractLoss | None:
        """The loss, with the scale that was used; None for least squares."""
        return self.objective.loss

    @property
    def prior(self) -> AbstractPrior | None:
        """The prior, with the strength that was used; or None."""
        return self.objective.prior

    @property
    def by_expiry(self) -> bool:
        """Whether every expiry was fitted by itself: the class of the model says `per_expiry`."""
        return self.model.per_expiry

    @property
    def status(self) -> Status:
        """How the fit ended; `str(status)` is a sentence that names the parameters at their bounds.

        Where every expiry was fitted by itself it is the outcome of the worst, and names those expiries.
        """
        at_bound = np.asarray(self.at_bound)
        if not self.by_expiry:
            names = labels(self.model, self.free)
            return Status(Outcome(int(self.outcome)), tuple(n for n, at in zip(names, at_bound, strict=True) if at))
        if not self._quoted.any():
            invalid = Outcome.INVALID in np.asarray(self.outcome)
            return Status(Outcome.INVALID if invalid else Outcome.TOO_FEW_QUOTES)
        outcome = np.where(self._quoted, np.asarray(self.outcome), Outcome.CONVERGED)
        failed = np.flatnonzero(outcome != Outcome.CONVERGED)
        order = [Outcome.INVALID, Outcome.NOT_FINITE, Outcome.TOO_FEW_QUOTES]
        order += [Outcome.UNRESOLVED, Outcome.STALLED, Outcome.STEP_LIMIT]
        worst = next((bad for bad in order if bad in outcome), Outcome.CONVERGED)
        fitted = np.flatnonzero(self._quoted & (np.asarray(self.outcome) != Outcome.TOO_FEW_QUOTES))
        pinned = tuple(f"{name}[{i}]" for j, name in enumerate(self.free) for i in fitted if at_bound[i, j])
        return Status(worst, pinned, tuple(map(int, failed)))

    @property
    def converged(self) -> bool:
        """Whether no step within the bounds lowers the cost, and the prices there are resolved."""
        return self.status.converged

    @property
    def standard_errors(self) -> Model:
        """A model of the same class whose fields are the standard errors of the parameters.

        From `s^2 (J' J)^-1` with `s^2` the weighted sum of squared residuals over (quotes - free parameters), over the
        parameters inside their bounds; NaN for a fixed parameter, for one at its bound, for one that the quotes do not
        determine, and where quotes are too few. With a loss rho, the squares are those of rho', over the square of the
        mean of rho'' (P. Huber, "Robust Statistics", 1981, section 7.6).
        """
        slices, scales = self.by_expiry, self.objective.scales
        weight, residuals = np.asarray(self.surface.weight), np.asarray(self.residuals)
        if not slices:
            weight, residuals = weight[None], residuals[None]
        information, at_bound = np.asarray(self.information), np.asarray(self.at_bound)
        loss = jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf), (len(weight), *np.shape(leaf))), self.loss)
        misfit = weighted_misfit(loss, weight, residuals, information.shape[-1])
        counts = np.sum(weight.reshape(len(weight), -1) > 0, axis=-1)
        if slices:
            return standard_errors(self.model, self.free, information, at_bound, misfit, counts, scales)
        one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], self.model)
        errors = standard_errors(one, self.free, information[None], at_bound[None], misfit, counts, scales)
        return jax.tree.map(lambda leaf: leaf[0], errors)

    def diagnostics(self) -> Diagnostics:
        """How well the quotes determine each parameter, and which of them trade off: see `Diagnostics`."""
        in_vols = isinstance(self.objective.residual, ImpliedVolResidual | VegaPriceResidual | BidAskResidual)
        return diagnostics_of(self, in_vols)

    @property
    def inside(self) -> float:
        """Share of the quotes with both volatilities known whose fitted volatility lies from bid to ask, unweighted;
        NaN where there is none.
        """
        return self.goodness.inside

    @property
    def rmse_half_spreads(self) -> float:
        """Root mean square of model minus market volatility in half-spreads of the quotes that have one, unweighted;
        NaN where there is none. Above 1 the quotes say that the model is wrong; some times that, and it is.
        """
        return self.goodness.rmse_half_spreads

    @property
    def goodness(self) -> GoodnessOfFit:
        """`rmse_vol`, `inside` and `rmse_half_spreads` together, on the host."""
        return GoodnessOfFit.of(np.asarray(self.model_vol), self.surface)

    @property
    def effective_parameters(self) -> float:
        """How many parameters the quotes move: those that are free and not at bounds, less what the prior decides.

        tr((H + P)^-1 H), with H the information of the quotes and P that of the prior (D. MacKay, "Bayesian
        interpolation", Neural Computation 4, 1992, eq. 4.8). NaN where nothing was fitted.
        """
        return effective_number(self)

    @property
    def odd_parts(self) -> tuple[str, ...]:
        """Parts of the fitted model about which quotes say less than the numbers seem to, in words."""
        return () if self.by_expiry or not self.status.fitted else self.model.odd_parts()

    @property
    def parameters(self) -> dict[str, float | list[float]]:
        """The fitted parameters by name; a list where the model has a vector, or parameters of each expiry."""
        return {field.name: _plain(getattr(self.model, field.name)) for field in dataclasses.fields(self.model)}

    def table(self) -> list[tuple[str, float, str]]:
        """The parameters one by one: label, value, and standard error or why there is none."""
        pinned, errors, rows = set(self.status.at_bounds), self.standard_errors, []
        ties = dict(self.objective.scales.ties)
        for field in dataclasses.fields(self.model):
            value, error = (np.asarray(getattr(model, field.name), np.float64) for model in (self.model, errors))
            for i, number in np.ndenumerate(value):
                if self.by_expiry and i and not self._quoted[i]:
                    continue  # padding
                label = field.name if not i else f"{field.name}[{i[0]}]"
                note = "not determined" if np.isnan(error[i]) else f"{error[i]:.4g}"
                note = "fixed" if field.name not in self.free else "at its bound" if label in pinned else note
                note = f"as {ties[field.name]}" if field.name in ties else note
                rows.append((label, float(number), note))
        return rows

    @property
    def _quoted(self) -> np.ndarray:
        return np.any(np.asarray(self.surface.weight) > 0, axis=-1)

    def to_frame(self) -> pd.DataFrame:
        """One row a quote used: `row` (position in the caller's table), `expiry` (years), `strike`, `is_call`,
        `forward`, `discount`, `market_vol`, `bid_vol`, `ask_vol`, `model_vol`, `residual`, `weight`.
        """
        s = self.surface
        used = np.asarray(s.weight) > 0
        wide = {"expiry": s.expiry, "forward": s.forward, "discount": s.discount}
        columns = {name: np.broadcast_to(np.asarray(x)[:, None], used.shape) for name, x in wide.items()}
        columns |= {
            "row": s.row, "strike": s.strike, "is_call": s.is_call, "market_vol": s.vol, "bid_vol": s.bid_vol,
            "ask_vol": s.ask_vol, "model_vol": self.model_vol, "residual": self.residuals, "weight": s.weight,
        }  # fmt: skip
        order = ["row", "expiry", "strike", "is_call", "forward", "discount", "market_vol", "bid_vol", "ask_vol"]
        order += ["model_vol", "residual", "weight"]
        return pd.DataFrame({name: np.asarray(columns[name])[used] for name in order})

    def __repr__(self) -> str:
        """One line: the model with its numbers, the quotes, how well it fits, and the status."""
        if self._is_traced:
            return f"Fit({type(self.model).__name__}, {self.outcome})"  # a leaf that a transformation put there
        rmse = f"RMSE {100 * float(self.rmse_vol):.4g} vol points"
        return f"Fit({self.model!r}, {self.surface.num_quotes} quotes, {rmse}: {self.status})"

    def __str__(self) -> str:
        """The summary."""
        return repr(self) if self._is_traced else self.summary()

    def _repr_html_(self) -> str:
        """The summary, in a notebook."""
        return format_html(str(self))

    @property
    def _is_traced(self) -> bool:
        leaf = self.outcome
        return not isinstance(leaf, jax.Array | np.ndarray | np.generic) or isinstance(leaf, Tracer)

    @property
    def _rmse_note(self) -> str:
        """At how many quotes the model's volatility is not known, and the error over the others."""
        used, known = np.asarray(self.surface.weight) > 0, np.isfinite(np.asarray(self.model_vol))
        unknown = int((used & ~known).sum())
        if not unknown or not (used & known).any():
            return ""
        rest = 100 * GoodnessOfFit.of(np.asarray(self.model_vol), self.surface, used & known).rmse_vol
        return f"  (no volatility of the model at {unknown} of {int(used.sum())} quotes; {rest:.4f} over the others)"

    @property
    def _spread_rows(self) -> list[str]:
        _, inside, half_spreads = self.goodness
        if np.isnan(half_spreads):
            return []
        return [f"{'inside bid and ask':<22}{inside:>12.1%}", f"{'RMSE, half-spreads':<22}{half_spreads:>12.4g}"]

    def summary(self) -> str:
        """A table a person reads: parameters with standard errors, and how well they fit."""
        of = f"{self.surface.num_expiries} expir{'y' if self.surface.num_expiries == 1 else 'ies'}"
        rows = [
            f"{type(self.model).__name__}: {self.surface.num_quotes} quotes of {of}",
        ]
        rows += [str(self.status), "", f"{'parameter':<22}{'value':>12}{'std. error':>16}"]
        rows += [f"{label:<22}{value:>12.6g}{note:>16}" for label, value, note in self.table()]
        rows += [
            "",
            f"{'RMSE, vol points':<22}{100 * float(self.rmse_vol):>12.4f}{self._rmse_note}",
            *self._spread_rows,
            f"{'cost':<22}{float(self.cost):>12.6g}",
            f"{'steps':<22}{int(self.num_steps):>12d}",
            f"{'identified':<22}{self.diagnostics().line}",
        ]
        rows += [f"{'odd':<22}{part}" for part in self.odd_parts]
        rows += self.goodness.sentences[1:]
        if self.prior is not None:
            rows.append(f"{'effective parameters':<22}{self.effective_parameters:>12.1f}")
        if self.loss is not None:
            scale = getattr(self.loss, "scale", None)
            note = "" if scale is None else f", scale {float(scale):.4g}"
            rows.append(f"{'loss':<22}{type(self.loss).__name__:>12}{note}")
        return "\n".join(rows)


def _plain(value: Array | float) -> float | list[float]:
    return np.asarray(value, np.float64).tolist()
