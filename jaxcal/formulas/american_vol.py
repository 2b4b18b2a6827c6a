"""Implied volatility of American options: what takes the value of early exercise out of a quote."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcal._arguments import NumbersLike, SidesLike, named_only, numbers, sides
from jaxcal._types import Block, Flags, float_arrays
from jaxcal.compilation.side_by_side import side_by_side
from jaxcal.formulas.american import american_price, in_blocks, least_block, most_worth, price_block
from jaxcal.formulas.black import black_vega
from jaxcal.formulas.implied_vol import implied_vol

_LEAST, _MOST = 1e-3, 10.0  # volatilities that are looked for
_FIRST, STEPS = 5, 40  # taken by all of a block, and at most
_FEW = 128, 131072  # volatilities that are looked for together when most are found, by platform
# of the last step, relative; of the price, over its time value: below that prices are noise
TOLERANCE = {np.dtype(np.float64): (1e-8, 1e-6), np.dtype(np.float32): (1e-5, 1e-4)}
MUCH = 0.01  # of the spot: no more of the time value counts
NO_VALUE = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-6}  # of time, over the spot


@named_only
def american_vol(
    price: NumbersLike,
    strike: NumbersLike,
    expiry: NumbersLike,
    *,
    spot: NumbersLike,
    rate: NumbersLike,
    dividend_yield: NumbersLike = 0.0,
    is_call: SidesLike = True,
) -> Float[Array, "*quotes"]:
    """Volatility, 0.1 to 1,000 %, at which `american_price` gives `price`: what de-Americanises a quote.

    Black's price at that volatility is the European option that belongs to the quote. All arguments broadcast; units as
    in `american_price`. A price of `american_price` gives back its volatility to about 1e-6 wherever a change of 1e-6
    moves the price by more than 1e-7 of the spot.

    NaN where no volatility gives the price: at or below the value of exercise at once, for instance, where the option
    says nothing about volatility; and where `american_price` is NaN. The derivatives are those of the inverse function,
    by implicit differentiation, and 0 where the volatility is NaN.

    Source: a secant in a bracket, from the European implied volatility, which is an upper bound.

    >>> from jaxcal.formulas.american_vol import american_vol
    >>> print(f"{american_vol(6.0904, 100.0, 1.0, spot=100.0, rate=0.05, is_call=False):.4f}")
    0.2000
    """
    given = numbers(price=price, strike=strike, expiry=expiry, spot=spot, rate=rate, dividend_yield=dividend_yield)
    arrays, calls = float_arrays(*given), sides(is_call, *given)
    shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in (*arrays, calls)))
    return _inverse(*(jnp.broadcast_to(x, shape) for x in (*arrays, calls)))


class Search(NamedTuple):
    """Where the search for `[b]` volatilities stands."""

    step: Array
    low: Array  # the price is too low here, or not known
    high: Array  # not too low here, or not known
    at: Array  # the volatility to look at next
    before: Array  # the one looked at before, and how much its price is too high
    excess_before: Array
    found: Array
    done: Array


@jax.custom_jvp
def _inverse(
    price: Array, strike: Array, expiry: Array, spot: Array, rate: Array, dividend_yield: Array, is_call: Array
) -> Array:
    return in_blocks(_search, price, strike, expiry, spot, rate, dividend_yield, is_call)


@_inverse.defjvp
def _inverse_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    """Implicit function theorem on american_price(vol, ...) = price."""
    vol = _inverse(*primals)
    *inputs, is_call = primals
    alive = ~jnp.isnan(vol)
    safe, _, *market = (jnp.where(alive, x, 1.0) for x in (vol, *inputs))

    def value(v: Array, k: Array, t: Array, s: Array, r: Array, q: Array) -> Array:
        return american_price(v, k, t, spot=s, rate=r, dividend_yield=q, is_call=is_call)

    still = [jnp.zeros_like(x) for x in market]
    _, vega = jax.jvp(value, (safe, *market), (jnp.ones_like(safe), *still))
    _, moved = jax.jvp(value, (safe, *market), (jnp.zeros_like(safe), *tangents[1:-1]))
    alive &= vega > 0
    return vol, jnp.where(alive, (tangents[0] - moved) / jnp.where(alive, vega, 1.0), 0.0)


def _search(
    price: Block, strike: Block, expiry: Block, spot: Block, rate: Block, dividend_yield: Block, is_call: Flags
) -> Block:
    """`[b]` volatilities."""
    tolerance, of_value = TOLERANCE[np.dtype(price.dtype)]
    least = least_block(strike, expiry, spot, rate, dividend_yield, is_call)
    known = (price > least + NO_VALUE[np.dtype(price.dtype)] * spot) & (expiry > 0)
    known &= price < most_worth(strike, expiry, spot, rate, dividend_yield, is_call)
    enough = of_value * jnp.minimum(price - least, MUCH * spot)
    discount = jnp.exp(-rate * expiry)
    forward = spot * jnp.exp((rate - dividend_yield) * expiry)
    european = implied_vol(price, strike, expiry, forward=forward, discount=discount, is_call=is_call)
    # without a European volatility, one at which the price is of about the size of its time value
    rough = 2.5 * (price - least) / (spot * jnp.sqrt(jnp.where(known, expiry, 1.0)))
    first = jnp.where(european > 0, european, rough + 0.1)

    quotes = (price, strike, expiry, spot, rate, dividend_yield, is_call, enough)
    start = begin_search(first, known)
    # most end soon; the others come together, a few at a time, so that few wait for the slowest
    state = _of_quotes(start, quotes, tolerance, _FIRST)
    order = jnp.argsort(state.done, stable=True)
    width = min(side_by_side(*_FEW), order.size)
    rows = jnp.pad(order, (0, -order.size % width), mode="edge").reshape(-1, width)
    state, quotes = jax.tree.map(lambda x: x[rows], (state, quotes))
    found = jax.lax.map(lambda row: _of_quotes(row[0], row[1], tolerance, STEPS).found, (state, quotes))
    found = jnp.zeros_like(price).at[rows.ravel()].set(found.ravel())
    return end_search(found, known)


def _of_quotes(start: Search, quotes: tuple[Array, ...], tolerance: float, steps: int) -> Search:
    price, strike, expiry, spot, rate, dividend_yield, is_call, enough = quotes
    discount = jnp.exp(-rate * expiry)
    forward = spot * jnp.exp((rate - dividend_yield) * expiry)

    def excess(vol: Array) -> Array:
        return price_block(vol, strike, expiry, spot, rate, dividend_yield, is_call) - price

    def vega(vol: Array) -> Array:
        return black_vega(vol, strike, expiry, forward=forward, discount=discount)

    return search(start, excess, vega, enough, tolerance, steps)


def begin_search(first: Block, known: Flags) -> Search:
    """A search for `[b]` volatilities from `first`, of those that are `known` to have one."""
    still = jnp.zeros_like(first)
    low, high = jnp.full_like(first, _LEAST), jnp.full_like(first, _MOST)
    first = jnp.clip(first, _LEAST, _MOST)
    return Search(still, low, high, first, first, still, first, ~known)


def end_search(found: Block, known: Flags) -> Block:
    """`[b]` volatilities that were found, NaN where that is an end of what is searched."""
    inside = known & (found > _LEAST * (1.0 + 1e-6)) & (found < _MOST * (1.0 - 1e-6))
    return jnp.where(inside, found, jnp.nan)


def search(
    start: Search,
    excess_at: Callable[[Array], Array],
    vega_at: Callable[[Array], Array],
    enough: Block,
    tolerance: float,
    steps: int = STEPS,
) -> Search:
    """The search after so many steps, or when all are done: a secant in a bracket.

    Args:
        start: of `begin_search`, or as far as it got.
        excess_at: from `[b]` volatilities to how much their prices are too high.
        vega_at: from `[b]` volatilities to about the slope there, for the first step.
        enough: `[b]` an excess that is none.
        tolerance: of the last step, relative.
        steps: the most to be taken, counted from the beginning.
    """

    def active(state: Search) -> Array:
        return jnp.any(~state.done & (state.step < steps))

    def stepped(state: Search) -> Search:
        excess = excess_at(state.at)
        low = jnp.where(excess < 0, jnp.maximum(state.low, state.at), state.low)
        high = jnp.where(excess >= 0, jnp.minimum(state.high, state.at), state.high)
        by_secant = (excess - state.excess_before) / jnp.where(state.at == state.before, 1.0, state.at - state.before)
        slope = jnp.where(state.at == state.before, vega_at(state.at), by_secant)
        aim = state.at - excess / jnp.where(slope > 0, slope, 1.0)
        slow = (state.step > 1) & (jnp.abs(excess) > 0.5 * jnp.abs(state.excess_before))
        halve = ~(slope > 0) | (aim <= low) | (aim >= high) | slow
        close = (high - low) <= tolerance * high
        aim = jnp.where(halve, jnp.sqrt(low * high), aim)
        near = jnp.abs(aim - state.at) <= tolerance * state.at
        done = state.done | near | close | (jnp.abs(excess) <= enough)
        found = jnp.where(state.done, state.found, jnp.where(near, aim, state.at))
        return Search(state.step + 1, low, high, aim, state.at, excess, found, done)

    return jax.lax.while_loop(active, stepped, start)
