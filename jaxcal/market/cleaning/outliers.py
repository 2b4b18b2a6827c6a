"""Outliers: quotes that their neighbours in strike and expiry contradict."""

from statistics import NormalDist

import numpy as np

from jaxcal._types import FloatColumn, Mask, Places
from jaxcal.market.cleaning.cleaning_rules import RowRules
from jaxcal.market.cleaning.local_smile import SIDE
from jaxcal.market.cleaning.neighbour_comparison import NeighbourComparison, SmileQuotes
from jaxcal.market.cleaning.row_rules import Judgement
from jaxcal.market.tables.verdict import Verdict

_NEAR = 3  # places: of rows so close together only the worst is excluded at a time
_SECOND_WITNESS = 0.5  # of the threshold is enough where the next expiry contradicts a quote as well
_HOUR = 1.0 / 8760.0
_STALE = 3.0  # standard deviations of an hour's move that a stale quote may be behind


def judge_neighbours(judgement: Judgement, quotes: SmileQuotes, rules: RowRules) -> FloatColumn:
    """Exclude rows that their neighbours contradict, one neighbourhood's worst row after the other, until none is left.

    The result depends on the rows in use alone, and repeating it with those that are left excludes none.

    Args:
        judgement: after the rules that need no neighbours.
        quotes: of the table.
        rules: settings of every row; nothing happens where none of them compares.

    Returns:
        `[n]` volatility of the smile through the rows that are left, at the strike of every row, used or not; NaN
        beyond the last strikes, where there are too few quotes, and where no rule compares.
    """
    if not rules.compares:
        return np.full(len(quotes.vol), np.nan)
    comparison = NeighbourComparison(quotes)
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
    return comparison.smile(live)


def _exclude(judgement: Judgement, comparison: NeighbourComparison, live: Places, rules: RowRules) -> None:
    q = comparison.quotes
    size = len(q.vol)
    far = np.zeros(size, bool)
    with np.errstate(all="ignore"):
        deviations, misfit, ratio = comparison.deviations(), comparison.misfit(), comparison.spread_ratio()
    far[live] = deviations[live] > rules.max_deviations[live]
    score, calendar = np.zeros((3, size)), np.zeros(size)
    if np.isfinite(rules.max_outlier).any():
        calendar = comparison.calendar(live)
        limit = np.maximum(rules.max_outlier, 1e-9)
        score[0, live] = np.nan_to_num(misfit[live]) / limit[live]
        alone = np.isnan(comparison.predicted)
        agrees = np.sign(calendar) == np.sign(q.vol - comparison.predicted)
        both = np.minimum(np.nan_to_num(misfit), np.abs(calendar)) / (_SECOND_WITNESS * limit)
        # The calendar names a row only where its own smile alone would not exclude it.
        score[1, live] = np.where(alone, np.abs(calendar) / limit, np.where(agrees & (score[0] <= 1.0), both, 0.0))[
            live
        ]
    if np.isfinite(rules.max_spread_ratio).any():
        limit = np.log(np.maximum(rules.max_spread_ratio, 1.0 + 1e-9))
        score[2, live] = (np.log(np.maximum(ratio, 1e-300)) / limit)[live]
    total = score.max(0)
    worst = np.zeros(size, bool)
    worst[live] = (total[live] > 1.0) & (total[live] >= _largest_nearby(total[live], q.expiry[live]))
    kind = score.argmax(0)
    judgement.exclude(
        far,
        Verdict.TOO_FAR,
        lambda i: (
            f"its strike is {deviations[i]:.3g} standard deviations from the forward, above "
            f"{rules.named('max_deviations', i)}"
        ),
    )
    off = worst & (kind == 0)
    move = _explaining_move(comparison, off)
    judgement.exclude(
        off & np.isfinite(move),
        Verdict.STALE,
        lambda i: (
            f"stale: its volatility {q.vol[i]:.4g} is not the {comparison.predicted[i]:.4g} of its neighbours, "
            f"but would be at a forward {100.0 * move[i]:+.2g} % away: "
            f"off by {misfit[i]:.3g} standard deviations more than half its spread, above "
            f"{rules.named('max_outlier', i)}"
        ),
    )
    judgement.exclude(
        off,
        Verdict.BUTTERFLY,
        lambda i: (
            f"its volatility {q.vol[i]:.4g} is off the smile of its neighbours, {comparison.predicted[i]:.4g}, by "
            f"{misfit[i]:.3g} standard deviations more than half its spread, above {rules.named('max_outlier', i)}"
        ),
    )
    judgement.exclude(
        worst & (kind == 1),
        Verdict.CALENDAR,
        lambda i: (
            f"its volatility {q.vol[i]:.4g} breaks the growth of total variance against the next or last expiry by "
            f"{abs(calendar[i]):.3g} standard deviations more than half its spread; its limit is "
            f"{rules.named('max_outlier', i)}"
        ),
    )
    judgement.exclude(
        worst & (kind == 2),
        Verdict.WIDE,
        lambda i: (
            f"its spread of {200.0 * q.half_spread[i]:.3g} vol points is far above the "
            f"{200.0 * comparison.usual[i]:.3g} usual among its neighbours: more than "
            f"{rules.named('max_spread_ratio', i)} times"
        ),
    )


def _explaining_move(comparison: NeighbourComparison, rows: Mask) -> FloatColumn:
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
