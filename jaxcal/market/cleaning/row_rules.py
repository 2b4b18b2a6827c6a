"""Cleaning: which rows of a quote table are used, and why the others are not."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from jaxcal._types import FloatColumn, Mask
from jaxcal.market.cleaning.cleaning_rules import RowRules
from jaxcal.market.cleaning.percent_vols import find_percent
from jaxcal.market.tables.cells import to_digits
from jaxcal.market.tables.quote_columns import PERCENT_VOL, QuoteColumns
from jaxcal.market.tables.quote_values import Targets
from jaxcal.market.tables.verdict import Verdict


class Judgement:
    """The verdict and the reason of every row while the rules run; a row keeps its first verdict.

    Attributes:
        verdict: `[n]` integers, the position of the verdict in `Verdict`.
        reason: `[n]` sentences, empty for rows still in use.
    """

    def __init__(self, size: int) -> None:
        """Start with every row in use."""
        self.verdict: NDArray[np.int8] = np.zeros(size, np.int8)
        self.reason: NDArray[np.object_] = np.full(size, "", object)

    @property
    def used(self) -> Mask:
        """Rows that no rule has excluded so far."""
        return self.verdict == 0

    def exclude(self, rows: Mask, verdict: Verdict, sentence: Callable[[int], str]) -> None:
        """Exclude the rows that are still in use; `sentence` gets the row's position."""
        for row in np.flatnonzero(rows & self.used).tolist():
            self.verdict[row] = _CODES[verdict]
            self.reason[row] = f"row {row}: {sentence(row)}"

    def has(self, *verdicts: Verdict) -> Mask:
        """Rows with one of these verdicts."""
        return np.isin(self.verdict, [_CODES[verdict] for verdict in verdicts])


_FAULTY = (
    Verdict.NEGATIVE, Verdict.PERCENT, Verdict.CROSSED, Verdict.DUPLICATE,
    Verdict.STALE, Verdict.BUTTERFLY, Verdict.CALENDAR,
)  # fmt: skip
_NEAR_ONE = 0.05  # a logarithm of a discount factor within it is no other unit, however short the time
_CODES = {verdict: code for code, verdict in enumerate(Verdict)}


