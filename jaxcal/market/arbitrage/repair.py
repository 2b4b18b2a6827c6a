"""Repair: the smallest changes of quotes, within bid and ask, after which there is no static arbitrage."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal._types import FloatColumn
from jaxcal.formulas.implied_vol import implied_vol
from jaxcal.market.arbitrage.forward_calls import Calls, calls_of_report
from jaxcal.market.arbitrage.strategies import Strategies, all_strategies
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.tables.table_file import QuoteError

_UNIT = 1e4  # the programme counts in basis points of the forward, so that its tolerance is 1e-13 of it
_TOLERANCE = 1e-9  # of the programme, in that unit
_SETTLED = 1e-10  # of the forward: a strategy that costs less than minus this is not yet repaired
_OUTSIDE = 100.0  # what a unit outside bid and ask costs, where no prices within them will do
_LEAST_TIME_VALUE = 0.01  # of a quote's own: a price at its bound has no volatility
_ROUNDS = 20


@dataclass(frozen=True, eq=False)
class Repair:
    """Quotes without static arbitrage, as near as possible to the given ones.

    Attributes:
        report: the cleaned table with repaired `vol` of the used rows, for `Surface.from_quotes`.
        changes: one row for each quote that was moved: `row` in the caller's table, `years`, `strike`, `vol` before and
            `repaired_vol`, `change` in vol points, `amount` in money today, `outside` whether it left its bid and ask.
        within_spread: for each surface, whether prices within bid and ask sufficed.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import pandas as pd, jaxcal as jc
        >>> quotes = pd.DataFrame({"expiry": 0.5, "strike": [90.0, 100.0, 110.0], "iv": [0.2, 0.3, 0.2],
        ...                        "bid_iv": 0.15, "ask_iv": 0.35, "forward": 100.0})
        >>> repair = jc.repair_arbitrage(jc.inspect_quotes(quotes))
        >>> print(repair)
        1 of 3 quotes moved, by up to 5.18 vol points; all stay within bid and ask
    """

    report: QuoteReport
    changes: pd.DataFrame
    within_spread: tuple[bool, ...]

    def __str__(self) -> str:
        """One line: how many quotes moved, and by how much."""
        total = int(self.report.table["verdict"].eq("used").sum())
        if not len(self.changes):
            return f"none of {total:,} quotes moved"
        outside = int(self.changes["outside"].sum())
        where = "all stay within bid and ask" if not outside else f"{outside:,} leave their bid and ask"
        most = self.changes["change"].abs().max()
        return f"{len(self.changes):,} of {total:,} quotes moved, by up to {most:.3g} vol points; {where}"


def repair_arbitrage(report: QuoteReport) -> Repair:
    """Move the used quotes of a cleaned table as little as possible to remove all static arbitrage.

    Minimises the sum of absolute changes of price, over the forward, subject to the linear conditions of
    `find_arbitrage` and to bid and ask: a linear programme, solved by HiGHS. If there is no solution within bid and
    ask, quotes may leave them at a hundred times the cost. A quote without bid and ask may move freely. Violated
    conditions are added one after the other.

    Args:
        report: of any number of surfaces; each is repaired by itself.

    Returns:
        The repair. It is exact to about 1e-10 of the forward.

    Raises:
        QuoteError: the programme could not be solved, with what the solver says.

    Source: S. Cohen, C. Reisinger and S. Wang (2020), "Detecting and repairing arbitrage in traded option prices",
        Applied Mathematical Finance 27 (5), section 3.

    Example:
        >>> import pandas as pd, jaxcal as jc
        >>> quotes = pd.DataFrame({"expiry": [0.5, 1.0], "strike": 100.0, "iv": [0.3, 0.2], "forward": 100.0})
        >>> repair = jc.repair_arbitrage(jc.inspect_quotes(quotes))
        >>> jc.find_arbitrage(repair.report).num_violations
        0
    """
    table = report.table
    vol = table["vol"].to_numpy(float, copy=True)
    changes, within = [], []
    for group in range(len(report.keys)):
        calls = calls_of_report(report, group)
        if not len(calls.row):
            within.append(True)
            continue
        price, inside = _nearest(calls)
        within.append(inside)
        moved = np.abs(price - calls.price) > _SETTLED
        repaired = np.where(moved, _vols(calls, price), calls.vol)
        vol[calls.row] = repaired
        outside = (price > np.nan_to_num(calls.ask, nan=np.inf) + 1e-9) | (price < np.nan_to_num(calls.bid) - 1e-9)
        frame = {
            "row": calls.row,
            "years": calls.years,
            "strike": calls.strike,
            "vol": calls.vol,
            "repaired_vol": repaired,
            "change": 100.0 * (repaired - calls.vol),
            "amount": (price - calls.price) * calls.forward * calls.discount,
            "outside": outside,
        }
        changes.append(pd.DataFrame({name: values[moved] for name, values in frame.items()}))
    names = ["row", "years", "strike", "vol", "repaired_vol", "change", "amount", "outside"]
    found = [part for part in changes if len(part)]
    moved_rows = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=names)
    repaired_report = replace(report, table=table.assign(vol=vol))
    return Repair(repaired_report, moved_rows, tuple(within))


def _vols(calls: Calls, price: FloatColumn) -> FloatColumn:
    """Volatilities of prices, from the out-of-the-money side."""
    m = calls.moneyness
    value = np.where(m >= 1.0, price, price - (1.0 - m))
    return np.asarray(implied_vol(value, m, calls.years, forward=1.0, is_call=m >= 1.0), float)


def _nearest(calls: Calls) -> tuple[FloatColumn, bool]:
    """Arbitrage-free prices nearest to the mids, and whether they are within bid and ask."""
    intrinsic = np.maximum(1.0 - calls.moneyness, 0.0)
    least = intrinsic + _LEAST_TIME_VALUE * (calls.price - intrinsic)
    most = 1.0 - 1e-9
    low = np.clip(np.nan_to_num(calls.bid), least, calls.price)
    high = np.clip(np.nan_to_num(calls.ask, nan=np.inf), calls.price, most)
    # The programme starts with what holds within each expiry; calendars, thousands of them, follow where they bind.
    every = all_strategies(calls.expiry, calls.moneyness)
    count = calls.expiry[-1] + 1
    chosen = every[:count]
    violated = [_violated(part, calls.price) for part in every[count:]]
    chosen += [part for part in violated if len(part.kind)]
    if all(not len(_violated(part, calls.price).kind) for part in every):
        return calls.price, True
    inside = True
    for _ in range(_ROUNDS):
        price = _programme(calls.price, low, high, least, chosen) if inside else None
        if price is None:
            inside = False
            price = _programme(calls.price, low, high, least, chosen, leave=True)
        if price is None:
            raise QuoteError("the quotes cannot be repaired: no prices fulfil the conditions")
        more = [part for part in (_violated(part, price) for part in every[count:]) if len(part.kind)]
        if not more:
            return price, inside
        chosen += more
    raise QuoteError(f"the quotes were not repaired in {_ROUNDS} rounds of a linear programme")


def _violated(strategies: Strategies, price: FloatColumn) -> Strategies:
    return strategies.take(strategies.cost(price) < -_SETTLED)


def _programme(
    price: FloatColumn,
    low: FloatColumn,
    high: FloatColumn,
    least: FloatColumn,
    strategies: list[Strategies],
    *,
    leave: bool = False,
) -> FloatColumn | None:
    """The nearest prices for these strategies; None where there are none.

    Variables are the moves up and down within bid and ask and, if quotes may `leave`, beyond.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    size = len(price)
    place, weight, cash = (
        np.concatenate([getattr(part, name) for part in strategies]) for name in ("place", "weight", "cash")
    )
    row = np.repeat(np.arange(len(cash)), 3)
    some = weight.ravel() != 0.0
    row, column, value = row[some], place.ravel()[some], weight.ravel()[some]
    signs = (1.0, -1.0, 1.0, -1.0) if leave else (1.0, -1.0)
    blocks = len(signs)
    matrix = coo_array(
        (
            np.concatenate([-sign * value for sign in signs]),
            (np.tile(row, blocks), np.concatenate([column + block * size for block in range(blocks)])),
        ),
        shape=(len(cash), blocks * size),
    ).tocsr()
    slack = cash + (weight * price[place]).sum(1)
    room = [high - price, price - low] + ([np.full(size, np.inf), low - least] if leave else [])
    cost = np.repeat([1.0, 1.0, _OUTSIDE, _OUTSIDE][:blocks], size)
    bounds = np.stack([np.zeros(blocks * size), _UNIT * np.maximum(np.concatenate(room), 0.0)], 1)
    options = {"primal_feasibility_tolerance": _TOLERANCE, "dual_feasibility_tolerance": _TOLERANCE}
    result = linprog(cost, A_ub=matrix, b_ub=_UNIT * slack, bounds=bounds, method="highs", options=options)
    if result.status == 2:
        return None
    if result.x is None:
        raise QuoteError(f"the quotes cannot be repaired: {result.message}")
    moves: NDArray[np.float64] = result.x.reshape(blocks, size) / _UNIT
    return price + sum(sign * move for sign, move in zip(signs, moves, strict=True))
