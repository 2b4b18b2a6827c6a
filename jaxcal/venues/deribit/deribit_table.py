"""Deribit: recorded answers of the exchange's public API as a quote table, every entry accounted for."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcal.dates.instants import first_of_poll
from jaxcal.market.forwards.futures_carry import with_carry
from jaxcal.market.tables.table_file import NoQuoteError, QuoteError
from jaxcal.venues.deribit.record import NUMBERS, DeribitRecord, records
from jaxcal.venues.deribit.resaved import as_sent
from jaxcal.venues.json_file import is_lines, json_values, shown

LARGEST_TABLE = 1_000_000  # entries of one file: about a gigabyte of memory
_TEXTS = ("instrument_name", "underlying", "option_type", "underlying_index", "currency_of_price")


@dataclass(frozen=True, eq=False)
class DeribitTable:
    """The entries of recorded answers, one row each, in their order.

    Attributes:
        entries: one row an entry: `kind` (`"option"`, `"future"`, `"perpetual"`, `"instrument"`, `"book"` or
            `"other"`), `fault` (why it is no quote of an option, empty if it is), `instrument_name`, `underlying`,
            `quote_time`, `expiry` (UTC), `strike`, `option_type`, `currency_of_price`, and the columns of
            `deribit_record.NUMBERS`: prices in the coin (inverse options) or in the quote currency (linear ones,
            futures), volatilities as decimals, sizes and `open_interest` in contracts, `funding_8h` as a decimal.

    Example:
        >>> from jaxcal.venues.deribit.deribit_table import DeribitTable
        >>> entry = {"instrument_name": "BTC-27JUN25-100000-C", "bid_price": 0.05, "timestamp": 1749938299495}
        >>> table = DeribitTable.of([[entry, entry | {"instrument_name": "BTC-27JUN25"}]])
        >>> print(table.summary())
        1 of 2 entries is an option's quote; 1 is a future
    """

    entries: pd.DataFrame

    @classmethod
    def of(cls, values: Iterable[object]) -> "DeribitTable":
        """Read answers and messages, as `json.loads` gives them, in the order of their arrival.

        Of several messages on one contract in a subscription the last counts; all get the time of the last message, at
        which they were the state of the exchange. Answers keep their own times; answers of one poll get the time at
        which it began.

        Raises:
            QuoteError: more than a million entries.
        """
        found: list[DeribitRecord] = []
        for value in values:
            for record in records(value):
                if len(found) == LARGEST_TABLE:
                    raise QuoteError(f"more than {LARGEST_TABLE:,} entries: split the recording by time")
                found.append(record)
        return cls(_table(found))

    @classmethod
    def of_records(cls, found: Sequence[DeribitRecord], time: int) -> "DeribitTable":
        """The table of records at one time (ms since 1970), which all of them get."""
        return cls(_table([replace(record, time=time) for record in found]))

    @property
    def quotes(self) -> pd.DataFrame:
        """The tidy table, one row an entry; the column `fault` tells `inspect_quotes` which are not quotes.

        If there are futures among the entries, the column `carry_forward` has the forwards they imply.
        """
        table = self.entries.drop(columns=["kind", "funding_8h"])
        if len(futures := self.futures):
            table = with_carry(table, futures)
        if table["fault"].eq("").all():
            table = table.drop(columns="fault")
        table["profile"] = "crypto"
        return table.drop(columns="discount") if table["discount"].isna().all() else table

    @property
    def futures(self) -> pd.DataFrame:
        """Quotes of futures and perpetuals, for `Carry.from_futures`."""
        kinds = self.entries["kind"]
        wanted = ["instrument_name", "underlying", "quote_time", "expiry", "bid", "ask", "mark", "index_price"]
        table = self.entries.loc[kinds.isin(["future", "perpetual"]), [*wanted, "funding_8h", "open_interest"]]
        return table[table["quote_time"].notna()]

    def summary(self) -> str:
        """One line for a person: how many entries are quotes of options, and what the others are."""
        good = self.entries["fault"].eq("")
        counts: dict[str, int] = dict(Counter(self.entries.loc[~good, "kind"].tolist()))
        names = {"option": "a quote that cannot be used", "future": "a future", "perpetual": "a perpetual"}
        names |= {"instrument": "terms of a contract", "book": "a message of an order book", "other": "something else"}
        parts = [f"{count:,} {'is' if count == 1 else 'are each'} {names[kind]}" for kind, count in counts.items()]
        verb = "is an option's quote" if good.sum() == 1 else "are options' quotes"
        return "; ".join([f"{good.sum():,} of {len(good):,} entries {verb}", *parts])


def read_deribit(path: str | PathLike[str]) -> DeribitTable:
    """Read answers of Deribit's public API: book summaries, tickers, order books, instruments, messages.

    Args:
        path: `.json` (an answer of JSON-RPC, or the list that is its result), `.jsonl` (an answer or a message of a
            subscription on every line), or either of them compressed (`.gz`).

    Returns:
        Every entry of the file, with a reason if it is not an option quote. `docs/deribit.md` has the exchange's
        conventions.

    Raises:
        QuoteError: the file is no JSON or too large; one sentence.
        OSError: it cannot be opened.

    Example:
        >>> import pathlib, tempfile
        >>> import jaxcal as jc
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "ticker.json"
        >>> _ = path.write_text('{"jsonrpc": "2.0", "error": {"code": 10028, "message": "too_many_requests"}}')
        >>> jc.read_deribit(path).entries["fault"][0]
        'the exchange answered with error 10028 too_many_requests'
    """
    return _read(Path(path), json_values(Path(path)))


def _read(file: Path, values: Iterable[object]) -> DeribitTable:
    try:
        return DeribitTable.of(as_sent(value, every=not is_lines(file)) for value in values)
    except QuoteError as error:
        sentence = str(error)
        raise QuoteError(sentence if sentence.startswith(shown(file)) else f"{shown(file)}: {sentence}") from None


def quotes_of(path: Path, values: Iterable[object], otherwise: Callable[[], None] | None = None) -> pd.DataFrame:
    """The tidy table of the values of a file; `otherwise` is called before it is refused for having no quote."""
    table = _read(path, values)
    faults = table.entries["fault"]
    if not faults.eq("").any():
        if not len(faults):
            raise NoQuoteError(f"{shown(path)} is empty: it has no answer")
        if otherwise is not None:
            otherwise()
        raise NoQuoteError(
            f"{shown(path)}: {table.summary()} (the first: {faults.iloc[0]})"
            "; only answers of Deribit and records with the columns of a quote table are read"
        )
    return table.quotes


def _table(found: list[DeribitRecord]) -> pd.DataFrame:
    contracts = [r.instrument for r in found]
    kinds = np.array(
        [i.kind if r.kind == "quote" and i else r.kind for r, i in zip(found, contracts, strict=True)], object
    )
    option = np.array([i is not None and i.kind == "option" for i in contracts], bool)
    linear = np.array([i is not None and not i.inverse for i in contracts], bool)
    columns: dict[str, object] = {
        "instrument_name": [None if i is None else i.name for i in contracts],
        "underlying": [None if i is None else i.underlying for i in contracts],
        "quote_time": _times(found),
        "expiry": _instants([None if i is None else i.expiry_ms for i in contracts]),
        "strike": np.array([np.nan if i is None or i.strike is None else i.strike for i in contracts], float),
        "option_type": [None if i is None or i.is_call is None else "C" if i.is_call else "P" for i in contracts],
        **{name: np.array([r.numbers.get(name, np.nan) for r in found], float) for name in NUMBERS},
        "underlying_index": [r.underlying_index for r in found],
        "currency_of_price": np.where(option & ~linear, "coin", "quote"),
        # The exchange prices linear options without a rate; in coin there is none anyway.
        "discount": np.where(option & linear, 1.0, np.nan),
        "kind": kinds,
        "fault": _faults(found, kinds),
    }
    table = pd.DataFrame(columns)
    for name in _TEXTS:
        table[name] = table[name].astype(object)
    # A given forward is one for the whole expiry: that of a quote that is not used must not enter it.
    table.loc[~(option & table["fault"].eq("").to_numpy()), "forward"] = np.nan
    return table


def _instants(milliseconds: list[int | None]) -> pd.DatetimeIndex:
    instants = np.array(["NaT" if ms is None else ms for ms in milliseconds], "datetime64[ms]")
    return pd.DatetimeIndex(instants.astype("datetime64[us]")).tz_localize("UTC")


def _times(found: list[DeribitRecord]) -> pd.DatetimeIndex:
    """The time of every entry: of the poll it belongs to, or of the last message of a subscription."""
    latest = max((r.time for r in found if r.streamed and r.time is not None), default=None)
    times = _instants([latest if r.streamed and r.time is not None else r.time for r in found])
    instants = times.tz_localize(None).to_numpy().astype("datetime64[us]")
    underlying = np.array(["" if r.instrument is None else r.instrument.underlying for r in found], object)
    answered = np.array([not r.streamed for r in found], bool)
    for name in sorted(set(underlying.tolist())):
        rows = answered & (underlying == name)
        instants[rows] = first_of_poll(instants[rows])
    return pd.DatetimeIndex(instants).tz_localize("UTC")


def _faults(found: list[DeribitRecord], kinds: np.ndarray) -> list[str]:
    """Why an entry is no quote of an option; of several messages on one contract the last in time counts."""
    other = {
        "future": "a future, no option",
        "perpetual": "a perpetual future, no option",
        "instrument": "the terms of a contract, without a price",
        "book": "a message of an order book: the tickers beside it have its best prices",
    }
    faults = [r.fault or other.get(kind, "") for r, kind in zip(found, kinds, strict=True)]
    newest: dict[str, int] = {}
    for row, record in enumerate(found):
        if faults[row] or not record.streamed or record.instrument is None or record.time is None:
            continue
        before = newest.get(record.instrument.name)
        if before is not None and record.time < (found[before].time or 0):
            faults[row] = f"its time is before that of row {before}, an earlier message on the same contract"
            continue
        if before is not None:
            faults[before] = f"row {row} is a later message on the same contract"
        newest[record.instrument.name] = row
    return faults
