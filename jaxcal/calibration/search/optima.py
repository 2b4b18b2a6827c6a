"""Optima: the distinct optima of a global search, and how many starts reached each."""

from collections.abc import Iterator
from typing import Any, Generic

import equinox as eqx
import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy.typing import NDArray

from jaxcal._status import Outcome
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.unfitted import is_unfitted
from jaxcal.models.base import AbstractModel, Model
from jaxcal.models.parameters import labels

_SHOWN = 6  # optima in the table of `str`


class Optima(eqx.Module, Generic[Model]):
    """The result of `global_search`: `optima.best` is the best `Fit`, `optima[i]` the next ones, `len(optima)` how many
    are distinct.

    Two fits are one optimum if the quotes cannot tell them apart: their residuals differ by less than 1 % of their
    size. So a flat valley is one optimum, and so are two models with exchanged factors.

    Attributes:
        fits: the distinct optima as full fits, the lowest cost first. `fits[i].status` says how each ended.
        optimum: `[n]` for each start, the optimum that its rough fit reached, or -1 for none of them.
        cost: `[n]` of each rough fit, on the grid of the search; not finite where the model has no price.
        outcome: `[n]` an `Outcome` of each rough fit, as a number.
        num_steps: `[n]` of each rough fit.
        starts: the starting models, with a leading axis `[n]`.
        ends: the models that the rough fits ended at, likewise.
        method: "sobol" or "differential_evolution".

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.2, 0.2, 0.2]], forward=100.0)
        >>> optima = jc.global_search(jc.BlackScholes, surface, num_starts=8)
        >>> len(optima), optima.share.tolist(), round(float(optima.best.model.sigma), 6)
        (1, [1.0], 0.2)
    """

    fits: tuple[Fit[Model], ...]
    optimum: Int[np.ndarray, " n"]
    cost: Float[np.ndarray, " n"]
    outcome: Int[np.ndarray, " n"]
    num_steps: Int[np.ndarray, " n"]
    starts: Model
    ends: Model
    method: str = eqx.field(static=True)

    def __len__(self) -> int:
        """The number of distinct optima."""
        return len(self.fits)

    def __iter__(self) -> Iterator[Fit[Model]]:
        """Each optimum's `Fit`, the best first."""
        return iter(self.fits)

    def __getitem__(self, place: int) -> Fit[Model]:
        """The `Fit` at a place, 0 the best; an IndexError where there is none."""
        return self.fits[place]

    @property
    def best(self) -> Fit[Model]:
        """The fit with the lowest cost."""
        return self.fits[0]

    @property
    def num_starts(self) -> int:
        """The number of rough fits, including those from the data."""
        return len(self.cost)

    @property
    def share(self) -> NDArray[np.floating]:
        """For each optimum, the share of the starts whose rough fit reached it; the rest reached none."""
        return np.asarray([np.mean(self.optimum == place) for place in range(len(self))])

    def to_frame(self) -> pd.DataFrame:
        """One row an optimum: `rmse_vol` (decimal), `cost`, `excess` (of the cost over the best one's, relative),
        `starts` and `share` that reached it, `converged`, `status` (a sentence), and the parameters, a column a place
        of a vector.
        """
        lowest = max(float(self.best.cost), np.finfo(float).tiny)
        rows = []
        for place, fit in enumerate(self):
            known = not is_unfitted(fit.outcome).all()
            rows.append(
                {
                    "rmse_vol": float(fit.rmse_vol),
                    "cost": float(fit.cost),
                    "excess": float(fit.cost) / lowest - 1.0,
                    "starts": int(np.sum(self.optimum == place)) if known else 0,
                    "share": float(self.share[place]) if known else np.nan,
                    "converged": fit.converged,
                    "status": str(fit.status),
                }
                | _parameters(fit.model)
            )
        return pd.DataFrame(rows).rename_axis("optimum")

    def __str__(self) -> str:
        """A table with one column an optimum, and the outcomes of the starts."""
        count, surface = len(self), self.best.surface
        found = "1 optimum" if count == 1 else f"{count} distinct optima"
        starts = f"{self.num_starts} starts ({self.method})"
        if is_unfitted(self.best.outcome).all():
            text = f"{type(self.best.model).__name__}: no optimum from {starts}. {self.best.status}"
            # of fewer quotes than parameters some fit ends anywhere: that says nothing
            return text if self.best.status == Outcome.TOO_FEW_QUOTES else f"{text} {self._of_starts()}"
        lines = [f"{type(self.best.model).__name__}: {found} from {starts}, {surface.num_quotes} quotes", ""]
        shown = self.fits[:_SHOWN]
        lines.append(f"{'optimum':<22}" + "".join(f"{place:>12d}" for place in range(len(shown))))
        columns: list[dict[str, Any]] = [
            {
                "RMSE, vol points": f"{100 * float(fit.rmse_vol):.4f}",
                "cost": f"{float(fit.cost):.6g}",
                "share of starts": f"{share:.1%}",
                "converged": "yes" if fit.converged else "no",
            }
            | {name: f"{value:.5g}" for name, value in _parameters(fit.model).items()}
            for fit, share in zip(shown, self.share, strict=False)
        ]
        lines += [f"{label:<22}" + "".join(f"{column[label]:>12}" for column in columns) for label in columns[0]]
        if count > _SHOWN:
            lines.append(f"and {count - _SHOWN} more, in to_frame()")
        return "\n".join([*lines, "", self._of_starts()])

    def _of_starts(self) -> str:
        """What became of the starts, in a sentence or two."""
        counts = {outcome: int(np.sum(self.outcome == outcome)) for outcome in Outcome}
        words = {Outcome.CONVERGED: "converged", Outcome.STEP_LIMIT: "at the step limit", Outcome.STALLED: "stalled"}
        words |= {Outcome.NOT_FINITE: "without a finite price"}
        text = ", ".join(f"{counts[outcome]} {words[outcome]}" for outcome in words if counts[outcome])
        lost = (self.optimum < 0) & np.isfinite(self.cost)
        sentence = f"Rough fits: {text}."
        if lost.any():
            excess = float(np.min(self.cost[lost]) / max(float(self.best.cost), np.finfo(float).tiny))
            sentence += f" {int(lost.sum())} ended at none of these; the lowest has {excess:.4g} times the best cost."
        return sentence


def same(residual: Float[np.ndarray, "n m"], of: Float[np.ndarray, " m"], tolerance: float) -> NDArray[np.bool_]:
    """`[n]` whether fits are the same optimum as another: their residuals differ from those `of` the other by less than
    `tolerance` times its size, or by 1e-6 in root mean square.

    Example:
        >>> same(np.asarray([[1.0, 2.0], [1.0, 2.01], [np.nan, 2.0]]), np.asarray([1.0, 2.0]), 0.01).tolist()
        [True, True, False]
    """
    apart = np.sqrt(np.sum((residual - of) ** 2, axis=1))
    return apart <= max(tolerance * float(np.sqrt(np.sum(of**2))), 1e-6 * float(np.sqrt(len(of))))


def _parameters(model: AbstractModel) -> dict[str, float]:
    names = tuple(model.bounds)
    values = np.concatenate([np.ravel(np.asarray(getattr(model, name), float)) for name in names])
    return dict(zip(labels(model, names), values.tolist(), strict=True))
