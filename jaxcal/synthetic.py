"""Synthetic quotes: a noise-free surface of a model, and a chain in the format of an exchange of inverse options."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from jaxcal._arguments import host_only
from jaxcal.dates.instants import DERIBIT_SETTLEMENT
from jaxcal.formulas.black import black_price
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.diffusions.heston import Heston
from jaxcal.pricing.pricer import total_vol_of
from jaxcal.pricing.vanilla import model_vol

Floats = NDArray[np.float64]

# Near what Heston fits to recorded BTC chains give: volatility about 50 %, fast mean reversion, mild skew.
BTC_MODEL = Heston(v0=0.22, kappa=6.0, theta=0.36, sigma=2.6, rho=-0.3)
_WIDTH = 2.5  # standard deviations of the log-price from the forward to the last strike
_FINE_TICK, _TICK, _FINE_BELOW = 0.0001, 0.0005, 0.005  # coin; Deribit's steps of BTC option prices


@host_only
def synthetic_surface(
    model: AbstractFourierModel,
    *,
    expiry: ArrayLike = (7 / 365, 30 / 365, 91 / 365, 182 / 365, 1.0, 2.0),
    moneyness: ArrayLike = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5),
    forward: ArrayLike = 100.0,
    discount: ArrayLike = 1.0,
) -> Surface:
    """A surface whose volatilities are exactly the model's: for tests, benchmarks and first steps.

    Args:
        model: the truth.
        expiry: `[E]` years.
        moneyness: `[K]` or `[E, K]`, ln(strike / forward) in standard deviations of the log-price.
        forward: `[E]`, or one number.
        discount: `[E]`, or one number.

    Returns:
        The surface. A quote whose value is too small to have a volatility is left out.

    Raises:
        QuoteError: the shapes do not fit, or a number is not positive and finite.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from jaxcal.models.diffusions.black_scholes import BlackScholes
        >>> from jaxcal.synthetic import synthetic_surface
        >>> surface = synthetic_surface(BlackScholes(0.2), expiry=[0.25, 1.0], moneyness=[-1.0, 0.0, 1.0])
        >>> print(surface.strike[1, :3].round(2), surface.vol[1, :3].round(6))
        [ 81.87 100.   122.14] [0.2 0.2 0.2]
    """
    years = np.atleast_1d(np.asarray(expiry, np.float64))
    forwards = np.broadcast_to(np.asarray(forward, np.float64), years.shape)
    strike = forwards[:, None] * np.exp(np.asarray(moneyness, np.float64) * _deviation(model, years)[:, None])
    vol = _model_vol(model, strike, years[:, None], forwards[:, None])
    return Surface.from_vols(years, strike, vol, forward=forwards, discount=np.asarray(discount, np.float64))


def synthetic_chain(
    model: AbstractFourierModel = BTC_MODEL,
    *,
    seed: int = 0,
    underlying: str = "BTC",
    spot: float = 92_500.0,
    quote_time: str | pd.Timestamp = "2026-03-11T14:30:00Z",
    basis: float = 0.06,
    half_spread: float = 0.0015,
    noise: float = 0.002,
    missing: float = 0.05,
) -> pd.DataFrame:
    """A synthetic option chain in Deribit's format: coin prices, ticks, spreads, noise and missing sides.

    Expiries are at 08:00 UTC: the next four days, five Fridays, three month ends and four quarter ends (last Fridays).
    Strikes are round numbers up to 2.5 standard deviations from the forward, a call and a put at each. The same
    arguments give the same table, to the last bit.

    Args:
        model: the truth. The default, `BTC_MODEL`, is a Heston model near those that recorded BTC chains give.
        seed: of the random numbers; `half_spread`, `noise` and `missing` scale them and do not reshuffle them.
        underlying: name of the coin.
        spot: price of the coin, positive; sets the units of strikes and forwards.
        quote_time: time of the snapshot; without a zone it is UTC.
        basis: mean rate, per year, at which the forwards lie above spot.
        half_spread: half of the bid-ask spread at the money, one month from expiry, in volatility (decimal).
        noise: standard deviation of the mid at the money, in volatility (decimal).
        missing: share of quotes without a bid, near the money; a fifth of that share have no ask, and in the money the
            share is three times as large.

    Returns:
        The tidy quote table, one row a quote, sorted by expiry, strike, call before put: `underlying`, `quote_time`,
        `instrument_name`, `expiry` (timestamp), `strike`, `option_type`, `bid` and `ask` (coin, NaN where missing),
        `bid_size`, `ask_size`, `mark` (coin) and `mark_iv` (decimal) of the model itself, `forward`, `spot`,
        `open_interest`, `currency_of_price` ("coin"), `exercise` ("E").

    Raises:
        ValueError: a setting is negative, or `spot` is not positive.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from jaxcal.synthetic import synthetic_chain
        >>> chain = synthetic_chain()
        >>> chain.loc[[4, 5], ["instrument_name", "bid", "ask", "open_interest"]]
               instrument_name     bid     ask  open_interest
        4  BTC-12MAR26-89000-C  0.0380  0.0385            0.7
        5  BTC-12MAR26-89000-P  0.0003  0.0004          249.4
    """
    for name, value in (("half_spread", half_spread), ("noise", noise), ("missing", missing)):
        if not value >= 0.0:
            raise ValueError(f"{name} {value} must not be negative")
    if not spot > 0.0:
        raise ValueError(f"spot {spot} must be positive")
    now = pd.Timestamp(quote_time)
    now = now.tz_localize("UTC") if now.tzinfo is None else now.tz_convert("UTC")
    rng = np.random.default_rng(seed)
    expiries = _expiries(now)
    years = ((expiries - now) / pd.Timedelta(days=365)).to_numpy(np.float64)
    forward = np.round(spot * np.exp((basis + 0.01 * rng.standard_normal(years.size)) * years), 2)
    deviation = _deviation(model, years)
    line, strike = _contracts(forward, deviation)
    vol = _model_vol(model, strike, years[line], forward[line])
    line, strike, vol = line[~np.isnan(vol)], strike[~np.isnan(vol)], vol[~np.isnan(vol)]

    shape = (strike.size, 2)  # from here a column of calls and one of puts
    is_call = np.broadcast_to([True, False], shape)
    K, T, F, vol, width = (v[:, None] for v in (strike, years[line], forward[line], vol, deviation[line]))
    x = np.log(K / F) / width
    in_money = is_call == (x < 0.0)
    normal = dict(zip(("strike", "quote", "spread", "size", "interest"), rng.standard_normal((5, *shape)), strict=True))
    uniform = dict(zip(("bid", "ask"), rng.random((2, *shape)), strict=True))

    # Volatilities are quoted less tightly in the wings and for short options, where they move the price less.
    looseness = (1.0 + 0.4 * x**2) * np.sqrt(0.5 + 0.5 * np.sqrt(30.0 / 365.0 / T))
    # A call and a put of one strike err together, or nearly: 90 % of the deviation is common.
    mid_vol = vol + noise * looseness * (0.9 * normal["strike"][:, :1] + np.sqrt(0.19) * normal["quote"])
    half = half_spread * looseness * np.exp(0.3 * normal["spread"]) * np.where(in_money, 1.5, 1.0)
    bid = _to_tick(_coin_price(mid_vol - half, K, T, F, is_call), np.floor)
    ask = _to_tick(_coin_price(mid_vol + half, K, T, F, is_call), np.ceil)
    lacking = missing * np.where(in_money, 3.0, 1.0) * (1.0 + 0.3 * x**2)
    bid = np.where((uniform["bid"] < lacking) | (bid <= 0.0), np.nan, bid)
    ask = np.where(uniform["ask"] < 0.2 * lacking, np.nan, ask)
    size = np.maximum(np.round(np.exp(1.5 + normal["size"]), 1), 0.1)
    interest = np.round(np.exp(4.0 - 0.3 * x**2 + 1.5 * normal["interest"]) * np.where(in_money, 0.2, 1.0), 1)

    def column(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(values, shape).ravel()

    expiry, strikes, sides = expiries[column(line[:, None])], column(K), np.where(column(is_call), "C", "P")
    days = expiry.strftime("%d%b%y").str.upper().str.lstrip("0")
    return pd.DataFrame(
        {
            "underlying": underlying,
            "quote_time": now,
            "instrument_name": [
                f"{underlying}-{day}-{k:.12g}-{side}" for day, k, side in zip(days, strikes, sides, strict=True)
            ],
            "expiry": expiry,
            "strike": strikes,
            "option_type": sides,
            "bid": column(bid),
            "ask": column(ask),
            "bid_size": column(np.where(np.isnan(bid), np.nan, size)),
            "ask_size": column(np.where(np.isnan(ask), np.nan, size[:, ::-1])),
            "mark": np.round(column(_coin_price(vol, K, T, F, is_call)), 6),
            "mark_iv": np.round(column(vol), 6),
            "forward": column(F),
            "spot": spot,
            "open_interest": column(interest),
            "currency_of_price": "coin",
            "exercise": "E",
        }
    )


def _expiries(now: pd.Timestamp) -> pd.DatetimeIndex:
    """Days, Fridays, last Fridays of months and of quarters after `now`, at the settlement time."""
    first = (now - DERIBIT_SETTLEMENT).normalize() + pd.Timedelta(days=1) + DERIBIT_SETTLEMENT
    month_ends = pd.date_range(first, periods=13, freq=pd.offsets.LastWeekOfMonth(weekday=4))
    quarter_ends = month_ends[month_ends.month % 3 == 0]
    days, fridays = pd.date_range(first, periods=4, freq="D"), pd.date_range(first, periods=5, freq="W-FRI")
    return days.union(fridays).union(month_ends[:3]).union(quarter_ends[:4])


def _contracts(forward: Floats, deviation: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Position of the expiry, and strike, of every contract: multiples of 1, 2 or 5 times a power of ten around each
    forward, about a fifth of a deviation apart.
    """
    target = 0.2 * deviation * forward
    power = 10.0 ** np.floor(np.log10(target))
    steps = power * np.array([1.0, 2.0, 5.0, 10.0])[np.searchsorted(np.sqrt([2.0, 10.0, 50.0]), target / power)]
    first = np.ceil(forward * np.exp(-_WIDTH * deviation) / steps)
    last = np.floor(forward * np.exp(_WIDTH * deviation) / steps)
    strikes = [step * np.arange(a, b + 1) for step, a, b in zip(steps, first, last, strict=True)]
    return np.repeat(np.arange(forward.size), [len(k) for k in strikes]), np.concatenate(strikes)


