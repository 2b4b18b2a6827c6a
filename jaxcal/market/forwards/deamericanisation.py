"""De-Americanisation: American quotes to European ones, without the early exercise premium.

Bid, mid and ask of an American option are inverted by `american_vol` and replaced by Black's prices at those
volatilities; from there on the row is European. That needs spot, rate and yield. If the table gives neither yield nor
forward, the yield is the fixed point at which put-call parity of the European prices gives its forward, by iteration
from parity of the American prices. If the implied forwards disagree with the given spot, the spot is stale; it is
replaced by the spot they imply.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxcal._types import Block, Flags, FloatColumn, Mask
from jaxcal.formulas.american_vol import american_vol
from jaxcal.formulas.black import black_price
from jaxcal.market.forwards.forwards import ExpiryForwards, expiry_forwards, given_carry
from jaxcal.market.padding import power_of_two
from jaxcal.market.tables.quote_columns import QuoteColumns
from jaxcal.market.tables.quote_values import Targets

_ROUNDS = 15  # of the iteration for the yield, at most
_STILL = 1e-7  # a forward that moves by less, in relative terms, is found
_SHORT, _FEWEST = 0.25, 3  # years up to which expiries say what spot is; how many it takes
_SPOT_STILL = 1e-5  # a spot that moves by less is found
_STALE, _DOUBT = 5e-4, 4.0  # a spot further off than this, and than so many standard errors, is not of that time
_SMALLEST_BATCH = 2048  # volatilities are found in batches of a power of two, so that few programs compile


@dataclass(frozen=True, eq=False)
class EarlyExercise:
    """A table of quotes without early exercise.

    Attributes:
        targets: of the rows, American ones as European prices; NaN where no volatility gives the price.
        premium: `[n]` early exercise premium of the target, in units of the table; NaN for European rows.
        at_once: `[n]` value of immediate exercise if the price does not exceed it; NaN elsewhere.
        spot: `[n]` the spot that the row was priced with: of the table, or of parity; NaN for European rows.
    """

    targets: Targets
    premium: FloatColumn
    at_once: FloatColumn
    spot: FloatColumn


def missing_of_american(columns: QuoteColumns) -> NDArray[np.object_]:
    """`[n]` what an American row lacks to be used, in words; empty where nothing is missing, or exercise is European.

    Example:
        >>> import pandas as pd
        >>> from jaxcal.market.tables.quote_columns import validate_quotes
        >>> table = pd.DataFrame({"expiry": 0.5, "strike": 90.0, "option_type": "P", "price": [2.0, 2.1], "spot": 100.0,
        ...                       "exercise": ["A", "E"]})
        >>> missing_of_american(validate_quotes(table)).tolist()
        ['rate', '']
    """
    c = columns
    no_rate = np.isnan(c.rate) & np.isnan(c.discount)
    no_spot = np.isnan(c.spot) & ~(np.isfinite(c.forward) & np.isfinite(c.dividend_yield))
    words = np.where(no_rate & no_spot, "rate and spot", np.where(no_rate, "rate", np.where(no_spot, "spot", "")))
    words = np.where(c.in_coin, "a price that is not in the coin", words)
    # a given volatility has no early exercise in it
    priced = np.isfinite(c.price) | np.isfinite(c.bid) | np.isfinite(c.ask)
    return np.where(c.american & priced, words, "").astype(object)


def without_early_exercise(columns: QuoteColumns, targets: Targets, *, contracts: Mask, quotes: Mask) -> EarlyExercise:
    """De-Americanise the prices of a table.

    Args:
        columns: of the table.
        targets: the value of each row.
        contracts: `[n]` rows whose contract is good.
        quotes: `[n]` rows whose price is good.

    Returns:
        The European targets and the premia. A side whose price has no volatility moves by as much as the target.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from jaxcal.market.tables.quote_values import select_targets
        >>> from jaxcal.market.tables.quote_columns import validate_quotes
        >>> table = pd.DataFrame({"expiry": 1.0, "strike": 100.0, "option_type": ["P"], "price": 6.0904, "spot": 100.0,
        ...                       "rate": 0.05, "dividend_yield": 0.0, "exercise": "A"})
        >>> columns, one = validate_quotes(table), np.ones(1, bool)
        >>> done = without_early_exercise(columns, select_targets(columns), contracts=one, quotes=one)
        >>> print(f"{done.targets.price[0]:.3f} {done.premium[0]:.3f}")
        5.574 0.517
    """
    premium, at_once, spots = np.full((3, len(contracts)), np.nan)
    rows = np.flatnonzero(columns.american & contracts & quotes & np.isfinite(targets.price) & (columns.side != 0))
    if not rows.size:
        return EarlyExercise(targets, premium, at_once, spots)
    expiries = expiry_forwards(columns, targets, contracts=contracts, quotes=quotes)
    carry = given_carry(columns, expiries.expiry_of_row, len(expiries.years))
    rate = np.where(np.isnan(carry["discount"]), carry["rate"], -np.log(carry["discount"]) / expiries.years)
    given = np.isnan(carry["spot"])
    spot = np.where(given, carry["forward"] * np.exp((carry["dividend_yield"] - rate) * expiries.years), carry["spot"])
    growth = rate - np.nan_to_num(carry["dividend_yield"])
    by_yield = np.isnan(carry["forward"]) & np.isfinite(carry["dividend_yield"])
    forward = np.where(by_yield, spot * np.exp(growth * expiries.years), expiries.forward)
    searched = ~by_yield & (expiries.forward_source == "parity")

    def settled(options: _Options, forward: FloatColumn, rounds: int) -> FloatColumn:
        """The forwards from parity of the de-Americanised prices."""
        for _ in range(rounds if searched.any() else 0):
            european = options.targets(targets, forward, sides=False)
            found = expiry_forwards(columns, european, contracts=contracts, quotes=quotes).forward
            moved = np.where(searched & (found > 0.0), found / forward, 1.0)
            forward = forward * moved
            if np.abs(moved - 1.0).max() < _STILL:
                break
        return forward

    options = _Options(columns, expiries, rows, spot, rate)
    forward, stale = settled(options, forward, _ROUNDS), np.zeros(len(spot), bool)
    for _ in range(_ROUNDS):
        move = _staleness(expiries, searched, np.log(forward / spot) - rate * expiries.years, stale)
        if np.abs(move).max() < _SPOT_STILL:
            break
        spot, stale = spot * np.exp(move), stale | (move != 0.0)
        options = _Options(columns, expiries, rows, spot, rate)
        forward = settled(options, forward, 2)
    european = options.targets(targets, forward, sides=True)
    premium[rows] = (targets.price - european.price)[rows]
    spots[rows] = spot[expiries.expiry_of_row[rows]]
    pays = columns.side * (spot[expiries.expiry_of_row] - columns.strike)
    worthless = np.zeros(len(contracts), bool)
    worthless[rows] = np.isnan(european.price[rows]) & (targets.price[rows] <= pays[rows] * (1.0 + 1e-9) + 1e-8)
    at_once[worthless] = pays[worthless]
    return EarlyExercise(european, premium, at_once, spots)


def _staleness(expiries: ExpiryForwards, searched: Mask, carry: FloatColumn, known: Mask) -> FloatColumn:
    """`[s]` by what the logarithm of spot is to move: where `carry`, that of a forward over spot less the rate's share,
    tends to as expiries get short. A line of median slopes (Theil and Sen) through those of a few months; 0 where that
    is within its error, unless the spot is `known` to be stale.
    """
    moves = np.zeros(len(carry))
    for group in np.unique(expiries.group):
        s = np.flatnonzero((expiries.group == group) & searched & (expiries.years <= _SHORT) & np.isfinite(carry))
        if len(s) < _FEWEST:
            continue
        years, level = expiries.years[s], carry[s]
        before, after = np.triu_indices(len(s), 1)
        slope = np.median((level[after] - level[before]) / (years[after] - years[before]))
        at_spot = level - slope * years
        move = np.median(at_spot)
        error = 1.5 * np.median(np.abs(at_spot - move)) / np.sqrt(len(s))
        if known[s[0]] or abs(move) > max(_STALE, _DOUBT * error):
            moves[expiries.group == group] = move
    return moves


class _Options:
    """The American rows of a table, with what pricing them takes; forwards come later."""

    def __init__(
        self, columns: QuoteColumns, expiries: ExpiryForwards, rows: NDArray, spot: FloatColumn, rate: FloatColumn
    ) -> None:
        self.rows, self.of_expiry, self.years = rows, expiries.expiry_of_row[rows], expiries.years
        self.strike, self.is_call = columns.strike[rows], columns.side[rows] > 0
        self.spot, self.rate = spot, rate

    def targets(self, american: Targets, forward: FloatColumn, *, sides: bool) -> Targets:
        """European values of the rows at these forwards; bid and ask move with the target unless `sides`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            growth = np.log(forward / self.spot) / self.years
        market = [x[self.of_expiry] for x in (self.years, self.spot, self.rate, self.rate - growth)]
        names = ("price", "bid", "ask")
        before = np.stack([getattr(american, name)[self.rows] for name in names])
        count = 3 if sides else 1
        tiled = [np.tile(x, count) for x in (self.strike, *market, self.is_call)]
        after = before.copy()
        after[:count] = _europeans(before[:count].ravel(), *tiled).reshape(count, -1)
        moved = after[0] - before[0]
        for side in (1, 2):
            plain = np.isnan(after[side]) if sides else np.ones(len(moved), bool)
            after[side] = np.where(plain, before[side] + moved, after[side])
        whole = {name: getattr(american, name).copy() for name in names}
        for name, values in zip(names, after, strict=True):
            whole[name][self.rows] = values
        return replace(american, **whole)


@jax.jit
def _european(
    value: Block, strike: Block, years: Block, spot: Block, rate: Block, dividend_yield: Block, is_call: Flags
) -> Block:
    vol = american_vol(value, strike, years, spot=spot, rate=rate, dividend_yield=dividend_yield, is_call=is_call)
    forward, discount = spot * jnp.exp((rate - dividend_yield) * years), jnp.exp(-rate * years)
    return black_price(vol, strike, years, forward=forward, discount=discount, is_call=is_call)


def _europeans(value: FloatColumn, *options: NDArray) -> FloatColumn:
    """European values of American ones, in the precision JAX is set to."""
    rows = np.resize(np.arange(len(value)), power_of_two(len(value), _SMALLEST_BATCH))
    return np.asarray(_european(*(jnp.asarray(x[rows]) for x in (value, *options))), float)[: len(value)]
