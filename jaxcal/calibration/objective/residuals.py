"""Residuals: what a fit minimises, quote by quote."""

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcal.calibration.objective.fit_data import Target
from jaxcal.formulas.black import black_otm, black_vega
from jaxcal.formulas.implied_vol import implied_vol
from jaxcal.market.surface import Surface


class MarketValues(eqx.Module):
    """A surface in the terms that residuals need, computed once. Values are out of the money, in units of the
    forward.
    """

    log_strike: Float[Array, "e k"]
    moneyness: Float[Array, "e k"]
    expiry: Float[Array, "e 1"]
    forward: Float[Array, "e 1"]
    vol: Float[Array, "e k"]
    value: Float[Array, "e k"]
    vega: Float[Array, "e k"]
    used: Bool[Array, "e k"]
    bid_vol: Float[Array, "e k"] | None = None
    ask_vol: Float[Array, "e k"] | None = None
    half_spread: Float[Array, "e k"] | None = None

    @classmethod
    def of(
        cls,
        expiry: Float[Array, " e"],
        forward: Float[Array, " e"],
        strike: Float[Array, "e k"],
        vol: Float[Array, "e k"],
        weight: Float[Array, "e k"],
        bid_vol: Float[Array, "e k"] | None = None,
        ask_vol: Float[Array, "e k"] | None = None,
    ) -> "MarketValues":
        """From the fields of a surface; a side of the spread that is not known is the target's volatility."""
        used = weight > 0
        forward, expiry = forward[:, None], expiry[:, None]
        # whatever lies where there is no quote must not reach a derivative
        strike, vol = jnp.where(used, strike, forward), jnp.where(used, vol, 0.2)
        moneyness = strike / forward
        log_strike = jnp.log1p((strike - forward) / forward)
        value = black_otm(vol, moneyness, expiry, forward=1.0)
        vega = black_vega(vol, moneyness, expiry, forward=1.0)
        if bid_vol is None or ask_vol is None:
            return cls(log_strike, moneyness, expiry, forward, vol, value, vega, used)
        half = half_spreads(vol, bid_vol, ask_vol, used)
        bid, ask = (jnp.where(used & jnp.isfinite(x), x, vol) for x in (bid_vol, ask_vol))
        return cls(log_strike, moneyness, expiry, forward, vol, value, vega, used, bid, ask, half)

    @classmethod
    def of_surface(cls, surface: Surface | Target) -> "MarketValues":
        """From a surface."""
        sides = (surface.bid_vol, surface.ask_vol)
        return cls.of(surface.expiry, surface.forward, surface.strike, surface.vol, surface.weight, *sides)

    def atm_total_vol(self) -> Float[Array, " e"]:
        """Volatility times square root of time of the quote nearest the money at each expiry."""
        distance = jnp.where(self.used, jnp.abs(self.log_strike), jnp.inf)
        nearest = jnp.argmin(distance, axis=-1)[:, None]
        return (jnp.take_along_axis(self.vol, nearest, axis=-1) * jnp.sqrt(self.expiry))[:, 0]

    def implied_vol(self, value: Float[Array, "e k"]) -> Float[Array, "e k"]:
        """Implied volatilities of out-of-the-money model values."""
        return implied_vol(value, self.moneyness, self.expiry, forward=1.0, is_call=self.moneyness >= 1.0)


def half_spreads(
    vol: Float[Array, "e k"], bid_vol: Float[Array, "e k"], ask_vol: Float[Array, "e k"], used: Bool[Array, "e k"]
) -> Float[Array, "e k"]:
    """Half of ask less bid; where one side is NaN, the distance of `vol` to the other; where both are, the median of
    those that are positive. Never below a tenth of that median; a vol point where no quote has a spread.
    """
    no_bid, no_ask = jnp.isnan(bid_vol), jnp.isnan(ask_vol)
    half = jnp.where(no_bid, ask_vol - vol, jnp.where(no_ask, vol - bid_vol, 0.5 * (ask_vol - bid_vol)))
    known = used & jnp.isfinite(half)
    middle = jnp.nanmedian(jnp.where(known & (half > 0), half, jnp.nan))
    found = jnp.maximum(jnp.where(known, half, middle), 0.1 * middle)
    return jnp.where(jnp.isnan(middle), 0.01, found).astype(vol.dtype)


class AbstractResidual(eqx.Module):
    """Model minus market for every quote. Subclass it for another measure of misfit.

    Example:
        >>> class LogPriceResidual(AbstractResidual):
        ...     def __call__(self, value, market):
        ...         return jnp.log(value / market.value)
        >>> isinstance(LogPriceResidual(), AbstractResidual)
        True
    """

    needs_spread: ClassVar[bool] = False  # whether `market.bid_vol` and `market.ask_vol` are asked for
    by_quote: ClassVar[bool] = False  # whether a quote's depends on its own value alone: its Jacobian is then faster

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """What a class says of its own `__call__` does not hold for another that takes its place."""
        super().__init_subclass__(**kwargs)
        said = next(kind for kind in cls.__mro__ if {"__call__", "by_quote"} & kind.__dict__.keys())
        if "by_quote" not in said.__dict__:
            cls.by_quote = False

    @abstractmethod
    def __call__(self, value: Float[Array, "e k"], market: MarketValues) -> Float[Array, "e k"]:
        """From out-of-the-money model values in units of the forward. Padding may hold anything finite."""


