"""ArbitrageReport: static arbitrage among quotes, with amounts, at mid and at the prices at which one can trade."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from jaxcal.market.arbitrage.forward_calls import Calls, calls_of_report, calls_of_surface
from jaxcal.market.arbitrage.strategies import KINDS, all_strategies
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.surface import Surface
from jaxcal.market.tables.quote_columns import QuoteKey
from jaxcal.market.tables.verdict import Verdict
from jaxcal.market.taker_fee import TakerFee

_COLUMNS = (
    "underlying", "quote_time", "kind", "years", "later_years", "strike", "low_strike", "high_strike", "amount",
    "vol_points", "to_trade", "row",
)  # fmt: skip
_CLEAN = (Verdict.USED, Verdict.IN_THE_MONEY)


@dataclass(frozen=True, eq=False)
class ArbitrageReport:
    """The static arbitrage found among prices; lives on the host.

    Attributes:
        violations: one row for each strategy with negative cost, the largest amount first: `underlying`,
            `quote_time`, `kind` ("bounds", "vertical", "butterfly", "calendar" or "parity"), `years` and `strike` of
            the quote it is about, `later_years`, `low_strike`, `high_strike` of the others (NaN where there are none),
            `amount`: the gain at mid today, in the units of the strikes; `vol_points`: the amount over the vega of that
            quote; `to_trade`: the gain when buying at the ask and selling at the bid, after the fee (0 if none, or
            unknown); `row` of that quote in the caller's table.
        num_strategies: how many were priced, by kind.
        fee: what was taken off for every option of a strategy; None for nothing.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.2, 0.3, 0.2]], forward=[100.0])
        >>> print(jc.find_arbitrage(surface))
        1 of 2 butterflies have negative cost at mid, up to 1.46 (5.19 vol points)
    """

    violations: pd.DataFrame
    num_strategies: dict[str, int]
    fee: TakerFee | None = None

    @property
    def num_violations(self) -> int:
        """The number of strategies with negative cost at mid, or to trade."""
        return len(self.violations)

    @property
    def num_to_trade(self) -> int:
        """The number of strategies with negative cost at tradable prices."""
        return int((self.violations["to_trade"] > 0.0).sum())

    def to_frame(self) -> pd.DataFrame:
        """The violations, as a table of the caller's own."""
        return self.violations.copy()

    def __str__(self) -> str:
        """A line for each kind of strategy that is violated."""
        lines = []
        for kind, number in self.num_strategies.items():
            found = self.violations[self.violations["kind"].eq(kind)]
            if not len(found):
                continue
            worst = found.sort_values("amount").iloc[-1]
            fault = "do not meet" if kind == "parity" else "have negative cost at mid"
            line = f"{len(found):,} of {number:,} {_PLURAL[kind]} {fault}"
            if worst["amount"] > 0.0:
                points = f" ({worst['vol_points']:.3g} vol points)" if np.isfinite(worst["vol_points"]) else ""
                line += f", up to {worst['amount']:.3g}{points}"
            traded = found["to_trade"].gt(0.0)
            if traded.any():
                after = "" if self.fee is None else " after fees"
                line += f"; {traded.sum():,} can be traded{after}, for up to {found['to_trade'].max():.3g}"
            lines.append(line)
        total = sum(self.num_strategies.values())
        return "\n".join(lines) or f"no arbitrage in {total:,} strategies"


_PLURAL = {
    "bounds": "bounds", "vertical": "vertical spreads", "butterfly": "butterflies", "calendar": "calendar spreads",
    "parity": "pairs of call and put",
}  # fmt: skip


