"""Strategies: portfolios of calls with non-negative payoff, whose cost must not be negative."""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxcal._types import FloatColumn, Places

KINDS: tuple[str, ...] = ("bounds", "vertical", "butterfly", "calendar")


class Strategies(NamedTuple):
    """Portfolios of at most three calls and cash, in units of the forward of each call's expiry.

    With prices `c` a portfolio costs `cash + sum(weight * c[place])`; no arbitrage means that no cost is negative.

    Attributes:
        kind: `[s]` position in `KINDS`.
        place: `[s, 3]` which calls; the first is the one whose price the strategy is about.
        weight: `[s, 3]` how many of each, negative for those sold; 0 fills up.
        cash: `[s]`.
    """

    kind: NDArray[np.int8]
    place: Places
    weight: FloatColumn
    cash: FloatColumn

    def cost(self, price: FloatColumn) -> FloatColumn:
        """Cost of each portfolio at these prices `[n]`."""
        return self.cash + (self.weight * price[self.place]).sum(1)

    def cost_to_trade(self, bid: FloatColumn, ask: FloatColumn) -> FloatColumn:
        """Cost of each portfolio where one buys at the ask and sells at the bid; infinite where one is missing."""
        paid = np.where(self.weight > 0.0, ask[self.place], bid[self.place])
        each = np.where(self.weight == 0.0, 0.0, self.weight * paid)
        return self.cash + np.where(np.isnan(each), np.inf, each).sum(1)

    def take(self, rows: NDArray[np.bool_] | Places) -> "Strategies":
        """Some of the strategies."""
        return Strategies._make(field[rows] for field in self)


def smile_strategies(smile: Places, moneyness: FloatColumn) -> Strategies:
    """The strategies within one expiry: bounds of each call, spreads and butterflies of neighbours in strike.

    Args:
        smile: `[k]` places of the calls of the expiry, by rising strike, no strike twice.
        moneyness: `[n]` strike over forward of every call.

    Returns:
        The strategies. A call of strike 0, worth 1, is the neighbour of the first.

    Source: P. Carr and D. Madan (2005), "A note on sufficient conditions for no arbitrage", eqs. 1 to 3.
    """
    m = moneyness[smile]
    one = np.ones(len(smile))
    parts = [_legs(0, smile, one, cash=m - 1.0), _legs(0, smile, one), _legs(0, smile, -one, cash=one)]
    low, high, step = smile[:-1], smile[1:], np.diff(m)
    parts += [
        _legs(1, high, -one[1:], low, one[1:]),  # a higher strike is worth no more
        _legs(1, low, -one[1:], high, one[1:], cash=step),  # by at most the difference of the strikes
    ]
    if len(smile) > 1:
        share = step[:1] / m[1:2]
        parts.append(_legs(2, smile[:1], -one[:1], smile[1:2], 1.0 - share, cash=share))
    left, right = m[1:-1] - m[:-2], m[2:] - m[1:-1]
    share = right / (left + right)
    parts.append(_legs(2, smile[1:-1], -one[2:], smile[:-2], share, smile[2:], 1.0 - share))
    return _join(parts)


def calendar_strategies(early: Places, late: Places, moneyness: FloatColumn) -> Strategies:
    """The strategies across two expiries: at equal strike over forward a later call is worth no less.

    An early call must not cost more than the chord of the later ones around it; a later call must not cost less than
    the chords of the early ones on either side of it, drawn on to its strike. Both together are sufficient for a pair.

    Args:
        early: `[k]` places of the calls of the earlier expiry, by rising strike, no strike twice.
        late: `[l]` likewise of the later one.
        moneyness: `[n]` strike over forward of every call.

    Source: M. Davis and D. Hobson (2007), "The range of traded option prices", section 4; S. Cohen, C. Reisinger and
        S. Wang (2020), "Detecting and repairing arbitrage in traded option prices", section 2.
    """
    m, m_late = moneyness[early], moneyness[late]
    one = np.ones(len(early))
    after = np.searchsorted(m_late, m)  # the first later strike that is not below
    inside, first, last = (after > 0) & (after < len(late)), after == 0, after == len(late)
    right = late[np.minimum(after, len(late) - 1)]
    left = late[np.maximum(after - 1, 0)]
    share = (moneyness[right] - m) / np.where(inside, moneyness[right] - moneyness[left], 1.0)
    below = (1.0 - m / moneyness[right])[first]  # of the call of strike 0
    parts = [
        _legs(3, early[inside], -one[inside], left[inside], share[inside], right[inside], 1.0 - share[inside]),
        _legs(3, early[first], -one[first], right[first], 1.0 - below, cash=below),
        _legs(3, early[last], -one[last], np.full(last.sum(), late[-1]), one[last]),
    ]
    before = np.searchsorted(m, m_late, "right") - 1  # the last early strike that is not above
    for inner, outer in ((0, -1), (1, 2)):  # chords on the left and on the right
        near, far = before + inner, before + outer
        known = (np.minimum(near, far) >= 0) & (np.maximum(near, far) < len(early))
        target, near, far = late[known], early[near[known]], early[far[known]]
        reach = (moneyness[target] - moneyness[near]) / (moneyness[near] - moneyness[far])
        parts.append(_legs(3, target, np.ones(len(target)), near, -1.0 - reach, far, reach))
    # the chord from the call of strike 0, which is worth 1, to the first early one; at its own strike it is known
    target = late[(before == 0) & (m_late > m[0])]
    reach = moneyness[target] / m[0] - 1.0
    parts.append(_legs(3, target, np.ones(len(target)), np.full(len(target), early[0]), -1.0 - reach, cash=reach))
    return _join(parts)


def all_strategies(expiry: Places, moneyness: FloatColumn) -> "list[Strategies]":
    """Of every expiry, then of every pair of expiries; the calls are sorted by expiry, then strike."""
    smiles = np.split(np.arange(len(expiry)), np.flatnonzero(np.diff(expiry)) + 1) if len(expiry) else []
    within = [smile_strategies(smile, moneyness) for smile in smiles]
    return within + [calendar_strategies(early, late, moneyness) for early, late in itertools.combinations(smiles, 2)]


def _legs(
    kind: int,
    first: Places,
    first_weight: FloatColumn,
    second: Places | None = None,
    second_weight: FloatColumn | None = None,
    third: Places | None = None,
    third_weight: FloatColumn | None = None,
    *,
    cash: FloatColumn | None = None,
) -> Strategies:
    """Strategies of up to three legs, `[s]` each."""
    none = np.zeros(len(first))
    places = [first, first if second is None else second, first if third is None else third]
    weights = [first_weight, none if second_weight is None else second_weight]
    weights.append(none if third_weight is None else third_weight)
    return Strategies(
        np.full(len(first), kind, np.int8), np.stack(places, 1), np.stack(weights, 1), none if cash is None else cash
    )


def _join(parts: list[Strategies]) -> Strategies:
    return Strategies._make(map(np.concatenate, zip(*parts, strict=True)))