class ImpliedVolResidual(AbstractResidual):
    """Model minus market implied volatility, decimal.

    Below `floor`, ten times the error of the pricing grid, an implied volatility would be noise: there the residual
    continues linearly in price, with the market's vega. A quote that is itself worth less than `floor` counts by its
    price difference alone, over a vega of at least a thousandth of the forward times the square root of time. Only the
    objective is continued: `fit.model_vol` and `fit.rmse_vol` are the true volatilities there too.

    Args:
        floor: out-of-the-money value, in units of the forward.

    Example:
        >>> ImpliedVolResidual().floor
        1e-07
    """

    by_quote: ClassVar[bool] = True
    floor: Float[Array, ""] | float = 1e-7

    def __call__(self, value: Float[Array, "e k"], market: MarketValues) -> Float[Array, "e k"]:
        floor = jnp.asarray(self.floor, value.dtype)
        inside, _ = self._held(value, market)
        beyond = (value - inside) / jnp.maximum(market.vega, floor)
        worthless = (value - market.value) / jnp.maximum(market.vega, 1e-3 * jnp.sqrt(market.expiry))
        return jnp.where(market.value > floor, market.implied_vol(inside) - market.vol + beyond, worthless)

    def model_vol(self, value: Float[Array, "e k"], market: MarketValues) -> Float[Array, "e k"]:
        """Implied volatilities of model values: NaN where a residual is not one, and at unused places."""
        inside, top = self._held(value, market)
        known = market.used & (value > self._least(value.dtype)) & (value < top)
        return jnp.where(known, market.implied_vol(inside), jnp.nan)

    def _least(self, dtype: jnp.dtype) -> Array:
        """The value above which a volatility is one: single precision resolves less than the grid does."""
        least = max(ImpliedVolResidual.floor, 1e3 * float(jnp.finfo(dtype).eps))
        return jnp.maximum(jnp.asarray(self.floor, dtype), least)

    def _held(
        self, value: Float[Array, "e k"], market: MarketValues
    ) -> tuple[Float[Array, "e k"], Float[Array, "e k"]]:
        """The value clipped to the range that has volatilities, and the upper end of that range."""
        top = jnp.minimum(market.moneyness, 1.0) * (1.0 - 1e-6)
        return jnp.clip(value, jnp.minimum(jnp.asarray(self.floor, value.dtype), 0.5 * top), top), top


class BidAskResidual(AbstractResidual):
    """How far the model's implied volatility lies outside the bid-ask spread, decimal: zero inside.

    An unknown side of the spread is replaced by the target's volatility. Quotes inside do not determine the parameters;
    if all are inside, the optimum is not unique.

    Args:
        inside: factor of the difference from the target inside the spread, 0 to 1; a small one (0.05) pulls towards the
            mid and makes the optimum unique.
        floor: as of `ImpliedVolResidual`.

    Example:
        >>> BidAskResidual(inside=0.05).inside
        0.05
    """

    by_quote: ClassVar[bool] = True
    needs_spread: ClassVar[bool] = True
    inside: Float[Array, ""] | float = 0.0
    floor: Float[Array, ""] | float = 1e-7

    def __call__(self, value: Float[Array, "e k"], market: MarketValues) -> Float[Array, "e k"]:
        assert market.bid_vol is not None
        assert market.ask_vol is not None
        difference = ImpliedVolResidual(self.floor)(value, market)
        below, above = jnp.minimum(market.bid_vol - market.vol, 0.0), jnp.maximum(market.ask_vol - market.vol, 0.0)
        return difference - (1.0 - self.inside) * jnp.clip(difference, below, above)


class HalfSpreadResidual(AbstractResidual):
    """Model minus market implied volatility in half-spreads of the quote: from -1 to 1 inside bid-ask, 0 at their mean.

    The scale of a robust loss is then in half-spreads, for tight and for wide quotes: with `loss=Cauchy(1.0)` quotes
    out of reach lose their influence, and the fit puts as many quotes as possible inside bid-ask.

    Where one side of the spread is not known, the distance to the other is the half-spread; where neither is, the
    median of the surface (of the expiry, for a model fitted to each by itself), or a vol point where no quote has a
    spread. A half-spread below a tenth of the median counts as that.

    Args:
        inside: factor of the difference from the target inside the spread, as in `BidAskResidual`; 1 by default.
        floor: as of `ImpliedVolResidual`.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_quotes(jc.synthetic_chain())
        >>> fit = jc.calibrate(jc.BlackScholes, surface, residual=jc.HalfSpreadResidual(), loss=jc.Cauchy(1.0))
        >>> fit.converged
        True
    """

    by_quote: ClassVar[bool] = True
    needs_spread: ClassVar[bool] = True
    inside: Float[Array, ""] | float = 1.0
    floor: Float[Array, ""] | float = 1e-7

    def __call__(self, value: Float[Array, "e k"], market: MarketValues) -> Float[Array, "e k"]:
        assert market.half_spread is not None
        return BidAskResidual(self.inside, self.floor)(value, market) / market.half_spread


class VegaPriceResidual(AbstractResidual):
    """Model minus market price over the market's Black vega: a volatility difference to first order.

    Example:
        >>> VegaPriceResidual()
        VegaPriceResidual()
    """

    by_quote: ClassVar[bool] = True
    floor: Float[Array, ""] | float = 1e-7

    def __call__(self, value: Float[Array, "e k"], market: MarketValues) -> Float[Array, "e k"]:
        # a quote without vega would be all noise: its price difference counts as if it had `floor` of it
        return (value - market.value) / jnp.maximum(market.vega, jnp.asarray(self.floor, value.dtype))


class PriceResidual(AbstractResidual):
    """Model minus market undiscounted price, in the units of the forward.

    Example:
        >>> PriceResidual()
        PriceResidual()
    """

    by_quote: ClassVar[bool] = True

    def __call__(self, value: Float[Array, "e k"], market: MarketValues) -> Float[Array, "e k"]:
        return (value - market.value) * market.forward