def find_arbitrage(
    quotes: QuoteReport | Surface, *, tolerance: float = 1e-10, fee: TakerFee | None = None
) -> ArbitrageReport:
    """Price every static strategy that cannot lose, and report those with negative cost.

    Args:
        quotes: a cleaned table with any number of surfaces, whose used rows are looked at, and for parity also the
            in-the-money rows beside them; or a `Surface`. Of American options these are the European equivalents, and
            their pairs of call and put are not looked at.
        tolerance: amounts below this share of the forward are taken for rounding.
        fee: of the venue, such as `TakerFee.deribit()`, taken off `to_trade` for every option of a strategy, per unit
            of the underlying. Fees on forwards, which turn puts into calls, and on expiry are not counted.

    Returns:
        The report. At mid few recorded chains are free of arbitrage; `to_trade` is the tradable part.

    Raises:
        ValueError: the surface is a batch.
        TypeError: the fee is no `TakerFee`.

    Source: P. Carr and D. Madan (2005) within an expiry; M. Davis and D. Hobson (2007), and S. Cohen, C. Reisinger and
        S. Wang (2020), across expiries, for every pair of them, in strike over forward.

    Example:
        >>> import pandas as pd, jaxcal as jc
        >>> quotes = pd.DataFrame({"expiry": [0.5, 1.0], "strike": 100.0, "iv": [0.3, 0.2], "forward": 100.0})
        >>> found = jc.find_arbitrage(jc.inspect_quotes(quotes)).to_frame()
        >>> found[["kind", "years", "later_years", "amount", "vol_points"]].round(2)
               kind  years  later_years  amount  vol_points
        0  calendar    0.5          1.0    0.48        1.72
    """
    if not isinstance(fee, TakerFee | None):
        raise TypeError(f"fee is {repr(fee)[:60]}: give it a TakerFee, such as TakerFee(0.0003, cap=0.125)")
    if isinstance(quotes, Surface):
        return arbitrage_of_calls(calls_of_surface(quotes), tolerance, fee)
    frames, numbers = [], dict.fromkeys(KINDS, 0)
    for group, key in enumerate(quotes.keys):
        _append(frames, numbers, calls_of_report(quotes, group), key, tolerance, fee)
    parity, numbers["parity"] = _parity(quotes, tolerance, fee)
    return _report([*frames, parity], numbers, fee)


def arbitrage_of_calls(calls: Calls, tolerance: float, fee: TakerFee | None = None) -> ArbitrageReport:
    """The arbitrage among the calls of one surface; amounts below `tolerance` of the forward are rounding."""
    frames, numbers = [], dict.fromkeys(KINDS, 0)
    _append(frames, numbers, calls, (None, None), tolerance, fee)
    return _report(frames, numbers, fee)


def _report(frames: list[pd.DataFrame], numbers: dict[str, int], fee: TakerFee | None) -> ArbitrageReport:
    found = pd.concat([frame for frame in frames if len(frame)] or [pd.DataFrame(columns=list(_COLUMNS))])
    found = found.sort_values(["to_trade", "amount"], ascending=False, kind="stable").reset_index(drop=True)
    return ArbitrageReport(found[list(_COLUMNS)], numbers, fee)


def _append(
    frames: list[pd.DataFrame],
    numbers: dict[str, int],
    calls: Calls,
    key: QuoteKey,
    tolerance: float,
    fee: TakerFee | None,
) -> None:
    money, vega = calls.forward * calls.discount, calls.vega()
    strike = calls.strike
    bid, ask = (calls.bid, calls.ask) if fee is None else calls.net_of(fee)
    for strategies in all_strategies(calls.expiry, calls.moneyness):
        for code, kind in enumerate(KINDS):
            numbers[kind] += int((strategies.kind == code).sum())
        amount = -strategies.cost(calls.price)
        to_trade = -strategies.cost_to_trade(bid, ask)
        bad = (amount > tolerance) | (to_trade > tolerance)
        if not bad.any():
            continue
        found, amount, to_trade = strategies.take(bad), amount[bad], to_trade[bad]
        about = found.place[:, 0]
        others = np.where((found.weight != 0.0) & (found.place != about[:, None]), strike[found.place], np.nan)
        years = calls.years[found.place]
        frames.append(
            pd.DataFrame(
                {
                    "underlying": key[0],
                    "quote_time": key[1],
                    "kind": np.array(KINDS)[found.kind],
                    "years": years.min(1),
                    "later_years": np.where(years.max(1) > years.min(1), years.max(1), np.nan),
                    "strike": strike[about],
                    "low_strike": np.fmin.reduce(others, axis=1),
                    "high_strike": np.fmax.reduce(others, axis=1),
                    "amount": amount * money[about],
                    "vol_points": 100.0 * amount / np.maximum(vega[about], 1e-300),
                    "to_trade": np.maximum(to_trade, 0.0) * money[about],
                    "row": calls.row[about],
                }
            )
        )


