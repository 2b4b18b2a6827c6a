"""find_mixed: surfaces that hold the quotes of several times or underlyings, which nothing in the table tells apart."""

import numpy as np
import pandas as pd

from jaxcal._types import Mask
from jaxcal.market.tables.headers import is_known
from jaxcal.market.tables.quote_columns import QuoteColumns
from jaxcal.market.tables.quote_values import Targets
from jaxcal.market.tables.sentences import shown

_LEAST, _SHARE = 3, 0.5  # so many contracts, and of all of the surface, must have prices that cannot be one
_ALIKE = 1.02  # the prices without a spread, and volatilities, of one contract lie within this factor
_MOST_NAMED = 3  # columns that a sentence proposes


def find_mixed(quotes: pd.DataFrame, columns: QuoteColumns, targets: Targets, rows: Mask) -> dict[int, str]:
    """The surfaces most of whose contracts stand in the table more than once, at prices that exclude one another.

    A few such contracts are bad rows, which the cleaning compares with their neighbours. Most of them are two surfaces
    in one: which of them is meant cannot be known.

    Args:
        quotes: the tidy table, of `n` rows.
        columns, targets: of the table.
        rows: `[n]` rows whose price is good; no row repeats another exactly.

    Returns:
        By group, a sentence that names a contract, and the columns that may tell the surfaces apart.

    Example:
        >>> from jaxcal.market.cleaning.quote_report import inspect_quotes
        >>> table = pd.DataFrame({"desk": list("AAABBB"), "expiry": 0.5, "strike": [90.0, 95.0, 105.0] * 2,
        ...                       "forward": 100.0, "iv": [0.22, 0.21, 0.19, 0.32, 0.31, 0.29]})
        >>> inspect_quotes(table)
        Traceback (most recent call last):
        jaxcal.market.tables.table_file.QuoteError: 3 of 3 contracts have several prices ...
    """
    value = np.where(np.isnan(targets.price), targets.vol, targets.price)
    at = np.flatnonzero(rows & (value > 0.0) & np.isnat(columns.update_time))  # of updates the last counts
    value = value[at]
    sided = np.isfinite(targets.bid) & np.isfinite(targets.ask) & np.isfinite(targets.price)
    frame = pd.DataFrame(
        {
            "group": columns.group[at],
            "years": columns.years[at],
            "strike": columns.strike[at],
            "side": columns.side[at],
            "low": np.where(sided[at], targets.bid[at], value / np.sqrt(_ALIKE)),
            "high": np.where(sided[at], targets.ask[at], value * np.sqrt(_ALIKE)),
            "row": at,
        }
    )
    frame = frame[frame["group"] >= 0]
    contract = ["group", "years", "strike", "side"]
    of_contract = frame.groupby(contract).agg(low=("low", "max"), high=("high", "min"), row=("row", "first"))
    apart = of_contract["low"] > of_contract["high"]
    found = {}
    for group, here in apart.groupby(level="group"):
        if here.sum() < max(_LEAST, _SHARE * len(here)):
            continue
        first = int(of_contract.loc[apart, "row"].loc[group].iloc[0])
        inside = frame[frame["group"] == group]
        names = _telling(quotes.iloc[inside["row"]], inside.groupby(contract).ngroup().to_numpy())
        hint = f" (perhaps {', '.join(names)})" if names else ""
        found[int(group)] = (  # pyright: ignore[reportArgumentType]
            f"{here.sum():,} of {len(here):,} contracts have several prices that cannot be of one moment, the first of "
            f"row {first}: the table seems to hold several times or underlyings. Call the column that tells them apart"
            f"{hint} quote_time or underlying, or keep one of them"
        )
    return found


def _telling(rows: pd.DataFrame, contract: np.ndarray) -> list[str]:
    """Columns that no layout reads, with few values, each of which every contract has once at most."""
    found = []
    for name in rows.columns:
        value = pd.factorize(rows[name].astype(str))[0]
        count = int(value.max()) + 1
        few = 1 < count <= max(2, len(rows) // 3)
        if few and not is_known(name) and not pd.DataFrame({"contract": contract, "value": value}).duplicated().any():
            found.append((count, shown(name, 40)))
    return [name for _, name in sorted(found)[:_MOST_NAMED]]
