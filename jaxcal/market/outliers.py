"""Outliers: quotes that their neighbours in strike and expiry contradict."""

import itertools
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from jaxcal.market.cleaning import CleaningRules, Judgement
from jaxcal.market.local_smile import SIDE, local_smile
from jaxcal.market.quote_columns import FloatColumn, Mask
from jaxcal.market.verdict import Verdict

Places = NDArray[np.int64]

_FINEST = 0.0003  # volatility: two quotes cannot be told apart by less, whatever their spreads say
_LARGEST_FAIR = 1.2  # usual spreads that a quote's own may have before it counts as a fault rather than as doubt
_EXCESS = 0.02  # volatility: a spread that exceeds the usual one by less is not worth a verdict
_SPREAD_NOISE = 0.3  # of the logarithm of spreads side by side
_NEAR = 3  # places: of rows so close together only the worst is excluded at a time
_SECOND_WITNESS = 0.5  # of the threshold is enough where the next expiry contradicts a quote as well
_HOUR = 1.0 / 8760.0
_STALE = 3.0  # standard deviations of an hour's move that a stale quote may be behind


@dataclass(frozen=True, eq=False)
class SmileQuotes:
    """What the comparison needs of every row of a table.

    Attributes:
        expiry: `[n]` number of the row's expiry, by group, then time; -1 for rows that have none.
        group: `[n]` number of the surface.
        years: `[n]` time to expiry.
        x: `[n]` ln(strike / forward).
        vol: `[n]` Black volatility of the target.
        half_spread: `[n]` half of the bid-ask spread in volatility, 0 where there is none.
        is_call: `[n]`.
    """

    expiry: Places
    group: Places
    years: FloatColumn
    x: FloatColumn
    vol: FloatColumn
    half_spread: FloatColumn
    is_call: Mask

    @classmethod
    def from_vols(
        cls,
        expiry: Places,
        group: Places,
        years: FloatColumn,
        *,
        strike: FloatColumn,
        forward: FloatColumn,
        spread: FloatColumn,
        vols: tuple[FloatColumn, FloatColumn, FloatColumn],
        is_call: Mask,
    ) -> "SmileQuotes":
        """From the forward, the bid-ask spread `[n]` in its units, and the volatilities of target, bid and ask.

        Where the bid has no volatility (in the money, below intrinsic value) the spread over vega stands for it.
        """
        vol, bid_vol, ask_vol = vols
        with np.errstate(all="ignore"):
            x = np.log(strike / forward)
            deviation = vol * np.sqrt(years)
            d1 = 0.5 * deviation - x / deviation
            vega = forward * np.sqrt(years / (2.0 * np.pi)) * np.exp(-0.5 * d1 * d1)
            half = 0.5 * np.where(np.isfinite(ask_vol - bid_vol), ask_vol - bid_vol, spread / vega)
        half = np.clip(np.nan_to_num(half, nan=0.0, posinf=1e3), 0.0, 1e3)
        return cls(expiry, group, years, x, vol, half, is_call)

    @property
    def out_of_money(self) -> Mask:
        """Calls at or above the forward and puts below it."""
        return self.is_call == (self.x >= 0.0)


