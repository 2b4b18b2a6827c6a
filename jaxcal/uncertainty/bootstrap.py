"""Bootstrap: a fit repeated on resampled quotes."""

from typing import Any, Generic, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool
from numpy.typing import NDArray

from jaxcal._arguments import host_only
from jaxcal.calibration.arguments import Bounds
from jaxcal.calibration.calibrate_many import calibrate_many
from jaxcal.calibration.objective.residuals import MarketValues
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.standard_errors import weighted_misfit
from jaxcal.models.base import Model
from jaxcal.models.parameters import with_only
from jaxcal.uncertainty.derivatives import merge_bounds
from jaxcal.uncertainty.intervals import Intervals, degrees_of_freedom

Resampling = Literal["parametric", "quotes"]


class Bootstrap(eqx.Module, Generic[Model]):
    """Fits to resampled quotes.

    Attributes:
        model: the fitted models, with a leading axis `[num]`.
        converged: `[num]` whether each fit did. The others are left out of every figure below.
        fitted: the model that was fitted to the quotes themselves.
        kind: "parametric" or "quotes".
        free: names of the fitted parameters.

    Example:
        >>> import jaxcal as jc
        >>> vols = [[0.21, 0.2, 0.2]]
        >>> fit = jc.calibrate(jc.BlackScholes, jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], vols, forward=100.0))
        >>> draws = jc.bootstrap(fit, num=50)
        >>> draws.model.sigma.shape, draws.num_failed, 0.002 < float(draws.standard_errors.sigma) < 0.005
        ((50,), 0, True)
    """

    model: Model
    converged: Bool[Array | np.ndarray, " n"]
    fitted: Model
    kind: Resampling = eqx.field(static=True)
    free: tuple[str, ...] = eqx.field(static=True)

    @property
    def num_failed(self) -> int:
        """How many fits did not converge."""
        return int(np.sum(~np.asarray(self.converged)))

    @property
    def standard_errors(self) -> Model:
        """Standard deviations of the draws, in the shape of the fitted model; NaN for fixed parameters."""
        return self._of(
            lambda draws: np.std(draws, axis=0, ddof=1) if len(draws) > 1 else np.full(draws.shape[1:], np.nan)
        )

    def percentiles(self, *shares: float) -> tuple[Model, ...]:
        """For each share, in percent, the model of that percentile of every parameter; NaN for fixed ones.

        Raises:
            ValueError: a share is not between 0 and 100.
        """
        if bad := [share for share in shares if not 0.0 <= share <= 100.0]:
            raise ValueError(f"a percentile is {bad[0]}: it must be between 0 and 100")
        return tuple(
            self._of(lambda x, s=share: np.percentile(x, s, axis=0) if len(x) else np.full(x.shape[1:], np.nan))
            for share in shares
        )

    def intervals(self, level: float = 0.95) -> Intervals[Model]:
        """The percentiles that leave out equal shares on both sides."""
        lower, upper = self.percentiles(50.0 * (1.0 - level), 50.0 * (1.0 + level))
        return Intervals(lower, upper, level=level, method="bootstrap")

    def to_frame(self) -> pd.DataFrame:
        """One row a draw: `converged`, and the parameters that are numbers; of vectors, a column a place."""
        columns: dict[str, Any] = {"converged": np.asarray(self.converged)}
        for name in self.model.bounds:
            values = np.asarray(getattr(self.model, name))
            parts = {name: values} if values.ndim == 1 else {f"{name}[{j}]": v for j, v in enumerate(values.T)}
            columns |= parts
        return pd.DataFrame(columns)

    def __str__(self) -> str:
        """A table of the intervals, and how many fits failed."""
        return f"{self.intervals()}\n{len(self.converged)} draws, {self.num_failed} of which did not converge"

    def _of(self, figure: Any) -> Model:
        good = np.asarray(self.converged)
        drawn = {name: np.asarray(getattr(self.model, name), np.float64)[good] for name in self.free}
        return with_only(self.fitted, {name: figure(values) for name, values in drawn.items()})


