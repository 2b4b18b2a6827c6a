"""DeribitMarket: what is known of the contracts that are followed, from the messages of the exchange."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from jaxcal.venues.deribit.deribit_table import DeribitTable
from jaxcal.venues.deribit.record import DeribitRecord, records
from jaxcal.venues.deribit_stream.book import BookChange, BookVerdict, DeribitBook

_NO_BOOK = DeribitBook()
_SKEW = 10_000.0  # ms by which a message may be ahead of the clock and count as on time
_BESIDE = ("forward", "index_price", "mark", "mark_iv")  # what a ticker says beside the levels of its book


@dataclass(frozen=True)
class Contract:
    """What is known of one contract.

    Attributes:
        ticker: its last ticker, None before the first.
        book: its order book.
        overdue: when (ms of the exchange) the book is dropped for want of a change; None if it waits for nothing.
        asked: when a snapshot of the book was asked for, None if none is on its way.
    """

    ticker: DeribitRecord | None = None
    book: DeribitBook = _NO_BOOK
    overdue: int | None = None
    asked: int | None = None


@dataclass(frozen=True)
class MarketView:
    """A snapshot of the market; other threads may read it while messages come in.

    Attributes:
        contracts: by name.
        time: of the exchange, ms since 1970.
        max_age: seconds after which a quote without a message is stale.
    """

    contracts: Mapping[str, Contract]
    time: int
    max_age: float

    def table(self) -> DeribitTable:
        """The quotes as a table: a row for every contract with a ticker, all of the time of the view.

        Bid and ask are those of the order book, where it is in order and not older than the ticker; else those of
        the ticker. Contracts without a message for `max_age` seconds have a fault.
        """
        found = [self._record(contract) for contract in self.contracts.values()]
        return DeribitTable.of_records([record for record in found if record is not None], self.time)

    def levels(self, venue: str = "deribit") -> pd.DataFrame:
        """The levels of all order books that are in order and not stale, for `merge_books`.

        Returns:
            One row a level: `venue`, `instrument_name`, `quote_time` (of the view), `side`, `level` (0 = best),
            `price`, `amount`, and of the contract's ticker `forward`, `index_price`, `mark` and `mark_iv`.
        """
        rows: list[tuple[object, ...]] = []
        for name, contract in self.contracts.items():
            book = contract.book
            if not book.in_order or book.time is None or 1e-3 * (self.time - book.time) > self.max_age:
                continue
            beside = (
                (None,) * len(_BESIDE)
                if contract.ticker is None
                else tuple(contract.ticker.numbers.get(key) for key in _BESIDE)
            )
            for side, found in (("bid", sorted(book.bids.items(), reverse=True)), ("ask", sorted(book.asks.items()))):
                rows.extend((name, side, i, *level, *beside) for i, level in enumerate(found))
        table = pd.DataFrame(rows, columns=["instrument_name", "side", "level", "price", "amount", *_BESIDE])
        table.insert(0, "venue", venue)
        table.insert(2, "quote_time", pd.Timestamp(self.time, unit="ms", tz="UTC"))
        return table

    def _record(self, contract: Contract) -> DeribitRecord | None:
        ticker, book = contract.ticker, contract.book
        if ticker is None:
            return None
        last = ticker.time or 0
        if book.in_order and book.time is not None and book.time >= last:
            last, numbers = book.time, dict(ticker.numbers)
            for side, best in (("bid", book.best_bid), ("ask", book.best_ask)):
                numbers[side], numbers[f"{side}_size"] = best or (float("nan"), float("nan"))
            ticker = replace(ticker, numbers=numbers)
        age = 1e-3 * (self.time - last)
        if age > self.max_age:
            fault = f"stale: its last message is {age:.0f} s old, above {self.max_age:g} s"
            return replace(ticker, fault=fault, numbers={})
        return ticker


class DeribitMarket:
    """The state of the contracts that are followed; `receive` takes a message in.

    It does no input and output, and reads no clock: times are arguments. It is changed by one thread; `view` gives
    what others may read. Whatever comes in, it holds no more than the books of the contracts that are followed.

    Args:
        patience: seconds for which an order book waits for a missing change.
        max_age: seconds without a message after which a contract's quote is stale.
        horizon: seconds by which a message may be ahead of the clock; one further ahead is rejected.

    Attributes:
        counts: how many messages came, by what became of them: `"ticker"`, `"late ticker"`, the verdicts of books in
            lower case, `"not followed"`, `"garbage"`, `"other"`, and `"ahead of the clock"`. The feed counts there
            too what is no message of a subscription: see `DeribitFeed`.
    """

    def __init__(self, *, patience: float = 1.0, max_age: float = 60.0, horizon: float = 300.0) -> None:
        self.patience, self.max_age, self.horizon = patience, max_age, horizon
        self.counts: Counter[str] = Counter()
        self._contracts: dict[str, Contract] = {}

    @property
    def names(self) -> frozenset[str]:
        """The contracts that are followed."""
        return frozenset(self._contracts)

    def follow(self, names: Iterable[str]) -> None:
        """Follow exactly these: others are forgotten, new ones begin empty."""
        self._contracts = {name: self._contracts.get(name, Contract()) for name in names}

    def receive(self, message: Any, now: int) -> list[int]:
        """Take in a message of a subscription, parsed; anything else is counted.

        Args:
            message: parsed JSON.
            now: time of the exchange, ms since 1970.

        Returns:
            The times (ms of the exchange) of quotes of contracts that are followed, those that are rejected too.
        """
        times: list[int] = []
        for record in records(message):
            self.counts[self._take(record, now)] += 1
            if record.kind == "quote" and record.streamed and record.time is not None and self._follows(record):
                times.append(record.time)
        return times

    def clock_moved(self, by: int) -> None:
        """The clock that `now` is read from was put forward by so many ms, or back: what is awaited moves with it."""
        for name, contract in self._contracts.items():
            overdue, asked = (None if time is None else time + by for time in (contract.overdue, contract.asked))
            self._contracts[name] = replace(contract, overdue=overdue, asked=asked)

    def _follows(self, record: DeribitRecord) -> bool:
        return record.instrument is not None and record.instrument.name in self._contracts

    def _take(self, record: DeribitRecord, now: int) -> str:
        if record.kind not in ("quote", "book") or record.instrument is None or not record.streamed or record.fault:
            return "garbage" if record.fault else "other"
        name = record.instrument.name
        contract = self._contracts.get(name)
        if contract is None:
            return "not followed"
        if record.time is None or record.time > now + 1000.0 * self.horizon:
            if record.kind == "book":
                self._doubt(name, now)
            return "garbage" if record.time is None else "ahead of the clock"
        if record.kind == "book":
            return self._take_book(name, contract, record, now)
        last = 0 if contract.ticker is None else contract.ticker.time or 0
        ahead = last > now + _SKEW >= record.time  # on arrival: it must not make all later ones late
        if last > record.time and not ahead:
            return "late ticker"
        self._contracts[name] = replace(contract, ticker=record)
        return "ticker"

    def _take_book(self, name: str, contract: Contract, record: DeribitRecord, now: int) -> str:
        try:
            change = BookChange.of(record.data or {})
        except ValueError:
            self._doubt(name, now)
            return "garbage"
        book, verdict = contract.book.take(change)
        overdue, asked = contract.overdue, contract.asked
        if verdict is BookVerdict.GAP:
            overdue = now
        elif book.in_order:
            overdue = None
        elif overdue is None:
            overdue = now + int(1000.0 * self.patience)
        if verdict is BookVerdict.SNAPSHOT:
            asked = None
        self._contracts[name] = Contract(contract.ticker, book, overdue, asked)
        return verdict.name.lower()

    def _doubt(self, name: str, now: int) -> None:
        """A message of this contract's book cannot be read: what it changed is not in the book, which is given up."""
        contract = self._contracts[name]
        self._contracts[name] = Contract(contract.ticker, contract.book.given_up(trust=True), now, contract.asked)

    def snapshots_needed(self, now: int, *, again: float = 5.0) -> list[str]:
        """Contracts whose order books need a new snapshot; they are then marked as asked for.

        Those are the books that have waited for longer than the patience, and those whose snapshot was asked for
        `again` seconds ago and has not come. A book without any message has asked when it was subscribed to.
        """
        needed = []
        for name, contract in self._contracts.items():
            late = contract.overdue is not None and now >= contract.overdue
            unanswered = contract.asked is not None and now >= contract.asked + 1000.0 * again
            if (late and contract.asked is None) or unanswered:
                needed.append(name)
                self.counts["snapshots asked for again"] += 1
                self._contracts[name] = Contract(
                    contract.ticker, contract.book.given_up(trust=not unanswered), None, now
                )
        return needed

    def subscribed(self, names: Iterable[str], now: int) -> None:
        """The books of these contracts have been subscribed to: their snapshots are on the way."""
        for name in names:
            if name in self._contracts:
                self._contracts[name] = replace(self._contracts[name], asked=now)

    def disconnected(self) -> None:
        """No change of a book can be trusted to be the next one: all wait for a snapshot. Tickers stay until stale."""
        for name, contract in self._contracts.items():
            self._contracts[name] = Contract(contract.ticker, contract.book.given_up())

    def view(self, now: int) -> MarketView:
        """The market as it stands, at this time (ms of the exchange)."""
        return MarketView(dict(self._contracts), now, self.max_age)