def _parity(report: QuoteReport, tolerance: float, fee: TakerFee | None) -> tuple[pd.DataFrame, int]:
    """Pairs of a call and a put whose bid-ask intervals do not overlap after parity, so that they can be traded; of
    European options, for which parity is an equation.
    """
    table = report.table.reset_index(drop=True)
    if not {"bid", "ask"} <= set(table):
        return pd.DataFrame(columns=list(_COLUMNS)), 0
    exercise = table.get("exercise", pd.Series("", table.index)).astype(str).str.strip().str.lower()
    table = table[table["verdict"].isin(_CLEAN) & ~exercise.str.startswith("a")]
    numbers = {name: pd.to_numeric(table[name]).to_numpy(float) for name in ("bid", "ask", "strike", "forward")}
    coin = table.get("currency_of_price", pd.Series("", table.index)).astype(str).str.strip().str.lower().eq("coin")
    money = np.where(coin, numbers["forward"], 1.0 / table["discount"].to_numpy(float))  # table units to undiscounted
    shift = np.where(table["is_call"].to_numpy(bool), 0.0, numbers["forward"] - numbers["strike"])
    bid, ask = numbers["bid"] * money, numbers["ask"] * money
    mid = 0.5 * (bid + ask) + shift
    if fee is not None:
        bid, ask = bid - fee.of(bid, numbers["forward"]), ask + fee.of(ask, numbers["forward"])
    frame = table[["group", "years", "is_call", "discount", "forward", "vol"]].assign(
        strike=numbers["strike"],
        low=bid + shift,
        high=ask + shift,
        mid=mid,
        row=table.index,
    )
    keys = ["group", "years", "strike"]
    calls, puts = frame[frame["is_call"]], frame[~frame["is_call"]].drop(columns=["discount", "forward"])
    pairs = calls.merge(puts, on=keys, suffixes=("", "_put")).dropna(subset=["low", "high", "low_put", "high_put"])
    ends = {name: pairs[name].to_numpy(float) for name in ("low", "high", "low_put", "high_put")}
    gap = np.maximum(ends["low"] - ends["high_put"], ends["low_put"] - ends["high"])
    bad = gap > tolerance * pairs["forward"].to_numpy(float)
    found = pairs[bad].assign(gap=gap[bad])
    deviation = found["vol"] * np.sqrt(found["years"])
    d1 = 0.5 * deviation - np.log(found["strike"] / found["forward"]) / deviation
    vega = found["forward"] * np.sqrt(found["years"] / (2.0 * np.pi)) * np.exp(-0.5 * d1 * d1)
    names = [report.keys[group] for group in found["group"]]
    middle = (found["mid"] - found["mid_put"]).abs() * found["discount"]
    result = pd.DataFrame(
        {
            "underlying": [key[0] for key in names],
            "quote_time": [key[1] for key in names],
            "kind": "parity",
            "years": found["years"].to_numpy(),
            "later_years": np.nan,
            "strike": found["strike"].to_numpy(),
            "low_strike": np.nan,
            "high_strike": np.nan,
            "amount": middle.to_numpy(),
            "vol_points": 100.0 * (middle / found["discount"] / vega).to_numpy(),
            "to_trade": (found["gap"] * found["discount"]).to_numpy(),
            "row": found["row"].to_numpy(),
        }
    )
    return result, len(pairs)