class Comparison:
    """Every row against its neighbours, kept up to date while rows are excluded.

    Attributes:
        predicted: `[n]` volatility that the neighbours of a row give it, NaN where unknown.
        doubt: `[n]` its standard deviation, with the scatter of the quotes about a smile.
        usual: `[n]` half-spread in volatility that is usual among the neighbours.
        fair: `[n]` half-spread that a row may claim for itself.
        at_the_money: `[n]` volatility at the forward of the row's expiry.
    """

    def __init__(self, quotes: SmileQuotes) -> None:
        """Nothing is known before the first `update`."""
        size = len(quotes.vol)
        self.quotes = quotes
        self.scale = np.hypot(quotes.half_spread, _FINEST)
        self.predicted, self.doubt = np.full(size, np.nan), np.full(size, np.nan)
        self.usual, self.fair, self.at_the_money = np.full(size, np.nan), np.full(size, np.nan), np.full(size, np.nan)
        self._spread_error = np.zeros(size)
        self._noise = np.ones(size)

    def update(self, live: Places, touched: Mask) -> None:
        """Compare again the rows that are `touched`; `live` are those in use, sorted by expiry, then strike."""
        q = self.quotes
        at = np.flatnonzero(touched[live])
        smile = local_smile(q.expiry[live], q.x[live], q.vol[live], self.scale[live], at)
        # Spreads are compared among calls, or puts, on one side of the money: those in the money are wider.
        line = 2 * q.expiry + q.out_of_money
        by_kind = live[np.lexsort((q.x[live], line[live]))]
        at_kind = np.flatnonzero(touched[by_kind])
        logs = np.log(self.scale)
        spreads = local_smile(
            line[by_kind], q.x[by_kind], logs[by_kind], np.full(len(by_kind), _SPREAD_NOISE), at_kind
        )
        rows = by_kind[at_kind]
        self.usual[rows] = np.exp(np.where(np.isnan(spreads.value), logs[rows], spreads.value))
        self._spread_error[rows] = np.nan_to_num(spreads.error)
        rows = live[at]
        self.predicted[rows], self._noise[rows] = smile.value, smile.noise
        self.fair[rows] = np.minimum(q.half_spread[rows], _LARGEST_FAIR * self.usual[rows])
        scatter = smile.noise * np.minimum(self.scale[rows], _LARGEST_FAIR * self.usual[rows])
        self.doubt[rows] = np.sqrt(smile.error**2 + scatter**2 + _FINEST**2)
        self._find_the_money(live)

    def _find_the_money(self, live: Places) -> None:
        q = self.quotes
        nearest = live[np.lexsort((np.abs(q.x[live]), q.expiry[live]))]
        expiries, first = np.unique(q.expiry[nearest], return_index=True)
        rows = nearest[first]
        vol = np.where(np.isnan(self.predicted[rows]), q.vol[rows], self.predicted[rows])
        self.at_the_money[live] = vol[np.searchsorted(expiries, q.expiry[live])]

    def misfit(self) -> FloatColumn:
        """`[n]` how far bid or ask are from the prediction, in standard deviations; negative inside the spread."""
        return (np.abs(self.quotes.vol - self.predicted) - self.fair) / self.doubt

    def spread_ratio(self) -> FloatColumn:
        """`[n]` spread over the usual one, where the excess is worth a verdict, less the error of the usual one."""
        ratio = self.scale / self.usual * np.exp(-self._spread_error)
        return np.where((self.scale - self.usual > _EXCESS) & self.quotes.out_of_money, ratio, 0.0)

    def deviations(self) -> FloatColumn:
        """`[n]` distance of the strike from the forward in standard deviations."""
        return np.abs(self.quotes.x) / (self.at_the_money * np.sqrt(self.quotes.years))

    def calendar(self, live: Places) -> FloatColumn:
        """`[n]` by how many standard deviations a row breaks total variance's growth from expiry to expiry.

        Against the predictions of the expiries before and after at the same ln(strike / forward); signed as the fault
        of the row's volatility: positive where it is too high.
        """
        q, result = self.quotes, np.zeros(len(self.quotes.vol))
        known = live[~np.isnan(self.predicted[live])]
        bounds = np.searchsorted(q.expiry[live], expiries := np.unique(q.expiry[live]))
        parts = np.split(live, bounds[1:])
        curves = np.split(known, np.searchsorted(q.expiry[known], expiries)[1:])
        for (before, after), (curve_before, curve_after) in zip(
            itertools.pairwise(parts), itertools.pairwise(curves), strict=True
        ):
            if q.group[before[0]] != q.group[after[0]]:
                continue
            # What is sold later for less than what is bought before breaks the rule; either may be at fault.
            result[before] = np.maximum(result[before], self._above(before, curve_after))
            result[after] = np.where(result[after] > 0.0, result[after], -self._above(after, curve_before, sign=-1.0))
        return result

    def _above(self, rows: Places, curve: Places, sign: float = 1.0) -> FloatColumn:
        """How far the rows' volatilities are above (or below) those with the total variance of a curve."""
        if len(curve) < 2:
            return np.zeros(len(rows))
        q = self.quotes
        x = q.x[rows]
        inside = (x >= q.x[curve[0]]) & (x <= q.x[curve[-1]])
        ratio = np.sqrt(q.years[curve[0]] / q.years[rows])
        bound = ratio * np.interp(x, q.x[curve], self.predicted[curve])
        doubt = ratio * np.interp(x, q.x[curve], self.doubt[curve])
        own = np.where(np.isnan(self.doubt[rows]), self.scale[rows], self.doubt[rows])
        half = np.where(np.isnan(self.fair[rows]), q.half_spread[rows], self.fair[rows])
        excess = (sign * (q.vol[rows] - bound) - half) / np.hypot(own, doubt)
        return np.where(inside, np.maximum(excess, 0.0), 0.0)


def judge_neighbours(judgement: Judgement, quotes: SmileQuotes, rules: CleaningRules) -> FloatColumn:
    """Exclude rows that their neighbours contradict, one neighbourhood's worst row after the other, until none is left.

    The result depends on the rows in use alone, and repeating it with those that are left excludes none.

    Args:
        judgement: after the rules that need no neighbours.
        quotes: of the table.
        rules: settings; nothing happens where none of them compares.

    Returns:
        `[n]` distance of each row in use from the smile through its neighbours, in volatility; 0 where unknown.
    """
    if not rules.compares:
        return np.zeros(len(quotes.vol))
    comparison = Comparison(quotes)
    touched = np.ones(len(quotes.vol), bool)
    while True:
        rows = np.flatnonzero(judgement.used & (quotes.vol > 0.0) & np.isfinite(quotes.x))
        live = rows[np.lexsort((rows, quotes.x[rows], quotes.expiry[rows]))]
        if not live.size:
            break
        comparison.update(live, touched)
        _exclude(judgement, comparison, live, rules)
        gone = ~judgement.used[live]
        if not gone.any():
            break
        touched = np.zeros(len(quotes.vol), bool)
        touched[live[_dilated(gone, 4 * SIDE)]] = True
    return np.nan_to_num(np.abs(quotes.vol - comparison.predicted))


