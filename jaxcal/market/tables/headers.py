"""Headers: the names of columns as people write them, to the names that the layouts know."""

import re
from collections.abc import Iterable

import pandas as pd

from jaxcal.market.tables.sentences import shown

# Every column that a layout or the cleaning reads.
_READ = (
    "expiry", "strike", "option_type", "bid", "ask", "price", "iv", "bid_iv", "ask_iv", "forward", "carry_forward",
    "discount", "rate", "spot", "dividend_yield", "underlying", "quote_time", "settlement", "exercise",
    "currency_of_price", "fault", "profile", "snapshot_ts", "session_date", "T", "days_to_expiry", "zero_rate",
    "underlying_price", "mark_iv", "delta", "last", "root",
)  # fmt: skip
_KNOWN = {name.lower(): name for name in _READ}
_NAMES = frozenset(_READ)
_AROUND = " \t\r\n\u00a0\u202f\ufeff\"'`[](){}<>"


def known_name(header: object) -> object:
    r"""The name that a layout has for a column, whatever its case, blanks, brackets and quotes; others as they are.

    Example:
        >>> known_name("\ufeff[STRIKE] "), known_name("Option Type"), known_name("Volume")
        ('strike', 'option_type', 'Volume')
    """
    if not isinstance(header, str) or len(header) > 100:
        return header
    plain = re.sub(r"[\s\u00a0\u202f_-]+", "_", header.strip(_AROUND)).lower()
    return _KNOWN.get(plain, header)


def is_known(header: object) -> bool:
    """Whether a layout reads a column that is called so.

    Example:
        >>> is_known("[Bid]"), is_known("Net")
        (True, False)
    """
    return known_name(header) in _NAMES


def collision(headers: Iterable[object]) -> str:
    """A sentence on two headers that mean one column of those that layouts read, or nothing.

    Example:
        >>> collision(["strike", "Bid", " bid"])
        "columns 'Bid' and ' bid' are both bid: drop or rename one"
        >>> collision(["bid", "bid"])
        'column bid occurs twice: drop or rename one'
    """
    seen: dict[object, object] = {}
    for header in filter(is_known, headers):
        name = known_name(header)
        if name in seen:
            if seen[name] == header:
                return f"column {shown(header)} occurs twice: drop or rename one"
            return f"columns {str(seen[name])[:60]!r} and {str(header)[:60]!r} are both {name}: drop or rename one"
        seen[name] = header
    return ""


def with_known_names(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the names that the layouts know; the same table where it has them already."""
    names = [known_name(header) for header in table.columns]
    return table if names == list(table.columns) else table.set_axis(names, axis=1)