def judge_contracts(judgement: Judgement, columns: QuoteColumns, rules: RowRules) -> None:
    """Exclude rows that cannot be read, and contracts that are impossible."""
    for row, (verdict, sentence) in columns.faults.items():
        judgement.verdict[row], judgement.reason[row] = _CODES[verdict], sentence
    c = columns
    judgement.exclude(c.strike <= 0.0, Verdict.STRIKE, lambda i: f"strike {c.strike[i]} must be positive")
    for name in ("forward", "discount", "spot"):
        values = getattr(c, name)
        judgement.exclude(values <= 0.0, Verdict.BAD_CARRY, lambda i, n=name, v=values: f"{n} {v[i]} must be positive")
    for name in ("rate", "dividend_yield"):
        values = getattr(c, name)
        judgement.exclude(
            np.abs(values) > 1.0,
            Verdict.BAD_CARRY,
            lambda i, n=name, v=values: f"{n} {v[i]} is above 100 %, so it looks like percent: divide by 100",
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        of_discount = -np.log(c.discount) / c.years
    judgement.exclude(
        (np.abs(of_discount) > 1.0) & (np.abs(np.log(np.maximum(c.discount, 1e-300))) > _NEAR_ONE) & (c.years > 0.0),
        Verdict.BAD_CARRY,
        lambda i: (
            f"discount {c.discount[i]:.6g} would be a rate of {of_discount[i]:.0%} a year: it is the factor "
            "exp(-rate T), near 1. Give rates as rate, and divide what is in percent by 100"
        ),
    )
    judgement.exclude(c.years <= 0.0, Verdict.EXPIRED, lambda i: _expired(-c.years[i]))
    judgement.exclude(
        c.years < rules.min_expiry,
        Verdict.TOO_SHORT,
        lambda i: (
            f"{c.years[i] * 8760.0:.3g} hours to expiry, below the {rules.min_expiry[i] * 8760.0:.3g} hours required: "
            f"{rules.named('min_expiry', i)} years"
        ),
    )


def _expired(years: float) -> str:
    """How long before the quote."""
    hours = years * 8760.0
    if hours < 1e-6:
        return "expires at the time of the quote"
    long = f"{hours:.3g} hours" if hours < 48.0 else f"{hours / 24.0:.4g} days"
    return f"expired {f'{hours * 60.0:.3g} minutes' if hours < 1.0 else long} before the quote"


def judge_updates(judgement: Judgement, columns: QuoteColumns) -> None:
    """Exclude rows of a stream of updates that a later one of the same contract has replaced."""
    rows = np.flatnonzero(judgement.used & ~np.isnat(columns.update_time))
    if not rows.size:
        return
    ids, times = _contract_ids(columns)[rows], columns.update_time[rows]
    order = np.lexsort((times, ids))
    last = np.append(np.flatnonzero(np.diff(ids[order])), len(rows) - 1)
    latest = np.empty_like(rows)
    latest[order] = rows[order][last][np.searchsorted(ids[order][last], ids[order])]
    replaced = np.full(len(judgement.used), -1)
    replaced[rows] = np.where(times < columns.update_time[latest], latest, -1)
    judgement.exclude(
        replaced >= 0, Verdict.DUPLICATE, lambda i: f"row {replaced[i]} is a later update of the same contract"
    )


def judge_american(judgement: Judgement, missing: NDArray[np.object_]) -> None:
    """Exclude American rows whose early exercise cannot be valued: `missing [n]` says what for, else it is empty."""
    judgement.exclude(
        missing != "",
        Verdict.AMERICAN,
        lambda i: f"American exercise; to take its value out of the price add {missing[i]}",
    )


def judge_time_value(judgement: Judgement, at_once: FloatColumn, price: FloatColumn) -> None:
    """Exclude American rows worth no more than exercise at once: `at_once [n]` is what that pays, else NaN."""
    judgement.exclude(
        np.isfinite(at_once),
        Verdict.AT_ONCE,
        lambda i: f"price {price[i]:.6g} is not above the {at_once[i]:.6g} that exercise at once pays",
    )


def judge_prices(judgement: Judgement, columns: QuoteColumns, targets: Targets, rules: RowRules) -> None:
    """Exclude rows whose own price says nothing, and duplicates."""
    c, exclude = columns, judgement.exclude
    for name in ("bid", "ask", "price"):
        values = getattr(c, name)
        exclude(values < 0.0, Verdict.NEGATIVE, lambda i, n=name, v=values: f"{n} {v[i]} must not be negative")
    percent, usual = find_percent(c, np.where(judgement.used, targets.vol, np.nan), np.isfinite(targets.price))
    exclude(percent, Verdict.PERCENT, lambda i: _percent(c.iv[i], usual[i]))
    for name in ("bid_iv", "ask_iv"):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = getattr(c, name) / targets.vol
        exclude(
            (ratio > 50.0) & (ratio < 200.0) & (np.sum(ratio > 50.0) < 0.5 * np.isfinite(ratio).sum()),
            Verdict.PERCENT,
            lambda i, n=name: f"{n} {getattr(c, n)[i]} beside iv {c.iv[i]} looks like percent: divide by 100",
        )
    exclude(targets.bid > targets.ask, Verdict.CROSSED, lambda i: f"bid {c.bid[i]} is above ask {c.ask[i]}")
    no_value = np.isnan(targets.price) & np.isnan(targets.vol)
    no_bid, no_ask = np.isnan(targets.bid), np.isnan(targets.ask)
    one_sided = no_value & (np.isfinite(c.bid) | np.isfinite(c.ask))
    exclude(one_sided & no_bid & ~no_ask, Verdict.ONE_SIDED, lambda i: f"no bid, only an ask of {c.ask[i]}")
    exclude(one_sided & no_ask & ~no_bid, Verdict.ONE_SIDED, lambda i: f"no ask, only a bid of {c.bid[i]}")
    exclude(no_value, Verdict.NO_PRICE, lambda i: "neither bid and ask, nor price, nor iv")
    spread, mid = targets.ask - targets.bid, 0.5 * (targets.ask + targets.bid)
    exclude(
        spread > rules.max_relative_spread * mid,
        Verdict.WIDE,
        lambda i: (
            f"bid {c.bid[i]}, ask {c.ask[i]}: the spread is {spread[i] / mid[i]:.3g} of the mid, "
            f"above {rules.named('max_relative_spread', i)}"
        ),
    )
    judge_repeats(judgement, columns, np.zeros(len(c.strike)), alike=True)


def _percent(iv: float, usual: float) -> str:
    what = "is above 500 %" if iv > PERCENT_VOL else f"stands among volatilities of {usual:.4g}"
    return f"iv {iv} {what}, so it looks like percent: divide by 100"


def judge_repeats(judgement: Judgement, columns: QuoteColumns, misfit: FloatColumn, *, alike: bool = False) -> None:
    """Exclude rows that repeat a contract: the one with the smallest `misfit` is kept, the first among equals.

    Args:
        judgement: so far.
        columns: of the table.
        misfit: `[n]` how far each row is from what it should be; 0 where that is not known.
        alike: only rows that also repeat bid, ask, price and volatility.
    """
    first = _first_of_contract(columns, judgement.used, misfit, alike)
    judgement.exclude(
        first >= 0,
        Verdict.DUPLICATE,
        lambda i: f"the same contract as row {first[i]}, which is kept",
    )


def judge_rates(judgement: Judgement, sentence: NDArray[np.object_]) -> None:
    """Exclude rows whose price no discount turns into a value: `sentence [n]` says why, else it is empty."""
    judgement.exclude(sentence != "", Verdict.BAD_CARRY, lambda i: sentence[i])


def judge_groups(judgement: Judgement, columns: QuoteColumns, refused: dict[int, str], verdict: Verdict) -> None:
    """Exclude the rows of whole surfaces: `refused` says why, by group."""
    rows = np.isin(columns.group, list(refused))
    judgement.exclude(rows, verdict, lambda i: refused[int(columns.group[i])])


def judge_values(
    judgement: Judgement,
    columns: QuoteColumns,
    *,
    forward: FloatColumn,
    value: FloatColumn,
    vol: FloatColumn,
    is_call: Mask,
) -> None:
    """Exclude rows by their value against the forward of their expiry.

    Args:
        judgement: after `judge_contracts` and `judge_prices`.
        columns: of the table.
        forward: `[n]` forward of the row's expiry, NaN where there is none.
        value: `[n]` undiscounted price in the units of the forward, NaN where the target is a volatility.
        vol: `[n]` implied volatility of the target.
        is_call: `[n]`.
    """
    c, exclude = columns, judgement.exclude
    exclude(
        np.isnan(forward),
        Verdict.NO_FORWARD,
        lambda i: "its expiry has no forward: add forward, or spot, or calls and puts with bid and ask",
    )
    intrinsic, upper = _bounds(c, forward, is_call)
    exclude(
        (value <= intrinsic) | (value >= upper),
        Verdict.OUT_OF_BOUNDS,
        lambda i: (
            f"undiscounted price {value[i]:.6g} is outside the no-arbitrage bounds "
            f"({intrinsic[i]:.6g}, {upper[i]:.6g}) at forward {forward[i]:.6g}"
        ),
    )
    exclude(
        ~(vol > 0.0) | ~np.isfinite(vol),
        Verdict.NO_VOLATILITY,
        lambda i: f"no positive volatility gives this price ({vol[i]})",
    )


def judge_partners(
    judgement: Judgement,
    columns: QuoteColumns,
    rules: RowRules,
    *,
    forward: FloatColumn,
    value: FloatColumn,
    spread: FloatColumn,
    is_call: Mask,
) -> None:
    """Exclude in-the-money rows: those for which the other side stands, and those whose time value is too uncertain.

    Args:
        judgement: after `judge_values`, and after the comparison with the neighbours.
        columns: of the table.
        rules: settings.
        forward: `[n]` forward of the row's expiry, NaN where there is none.
        value: `[n]` undiscounted price in the units of the forward, NaN where the target is a volatility.
        spread: `[n]` bid-ask spread in the same units, NaN where there is none.
        is_call: `[n]`.
    """
    c, exclude = columns, judgement.exclude
    # An out-of-the-money row stands for its strike even if its own price is too poor to be used: the in-the-money
    # price there is poorer still. A row whose data are faulty stands for nothing.
    out_of_money = is_call == (c.strike >= forward)
    readable = ~np.isnan(forward) & ~judgement.has(*_FAULTY)
    stands = _contract_ids(columns, strike_only=True)
    has_out_of_money = np.isin(stands, stands[readable & out_of_money])
    exclude(
        ~out_of_money & has_out_of_money,
        Verdict.IN_THE_MONEY,
        lambda i: (
            f"in the money at forward {forward[i]:.6g}: "
            f"the {'put' if is_call[i] else 'call'} at this strike stands for it"
        ),
    )
    # The in-the-money rows that are left have no partner; their volatility hangs on the time value alone.
    time_value = value - _bounds(c, forward, is_call)[0]
    exclude(
        ~out_of_money & (spread > rules.max_relative_spread * time_value),
        Verdict.WIDE,
        lambda i: (
            f"in the money: the spread is {spread[i] / time_value[i]:.3g} of the time value, "
            f"above {rules.named('max_relative_spread', i)}"
        ),
    )


def _bounds(columns: QuoteColumns, forward: FloatColumn, is_call: Mask) -> tuple[FloatColumn, FloatColumn]:
    """Undiscounted no-arbitrage bounds of every price."""
    intrinsic = np.maximum(np.where(is_call, forward - columns.strike, columns.strike - forward), 0.0)
    return intrinsic, np.where(is_call, forward, columns.strike)


def _contract_ids(columns: QuoteColumns, *, strike_only: bool = False, alike: bool = False) -> NDArray[np.int64]:
    """One number for each contract (or each strike of each expiry; or each value of a contract): equal is the same."""
    c = columns
    parts = [c.group, c.years, to_digits(c.strike)] + ([] if strike_only else [c.side])
    parts += [c.bid, c.ask, c.price, c.iv] if alike else []
    ids = np.zeros(len(columns.strike), np.int64)
    for part in parts:
        _, code = np.unique(part, return_inverse=True)
        _, ids = np.unique(ids * (code.max() + 1) + code, return_inverse=True)
    return ids


def _first_of_contract(columns: QuoteColumns, used: Mask, misfit: FloatColumn, alike: bool) -> NDArray[np.int64]:
    """For every used row that repeats a contract, the used row with it that is kept; -1 elsewhere."""
    rows = np.flatnonzero(used)
    first = np.full(len(used), -1)
    if rows.size:
        ids = _contract_ids(columns, alike=alike)[rows]
        order = np.lexsort((rows, misfit[rows], ids))
        _, start, inverse = np.unique(ids[order], return_index=True, return_inverse=True)
        kept = np.empty_like(rows)
        kept[order] = rows[order][start][inverse]
        first[rows[kept != rows]] = kept[kept != rows]
    return first