def _exclude(judgement: Judgement, comparison: Comparison, live: Places, rules: CleaningRules) -> None:
    q = comparison.quotes
    size = len(q.vol)
    far = np.zeros(size, bool)
    with np.errstate(all="ignore"):
        deviations, misfit, ratio = comparison.deviations(), comparison.misfit(), comparison.spread_ratio()
    far[live] = deviations[live] > rules.max_deviations
    score = np.zeros((3, size))
    if np.isfinite(rules.max_outlier):
        calendar = comparison.calendar(live)
        limit = max(rules.max_outlier, 1e-9)
        score[0, live] = np.nan_to_num(misfit[live]) / limit
        alone = np.isnan(comparison.predicted)
        agrees = np.sign(calendar) == np.sign(q.vol - comparison.predicted)
        both = np.minimum(np.nan_to_num(misfit), np.abs(calendar)) / (_SECOND_WITNESS * limit)
        # Where a row is excluded by both, the larger fault names it: the calendar only where the smile alone would not.
        score[1, live] = np.where(alone, np.abs(calendar) / limit, np.where(agrees & (score[0] <= 1.0), both, 0.0))[live]
    if np.isfinite(rules.max_spread_ratio):
        limit = np.log(max(rules.max_spread_ratio, 1.0 + 1e-9))
        score[2, live] = (np.log(np.maximum(ratio, 1e-300)) / limit)[live]
    total = score.max(0)
    worst = np.zeros(size, bool)
    worst[live] = (total[live] > 1.0) & (total[live] >= _largest_nearby(total[live], q.expiry[live]))
    kind = score.argmax(0)
    judgement.exclude(
        far,
        Verdict.TOO_FAR,
        lambda i: (
            f"its strike is {deviations[i]:.3g} standard deviations from the forward, above {rules.max_deviations:g}"
        ),
    )
    off = worst & (kind == 0)
    move = _explaining_move(comparison, off)
    judgement.exclude(
        off & np.isfinite(move),
        Verdict.STALE,
        lambda i: (
            f"stale: its volatility {q.vol[i]:.4g} is not the {comparison.predicted[i]:.4g} of its neighbours, "
            f"but would be at a forward {100.0 * move[i]:+.2g} % away"
        ),
    )
    judgement.exclude(
        off,
        Verdict.BUTTERFLY,
        lambda i: (
            f"its volatility {q.vol[i]:.4g} is off the smile of its neighbours, {comparison.predicted[i]:.4g}, by "
            f"{misfit[i]:.3g} standard deviations more than half its spread"
        ),
    )
    judgement.exclude(
        worst & (kind == 1),
        Verdict.CALENDAR,
        lambda i: (
            f"its volatility {q.vol[i]:.4g} breaks the growth of total variance against the next or last expiry by "
            f"{abs(calendar[i]):.3g} standard deviations more than half its spread"
        ),
    )
    judgement.exclude(
        worst & (kind == 2),
        Verdict.WIDE,
        lambda i: (
            f"its spread of {200.0 * q.half_spread[i]:.3g} vol points is far above the "
            f"{200.0 * comparison.usual[i]:.3g} usual among its neighbours"
        ),
    )


def _explaining_move(comparison: Comparison, rows: Mask) -> FloatColumn:
    """Relative move of the forward that explains a row's price, NaN where an hour would not bring it about."""
    q, result = comparison.quotes, np.full(len(rows), np.nan)
    normal = NormalDist()
    for i in np.flatnonzero(rows).tolist():
        vol, root = comparison.predicted[i], np.sqrt(q.years[i])
        if not vol > 0.0:
            continue
        d1 = 0.5 * vol * root - q.x[i] / (vol * root)
        delta = normal.cdf(d1) - (0.0 if q.is_call[i] else 1.0)
        move = normal.pdf(d1) * root * (q.vol[i] - vol) / delta if delta else np.inf
        if abs(move) <= _STALE * comparison.at_the_money[i] * np.sqrt(_HOUR):
            result[i] = -move  # the forward of now is where the price is not
    return result


def _largest_nearby(score: FloatColumn, line: Places) -> FloatColumn:
    """The largest score within a few places on the same line."""
    largest = score.copy()
    for step in range(1, min(_NEAR, len(score) - 1) + 1):
        same = line[step:] == line[:-step]
        largest[step:] = np.maximum(largest[step:], np.where(same, score[:-step], 0.0))
        largest[:-step] = np.maximum(largest[:-step], np.where(same, score[step:], 0.0))
    return largest


def _dilated(mask: Mask, places: int) -> Mask:
    """The mask, and so many places on either side."""
    count = np.concatenate([[0], np.cumsum(mask)])
    i = np.arange(len(mask))
    return count[np.minimum(i + places + 1, len(mask))] > count[np.maximum(i - places, 0)]
