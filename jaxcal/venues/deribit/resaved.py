"""as_sent: entries of Deribit that another program has saved again, as the exchange sent them."""

from collections.abc import Mapping
from typing import Any

from jaxcal.market.tables.cells import number_of
from jaxcal.venues.deribit.record import NUMBERS

_STAMPS = ("timestamp", "creation_timestamp", "expiration_timestamp")
_NUMBERS = frozenset(name for names in NUMBERS.values() for name in names) | {"strike", "contract_size"}
_DEEPEST = 8


def as_sent(value: Any, *, every: bool, depth: int = 0) -> Any:
    """A JSON value with the numbers of its entries as numbers, and their times as integers.

    Programs that keep the digits of numbers write them as strings (`"0.021"`), and tables with a missing value make
    floats of times (`1749938299495.0`).

    Args:
        value: parsed JSON.
        every: change any string that is a number, for a file that has been saved again; else only where all numbers of
            an entry are strings.
        depth: of the value.

    Example:
        >>> as_sent({"instrument_name": "BTC-27JUN25", "bid_price": "0.5", "timestamp": 1749938299495.0}, every=True)
        {'instrument_name': 'BTC-27JUN25', 'bid_price': 0.5, 'timestamp': 1749938299495}
    """
    if depth > _DEEPEST:
        return value
    if isinstance(value, list):
        return [as_sent(one, every=every, depth=depth + 1) for one in value]
    if not isinstance(value, dict):
        return value
    if not isinstance(value.get("instrument_name"), str):
        return {name: as_sent(one, every=every, depth=depth + 1) for name, one in value.items()}
    strings = every or _all_strings(value)
    return {name: _field(name, one, strings) for name, one in value.items()}


def _all_strings(entry: Mapping[str, Any]) -> bool:
    given = [entry[name] for name in _NUMBERS & set(entry) if entry[name] is not None]
    return bool(given) and all(isinstance(one, str) for one in given)


def _field(name: str, value: Any, strings: bool) -> Any:
    if name in _STAMPS:
        if strings and isinstance(value, str) and len(value) < 30 and (number := number_of(value)) == number:
            value = number
        return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value
    if not strings or name not in _NUMBERS or not isinstance(value, str):
        return value
    if not value.strip() or value.strip().lower() in ("nan", "null", "none"):
        return None
    number = number_of(value)
    return number if number == number else value
