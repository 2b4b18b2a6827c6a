"""American options for tests: prices and volatilities by programs of one size, compiled once, and a plain tree."""

import jax.numpy as jnp
import numpy as np

import jaxcal as jc

SPOT = 100.0
SIZE = 216  # options of every call, as many as american.csv has


def one_size(*columns):
    """The columns, broadcast and filled up with their first option to `SIZE` options, and how many they were."""
    *numbers, is_call = np.broadcast_arrays(*columns)
    shape = is_call.shape
    columns = (*(np.asarray(x, np.float64) for x in numbers), is_call)
    return [jnp.asarray(np.append(x, np.repeat(x.flat[0], SIZE - x.size))) for x in columns], shape


def first(values, shape):
    return np.asarray(values)[: int(np.prod(shape))].reshape(shape)


def price(*columns):
    """Prices by vol, strike, expiry, spot, rate, yield and whether it is a call."""
    (vol, strike, expiry, spot, rate, dividend_yield, is_call), shape = one_size(*columns)
    market = {"spot": spot, "rate": rate, "dividend_yield": dividend_yield, "is_call": is_call}
    return first(jc.american_price(vol, strike, expiry, **market), shape)


def inverse(*columns):
    """Volatilities by price and the other columns of `price`."""
    (value, strike, expiry, spot, rate, dividend_yield, is_call), shape = one_size(*columns)
    market = {"spot": spot, "rate": rate, "dividend_yield": dividend_yield, "is_call": is_call}
    return first(jc.american_vol(value, strike, expiry, **market), shape)


def premium_by_tree(vol, strike, expiry, rate, dividend_yield, is_call, *, steps=1200):
    """Early exercise by a plain binomial tree (Cox, Ross and Rubinstein): its American less its European price."""
    period = expiry / steps
    up = np.exp(vol * np.sqrt(period))
    chance = (np.exp((rate - dividend_yield) * period) - 1.0 / up) / (up - 1.0 / up)
    assert ((chance > 0.0) & (chance < 1.0)).all()
    discount, sign = np.exp(-rate * period), np.where(is_call, 1.0, -1.0)
    spot = SPOT * up ** (2.0 * np.arange(steps + 1)[:, None] - steps)
    american = european = np.maximum(sign * (spot - strike), 0.0)
    for _ in range(steps):
        spot = spot[:-1] * up
        american, european = (discount * (chance * x[1:] + (1.0 - chance) * x[:-1]) for x in (american, european))
        american = np.maximum(american, sign * (spot - strike))
    return (american - european)[0]
