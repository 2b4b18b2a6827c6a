"""suited_profiles: which thresholds of the cleaning suit the quotes of a surface."""

import re

import numpy as np
import pandas as pd

from jaxcal.market.cleaning.cleaning_rules import PROFILES
from jaxcal.market.tables.quote_columns import QuoteColumns

# Coins that options are traded on, and the money in which their prices may be.
_COINS = frozenset({
    "ADA", "APT", "AVAX", "BCH", "BNB", "BTC", "DOGE", "DOT", "ETH", "HYPE", "LINK", "LTC", "MATIC", "NEAR", "PAXG",
    "POL", "SOL", "SUI", "TON", "TRX", "XBT", "XRP",
})  # fmt: skip
_MONEY = frozenset({"", "USD", "USDC", "USDT", "USDE", "EUR", "EURR"})


def suited_profiles(quotes: pd.DataFrame, columns: QuoteColumns) -> tuple[str, ...]:
    """The profile of `CleaningRules` that suits each surface of a table: one for every key of the columns.

    In this order: the word in its column `profile`, which readers of an exchange's files add; `"crypto"` where prices
    are in coin; `"equity"` where exercise is American; `"crypto"` where the underlying is a coin (`BTC`, `ETH_USDC`,
    `SOL-USD`); else `"index"`.

    Args:
        quotes: the tidy table.
        columns: of it.

    Example:
        >>> from jaxcal.market.tables.quote_columns import validate_quotes
        >>> quotes = pd.DataFrame({"underlying": ["BTC", "SPX"], "expiry": 0.5, "strike": 9.0, "iv": 0.2})
        >>> suited_profiles(quotes, validate_quotes(quotes))
        ('crypto', 'index')
    """
    size = len(columns.keys)
    names = [key[0] for key in columns.keys]
    rows = np.flatnonzero(columns.group >= 0)
    group = columns.group[rows]
    if "underlying_name" in quotes:
        for name, i in zip(quotes["underlying_name"].to_numpy(object)[rows][::-1], group[::-1].tolist(), strict=True):
            names[i] = name
    told, words = np.full(size, -1), _told(quotes)[rows]
    given = np.flatnonzero(words >= 0)[::-1]
    told[group[given]] = words[given]  # the last to be written is the first row's
    in_coin, american = (np.bincount(group, mask[rows], size) > 0.0 for mask in (columns.in_coin, columns.american))
    return tuple(
        PROFILES[told[i]] if told[i] >= 0
        else "crypto" if in_coin[i]
        else "equity" if american[i]
        else "crypto" if _is_coin(names[i])
        else "index"
        for i in range(size)
    )  # fmt: skip


def _told(quotes: pd.DataFrame) -> np.ndarray:
    """`[n]` position in `PROFILES` of the word in the column `profile`; -1 where there is none of them."""
    if "profile" not in quotes:
        return np.full(len(quotes), -1)
    words = quotes["profile"].astype(str).str.strip().str.lower()
    return words.map({name: place for place, name in enumerate(PROFILES)}).fillna(-1).to_numpy(int)


def _is_coin(name: str | None) -> bool:
    coin, _, money = re.sub(r"[-/:. ]", "_", (name or "").strip().upper()).partition("_")
    return coin in _COINS and money in _MONEY
