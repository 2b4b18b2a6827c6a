"""NeighbourComparison: every quote beside what its neighbours in strike and expiry make of it."""

import itertools
from dataclasses import dataclass

import numpy as np

from jaxcal._types import FloatColumn, Mask, Places
from jaxcal.market.cleaning.local_smile import local_smile

_UNSAID = 0.01  # volatility: half-spread of a quote without bid and ask, as one in the wings of an index has
_FEWEST_STRIKES = 7  # beside a quote's own: a parabola through fewer says nothing of a wing beyond them
_FINEST = 0.0003  # volatility: two quotes cannot be told apart by less, whatever their spreads say
_LARGEST_FAIR = 1.2  # usual spreads that a quote's own may have before it counts as a fault rather than as doubt
_EXCESS = 0.02  # volatility: a spread that exceeds the usual one by less is not worth a verdict
_SPREAD_NOISE = 0.3  # of the logarithm of spreads side by side


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


class NeighbourComparison:
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
        smile = local_smile(q.expiry[live], q.x[live], q.vol[live], self.scale[live], at, fewest=_FEWEST_STRIKES)
        # Spreads are compared among calls, or puts, on one side of the money: those in the money are wider.
        line = 2 * q.expiry + q.out_of_money
        by_kind = live[np.lexsort((q.x[live], line[live]))]
        at_kind = np.flatnonzero(touched[by_kind])
        logs = np.log(self.scale)
        spreads = local_smile(line[by_kind], q.x[by_kind], logs[by_kind], np.full(len(by_kind), _SPREAD_NOISE), at_kind)
        rows = by_kind[at_kind]
        self.usual[rows] = np.exp(np.where(np.isnan(spreads.value), logs[rows], spreads.value))
        self._spread_error[rows] = np.nan_to_num(spreads.error)
        rows = live[at]
        self.predicted[rows], self._noise[rows] = smile.value, smile.noise
        fair = np.minimum(q.half_spread[rows], _LARGEST_FAIR * self.usual[rows])
        self.fair[rows] = np.where(q.half_spread[rows] > 0.0, fair, _UNSAID)
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

    def smile(self, live: Places) -> FloatColumn:
        """`[n]` the predictions of the rows in use, joined by straight lines, at every row's strike; NaN outside."""
        q, result = self.quotes, np.full(len(self.quotes.vol), np.nan)
        known = live[~np.isnan(self.predicted[live])]
        everyone = np.flatnonzero(np.isfinite(q.x) & (q.expiry >= 0))
        everyone = everyone[np.argsort(q.expiry[everyone], kind="stable")]
        expiries = np.unique(q.expiry[known])
        starts = [np.searchsorted(q.expiry[rows], expiries, "left") for rows in (known, everyone)]
        ends = [np.searchsorted(q.expiry[rows], expiries, "right") for rows in (known, everyone)]
        for a, first, b, last in zip(*starts, *ends, strict=True):
            curve, rows = known[a:b], everyone[first:last]
            result[rows] = np.interp(q.x[rows], q.x[curve], self.predicted[curve], left=np.nan, right=np.nan)
        return result

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
            too_high = self._above(before, curve_after)
            result[before] = np.where(too_high > np.abs(result[before]), too_high, result[before])
            result[after] = -self._above(after, curve_before, sign=-1.0)
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
