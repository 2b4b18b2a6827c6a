"""DeribitRecord: one entry of what Deribit's public API answers, read and checked."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from jaxcal._text import brief
from jaxcal.venues.deribit.exchange_clock import EARLIEST, LATEST
from jaxcal.venues.deribit.instrument import DeribitInstrument

# Our column: the names the exchange has for it, in book summaries, then in tickers and order books.
NUMBERS = {
    "bid": ("bid_price", "best_bid_price"),
    "ask": ("ask_price", "best_ask_price"),
    "bid_size": ("best_bid_amount",),
    "ask_size": ("best_ask_amount",),
    "mark": ("mark_price",),
    "last": ("last", "last_price"),
    "mark_iv": ("mark_iv",),
    "bid_iv": ("bid_iv",),
    "ask_iv": ("ask_iv",),
    "forward": ("underlying_price",),
    "index_price": ("index_price", "estimated_delivery_price"),
    "open_interest": ("open_interest",),
    "funding_8h": ("funding_8h",),
}
_PERCENT = ("mark_iv", "bid_iv", "ask_iv")
_LOWEST_PERCENT = 3.0  # no option of the exchange has had a volatility below it; decimals have nearly all
_YEAR = 365.0 * 86400.0  # seconds
_SAME_UNIT = (
    20.0  # a mark and its volatility that disagree by more than this factor are not in the units they should be
)
_ENVELOPES = 8  # one in another: a recorder's, a subscription's, an answer's


@dataclass(frozen=True)
class DeribitRecord:
    """One entry: the quote of a contract, or a reason why it is none.

    Attributes:
        kind: `"quote"`, `"instrument"` (its terms, without a price), `"book"` (a message of an order book) or
            `"other"`.
        instrument: the contract; None where it is not known.
        fault: a sentence if the entry cannot be used, else empty.
        time: of the exchange, ms since 1970; None where it is not known.
        numbers: by the columns of `NUMBERS`: prices in the exchange's unit, volatilities as decimals, NaN for none.
        underlying_index: what the exchange takes for the forward: a future (`BTC-27JUN25`), a synthetic one
            (`SYN.BTC-16JUN25`) or the index itself (`index_price`).
        streamed: whether it came as a message of a subscription: then a later one replaces it.
        data: the entry itself, for a message of an order book.
    """

    kind: str
    instrument: DeribitInstrument | None
    fault: str = ""
    time: int | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    underlying_index: str | None = None
    streamed: bool = False
    data: Mapping[str, Any] | None = None


def records(value: Any) -> Iterator[DeribitRecord]:
    """The entries of an answer or a message: a JSON-RPC answer, the bare result, a message of a subscription.

    Args:
        value: parsed JSON, or the `ValueError` that took its place. A recorder's envelope
            `{"received_at": ..., "message": ...}` is opened.

    Returns:
        At least one record; entries that cannot be read have a sentence instead of numbers.

    Example:
        >>> entry = {"instrument_name": "BTC-27JUN25-100000-C", "bid_price": 0.05, "mark_iv": 48.5}
        >>> [record] = records([entry | {"timestamp": 1749938299495}])
        >>> record.kind, record.numbers["bid"], record.numbers["mark_iv"]
        ('quote', 0.05, 0.485)
    """
    found = False
    for entry, streamed in _entries(value, False):
        found = True
        yield entry if isinstance(entry, DeribitRecord) else _record(entry, streamed)
    if not found:
        yield _other("an answer without entries")


def _entries(value: Any, streamed: bool, room: int = _ENVELOPES) -> Iterator[tuple[Any, bool]]:
    """The entries inside the envelopes, each with whether it was streamed."""
    if room == 0:
        yield _other("envelopes within envelopes, no quote"), streamed
    elif isinstance(value, ValueError):
        yield _other(str(value)), streamed
    elif isinstance(value, list):
        if value and all(isinstance(entry, str) for entry in value):
            yield _other("an answer that lists channels, no quote"), streamed
            return
        for entry in value:
            yield entry, streamed
    elif not isinstance(value, dict):
        yield value, streamed
    elif "message" in value and "received_at" in value:
        yield from _entries(value["message"], streamed, room - 1)
    elif isinstance(error := value.get("error"), dict):
        text = f"{_short(error.get('code'))} {_short(error.get('message'))}"
        yield _other(f"the exchange answered with error {_short(text)}"), streamed
    elif value.get("method") == "subscription":
        parameters = value.get("params")
        yield from _entries(parameters.get("data") if isinstance(parameters, dict) else None, True, room - 1)
    elif "method" in value:
        yield _other(f"a message {_short(value['method'])}, no quote"), streamed
    elif "result" in value and "jsonrpc" in value:
        yield from _entries(value["result"], streamed, room - 1)
    else:
        yield value, streamed


def _record(entry: Any, streamed: bool) -> DeribitRecord:
    if not isinstance(entry, dict):
        return _other(f"{_short(entry)} is no entry of an answer")
    name = entry.get("instrument_name")
    if not isinstance(name, str):
        return _other("an entry without instrument_name, no quote")
    try:
        instrument = DeribitInstrument.of(name)
    except ValueError as error:
        return _other(str(error))
    if entry.get("type") in ("snapshot", "change") and "change_id" in entry:
        return DeribitRecord("book", instrument, time=_time_or_none(entry), streamed=streamed, data=entry)
    priced = "mark_price" in entry or "bid_price" in entry or "best_bid_price" in entry
    kind = "quote" if priced else "instrument" if "expiration_timestamp" in entry else "other"
    try:
        _agree(entry, instrument)
        if kind == "other":
            raise ValueError("neither a price nor the terms of an instrument")
        if kind == "instrument":
            return DeribitRecord(kind, instrument)
        time = _time(entry)
        numbers = {column: _number(entry, names) for column, names in NUMBERS.items()}
        _check_levels(entry)
        _check_units(numbers, instrument)
        _check_mark(numbers, instrument, time)
    except ValueError as error:
        return DeribitRecord(kind, instrument, fault=str(error), time=_time_or_none(entry), streamed=streamed)
    index = entry.get("underlying_index")
    index = _short(index) if isinstance(index, str) else None
    return DeribitRecord("quote", instrument, "", time, numbers, index, streamed)


def _other(fault: str) -> DeribitRecord:
    return DeribitRecord("other", None, fault)


_short = partial(brief, most=63)


def _agree(entry: Mapping[str, Any], instrument: DeribitInstrument) -> None:
    """What stands beside the name must not contradict it."""
    expected: dict[str, Any] = {"base_currency": instrument.coin}
    if instrument.kind == "option":
        expected |= {
            "quote_currency": instrument.money or instrument.coin,
            "option_type": "call" if instrument.is_call else "put",
            "strike": instrument.strike,
        }
    if instrument.expiry is not None:
        expected["expiration_timestamp"] = instrument.expiry_ms
    for name, value in expected.items():
        if (found := entry.get(name)) is not None and found != value:
            raise ValueError(f"{name} {_short(found)} contradicts the name {instrument.name}, which says {value}")


def _time(entry: Mapping[str, Any]) -> int:
    name = "timestamp" if "timestamp" in entry else "creation_timestamp"
    value = entry.get(name)
    if value is None:
        raise ValueError("timestamp is missing")
    if isinstance(value, bool) or not isinstance(value, int) or not EARLIEST <= value < LATEST:
        raise ValueError(f"{name} {_short(value)} is no time in milliseconds since 1970 between 2010 and 2100")
    return value


def _time_or_none(entry: Mapping[str, Any]) -> int | None:
    try:
        return _time(entry)
    except ValueError:
        return None


def _number(entry: Mapping[str, Any], names: tuple[str, ...]) -> float:
    """The number under the first of the names that is there; NaN for none."""
    name = next((name for name in names if entry.get(name) is not None), None)
    if name is None:
        return math.nan
    value = entry[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} {_short(repr(value) if isinstance(value, str) else value)} is not a number")
    if not abs(value) < 1e15:
        raise ValueError(f"{name} {_short(value)} is no number that a quote can have")
    return float(value) / (100.0 if name in _PERCENT else 1.0)


def _check_levels(entry: Mapping[str, Any]) -> None:
    """An order book's best prices are the first of its levels."""
    for side in ("bid", "ask"):
        levels, best = entry.get(f"{side}s"), entry.get(f"best_{side}_price")
        if levels is None or best is None:
            continue
        if not isinstance(levels, list) or any(not isinstance(level, list) or len(level) != 2 for level in levels):
            raise ValueError(f"{side}s is no list of prices with amounts")
        if levels and levels[0][0] != best:
            raise ValueError(
                f"best_{side}_price {_short(best)} is not the first of the {side}s, {_short(levels[0][0])}"
            )


