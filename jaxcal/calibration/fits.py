"""Fits: the results of `calibrate_many`, in the caller's order."""

from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from jaxcal._status import Outcome
from jaxcal.calibration.fit import Fit
from jaxcal.calibration.standard_errors import standard_errors
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel

if TYPE_CHECKING:
    import pandas as pd

Model = TypeVar("Model", bound=AbstractModel)


class Part(NamedTuple):
    """Fits of one padded shape: a `Fit` whose leaves, on the host, have a leading axis, and where each belongs."""

    place: NDArray[np.int64]
    fit: Fit


class Fits(eqx.Module, Generic[Model]):
    """The results of `calibrate_many`: what a `Fit` holds, with a leading axis of surfaces in the caller's order.

    `fits[i]`, or `fits[key]` where the surfaces came as a dict, is a `Fit`; `len(fits)`, iteration and
    `fits.to_frame()` are as expected. Arrays are on the host. Where surfaces have different sizes, `residuals` and
    `model_vol` are padded with NaN to the largest.

    Attributes:
        keys: of the dict that the surfaces came in, or 0, 1, 2, ...
        surfaces: as given.
        reasons: by position, why a surface was not fitted at all: a sentence.

    Example:
        >>> import jaxcal as jc
        >>> flat = [jc.Surface.from_vols([0.5], [90.0, 100.0], [[v, v]], forward=100.0) for v in (0.2, 0.3)]
        >>> fits = jc.calibrate_many(jc.BlackScholes, flat)
        >>> [round(float(sigma), 6) for sigma in fits.model.sigma], fits.converged.tolist()
        ([0.2, 0.3], [True, True])
    """

    keys: tuple[Hashable, ...] = eqx.field(static=True)
    surfaces: tuple[Surface, ...]
    reasons: Mapping[int, str] = eqx.field(static=True)
    free: tuple[str, ...] = eqx.field(static=True)
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        """The number of surfaces."""
        return len(self.keys)

    def __iter__(self) -> Iterator[Fit[Model]]:
        """Each `Fit`, in the caller's order."""
        return (self._at(i) for i in range(len(self)))

    def __getitem__(self, key: Hashable) -> Fit[Model]:
        """One `Fit`, by its key or, where no key is that, by position; a KeyError or IndexError where there is none."""
        if key in self._position:
            return self._at(self._position[key])
        if isinstance(key, int | np.integer):
            return self._at(range(len(self))[int(key)])
        raise KeyError(key)

    @property
    def _position(self) -> dict[Hashable, int]:
        return {key: i for i, key in enumerate(self.keys)}

    def _at(self, i: int) -> Fit[Model]:
        part, row = next((part, row) for part in self.parts for row in np.flatnonzero(part.place == i))
        surface = self.surfaces[i]
        e, k = surface.vol.shape
        one = jax.tree.map(lambda leaf: leaf[row], part.fit)
        per_expiry = np.ndim(one.outcome) > 0
        cut = {name: getattr(one, name)[:e, :k] for name in ("residuals", "model_vol")}
        cut |= {name: getattr(one, name)[:e] for name in ("information", "outcome", "at_bound") if per_expiry}
        model = jax.tree.map(lambda leaf: leaf[:e], one.model) if per_expiry else one.model
        weighed = eqx.tree_at(lambda s: s.weight, surface, one.surface.weight[:e, :k])
        kept = {name: getattr(one, name) for name in ("cost", "rmse_vol", "gradient", "num_steps")}
        rest = {name: getattr(one, name) for name in ("information", "outcome", "at_bound")}
        return Fit(model=model, surface=weighed, free=self.free, **(kept | rest | cut))

    def _gathered(self, name: str, filler: float = np.nan) -> np.ndarray:
        """One field of all parts, in the caller's order, padded to the largest."""
        found = [(part.place, np.asarray(getattr(part.fit, name))) for part in self.parts]
        shape = tuple(np.max([values.shape[1:] for _, values in found], axis=0))
        whole = np.full((len(self), *shape), filler, found[0][1].dtype)
        for place, values in found:
            whole[(place, *(slice(size) for size in values.shape[1:]))] = values
        return whole

    @property
    def model(self) -> Model:
        """A model whose leaves are `[B]`; `[B, E]` of one with parameters of each expiry, NaN where it has none."""
        return self._model([part.fit.model for part in self.parts])

    def _model(self, models: list) -> Model:
        leaves = [jax.tree.leaves(model) for model in models]
        gathered = []
        for column in zip(*leaves, strict=True):
            shape = tuple(np.max([np.shape(leaf)[1:] for leaf in column], axis=0)) if np.ndim(column[0]) > 1 else ()
            whole = np.full((len(self), *shape), np.nan, np.asarray(column[0]).dtype)
            for part, leaf in zip(self.parts, column, strict=True):
                whole[(part.place, *(slice(size) for size in np.shape(leaf)[1:]))] = leaf
            gathered.append(whole)
        return jax.tree.unflatten(jax.tree.structure(models[0]), gathered)

    @property
    def residuals(self) -> np.ndarray:
        """`[B, E, K]` model minus market, NaN at padding."""
        return self._gathered("residuals")

    @property
    def model_vol(self) -> np.ndarray:
        """`[B, E, K]` volatilities of the fitted models, NaN at padding."""
        return self._gathered("model_vol")

    @property
    def cost(self) -> np.ndarray:
        """`[B]` half the weighted sums of squared residuals."""
        return self._gathered("cost")

    @property
    def rmse_vol(self) -> np.ndarray:
        """`[B]` root mean square of model minus market volatility, decimal."""
        return self._gathered("rmse_vol")

    @property
    def gradient(self) -> np.ndarray:
        """`[B]` largest cosine between the residuals and a free column of their Jacobian."""
        return self._gathered("gradient")

    @property
    def num_steps(self) -> np.ndarray:
        """`[B]` evaluations of the residuals and their Jacobian."""
        return self._gathered("num_steps", 0)

    @property
    def outcome(self) -> np.ndarray:
        """`[B]` an `Outcome` each, as a number; the worst of its expiries where those were fitted by themselves."""
        worst = np.zeros(len(self), np.int32)
        for part in self.parts:
            values = np.asarray(part.fit.outcome)
            if values.ndim == 1:
                worst[part.place] = values
                continue
            for i in part.place:
                worst[i] = self._at(int(i)).status.outcome
        return worst

    @property
    def converged(self) -> NDArray[np.bool_]:
        """`[B]` whether each fit converged."""
        return self.outcome == Outcome.CONVERGED

    @property
    def standard_errors(self) -> Model:
        """A model whose leaves are the standard errors, as `Fit.standard_errors`, `[B]`."""
        found = []
        for part in self.parts:
            fit = part.fit
            squares = np.asarray(fit.surface.weight) * np.asarray(fit.residuals, np.float64) ** 2
            used = np.asarray(fit.surface.weight) > 0
            shape = np.shape(fit.outcome)  # [b], or [b, E]
            axes = tuple(range(len(shape), 3))
            errors = standard_errors(
                _flat(fit.model, len(shape)), self.free, _flat(np.asarray(fit.information), len(shape)),
                _flat(np.asarray(fit.at_bound), len(shape)), np.nansum(squares, axis=axes).ravel(),
                used.sum(axis=axes).ravel(),
            )  # fmt: skip
            found.append(jax.tree.map(lambda leaf, shape=shape: np.reshape(leaf, (*shape, *leaf.shape[1:])), errors))
        return self._model(found)

    def to_frame(self) -> "pd.DataFrame":
        """One row a surface, indexed by the caller's keys: `outcome` (its name), `status` (a sentence), `converged`,
        `rmse_vol` (decimal), `cost`, `num_quotes`, `num_steps`, the parameters, and their standard errors as
        `<parameter>_error`.
        """
        import pandas as pd

        statuses = [self.reasons.get(i) or str(fit.status) for i, fit in enumerate(self)]
        columns = {
            "outcome": [Outcome(int(number)).name for number in self.outcome],
            "status": statuses,
            "converged": self.converged,
            "rmse_vol": self.rmse_vol,
            "cost": self.cost,
            "num_quotes": [surface.num_quotes for surface in self.surfaces],
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

    def summary(self) -> str:
        """How many fits ended how, and how well they fit."""
        counts = {outcome.name: int((self.outcome == outcome).sum()) for outcome in Outcome}
        ended = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        rmse = 100.0 * self.rmse_vol[np.isfinite(self.rmse_vol)]
        middle = f"; RMSE {np.median(rmse):.4g} vol points in the median" if rmse.size else ""
        return f"{len(self)} surfaces: {ended}{middle}"


def _flat(tree: Model, axes: int) -> Model:
    """The first `axes` axes of every leaf as one."""
    return jax.tree.map(lambda leaf: np.reshape(leaf, (-1, *np.shape(leaf)[axes:])), tree)
