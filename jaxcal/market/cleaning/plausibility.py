"""find_implausible: surfaces whose numbers can only be in other units than the columns of the table say.

Prices in the coin read as money, strikes in thousandths, prices of whole contracts, expiries in days: each of them
gives numbers that are finite and wrong. What they imply gives them away: the slope of call less put on the strike,
which is a discount factor; the forward beside spot; the volatility at the money. Nothing is guessed or mended: a
surface is refused with the likely cause and the remedy. The limits are wide enough for every recorded chain.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal._types import FloatColumn, Mask
from jaxcal.market.cleaning.far_expiry import far_expiry
from jaxcal.market.forwards.forwards import ExpiryForwards, given_carry
from jaxcal.market.tables.quote_columns import PERCENT_VOL, QuoteColumns
from jaxcal.market.tables.quote_values import Targets

_NEAREST = 12  # pairs of an expiry, those where call and put differ least, that its slope is taken from
_FACTOR = 2.0  # a slope, or a forward over spot, further from 1 than this is no discount and no carry ...
_CARRY = 0.3  # ... whatever rates are up to this, a year
_COIN_SLOPE, _COIN_LEVEL = 1.25, 0.1  # a slope so far from 1, and slope times forward so near: prices are in the coin
_FAR = 5.0  # strikes further from the forward than this factor, in the median, are in another unit
_NEAR_SHARE = 0.2  # unless so many are within `_FACTOR` of it: strikes of before a split beside those of after it
_MOST_VOL, _MOST_DEVIATION = 5.0, 3.0  # at the money, in the median: a volatility, and one times the root of time
_LEAST_VOL = 0.001
_LOW_VOL, _STEEP = 0.03, 3.0  # a lower volatility with wings so many times as high is that of prices too small
_DOUBTFUL_VOL, _ROUGH = 0.25, 0.3  # below it, where ln vol varies by so much, prices are tried as prices in the coin
_MOST_YEARS, _WHOLE_YEARS = 10.0, 5.0  # of numeric expiries: the median; the least where all are whole numbers
_DAYS_VOL, _WHOLE_DAYS_VOL = 0.03, 0.08  # below it numbers from 1 on, or whole ones from _WHOLE_YEARS on, are days
_PERCENT = 0.2  # a rate or yield above it is held against parity
_OTHER_VOL = 20.0  # a side so many times the volatility itself is in another unit

_SAY_MONEY = (
    "set currency_of_price to quote (Deribit's contracts settled in money are called BTC_USDC-..., their underlying "
    "BTC_USDC)"
)
_SAY_COIN = "Add a column currency_of_price with coin"

# Black volatilities of undiscounted values: value, strike, years, forward, is_call.
ImpliedVols = Callable[[FloatColumn, FloatColumn, FloatColumn, FloatColumn, Mask], FloatColumn]


@dataclass(frozen=True, eq=False)
class Implied:
    """What the table implies, row by row and expiry by expiry.

    Attributes:
        columns, targets, expiries: of the table; `targets` as they are quoted.
        rows: `[n]` rows whose price is good.
        value: `[n]` undiscounted value in the units of the forward; NaN where the target is a volatility.
        vol: `[n]` volatility of the target; NaN where no volatility gives the price.
        is_call: `[n]`.
        implied_vols: finds more of them.
    """

    columns: QuoteColumns
    targets: Targets
    expiries: ExpiryForwards
    rows: Mask
    value: FloatColumn
    vol: FloatColumn
    is_call: Mask
    implied_vols: ImpliedVols


@dataclass(frozen=True, eq=False)
class _Parity:
    """Call less put against the strike, by expiry: NaN for an expiry with fewer than three strikes.

    Attributes:
        slope: `[s]` minus the median slope: a discount factor, or in coin one over the forward.
        low, high: `[s]` quartiles of the slopes between two pairs.
        forward: `[s]` the strike at which call and put cost the same.
    """

    slope: FloatColumn
    low: FloatColumn
    high: FloatColumn
    forward: FloatColumn


def find_implausible(implied: Implied) -> dict[int, str]:
    """The surfaces that are in other units than they are said to be: by group, why, and what to do.

    Example:
        >>> from jaxcal.market.cleaning.quote_report import inspect_quotes
        >>> table = pd.DataFrame({"expiry": 30.0, "strike": [90.0, 110.0], "iv": [0.22, 0.19], "forward": 101.0})
        >>> inspect_quotes(table)
        Traceback (most recent call last):
        jaxcal.market.tables.table_file.QuoteError: expiries are numbers, 30 in the median, and would be years: ...
    """
    columns, expiries = implied.columns, implied.expiries
    parity = _fit_slopes(implied)
    carry = given_carry(columns, expiries.expiry_of_row, len(expiries.years))
    found = {}
    for group in np.unique(columns.group[implied.rows]).tolist():
        rows = np.flatnonzero(implied.rows & (columns.group == group) & (expiries.expiry_of_row >= 0))
        if not rows.size:
            continue
        here = np.unique(expiries.expiry_of_row[rows])
        one = _Surface(implied, parity, carry, rows, here)
        sentence = (
            one.expiries_in_days() or one.slopes() or one.levels() or one.percents() or one.volatilities()
        )  # from what is certain to what is likely
        sentence = sentence or far_expiry(one.years, one.at_money)
        if sentence:
            found[group] = sentence
    return found


class _Surface:
    """The tests of one surface; each gives a sentence, or None."""

    def __init__(
        self,
        implied: Implied,
        parity: _Parity,
        carry: dict[str, FloatColumn],
        rows: NDArray[np.int64],
        here: NDArray[np.int64],
    ) -> None:
        self.columns, self.targets, self.rows = implied.columns, implied.targets, rows
        self.implied = implied
        self.years = implied.expiries.years[here]
        self.forward = implied.expiries.forward[here]
        self.carry = {name: values[here] for name, values in carry.items()}
        self.slope, self.low, self.high, self.centre = (
            values[here] for values in (parity.slope, parity.low, parity.high, parity.forward)
        )
        self.in_coin = bool(self.columns.in_coin[rows].any())
        priced = np.isfinite(self.targets.price[rows])
        self.priced = bool(2 * priced.sum() > len(rows))
        of_expiry = implied.expiries.expiry_of_row
        self.of_row = np.searchsorted(here, of_expiry[rows])
        level = np.where(np.isnan(self.carry["forward"]), self.carry["spot"], self.carry["forward"])
        self.given_level = level
        row_forward = self.forward[self.of_row]
        row_forward = np.where(np.isnan(row_forward), level[self.of_row], row_forward)
        self.moneyness = np.log(self.columns.strike[rows] / row_forward)
        self.row_forward = row_forward
        place = pd.Series(np.abs(self.moneyness)).groupby(self.of_row).rank(method="first").to_numpy()
        self.near = place <= 4.0
        nearest = place <= 2.0
        at_money = pd.Series(implied.vol[rows][nearest]).groupby(self.of_row[nearest]).median()
        self.at_money = at_money.reindex(range(len(here))).to_numpy(float)
        known = self.at_money[np.isfinite(self.at_money)]
        self.vol = float(np.median(known)) if known.size else np.nan

    def expiries_in_days(self) -> str | None:
        """Numeric expiries that are too long for years, or that make volatilities of days."""
        columns = self.columns
        if not columns.expiry_in_years:
            return None
        group = columns.group[self.rows[0]]
        numbers = np.unique(columns.years[(columns.group == group) & (columns.years > 0.0)])
        whole = bool((numbers == np.round(numbers)).all())
        median, least = float(numbers[(len(numbers) - 1) // 2]), float(numbers[0])
        if self.priced:  # days for years make volatilities a nineteenth of what they are
            limit = _WHOLE_DAYS_VOL if median > _MOST_YEARS or (whole and least >= _WHOLE_YEARS) else _DAYS_VOL
            suspect = least >= 0.9 and self.vol < limit * (2.0 if self.in_coin else 1.0)
        else:
            suspect = median > _MOST_YEARS or (whole and least >= _WHOLE_YEARS + 2.0)
        if not suspect:
            return None
        vols = f", at volatilities of {self.vol:.2g} at the money" if self.priced and self.vol > 0.0 else ""
        return (
            f"expiries are numbers, {median:.6g} in the median, and would be years{vols}: they look like days. "
            "Divide by 365, or call the column days_to_expiry; if they are years, give expiries as times"
        )

    def slopes(self) -> str | None:
        """Call less put must fall with the strike by a discount factor, in coin by one over the forward."""
        known = np.isfinite(self.slope)
        if not known.any():
            return None
        expected = 1.0 / self.centre if self.in_coin else np.ones_like(self.slope)
        far = np.log(_FACTOR) + (0.0 if self.in_coin else _CARRY) * self.years
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = (np.log(np.maximum(x, 1e-300) / expected) for x in (self.low, self.high))
            level = self.slope * self.centre
        off = known & ((low > far) | (high < -far))
        coin_slope = (self.low > _COIN_SLOPE) | (self.high < np.exp(-_CARRY * self.years) / _COIN_SLOPE)
        like_coin = known & coin_slope & (np.abs(level - 1.0) < _COIN_LEVEL)
        by_level = self.centre / self.given_level
        scaled = np.nanmedian(by_level[off]) if np.isfinite(by_level[off]).any() else 1.0
        other_level = not 1.0 / _FACTOR < scaled < _FACTOR
        if not self.in_coin and 2 * like_coin.sum() > known.sum() and not other_level:
            at = float(np.median(self.centre[like_coin]))
            return self._in_the_coin(f"call less put falls with the strike as 1 - K / F does at F = {at:.6g}")
        if not 2 * off.sum() > known.sum():
            return None
        slope, at = float(np.median(self.slope[off])), float(np.median(self.centre[off]))
        if other_level:
            return self._other_strikes(at, scaled)
        if self.in_coin:
            if 0.5 < slope < 2.0:
                return (
                    f"the prices are said to be in the coin, but call less put falls by {slope:.3g} for 1 of strike, "
                    f"as prices in money do: {_SAY_MONEY}"
                )
            ratio = slope * at
            return (
                f"the prices are about {ratio:.4g} times too large for prices in the coin: call less put falls by "
                f"{slope:.3g} for 1 of strike, not by 1 / {at:.6g}. Are they in percent, or per contract? Divide them"
            )
        if slope > 1.0:
            return (
                f"the prices are about {slope:.3g} times too large for the strikes: call less put falls by that much "
                "for 1 of strike, not by a discount factor, near 1. Are they prices per contract, or in cents? Divide "
                "them by the multiplier of the contract (100)"
            )
        percent = abs(slope * at / 100.0 - 1.0) < _COIN_LEVEL and np.isfinite(by_level[off]).any()
        cause = (
            "are the prices in percent of the forward? Multiply them by forward / 100"
            if percent
            else "are strikes in thousandths (as in strike_price of option databases) or in cents? Divide them"
        )
        return (
            f"the strikes are about {1.0 / slope:.4g} times too large for the prices: call less put falls by "
            f"{slope:.3g} for 1 of strike, not by a discount factor, near 1; {cause}"
        )

    def levels(self) -> str | None:
        """Forward, spot and strikes must be of one size."""
        forwards = self.centre if np.isfinite(self.centre).any() else self.forward
        far = np.log(_FACTOR) + 0.1 * self.years
        for name in ("forward", "spot"):
            for found, words in ((forwards, "put-call parity"), (self.forward, "the column forward")):
                with np.errstate(divide="ignore", invalid="ignore"):
                    off = np.log(found / self.carry[name])
                known = np.isfinite(off)
                if 2 * (np.abs(off[known]) > far[known]).sum() > known.sum():
                    at, beside = (float(np.median(x[known])) for x in (found, self.carry[name]))
                    if name == "forward":
                        return self._other_strikes(at, at / beside)
                    return (
                        f"the {name} is {beside:.6g} and the forward {at:.6g} (by {words}), {at / beside:.4g} times "
                        "that: strikes, prices and the price of the underlying are not in one unit (strikes in "
                        f"thousandths?), or {name} is of another underlying"
                    )
        middle = float(np.nanmedian(self.moneyness)) if np.isfinite(self.moneyness).any() else 0.0
        if abs(middle) > np.log(_FAR) and np.mean(np.abs(self.moneyness) < np.log(_FACTOR)) < _NEAR_SHARE:
            at = float(np.nanmedian(self.row_forward))
            return self._other_strikes(at * np.exp(middle), np.exp(middle))
        return None

    def percents(self) -> str | None:
        """Rates, yields and the volatilities of the sides against what they stand beside."""
        rate, spot, years = self.carry["rate"], self.carry["spot"], self.years
        known = np.isfinite(self.slope) & np.isfinite(rate) & np.isnan(self.carry["discount"]) & (not self.in_coin)
        with np.errstate(divide="ignore", invalid="ignore"):
            lowest, highest = (-np.log(np.maximum(x, 1e-300)) / years for x in (self.high, self.low))
            middle = -np.log(np.maximum(self.slope, 1e-300)) / years
            off = known & (np.abs(rate) > _PERCENT) & (np.abs(rate - middle) > 0.5 * np.abs(rate))
            off &= (rate < lowest) | (rate > highest)
            if off.any() and 2 * off.sum() > known.sum():
                return (
                    f"rate {float(np.median(rate[off])):.4g} would be {float(np.median(rate[off])):.0%} a year, where "
                    f"put-call parity says {float(np.median(middle[off])):.2%}: is it in percent? Divide it by 100"
                )
            paid = self.carry["dividend_yield"]
            implied = np.nan_to_num(rate) - np.log(self.centre / spot) / years
            known = np.isfinite(implied) & np.isfinite(paid)
            off = known & (np.abs(paid) > _PERCENT) & (np.abs(paid - implied) > 0.5 * np.abs(paid))
            off &= np.abs(paid - implied) * years > 0.02
        if off.any() and 2 * off.sum() > known.sum():
            return (
                f"dividend_yield {float(np.median(paid[off])):.4g} would be {float(np.median(paid[off])):.0%} a year, "
                f"where spot and put-call parity say {float(np.median(implied[off])):.2%}: is it in percent? Divide it "
                "by 100"
            )
        given = self.targets.vol[self.rows]
        if not self.priced and 2 * (given > PERCENT_VOL).sum() > np.isfinite(given).sum():
            return f"column iv: its median is {np.nanmedian(given):g}, so it seems to be in percent: divide by 100"
        for name in ("bid_iv", "ask_iv"):
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = getattr(self.columns, name)[self.rows] / given
            ratio = ratio[np.isfinite(ratio) & (ratio > 0.0)]
            if ratio.size and (np.median(ratio) > _OTHER_VOL or np.median(ratio) < 1.0 / _OTHER_VOL):
                which = (name, "iv") if np.median(ratio) > 1.0 else ("iv", name)
                return (
                    f"{name} is {np.median(ratio):.3g} times iv in the median: {which[0]} seems to be in percent and "
                    f"{which[1]} a decimal: divide {which[0]} by 100"
                )
        return None

    def volatilities(self) -> str | None:
        """Volatilities at the money that no market has."""
        rows, vol = self.rows, self.implied.vol[self.rows]
        value, strike = self.implied.value[rows], self.columns.strike[rows]
        call = self.implied.is_call[rows]
        outside = call == (self.moneyness >= 0.0)
        above = outside & self.near & (value >= np.where(call, self.row_forward, strike))
        judged = outside & self.near & np.isfinite(value)
        deviation = self.at_money * np.sqrt(self.years)
        known = np.isfinite(deviation)
        if above.any() and 2 * above.sum() > judged.sum():
            if self.in_coin:
                return (
                    "the prices are said to be in the coin, but most at the money are above 1, more than any option in "
                    f"the coin is worth: {_SAY_MONEY}"
                )
            return (
                f"most prices at the money are above the forward, {float(np.nanmedian(self.row_forward)):.6g}, itself: "
                f"{self._too_large()}"
            )
        if not known.any():
            return None
        if self.vol > _MOST_VOL or float(np.median(deviation[known])) > _MOST_DEVIATION:
            cause = self._too_large() if self.priced else "is iv in percent? Divide it by 100"
            return (
                f"volatilities at the money are {self.vol:.3g} ({self.vol:.0%}) a year in the median, "
                f"{float(np.median(deviation[known])):.3g} to expiry: {cause}"
            )
        if not self.priced or not self.vol < _DOUBTFUL_VOL or np.isfinite(self.slope).any():
            return None  # the slopes have shown that prices and strikes are of one unit
        price = self.targets.price[rows]
        good = outside & np.isfinite(price) & np.isfinite(self.row_forward)
        if not self.in_coin and good.any() and (price[good] < 1.0).all() and self._flatter_in_coin(good):
            at = float(np.median(self.row_forward[good]))
            return self._in_the_coin(
                f"at a forward of {at:.6g} they would be volatilities of {self.vol:.2g} at the money"
            )
        wings = vol[outside & ~self.near & np.isfinite(vol)]
        steep = wings.size > 0 and float(np.median(wings)) > _STEEP * self.vol
        if self.vol < _LEAST_VOL or (self.vol < _LOW_VOL and steep):
            return (
                f"volatilities at the money are {self.vol:.2g} a year in the median: prices are too small for the "
                f"forward, {float(np.nanmedian(self.row_forward)):.6g}, or expiries too long. Add a column "
                "currency_of_price with coin if prices are in the coin; convert them if they are in percent or in "
                "thousands, or expiries if they are in days"
            )
        return None

    def _flatter_in_coin(self, good: Mask) -> bool:
        """Whether the volatilities of prices out of the money differ less where the prices are taken to be in coin."""
        rows, forward = self.rows[good], self.row_forward[good]
        value = self.targets.price[rows] * forward
        years = self.columns.years[rows]
        in_coin = self.implied.implied_vols(
            value, self.columns.strike[rows], years, forward, self.implied.is_call[rows]
        )
        in_money = self.implied.vol[rows]
        if not (np.isfinite(in_coin).mean() > 0.5 and 0.03 < np.nanmedian(in_coin) < _MOST_VOL):
            return False
        if len(rows) < 3:
            return self.vol < _LEAST_VOL
        spread_of = [float(np.nanstd(np.log(np.where(x > 0.0, x, np.nan)))) for x in (in_coin, in_money)]
        return spread_of[1] > _ROUGH and spread_of[0] < 0.5 * spread_of[1]

    def _in_the_coin(self, evidence: str) -> str:
        return f"the prices look like prices in the coin, not in money: {evidence}. {_SAY_COIN}"

    def _other_strikes(self, at: float, scale: float) -> str:
        return (
            f"the strikes are of the size of {at:.6g}, {scale:.4g} times what the table says of the underlying "
            f"({at / scale:.6g}): strikes in thousandths (as in strike_price of option databases), in cents, or as "
            "moneyness? Give strikes, spot and forward in one unit"
        )

    def _too_large(self) -> str:
        days = " Or are expiries in other units than years?" if self.columns.expiry_in_years else ""
        return f"are they prices per contract, in cents or in percent? Divide prices by the multiplier (100).{days}"


def _fit_slopes(implied: Implied) -> _Parity:
    """Median slopes of call less put between the pairs nearest the money of every expiry (Theil and Sen)."""
    columns, targets, size = implied.columns, implied.targets, len(implied.expiries.years)
    rows = np.flatnonzero(
        implied.rows & np.isfinite(targets.price) & (columns.side != 0) & (implied.expiries.expiry_of_row >= 0)
    )
    frame = pd.DataFrame(
        {
            "expiry": implied.expiries.expiry_of_row[rows],
            "strike": columns.strike[rows],
            "side": columns.side[rows],
            "price": targets.price[rows],
        }
    )
    mean = frame.groupby(["expiry", "strike", "side"])["price"].mean().unstack("side").reindex(columns=[1, -1]).dropna()
    result = _Parity(*np.full((4, size), np.nan))
    expiry, strike = (mean.index.get_level_values(name).to_numpy() for name in ("expiry", "strike"))
    difference = (mean[1] - mean[-1]).to_numpy(float)
    bounds = np.searchsorted(expiry, np.arange(size + 1))
    for s in np.flatnonzero(np.diff(bounds) >= 3).tolist():
        part = slice(bounds[s], bounds[s + 1])
        nearest = np.argsort(np.abs(difference[part]), kind="stable")[:_NEAREST]
        x, y = strike[part][nearest].astype(float), difference[part][nearest]
        i, j = np.triu_indices(len(x), 1)
        low, middle, high = np.quantile((y[i] - y[j]) / (x[j] - x[i]), [0.25, 0.5, 0.75])
        if middle > 0.0:
            result.slope[s], result.low[s], result.high[s] = middle, low, high
            result.forward[s] = np.median(x + y / middle)
    return result
