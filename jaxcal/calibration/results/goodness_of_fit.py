"""GoodnessOfFit: the misfit of a model, in volatility and relative to bid-ask spreads."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from jaxcal.market.surface import Surface
from jaxcal.market.surface_rows import SurfaceRows
from jaxcal.models.base import AbstractModel, AbstractVolModel, in_domain
from jaxcal.pricing.vanilla import model_vol as vol_of_model

SCALE = "The misfit is several half-spreads, so it is the model's: standard errors are a scale, not an interval."
SEVERAL = 2.0  # half-spreads of misfit, beyond which it is the model's error and not the noise of the quotes
Vols = Float[np.ndarray, "e k"]


class GoodnessOfFit(NamedTuple):
    """Distances of fitted from market volatilities; NaN where there is none.

    Attributes:
        rmse_vol: root mean square of model minus market volatility, decimal.
        inside: share of quotes fitted inside bid-ask (bounds included), of those with both `bid_vol` and `ask_vol`.
        rmse_half_spreads: root mean square of model minus market volatility over half of `ask_vol - bid_vol`, of the
            quotes where that is positive.
    """

    rmse_vol: float
    inside: float
    rmse_half_spreads: float

    @property
    def sentences(self) -> list[str]:
        """Sentences on the fit and its standard errors relative to bid-ask spreads; none without spreads."""
        if np.isnan(self.rmse_half_spreads):
            return []
        found = [
            f"Inside bid and ask: {self.inside:.1%} of the quotes; misfit {self.rmse_half_spreads:.3g} half-spreads."
        ]
        return [*found, SCALE] if self.rmse_half_spreads > SEVERAL else found

    @classmethod
    def of(cls, model_vol: Vols, surface: Surface, counted: Bool[np.ndarray, "e k"] | None = None) -> "GoodnessOfFit":
        """Over the used quotes, or those `counted`, unweighted: all NaN if the model's volatility at one of them is
        unknown, since a figure over the others would hide that.

        Example:
            >>> import jaxcal as jc
            >>> surface = jc.Surface.from_vols([0.5], [90.0, 110.0], [[0.21, 0.2]], forward=100.0)
            >>> found = GoodnessOfFit.of(np.asarray([[0.22, 0.21] + 6 * [np.nan]]), surface)
            >>> f"{found.rmse_vol:.2f} {found.inside}"
            '0.01 nan'
        """
        counted = np.asarray(surface.weight) > 0 if counted is None else counted
        model, market, bid, ask = (
            np.asarray(x, np.float64)[counted] for x in (model_vol, surface.vol, surface.bid_vol, surface.ask_vol)
        )
        off = model - market
        sided = np.isfinite(bid) & np.isfinite(ask)
        wide = sided & (ask > bid)
        within = np.where(np.isfinite(model), (bid <= model) & (model <= ask), np.nan)[sided]
        half = 0.5 * (ask - bid)[wide]
        return cls(
            _root_mean_square(off), float(within.mean()) if sided.any() else np.nan, _root_mean_square(off[wide] / half)
        )

    @staticmethod
    def of_rows(
        model_vol: NDArray[np.floating], weight: NDArray[np.floating], rows: SurfaceRows, place: NDArray[np.int64]
    ) -> tuple[Bool[np.ndarray, " b"], Float[np.ndarray, "n 3"]]:
        """Of many surfaces at once: which have a volatility at every used quote, and the three figures of those.

        Args:
            model_vol, weight: `[b, e, k]`.
            rows, place: the surfaces, and where among them each one is.
        """
        used = weight > 0
        model_vol = np.reshape(model_vol, weight.shape)
        known = ~np.any(used & np.isnan(model_vol), axis=(1, 2))
        used, model, at = used[known], model_vol[known].astype(np.float64), place[known]
        market, bid, ask = (
            x[at].astype(np.float64) for x in (rows.stacked.vol, rows.stacked.bid_vol, rows.stacked.ask_vol)
        )
        sided = used & np.isfinite(bid) & np.isfinite(ask)
        wide = sided & (ask > bid)
        off = np.where(used, model - market, 0.0)
        half = np.where(wide, 0.5 * (ask - bid), 1.0)

        def mean(values: NDArray, counted: NDArray[np.bool_]) -> NDArray[np.floating]:
            count = counted.sum(axis=(1, 2))
            total = np.where(counted, values, 0.0).sum(axis=(1, 2))
            return np.where(count > 0, total / np.maximum(count, 1), np.nan)

        within = (bid <= model) & (model <= ask)
        found = (np.sqrt(mean(off**2, used)), mean(np.asarray(within), sided), np.sqrt(mean((off / half) ** 2, wide)))
        return known, np.stack(found, axis=1)


def _root_mean_square(values: Float[np.ndarray, " n"]) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else float("nan")


def _is_known(model: AbstractModel) -> bool:
    return all(np.isfinite(np.asarray(getattr(model, name))).all() for name in model.bounds)


def with_far_vols(model_vol: Vols, model: AbstractModel, surface: Surface) -> Vols:
    """The model's volatilities; far quotes, which the grid of a fit cannot resolve, are priced by per-quote contours.
    NaN at padding, and where the model has none (see `model_vol`).

    Args:
        model_vol: of the grid, NaN where it has none.
        model: fitted; where every expiry has its own parameters, `[e]` of each.
        surface: whose quotes these are.
    """
    model_vol = np.asarray(model_vol)
    missing = (np.asarray(surface.weight) > 0) & np.isnan(model_vol)
    lines, places = np.nonzero(missing)
    if not (isinstance(model, AbstractVolModel) and model.per_expiry) and not _is_known(model):
        return model_vol
    if isinstance(model, AbstractVolModel) and model.per_expiry:
        known = np.isfinite(np.asarray(jax.tree.leaves(model)[0]))[lines]
        lines, places = lines[known], places[known]
    if not lines.size:
        return model_vol
    # in double precision if there is any: what single precision cannot tell here is often a matter of rounding
    dtype = np.float64 if jax.config.jax_enable_x64 else model_vol.dtype  # type: ignore[attr-defined]
    model = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), model)
    strike, expiry, forward = (
        jnp.asarray(np.asarray(x), dtype)
        for x in (
            np.asarray(surface.strike)[lines, places],
            np.asarray(surface.expiry)[lines],
            np.asarray(surface.forward)[lines],
        )
    )
    if isinstance(model, AbstractVolModel) and model.per_expiry:
        own = jax.tree.map(lambda leaf: leaf[lines], model)
        found = jnp.where(in_domain(own), own.vol(strike, expiry, forward), jnp.nan)
    else:
        found = vol_of_model(model, strike, expiry, forward=forward)
    whole = model_vol.copy()
    whole[lines, places] = np.asarray(found)
    return whole