@host_only
def bootstrap(
    fit: Fit[Model],
    num: int = 200,
    kind: Resampling = "parametric",
    *,
    seed: int = 0,
    bounds: Bounds | None = None,
) -> Bootstrap[Model]:
    """Refit `num` resampled surfaces, all at once.

    - "parametric": the volatilities of the fitted model plus normal noise with the standard deviation of the residuals,
      the same for every quote in the units of the residual, over the root of its weight. Assumes that the model is
      true.
    - "quotes": as many quotes, drawn with replacement. Assumes neither the model nor equal variances, only independent
      errors.

    Args:
        fit: the result of `calibrate`; every fit starts from its model, with its loss (at its scale) and its prior.
        num: of draws; 200 are enough for standard errors, 1,000 for intervals.
        kind: "parametric" or "quotes".
        seed: of the random numbers: the same seed gives the same draws.
        bounds: instead of those of the fit.

    Returns:
        A `Bootstrap`.

    Raises:
        ValueError: another kind; `num` below 2; a fit without numbers.

    References:
        B. Efron, R. Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 9 and 13.

    Example:
        >>> import jaxcal as jc
        >>> vols = [[0.21, 0.2, 0.2]]
        >>> fit = jc.calibrate(jc.BlackScholes, jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], vols, forward=100.0))
        >>> draws = jc.bootstrap(fit, num=20, kind="quotes")
        >>> bool(0.2 <= draws.percentiles(50.0)[0].sigma <= 0.21)
        True
    """
    if kind not in ("parametric", "quotes"):
        raise ValueError(f'kind is {kind!r}: it must be "parametric" or "quotes"')
    if num < 2:
        raise ValueError(f"num is {num}: a bootstrap takes at least 2 draws")
    if not np.isfinite(np.asarray(fit.cost)) and not fit.by_expiry:
        raise ValueError(f"there is nothing to draw from: {fit.status}")
    rng = np.random.default_rng(seed)
    surface, residual = fit.surface, fit.objective.residual
    weight = np.asarray(surface.weight, np.float64)
    surfaces = [surface] * num
    weights = None
    if kind == "quotes":
        used = np.flatnonzero(weight.ravel() > 0)
        drawn = np.zeros((num, weight.size))
        drawn[:, used] = rng.multinomial(used.size, np.full(used.size, 1.0 / used.size), size=num)
        weights = list(drawn.reshape(num, *weight.shape))
    else:
        noise = _noise_vol(fit, residual)
        centre = np.where(np.isfinite(np.asarray(fit.model_vol)), np.asarray(fit.model_vol), np.asarray(surface.vol))
        draws = centre + noise * rng.standard_normal((num, *weight.shape))
        # a volatility that is not positive is none: the least that a quote may have
        draws = np.where(weight > 0, np.maximum(draws, 0.05 * centre), np.asarray(surface.vol))
        surfaces = [eqx.tree_at(lambda s: s.vol, surface, draw.astype(surface.vol.dtype)) for draw in draws]
    again = fit.spec.own(
        model=fit.model, free=fit.free, residual=residual, loss=fit.loss, prior=fit.prior, weights=None
    )
    found = calibrate_many(again, surfaces, weights=weights, bounds=merge_bounds(fit, bounds))
    return Bootstrap(found.model, found.converged, fit.model, kind, fit.free)


def _noise_vol(fit: Fit, residual: Any) -> NDArray[np.floating]:
    """`[E, K]` the noise of every quote, as the residuals show it, in volatility."""
    weight, residuals = np.asarray(fit.surface.weight, np.float64), np.asarray(fit.residuals, np.float64)
    if not fit.by_expiry:
        weight, residuals = weight[None], residuals[None]
    loss = jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf), (len(weight), *np.shape(leaf))), fit.loss)
    misfit = weighted_misfit(loss, weight, residuals, fit.information.shape[-1])
    variance = misfit / np.maximum(np.atleast_1d(degrees_of_freedom(fit)), 1)
    weight = np.asarray(fit.surface.weight, np.float64)
    root = np.sqrt(np.where(weight > 0, weight, 1.0))
    market = MarketValues.of_surface(fit.surface)

    def off(vol: Array) -> Array:
        s = eqx.tree_at(lambda s: s.vol, fit.surface, vol)
        moved = MarketValues.of_surface(s)
        return residual(market.value, moved)

    # how a residual moves with the volatility of its quote: -1 where residuals are volatilities
    slope = jax.jvp(off, (fit.surface.vol,), (jnp.ones_like(fit.surface.vol),))[1]
    slope = np.abs(np.asarray(slope, np.float64))
    size = (np.sqrt(variance)[:, None] if fit.by_expiry else np.sqrt(variance[0])) / root
    known = slope > 1e-12
    return np.where((weight > 0) & known, size / np.where(known, slope, 1.0), 0.0)