def _check_units(numbers: Mapping[str, float], instrument: DeribitInstrument) -> None:
    """Refuse prices and volatilities that can only be in another unit, and forwards of another coin."""
    if instrument.kind != "option":
        return
    percent = 100.0 * numbers["mark_iv"]
    if 0.0 < percent < _LOWEST_PERCENT:
        raise ValueError(f"mark_iv {percent:g} looks like a decimal: the exchange gives percent")
    forward, index, strike = numbers["forward"], numbers["index_price"], instrument.strike
    assert strike is not None
    if forward > 0.0 and index > 0.0 and not 0.5 < forward / index < 2.0:
        raise ValueError(f"underlying_price {forward:g} is not the forward of an index of {index:g}: of another coin?")
    # A call is worth less than its underlying and a put less than its strike. A bid above that is no bid.
    bound = (forward if forward > 0.0 else math.inf) if instrument.is_call else strike
    unit = instrument.money or "USD"
    if instrument.inverse:
        bound, unit = (1.0 if instrument.is_call else strike / forward if forward > 0.0 else math.inf), instrument.coin
    for name in ("bid", "mark"):
        if numbers[name] > bound * 1.02:
            raise ValueError(
                f"{name} {numbers[name]:g} is above {bound:.4g} {unit}, the most that this "
                f"{'call' if instrument.is_call else 'put'} can be worth: is it in another unit?"
            )


def _check_mark(numbers: Mapping[str, float], instrument: DeribitInstrument, time: int) -> None:
    """The mark must be about what its volatility makes it (Black 1976), or one of the two is in another unit."""
    mark, forward, vol = numbers["mark"], numbers["forward"], numbers["mark_iv"]
    if instrument.strike is None or instrument.expiry is None or not (mark >= 0.0 and forward > 0.0 and vol > 0.0):
        return
    deviation = vol * math.sqrt(max(instrument.expiry.timestamp() - 1e-3 * time, 1.0) / _YEAR)
    d1 = math.log(forward / instrument.strike) / deviation + 0.5 * deviation
    sign = 1.0 if instrument.is_call else -1.0
    share = sign * (_normal(sign * d1) - instrument.strike / forward * _normal(sign * (d1 - deviation)))
    value = share * (1.0 if instrument.inverse else forward)
    low, high = sorted((mark, value))
    if high > 1e-3 * (1.0 if instrument.inverse else forward) and high > _SAME_UNIT * low:
        unit = instrument.money or instrument.coin
        raise ValueError(
            f"mark_price {mark:g} is not near the {value:.4g} {unit} that mark_iv {100.0 * vol:g} % makes it at "
            f"underlying_price {forward:g}: one of them is in another unit"
        )


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))
