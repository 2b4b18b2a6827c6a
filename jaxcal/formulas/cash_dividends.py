"""American and European options on an asset that pays dividends in cash, on a binomial tree.

The convention is the escrowed one: the spot is a lognormal part, whose volatility is `vol`, plus the present value of
the dividends that are still to be paid until expiry; on an ex-date the spot falls by the dividend. Exercise just before
a dividend (calls) and just after it (puts) is allowed.

M. Broadie and J. Detemple, "American option valuation: new bounds, approximations, and a comparison of existing
methods", Review of Financial Studies 9 (1996): a tree whose last step is Black's formula, extrapolated (their BBSR).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxcal._arguments import NumbersLike, SidesLike, VectorLike, named_only, numbers, sides
from jaxcal._types import Block, float_arrays
from jaxcal.formulas.american import in_blocks, most_worth
from jaxcal.formulas.american_vol import MUCH, NO_VALUE, TOLERANCE, begin_search, end_search, search
from jaxcal.formulas.black import black_price, black_vega
from jaxcal.formulas.implied_vol import implied_vol

_BLOCK = 128, 8192  # options worked on together, on a processor and on an accelerator
_STEPS = 128  # of the finer of two trees
_LEAST_DEVIATION = 1e-4
_NEXT_TO_NONE = 1e-3  # a volatility


@named_only
def cash_dividend_price(
    vol: NumbersLike,
    strike: NumbersLike,
    expiry: NumbersLike,
    *,
    spot: NumbersLike,
    rate: NumbersLike,
    ex_times: VectorLike,
    amounts: VectorLike,
    dividend_yield: NumbersLike = 0.0,
    is_call: SidesLike = True,
    american: bool = True,
) -> Float[Array, "*quotes"]:
    """Price of a call or put on an asset that pays dividends in cash, in the escrowed convention.

    `ex_times [d]` are years from now and `amounts [d]` are in the units of `spot`, the same for all options; dividends
    at or before now, or after the expiry of an option, do not count for it. All other arguments broadcast, in the units
    of `american_price`; a continuous yield may be paid beside the dividends. Right to about 3e-4 of the spot for
    volatilities of 10 to 80 % (checked with finite differences of the same convention). Models in which the whole spot
    is lognormal between ex-dates give the same volatility another price: by up to 1 % of the spot where six dividends
    of 1 % are to come, at a volatility of 70 %.

    The result is NaN where `vol` is not positive, `expiry` negative, `strike` not positive and finite, where the
    dividends are worth as much as the spot, and where an argument is NaN.

    Source: Broadie and Detemple (1996), section 3 (BBSR).

    >>> import jax.numpy as jnp
    >>> from jaxcal.formulas.cash_dividends import cash_dividend_price
    >>> dividends = {"ex_times": jnp.array([0.25, 0.75]), "amounts": jnp.array([1.0, 1.0])}
    >>> print(f"{cash_dividend_price(0.2, 100.0, 1.0, spot=100.0, rate=0.05, is_call=False, **dividends):.2f}")
    6.71
    """
    given = numbers(vol=vol, strike=strike, expiry=expiry, spot=spot, rate=rate, dividend_yield=dividend_yield)
    options = _arrays(given, sides(is_call, *given), numbers(ex_times=ex_times, amounts=amounts))
    return in_blocks(_american if american else _european, *options, block=_BLOCK)


@named_only
def cash_dividend_vol(
    price: NumbersLike,
    strike: NumbersLike,
    expiry: NumbersLike,
    *,
    spot: NumbersLike,
    rate: NumbersLike,
    ex_times: VectorLike,
    amounts: VectorLike,
    dividend_yield: NumbersLike = 0.0,
    is_call: SidesLike = True,
    american: bool = True,
) -> Float[Array, "*quotes"]:
    """Volatility, 0.1 to 1,000 %, at which `cash_dividend_price` gives `price`: that of the lognormal part of the spot.

    Arguments and units as in `cash_dividend_price`. NaN where no volatility gives the price (at or below the value
    without volatility, of which exercise at once is a part; at or above the spot for a call, the strike for a put), and
    where `cash_dividend_price` is NaN. A price of that function gives back its volatility to about 1e-6 where a change
    of 1e-6 moves the price by more than 1e-7 of the spot. The derivatives are those of the inverse function, and 0
    where the volatility is NaN.

    Source: a secant in a bracket, from the European implied volatility.

    >>> import jax.numpy as jnp
    >>> from jaxcal.formulas.cash_dividends import cash_dividend_vol
    >>> dividends = {"ex_times": jnp.array([0.25, 0.75]), "amounts": jnp.array([1.0, 1.0])}
    >>> print(f"{cash_dividend_vol(6.7085, 100.0, 1.0, spot=100.0, rate=0.05, is_call=False, **dividends):.3f}")
    0.200
    """
    given = numbers(price=price, strike=strike, expiry=expiry, spot=spot, rate=rate, dividend_yield=dividend_yield)
    options = _arrays(given, sides(is_call, *given), numbers(ex_times=ex_times, amounts=amounts))
    return _inverse(american, *jnp.broadcast_arrays(*options))


def _arrays(given: Sequence[Any], is_call: Any, dividends: Sequence[Any]) -> list[Array]:
    """Numbers, side, and of each dividend its time and amount, of one dtype."""
    *options, times, cash = float_arrays(*given, *dividends)
    times, cash = jnp.broadcast_arrays(jnp.atleast_1d(times), jnp.atleast_1d(cash))
    return [*options, is_call, *(x for pair in zip(times, cash, strict=True) for x in pair)]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _inverse(american: bool, *options: Array) -> Array:
    return in_blocks(_american_vol if american else _european_vol, *options, block=_BLOCK)


@_inverse.defjvp
def _inverse_jvp(american: bool, primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    """Implicit function theorem on cash_dividend_price(vol, ...) = price."""
    vol = _inverse(american, *primals)
    alive = ~jnp.isnan(vol)
    safe, *market = (jnp.where(alive, x, jnp.ones_like(x)) for x in (vol, *primals[1:]))
    price = partial(in_blocks, _american if american else _european, block=_BLOCK)
    still = [jnp.zeros_like(x) for x in tangents[1:]]
    _, vega = jax.jvp(price, (safe, *market), (jnp.ones_like(safe), *still))
    _, moved = jax.jvp(price, (safe, *market), (jnp.zeros_like(safe), *tangents[1:]))
    alive &= vega > 0
    return vol, jnp.where(alive, (tangents[0] - moved) / jnp.where(alive, vega, 1.0), 0.0)


def _vol(price: Block, *market: Array, value: Callable[..., Array]) -> Block:
    """`[b]` volatilities; `market` as of `_extrapolated`."""
    strike, expiry, spot, rate, dividend_yield, is_call, *paid = market
    dtype = np.dtype(price.dtype)
    tolerance, of_value = TOLERANCE[dtype]
    least = value(jnp.full_like(price, _NEXT_TO_NONE), *market)
    known = (price > least + NO_VALUE[dtype] * spot) & (expiry > 0)
    known &= price < most_worth(strike, expiry, spot, rate, dividend_yield, is_call)
    dividends = zip(paid[::2], paid[1::2], strict=True)
    pure = spot - sum(
        (_worth(time, cash, 0.0 * expiry, expiry, rate) for time, cash in dividends), jnp.zeros_like(spot)
    )
    forward, discount = pure * jnp.exp((rate - dividend_yield) * expiry), jnp.exp(-rate * expiry)
    european = implied_vol(price, strike, expiry, forward=forward, discount=discount, is_call=is_call)
    rough = 2.5 * (price - least) / (spot * jnp.sqrt(jnp.where(known, expiry, 1.0)))
    start = begin_search(jnp.where(known, jnp.where(european > 0, european, rough + 0.1), 1.0), known)

    def excess(vol: Array) -> Array:
        return value(vol, *market) - price

    def vega(vol: Array) -> Array:
        return black_vega(vol, strike, expiry, forward=forward, discount=discount)

    enough = of_value * jnp.minimum(price - least, MUCH * spot)
    return end_search(search(start, excess, vega, enough, tolerance).found, known)


def _extrapolated(vol: Block, *market: Array, early: bool) -> Block:
    """`[b]` prices from two trees, whose error is about that of their steps; `paid` is a time and an amount in turn."""
    strike, expiry, spot, rate, dividend_yield, is_call, *paid = market
    dividends = list(zip(paid[::2], paid[1::2], strict=True))
    held = sum((_worth(time, cash, 0.0 * expiry, expiry, rate) for time, cash in dividends), jnp.zeros_like(spot))
    pure = spot - held
    known = (vol > 0) & (expiry >= 0) & (strike > 0) & (pure > 0)
    for x in (vol, strike, expiry, spot, rate, dividend_yield, held):
        known &= jnp.isfinite(x)
    vol, strike, pure = (jnp.where(known, x, 1.0) for x in (vol, strike, pure))
    years = jnp.where(known & (expiry > 0), expiry, 1.0)
    vol = jnp.maximum(vol, _LEAST_DEVIATION / jnp.sqrt(years))
    rate, dividend_yield = (jnp.where(known, x, 0.0) for x in (rate, dividend_yield))
    if early:
        fine, coarse = (
            _tree(vol, strike, years, pure, rate, dividend_yield, is_call, dividends, steps)
            for steps in (_STEPS, _STEPS // 2)
        )
        value = 2.0 * fine - coarse
    else:
        forward, discount = pure * jnp.exp((rate - dividend_yield) * years), jnp.exp(-rate * years)
        value = black_price(vol, strike, years, forward=forward, discount=discount, is_call=is_call)
    at_once = jnp.maximum(jnp.where(is_call, spot - strike, strike - spot), 0.0)
    value = jnp.where(expiry > 0, jnp.maximum(value, at_once) if early else value, at_once)
    return jnp.where(known, value, jnp.nan)


_american, _european = partial(_extrapolated, early=True), partial(_extrapolated, early=False)
_american_vol, _european_vol = partial(_vol, value=_american), partial(_vol, value=_european)


def _worth(time: Array, cash: Array, now: Array, expiry: Array, rate: Array) -> Array:
    """What a dividend is worth `now`, if it is still to be paid, until expiry."""
    return jnp.where((time > now) & (time <= expiry), cash * jnp.exp(-rate * (time - now)), 0.0)


def _tree(
    vol: Array,
    strike: Array,
    expiry: Array,
    pure: Array,
    rate: Array,
    dividend_yield: Array,
    is_call: Array,
    dividends: list[tuple[Array, Array]],
    steps: int,
) -> Array:
    """`[b]` prices on `[steps, b]` nodes: j ups of i steps are in row j; after the last step is Black's formula."""
    vol, strike, expiry, pure, rate, dividend_yield, is_call = (
        x[None] for x in (vol, strike, expiry, pure, rate, dividend_yield, is_call)
    )
    dividends = [(time[None], cash[None]) for time, cash in dividends]
    period = expiry / steps
    jump = vol * jnp.sqrt(period)
    drift = (rate - dividend_yield - 0.5 * vol**2) * period
    up = jnp.expm1(0.5 * jump**2 + jump) / jnp.expm1(2.0 * jump)  # the mean is right
    discount = jnp.exp(-rate * period)
    sign = jnp.where(is_call, 1.0, -1.0).astype(vol.dtype)
    ups = jnp.asarray(np.arange(steps)[:, None], vol.dtype)

    powers = pure * jnp.exp(2.0 * ups * jump)

    # what exercise pays besides the lognormal part, at every step and around a dividend before the next one
    now, nothing = ups * period, jnp.zeros_like(ups * period)
    later = [_worth(time, cash, now, expiry, rate) for time, cash in dividends]
    wait = nothing
    # the first one for a call, which is exercised before it is paid; the last one for a put, after it
    for time, _ in dividends:
        within = (time > now) & (time <= now + period) & (time <= expiry)
        better = within & jnp.where(is_call, (wait == 0) | (time - now < wait), time - now > wait)
        wait = jnp.where(better, time - now, wait)
    counted = [
        jnp.where((time > now + wait) | ((time == now + wait) & is_call), worth, 0.0)
        for (time, _), worth in zip(dividends, later, strict=True)
    ]
    cash_now = sum(later, nothing) - strike
    cash_then = jnp.where(wait > 0, sum(counted, nothing) - strike * jnp.exp(-rate * wait), cash_now)
    kept = jnp.exp(-dividend_yield * wait)
    powers, fall = pure * jnp.exp(2.0 * ups * jump), jnp.exp(ups * (drift - jump))

    def exercised(i: Array) -> tuple[Array, Array]:
        """The lognormal part at step i, and the best that exercise pays."""
        falls, keeps, first, second = (x[i][None] for x in (fall, kept, cash_now, cash_then))
        lognormal = powers * falls
        return lognormal, jnp.maximum(sign * (lognormal + first), sign * (lognormal * keeps + second))

    last = jnp.asarray(steps - 1)
    lognormal, best = exercised(last)
    growth = jnp.exp((rate - dividend_yield) * period)
    black = black_price(vol, strike, period, forward=lognormal * growth, discount=discount, is_call=is_call)
    values = jnp.maximum(black, best)

    def back(step: Int[ArrayLike, ""], values: Array) -> Array:
        above = jnp.concatenate([values[1:], values[-1:]])
        held = discount * (up * above + (1.0 - up) * values)
        return jnp.maximum(held, exercised(last - 1 - step)[1])

    return jax.lax.fori_loop(0, steps - 1, back, values)[0]
