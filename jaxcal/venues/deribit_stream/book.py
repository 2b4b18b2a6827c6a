"""DeribitBook: the order book of one contract, from a snapshot and the changes after it, with their order checked."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxcal._text import brief

Level = tuple[str, float, float]  # what becomes of it, price, amount
_MOST_WAITING = 32  # changes that are out of order
_MOST_LEVELS = 5000  # of one side: more are no book of the exchange
_ACTIONS = ("new", "change", "delete")
_LARGEST_ID = 2**63
_LARGEST_NUMBER = 1e15  # of a price or an amount: more is none that the exchange can have


class BookVerdict(enum.Enum):
    """What became of a message of an order book."""

    SNAPSHOT = "a snapshot: the book is known"
    APPLIED = "applied, with all that waited for it"
    REPEATED = "it is in the book already"
    WAITING = "it came before its predecessor, and waits for it"
    GAP = "a predecessor is missing: the book needs a new snapshot"


@dataclass(frozen=True)
class BookChange:
    """A message of the channel `book.*`, checked.

    Attributes:
        snapshot: whether it holds the whole book.
        change_id: number of the state after it; they only grow.
        previous: number of the state before it; None for a snapshot.
        time: of the exchange, ms since 1970.
        bids, asks: levels: `"new"`, `"change"` or `"delete"`, price, amount.
    """

    snapshot: bool
    change_id: int
    previous: int | None
    time: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "BookChange":
        """Read the data of a message.

        Raises:
            ValueError: it is none; a sentence.

        Example:
            >>> data = {"type": "change", "change_id": 8, "prev_change_id": 7, "timestamp": 1626993724318}
            >>> BookChange.of(data | {"bids": [["delete", 0.01, 0.0]], "asks": []}).previous
            7
        """
        snapshot = data.get("type") == "snapshot"
        previous = None if snapshot else _count(data, "prev_change_id")
        change_id, time = _count(data, "change_id"), _count(data, "timestamp")
        if previous is not None and previous >= change_id:
            raise ValueError(f"prev_change_id {previous} is not before change_id {change_id}")
        return cls(snapshot, change_id, previous, time, _levels(data, "bids"), _levels(data, "asks"))


@dataclass(frozen=True)
class DeribitBook:
    """The book of one contract; `take` gives the next one.

    A change is applied where its `prev_change_id` is the number of the book. One that is older is a repetition. One
    that is newer is out of order: it waits for the missing ones, and if they do not come the book is dropped until
    a snapshot comes. The number of changes that wait is bounded.

    Attributes:
        bids, asks: amount by price; as they were before, while the book is not in order.
        change_id: number of the state; None before the first snapshot and after a gap.
        time: of the last message in the book, ms since 1970.
        waiting: changes that came out of order.
        floor: number below which a snapshot is outdated; None if any will do.
    """

    bids: Mapping[float, float] = field(default_factory=dict)
    asks: Mapping[float, float] = field(default_factory=dict)
    change_id: int | None = None
    time: int | None = None
    waiting: tuple[BookChange, ...] = ()
    floor: int | None = None

    @property
    def in_order(self) -> bool:
        """Whether all changes since a snapshot are in it."""
        return self.change_id is not None and not self.waiting

    @property
    def best_bid(self) -> tuple[float, float] | None:
        """Price and amount; None where nobody bids."""
        return max(self.bids.items(), default=None)

    @property
    def best_ask(self) -> tuple[float, float] | None:
        """Price and amount; None where nobody offers."""
        return min(self.asks.items(), default=None)

    def take(self, change: BookChange) -> tuple["DeribitBook", BookVerdict]:
        """The book after a message, and what became of the message."""
        if change.snapshot:
            if change.change_id < (self.floor or 0 if self.change_id is None else self.change_id):
                return self, BookVerdict.REPEATED
            fresh = DeribitBook(_applied({}, change.bids), _applied({}, change.asks), change.change_id, change.time)
            return fresh._with(self.waiting, BookVerdict.SNAPSHOT)
        if self.change_id is not None and change.change_id <= self.change_id:
            if self.time is not None and change.time > self.time:  # newer by the clock: a number was wrong
                return self.given_up(), BookVerdict.GAP
            return self, BookVerdict.REPEATED
        if change in self.waiting:
            return self, BookVerdict.REPEATED
        return self._with((*self.waiting, change), BookVerdict.APPLIED)

    def given_up(self, *, trust: bool = False) -> "DeribitBook":
        """The book once its missing change is not expected any more: it waits for a snapshot.

        Args:
            trust: whether the numbers seen so far are believed: then a snapshot must be as new as the newest of them.
        """
        seen = [change.change_id for change in self.waiting]
        seen += [number for number in (self.change_id, self.floor) if number is not None]
        return DeribitBook(self.bids, self.asks, None, self.time, floor=max(seen, default=None) if trust else None)

    def _with(self, changes: tuple[BookChange, ...], good: BookVerdict) -> tuple["DeribitBook", BookVerdict]:
        """The book with those of the changes that follow it one after another; the later ones wait."""
        bids, asks, number, time = self.bids, self.asks, self.change_id, self.time
        waiting, applied = [], False
        for change in sorted(changes, key=lambda change: change.change_id):
            if number is None or (change.previous is not None and change.previous > number):
                waiting.append(change)
            elif change.change_id <= number:
                continue
            elif change.previous == number:
                bids, asks = _applied(bids, change.bids), _applied(asks, change.asks)
                number, time, applied = change.change_id, change.time, True
            else:  # it begins inside what is in the book: the sequences do not fit together
                return self.given_up(), BookVerdict.GAP
        if len(waiting) > _MOST_WAITING or max(len(bids), len(asks)) > _MOST_LEVELS:
            return self.given_up(), BookVerdict.GAP
        if (applied or good is BookVerdict.SNAPSHOT) and bids and asks and max(bids) >= min(asks):
            return self.given_up(), BookVerdict.GAP  # an exchange matches such orders: a number in it is wrong
        verdict = good if applied or good is BookVerdict.SNAPSHOT else BookVerdict.WAITING
        return DeribitBook(bids, asks, number, time, tuple(waiting), self.floor if number is None else None), verdict


def _applied(side: Mapping[float, float], levels: tuple[Level, ...]) -> Mapping[float, float]:
    if not levels:
        return side
    changed = dict(side)
    for action, price, amount in levels:
        if action == "delete" or amount == 0.0:
            changed.pop(price, None)
        else:
            changed[price] = amount
    return changed


def _count(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST_ID:
        raise ValueError(f"{name} {brief(value, 40)!r} is no count")
    return value


def _levels(data: Mapping[str, Any], name: str) -> tuple[Level, ...]:
    levels = data.get(name)
    if not isinstance(levels, list) or len(levels) > 2 * _MOST_LEVELS:
        raise ValueError(f"{name} is no list of levels")
    found: list[Level] = []
    for level in levels:
        if not isinstance(level, list) or len(level) != 3 or level[0] not in _ACTIONS:
            raise ValueError(f"{name} has an entry that is no level: {brief(level, 40)!r}")
        price, amount = level[1:]
        for number in (price, amount):
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0.0 <= number < _LARGEST_NUMBER:
                raise ValueError(f"{name} has a level with {brief(number, 40)!r}, which is no price or amount")
        if float(price) == 0.0:
            raise ValueError(f"{name} has a level at a price of 0, which is no price")
        found.append((level[0], float(price), float(amount)))
    return tuple(found)
