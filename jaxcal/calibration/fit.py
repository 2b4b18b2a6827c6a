"""Fit: a fitted model, how it fits, and how far to trust it."""

import dataclasses
from typing import TYPE_CHECKING, Generic, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcal._status import Outcome, Status
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel

if TYPE_CHECKING:
    import pandas as pd

Model = TypeVar("Model", bound=AbstractModel)


class CalibrationError(RuntimeError):
    """A fit that did not converge, raised only by `calibrate(..., throw=True)`.

    Example:
        >>> raise CalibrationError("Not converged")
        Traceback (most recent call last):
        jaxcal.calibration.fit.CalibrationError: Not converged
    """


class Fit(eqx.Module, Generic[Model]):
    """The result of `calibrate`.

    Attributes:
        model: the fitted model.
        surface: what it was fitted to.
        residuals: `[E, K]` model minus market, in the units of the chosen residual (volatility by default), before
            weights; NaN at padding.
        model_vol: `[E, K]` implied volatility of the model, decimal; NaN at padding and where the model's value is too
            small to have one.
        information: `[p, p]` J' J of the weighted residuals, on the search scales of the free parameters.
        cost: half the weighted sum of squared residuals.
        rmse_vol: root mean square of model minus market volatility over the quotes used, unweighted, decimal.
        gradient: largest cosine between the residuals and a free column of their Jacobian; 0 at an optimum.
        num_steps: evaluations of the residuals and their Jacobian.
        free: names of the parameters that were fitted.

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
    information: Float[Array, "p p"]
    cost: Float[Array, ""]
    rmse_vol: Float[Array, ""]
    gradient: Float[Array, ""]
    num_steps: Int[Array, ""]
    outcome: Int[Array, ""]
    at_bound: Array
    free: tuple[str, ...] = eqx.field(static=True)

    @property
    def status(self) -> Status:
        """How the fit ended; `str(status)` is a sentence that names the parameters at their bounds."""
        names = tuple(name for name, at in zip(self.free, np.asarray(self.at_bound), strict=True) if at)
        return Status(Outcome(int(self.outcome)), names)

    @property
    def converged(self) -> bool:
        """Whether no step within the bounds lowers the cost, and the prices there are resolved."""
        return self.status.converged

    @property
    def standard_errors(self) -> Model:
        """A model of the same class whose fields are the standard errors of the parameters.

        From `s^2 (J' J)^-1` with `s^2 = 2 cost / (quotes - free parameters)`, over the parameters inside their bounds;
        NaN for a fixed parameter, for one at its bound, for one that the quotes do not determine, and where quotes are
        too few.
        """
        inside = ~np.asarray(self.at_bound)
        dof = self.surface.num_quotes - int(inside.sum()) if self.surface.num_quotes > len(self.free) else 0
        errors = np.full(len(self.free), np.nan)
        matrix = np.asarray(self.information, np.float64)[np.ix_(inside, inside)]
        norm = np.sqrt(np.diagonal(matrix))
        if dof > 0 and (norm > 0).all() and np.isfinite(matrix).all():
            scaled = matrix / np.outer(norm, norm)
            if np.linalg.cond(scaled) < 1e15:
                variance = np.diagonal(np.linalg.inv(scaled)) / norm**2 * 2.0 * float(self.cost) / dof
                errors[inside] = np.sqrt(np.maximum(variance, 0.0))
        by_name = dict(zip(self.free, errors, strict=True))
        values = {}
        for name, value in self.parameters.items():
            scale = value if self.model.bounds[name].scale == "log" else 1.0
            values[name] = jnp.asarray(by_name.get(name, np.nan) * scale, self.cost.dtype)
        return type(self.model)(**values)

    @property
    def parameters(self) -> dict[str, float]:
        """The fitted parameters by name."""
        return {field.name: float(getattr(self.model, field.name)) for field in dataclasses.fields(self.model)}

    def to_frame(self) -> "pd.DataFrame":
        """One row a quote used: `row` (position in the caller's table), `expiry` (years), `strike`, `is_call`,
        `forward`, `discount`, `market_vol`, `bid_vol`, `ask_vol`, `model_vol`, `residual`, `weight`.
        """
        import pandas as pd

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

    def summary(self) -> str:
        """A table a person reads: parameters with standard errors, and how well they fit."""
        of = f"{self.surface.num_expiries} expir{'y' if self.surface.num_expiries == 1 else 'ies'}"
        rows = [
            f"{type(self.model).__name__}: {self.surface.num_quotes} quotes of {of}",
        ]
        rows += [str(self.status), "", f"{'parameter':<22}{'value':>12}{'std. error':>12}"]
        pinned = set(self.status.at_bounds)
        for name, value in self.parameters.items():
            error = float(getattr(self.standard_errors, name))
            known = f"{error:.4g}" if np.isfinite(error) else "not known"
            note = "fixed" if name not in self.free else "at bound" if name in pinned else known
            rows.append(f"{name:<22}{value:>12.6g}{note:>12}")
        rows += [
            "",
            f"{'RMSE, vol points':<22}{100 * float(self.rmse_vol):>12.4f}",
            f"{'cost':<22}{float(self.cost):>12.6g}",
            f"{'steps':<22}{int(self.num_steps):>12d}",
        ]
        return "\n".join(rows)