def _coin_price(vol: Floats, strike: Floats, years: Floats, forward: Floats, is_call: NDArray[np.bool_]) -> Floats:
    """Price of an inverse option in coin: Black's price over the forward. NaN strikes give NaN."""
    vols = np.broadcast_to(np.maximum(vol, 0.01), is_call.shape)
    price = black_price(vols, strike, years, forward=forward, is_call=is_call)
    return np.asarray(price, np.float64) / forward


def _to_tick(price: Floats, rounding: np.ufunc) -> Floats:
    """Round to the exchange's price steps: down for a bid, up for an ask."""
    tick = np.where(price < _FINE_BELOW, _FINE_TICK, _TICK)
    # a price that is on a step up to rounding errors stays there; then the shortest decimal number of it
    return np.round(tick * rounding(np.round(price / tick, 6)), 4)


_total_vol = eqx.filter_jit(total_vol_of)


def _deviation(model: AbstractFourierModel, years: Floats) -> Floats:
    """Standard deviation of the log-price, about."""
    return np.asarray(_total_vol(model, jnp.asarray(years)), np.float64)


def _model_vol(model: AbstractFourierModel, strike: Floats, years: Floats, forward: Floats) -> Floats:
    return np.asarray(model_vol(model, strike, years, forward=forward), np.float64)
