"""What the root of a US option's symbol says: its underlying, its exercise, and when it settles."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal.market.clock import Instants
from jaxcal.market.us_calendar import session_before, third_friday

# Index options that are European; every other US option is taken for American where the file does not say.
EUROPEAN_ROOTS = frozenset(
    {"SPX", "SPXW", "SPXPM", "XSP", "NDX", "NDXP", "XND", "RUT", "RUTW", "MRUT", "VIX", "VIXW", "DJX", "XEO", "RUI"}
)
# Settled by the opening prices of their expiry date, 09:30 New York; every other root by closing prices.
AM_ROOTS = frozenset({"SPX", "NDX", "RUT", "VIX", "VIXW", "DJX", "RUI"})
_EVERY_EXPIRY = frozenset({"VIX", "VIXW"})
_UNDERLYING = {"SPXW": "SPX", "SPXPM": "SPX", "NDXP": "NDX", "RUTW": "RUT", "VIXW": "VIX", "XEO": "OEX"}


def underlying_of(root: str) -> str:
    """The underlying of an option root: `SPX` for `SPXW`; most roots are named as their underlying.

    Example:
        >>> from jaxcal.market.us_roots import underlying_of
        >>> underlying_of("SPXW"), underlying_of("SPY")
        ('SPX', 'SPY')
    """
    return _UNDERLYING.get(root, root)


def exercise_of(roots: pd.Series) -> NDArray[np.object_]:
    """`E` or `A` by root, or by underlying.

    Example:
        >>> import pandas as pd
        >>> from jaxcal.market.us_roots import exercise_of
        >>> print(exercise_of(pd.Series(["SPXW", "spy"])))
        ['E' 'A']
    """
    return np.where(roots.astype(str).str.upper().isin(EUROPEAN_ROOTS), "E", "A").astype(object)


def settlement_of(roots: pd.Series, expiries: Instants, *, by_root: bool = True) -> NDArray[np.object_]:
    """`AM` or `PM`, by root and expiry date.

    Args:
        roots: `[n]` roots (`SPXW`), or underlyings (`SPX`).
        expiries: `[n]` dates.
        by_root: whether `roots` are roots: then `SPX` is always AM. An underlying alone tells only that its monthly
            options, of the third Friday, are AM.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from jaxcal.market.us_roots import settlement_of
        >>> dates = np.array(["2026-01-16", "2026-01-23"], "datetime64[D]")
        >>> print(settlement_of(pd.Series(["SPX", "SPX"]), dates, by_root=False))
        ['AM' 'PM']
    """
    names = roots.astype(str).str.upper()
    opening = names.isin(AM_ROOTS).to_numpy(bool)
    if not by_root:
        monthly = session_before(expiries) == third_friday(expiries)
        opening = opening & (monthly | names.isin(_EVERY_EXPIRY).to_numpy(bool))
    return np.where(opening, "AM", "PM").astype(object)
