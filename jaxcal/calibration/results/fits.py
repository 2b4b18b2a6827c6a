"""Fits: the results of `calibrate_many`, in the caller's order."""

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal._shown import format_html
from jaxcal._status import Outcome, Status
from jaxcal.calibration.calibration_spec import CalibrationSpec
from jaxcal.calibration.engine.grid_fit import GridFit
from jaxcal.calibration.objective.loss import AbstractLoss
from jaxcal.calibration.objective.objective import Objective
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.results.diagnostics import identified_of
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.goodness_of_fit import GoodnessOfFit, with_far_vols
from jaxcal.calibration.results.make_fit import make_fit, resolve_outcome
from jaxcal.calibration.results.parameter_scale import own_size
from jaxcal.calibration.results.standard_errors import standard_errors, weighted_misfit
from jaxcal.market.surface import Surface
from jaxcal.market.surface_rows import SurfaceRows
from jaxcal.models.base import Model
from jaxcal.models.parameters import with_fields

_OF_SLICES = ("information", "cost", "rmse_vol", "gradient", "num_steps", "outcome", "at_bound", "moved")


class ShapeBatch(NamedTuple):
    """Fits of one padded shape: a `GridFit` on the host, with a leading axis; the place of each among the caller's
    surfaces; the weights of its quotes; and the loss and the prior of each, if any.
    """

    place: NDArray[np.int64]
    weight: NDArray[np.floating]
    result: GridFit
    loss: AbstractLoss | None = None
    prior: AbstractPrior | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Fits(Generic[Model]):
    """The results of `calibrate_many`: what a `Fit` holds, with a leading axis of surfaces in the caller's order.

    `fits[i]`, or `fits[key]` where the surfaces came as a dict, is a `Fit`; `len(fits)`, iteration and
    `fits.to_frame()` are as expected. Arrays are on the host, and a `Fits` stays there: it does not pass through `jit`.
    Where surfaces have different sizes, `residuals` and `model_vol` are padded with NaN to the largest.

    Attributes:
        keys: of the dict that the surfaces came in, or 0, 1, 2, ...
        surfaces: as given.
        reasons: by position, why a surface was not fitted at all: a sentence.
        objective: the residual and the ties of all fits; `fits[i].objective` has the loss and the prior of each.
        asked: the `CalibrationSpec` of all fits, or one for each where starts, weights or priors are their own:
            `fits[i].spec`.

    Example:
        >>> import jaxcal as jc
        >>> flat = [jc.Surface.from_vols([0.5], [90.0, 100.0], [[v, v]], forward=100.0) for v in (0.2, 0.3)]
        >>> fits = jc.calibrate_many(jc.BlackScholes, flat)
        >>> [round(float(sigma), 6) for sigma in fits.model.sigma], fits.converged.tolist()
        ([0.2, 0.3], [True, True])
    """

    keys: tuple[Hashable, ...]
    surfaces: Sequence[Any]  # a `Surface` each, but where a caller gave something else, with a reason
    reasons: Mapping[int, str]
    free: tuple[str, ...]
    parts: tuple[ShapeBatch, ...]
    objective: Objective = Objective()
    asked: CalibrationSpec[Model] | tuple[CalibrationSpec[Model], ...] = ()

    def __len__(self) -> int:
        """The number of surfaces."""
        return len(self.keys)

    def __iter__(self) -> Iterator[Fit[Model]]:
        """Each `Fit`, in the caller's order."""
        return (self._at(i) for i in range(len(self)))

    def __getitem__(self, key: Hashable) -> Fit[Model]:
        """One `Fit`, by its key, else by position; a KeyError or IndexError if there is none."""
        if key in self._position:
            return self._at(self._position[key])
        if isinstance(key, int | np.integer):
            return self._at(range(len(self))[int(key)])
        raise KeyError(key)

    @cached_property
    def _position(self) -> dict[Hashable, int]:
        return {key: i for i, key in enumerate(self.keys)}

    @cached_property
    def _row(self) -> NDArray[np.int64]:
        """`[B, 2]`: the part and the row in it where each surface is."""
        rows = np.zeros((len(self), 2), np.int64)
        for number, part in enumerate(self.parts):
            rows[part.place] = np.stack([np.full(len(part.place), number), np.arange(len(part.place))], axis=1)
        return rows

    def _at(self, i: int) -> Fit[Model]:
        number, row = self._row[i]
        part = self.parts[number]
        result = jax.tree.map(lambda leaf: leaf[row], part.result)
        surface = self.surfaces[i]
        if not isinstance(surface, Surface):
            raise KeyError(f"{self.keys[i]!r}: {self.reasons[i]}")
        e, k = surface.vol.shape
        slices = result.by_expiry
        cut = {"residuals": result.residuals.reshape(part.weight.shape[1:])[:e, :k]}
        if slices:
            cut |= {name: getattr(result, name)[:e] for name in _OF_SLICES}
            cut |= {"model": jax.tree.map(lambda leaf: leaf[:e], result.model)}
        cut["model_vol"] = self._vols[i]
        result = jax.tree.map(jnp.asarray, with_fields(result, cut))
        weighed = eqx.tree_at(lambda s: s.weight, surface, jnp.asarray(part.weight[row, :e, :k]))
        loss, prior = jax.tree.map(lambda leaf: jnp.asarray(leaf[row]), (part.loss, part.prior))
        objective = Objective(self.objective.residual, prior, loss, self.objective.scales)
        return make_fit(
            result, self.free, weighed, objective, self.asked[i] if isinstance(self.asked, tuple) else self.asked
        )

    def _weighed(self, i: int) -> Surface:
        """The surface as it was fitted, on the host."""
        number, row = self._row[i]
        surface = jax.tree.map(np.asarray, self.surfaces[i])
        e, k = surface.vol.shape
        return eqx.tree_at(lambda s: s.weight, surface, self.parts[number].weight[row, :e, :k])

    @cached_property
    def _vols(self) -> tuple[NDArray, ...]:
        """`[e, k]` of each surface: the volatilities of its model, also of far quotes."""
        return tuple(self._vols_of(i) for i in range(len(self)))

    def _vols_of(self, i: int) -> NDArray:
        number, row = self._row[i]
        part, surface = self.parts[number], self.surfaces[i]
        vols = np.reshape(part.result.model_vol[row], part.weight.shape[1:])
        if not isinstance(surface, Surface):
            return vols
        e, k = surface.vol.shape
        model = jax.tree.map(lambda leaf: leaf[row], part.result.model)
        return with_far_vols(vols[:e, :k], model, self._weighed(i))

    @cached_property
    def _goodness(self) -> NDArray[np.floating]:
        """`[B, 3]` of `GoodnessOfFit`."""
        found = np.full((len(self), 3), np.nan)
        left = np.ones(len(self), bool)
        if isinstance(self.surfaces, SurfaceRows):
            for part in self.parts:
                known, rows = GoodnessOfFit.of_rows(
                    np.asarray(part.result.model_vol), part.weight, self.surfaces, part.place
                )
                found[part.place[known]], left[part.place[known]] = rows, False
        for i in np.flatnonzero(left).tolist():
            if isinstance(self.surfaces[i], Surface):
                found[i] = GoodnessOfFit.of(self._vols_of(i), self._weighed(i))
        return found

    def _status(self, i: int) -> str:
        number, row = self._row[i]
        result = self.parts[number].result
        if i in self.reasons:
            return self.reasons[i]
        if result.by_expiry or np.shape(result.at_bound)[1] != len(self.free):
            return str(self._at(i).status)
        pinned = tuple(name for name, at in zip(self.free, result.at_bound[row], strict=True) if at)
        return str(Status(Outcome(int(self.outcome[i])), pinned))

    def _gathered(self, name: str, over_slices: Callable | None = None, filler: float | int = np.nan) -> NDArray:
        def of(part: ShapeBatch) -> NDArray:
            values = np.asarray(getattr(part.result, name))
            return values if over_slices is None or values.ndim == 1 else over_slices(values, axis=1)

        return gather(self, [of(part) for part in self.parts], filler)

    @property
    def model(self) -> Model:
        """A model whose leaves are `[B]`; `[B, n]` of one with vectors or with parameters of each expiry, NaN where it
        has none.
        """
        return self._model([part.result.model for part in self.parts])

    def _model(self, models: list) -> Model:
        columns = zip(*(jax.tree.leaves(model) for model in models), strict=True)
        gathered = [gather(self, [np.asarray(leaf) for leaf in column]) for column in columns]
        return jax.tree.unflatten(jax.tree.structure(models[0]), gathered)

    @property
    def residuals(self) -> NDArray:
        """`[B, E, K]` model minus market, NaN at padding."""
        whole = gather(self, [np.reshape(part.result.residuals, part.weight.shape) for part in self.parts])
        if isinstance(self.surfaces, SurfaceRows):
            e, k = self.surfaces.stacked.vol.shape[1:]
        else:
            e, k = np.max([s.vol.shape if isinstance(s, Surface) else (1, 1) for s in self.surfaces], axis=0)
        return whole[:, :e, :k]

    @property
    def model_vol(self) -> NDArray:
        """`[B, E, K]` volatilities of the fitted models, as `Fit.model_vol`, NaN at padding."""
        whole = np.full_like(self.residuals, np.nan)
        for i, vols in enumerate(self._vols):
            whole[i, : vols.shape[0], : vols.shape[1]] = vols
        return whole

    @property
    def cost(self) -> NDArray:
        """`[B]` the minimised cost, see `Fit`."""
        return self._gathered("cost", np.sum)

    @property
    def rmse_vol(self) -> NDArray:
        """`[B]` root mean square of model minus market volatility, decimal, as `Fit.rmse_vol`."""
        return self._goodness[:, 0]

    @property
    def inside(self) -> NDArray:
        """`[B]` share of quotes fitted inside bid-ask, as `Fit.inside`."""
        return self._goodness[:, 1]

    @property
    def rmse_half_spreads(self) -> NDArray:
        """`[B]` root mean square of model minus market volatility in half-spreads, as `Fit.rmse_half_spreads`."""
        return self._goodness[:, 2]

    @property
    def gradient(self) -> NDArray:
        """`[B]` largest cosine between the residuals and a free column of their Jacobian."""
        return self._gathered("gradient", np.max)

    @property
    def num_steps(self) -> NDArray:
        """`[B]` evaluations of the residuals and their Jacobian."""
        return self._gathered("num_steps", np.max, 0)

    @cached_property
    def outcome(self) -> NDArray:
        """`[B]` an `Outcome` each, as a number; the worst of its expiries for a model fitted per expiry."""

        def of(part: ShapeBatch) -> NDArray:
            result = part.result
            if not result.by_expiry:
                return np.asarray(resolve_outcome(result), np.int32)
            ended = (Outcome.INVALID if i in self.reasons else self._at(i).status.outcome for i in part.place.tolist())
            return np.asarray([*ended], np.int32)

        return gather(self, [of(part) for part in self.parts], 0)

    @property
    def converged(self) -> NDArray[np.bool_]:
        """`[B]` whether each fit converged."""
        return self.outcome == Outcome.CONVERGED

    @property
    def standard_errors(self) -> Model:
        """A model whose leaves are the standard errors, as `Fit.standard_errors`, `[B]`."""
        found = []
        for part in self.parts:
            result, shape = part.result, np.shape(part.result.outcome)  # [b], or [b, E]
            weight = _flat(part.weight, len(shape))
            loss = jax.tree.map(lambda leaf, n=len(weight) // len(part.place): np.repeat(leaf, n, axis=0), part.loss)
            residuals = np.reshape(result.residuals, weight.shape)
            errors = standard_errors(
                _flat(result.model, len(shape)), self.free, _flat(result.information, len(shape)),
                _flat(result.at_bound, len(shape)),
                weighted_misfit(loss, weight, residuals, np.shape(result.at_bound)[-1]),
                np.sum(weight.reshape(len(weight), -1) > 0, axis=1), self.objective.scales,
            )  # fmt: skip
            found.append(jax.tree.map(lambda leaf, shape=shape: np.reshape(leaf, (*shape, *leaf.shape[1:])), errors))
        return self._model(found)

    def to_frame(self) -> pd.DataFrame:
        """One row a surface, indexed by the caller's keys: `outcome` (its name), `status` (a sentence), `converged`,
        `rmse_vol` (decimal), `inside`, `rmse_half_spreads`, `cost`, `num_quotes`, `num_steps`, the parameters, and
        their standard errors as `<parameter>_error`. Where a surface was not fitted there are no numbers.
        """
        statuses = [self._status(i) for i in range(len(self))]
        quotes = gather(self, [np.sum(part.weight > 0, axis=(1, 2)) for part in self.parts], 0)
        columns = {
            "outcome": [Outcome(int(number)).name for number in self.outcome],
            "status": statuses,
            "converged": self.converged,
            "rmse_vol": self.rmse_vol,
            "inside": self.inside,
            "rmse_half_spreads": self.rmse_half_spreads,
            "cost": self.cost,
            "num_quotes": quotes,
            "num_steps": self.num_steps,
        }
        for model, suffix in ((self.model, ""), (self.standard_errors, "_error")):
            for name in model.bounds:
                values = np.asarray(getattr(model, name))
                if values.ndim == 1:
                    columns[name + suffix] = values
                else:
                    columns |= {f"{name}[{j}]{suffix}": values[:, j] for j in range(values.shape[1])}
        if all(isinstance(key, tuple) for key in self.keys) and self.keys:
            names = ["underlying", "quote_time"] if len(self.keys[0]) == 2 else None  # type: ignore[arg-type]
            index = pd.MultiIndex.from_tuples(self.keys, names=names)  # type: ignore[arg-type]
        else:
            index = pd.Index(self.keys, name="surface")
        return pd.DataFrame(columns, index=index)

    def __repr__(self) -> str:
        """The model and the summary."""
        return f"Fits({type(self.parts[0].result.model).__name__}, {self.summary()})"

    def _repr_html_(self) -> str:
        """The summary and the table, in a notebook."""
        return format_html(self.summary()) + self.to_frame().to_html(max_rows=10, float_format="{:.6g}".format)

    def summary(self) -> str:
        """The number of fits by outcome, and their misfit."""
        counts = {outcome.name: int((self.outcome == outcome).sum()) for outcome in Outcome}
        ended = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        rmse = 100.0 * self.rmse_vol[np.isfinite(self.rmse_vol)]
        middle = f"; RMSE {np.median(rmse):.4g} vol points in the median" if rmse.size else ""
        inside = self.inside[np.isfinite(self.inside)]
        share = f"; {np.median(inside):.1%} of the quotes between bid and ask" if inside.size else ""
        return f"{len(self)} surfaces: {ended}{middle}{share}"


def identified(fit: Any) -> Any:
    """A model of the class of the fitted one, whose fields say of each parameter whether it is identified (see
    `Diagnostics`): of a `Fit`, or of `Fits`, with a leading axis.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)
        >>> bool(jc.identified(jc.calibrate(jc.BlackScholes, surface)).sigma)
        True
    """
    if not isinstance(fit, Fit | Fits):
        raise TypeError(f"identified takes a Fit or Fits, not a {type(fit).__name__}: give it what calibrate returns")
    found = jax.tree.map(lambda leaf: np.zeros(np.shape(leaf), bool), fit.model)
    if isinstance(fit, Fits) and found.vectors:
        # vectors of any length: one by one
        for i, one in enumerate(fit):
            for name in fit.free:
                values = np.asarray(getattr(identified(one), name))
                getattr(found, name)[(i, *(slice(size) for size in values.shape))] = values
        return found
    information = np.asarray(fit.information if isinstance(fit, Fit) else fit._gathered("information"), np.float64)
    lead = information.shape[:-2]
    errors = fit.standard_errors

    def wide(values: Any) -> NDArray:
        return np.reshape(np.asarray(values, np.float64), (*lead, -1))

    with np.errstate(invalid="ignore", divide="ignore"):
        relative = [wide(getattr(errors, name)) / wide(own_size(fit.model, name)) for name in fit.free]
    known = identified_of(np.concatenate(relative, axis=-1), information)
    parts = np.split(known, np.cumsum([x.shape[-1] for x in relative])[:-1], axis=-1)
    shaped = {name: part.reshape(np.shape(getattr(found, name))) for name, part in zip(fit.free, parts, strict=True)}
    return with_fields(found, shaped)


def gather(fits: Fits, values: list[NDArray], filler: float | int = np.nan) -> NDArray:
    """One field of all parts, in the caller's order, padded to the largest."""
    shape = tuple(np.max([array.shape[1:] for array in values], axis=0)) if values[0].ndim > 1 else ()
    whole = np.full((len(fits), *shape), filler, values[0].dtype)
    for part, array in zip(fits.parts, values, strict=True):
        whole[(part.place, *(slice(size) for size in array.shape[1:]))] = array
    return whole


def _flat(tree: Any, axes: int) -> Any:
    """The first `axes` axes of every leaf as one."""
    return jax.tree.map(lambda leaf: np.reshape(leaf, (-1, *np.shape(leaf)[axes:])), tree)
