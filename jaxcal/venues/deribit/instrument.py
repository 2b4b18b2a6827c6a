"""DeribitInstrument: what the name of a contract on Deribit says of it."""

import re
from dataclasses import dataclass

import pandas as pd

from jaxcal.dates.instants import DERIBIT_SETTLEMENT

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DATE = rf"(?P<day>[1-9]|[12]\d|3[01])(?P<month>{'|'.join(_MONTHS)})(?P<year>\d\d)"
_NAME = re.compile(
    r"(?P<coin>[A-Z][A-Z0-9]{1,9})(?:_(?P<money>USDC|USDT|USDE|EURR))?"
    rf"-(?:PERPETUAL|{_DATE}(?:-(?P<strike>(?:[1-9]\d{{0,8}}|0)(?:d\d{{1,8}})?)-(?P<side>[CP]))?)",
    re.ASCII,
)
_LONGEST_NAME = 64


@dataclass(frozen=True)
class DeribitInstrument:
    """A contract, as its name tells.

    Attributes:
        name: of the exchange, as in `BTC-27JUN25-100000-C`.
        coin: what it is written on: `BTC`.
        money: `USDC` and the like for a linear contract, None for an inverse one, which is settled in the coin.
        kind: `"option"`, `"future"` or `"perpetual"`.
        expiry: 08:00 UTC of its day; None for a perpetual.
        strike: in US dollars (or the quote currency) for one coin; None but for an option.
        is_call: None but for an option.

    Example:
        >>> option = DeribitInstrument.of("XRP_USDC-30JUN23-0d625-C")
        >>> option.underlying, option.strike, str(option.expiry), option.inverse
        ('XRP_USDC', 0.625, '2023-06-30 08:00:00+00:00', False)
    """

    name: str
    coin: str
    money: str | None
    kind: str
    expiry: pd.Timestamp | None
    strike: float | None
    is_call: bool | None

    @classmethod
    def of(cls, name: str) -> "DeribitInstrument":
        """Read a name: `BTC-27JUN25-100000-C`, `BTC_USDC-27JUN25-100000-P`, `BTC-27JUN25`, `BTC-PERPETUAL`.

        A `d` in a strike is its decimal point. Combinations (`BTC-CS-...`) and spot pairs are not read.

        Raises:
            ValueError: the name is none of these; a sentence.

        Example:
            >>> DeribitInstrument.of("BTC-31JUN25-100000-C")
            Traceback (most recent call last):
            ValueError: instrument 'BTC-31JUN25-100000-C' names a day that does not exist
        """
        match = _NAME.fullmatch(name) if len(name) <= _LONGEST_NAME else None
        if match is None:
            raise ValueError(
                f"instrument {name[:_LONGEST_NAME]!r} is no name of an option, a future or a perpetual, "
                f"such as BTC-27JUN25-100000-C"
            )
        found = match.groupdict()
        expiry = strike = is_call = None
        if found["day"] is not None:
            month = _MONTHS.index(found["month"]) + 1
            try:
                day = pd.Timestamp(year=2000 + int(found["year"]), month=month, day=int(found["day"]), tz="UTC")
            except ValueError:
                raise ValueError(f"instrument {name!r} names a day that does not exist") from None
            expiry = day + pd.Timedelta(DERIBIT_SETTLEMENT)
        if found["strike"] is not None:
            strike, is_call = float(found["strike"].replace("d", ".")), found["side"] == "C"
            if not strike > 0.0:
                raise ValueError(f"instrument {name!r} has a strike of zero")
        kind = "perpetual" if expiry is None else "future" if strike is None else "option"
        return cls(name, found["coin"], found["money"], kind, expiry, strike, is_call)

    @property
    def expiry_ms(self) -> int | None:
        """The expiry as the exchange counts time: milliseconds since 1970."""
        return None if self.expiry is None else int(self.expiry.timestamp()) * 1000

    @property
    def inverse(self) -> bool:
        """Whether prices are in the coin (an option) or the contract is worth a number of dollars (a future)."""
        return self.money is None

    @property
    def underlying(self) -> str:
        """`BTC`, or `BTC_USDC` for linear contracts: their prices have another unit and so are another surface."""
        return self.coin if self.money is None else f"{self.coin}_{self.money}"
