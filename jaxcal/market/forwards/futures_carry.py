"""Carry: the term structure of forwards implied by futures and a perpetual's funding."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal._types import FloatColumn
from jaxcal.dates.instants import Instants, read_instants, years_between

Numbers = np.ndarray | Sequence[float] | float

_FUNDING_YEARS = 8.0 / 8760.0  # the horizon of a funding rate
_LARGEST_FUNDING = 0.01  # for eight hours: beyond it is no rate
# A basis beyond 5 % and 100 % a year is an error of the price, or of another underlying.
_LARGEST_BASIS, _LARGEST_RATE = 0.05, 1.0
_FAR_FROM_MARK = 0.02
_NEEDED = ("quote_time", "expiry", "mark", "index_price")


@dataclass(frozen=True, eq=False)
class Carry:
    """A term structure of forwards: the logarithm of forward over spot (the basis), linear in time between futures.

    Before the first future it is linear from zero at time 0; beyond the last it grows at that future's rate.

    Attributes:
        spot: the index that the futures are on.
        years: `[n]` times to expiry of the futures, growing.
        basis: `[n]` `ln(future / spot)`.

    Example:
        >>> import numpy as np
        >>> from jaxcal.market.forwards.futures_carry import Carry
        >>> carry = Carry(100.0, np.array([0.25, 0.5]), np.array([0.01, 0.03]))
        >>> print(carry.forward([0.125, 0.375, 1.0]).round(4))
        [100.5013 102.0201 106.1837]
    """

    spot: float
    years: FloatColumn
    basis: FloatColumn

    @classmethod
    def from_futures(cls, futures: pd.DataFrame) -> "Carry | None":
        """The term structure of futures on one underlying, as they stand at one time.

        A future's price is the mid of bid and ask, or its mark if there is no mid or it is 2 % away. A perpetual (no
        expiry) counts as a future of eight hours whose basis is its funding for that time, the cost of holding it.
        Expired futures and absurd prices are left out.

        Args:
            futures: one row a future: `quote_time`, `expiry` (missing for a perpetual), `mark`, `index_price`, and
                where known `bid`, `ask`, `funding_8h` (a decimal). `DeribitTable.futures` has them.

        Returns:
            The term structure; None where nothing can be used.

        Raises:
            ValueError: a column is missing.

        Example:
            >>> import pandas as pd
            >>> time = pd.Timestamp("2026-03-27T08:00Z")
            >>> rows = {"quote_time": time, "expiry": [time + pd.Timedelta(days=73), pd.NaT], "mark": [102.0, 100.0]}
            >>> carry = Carry.from_futures(pd.DataFrame(rows | {"index_price": 100.0, "funding_8h": [None, 1e-5]}))
            >>> print(carry.years.round(5), carry.basis.round(5))
            [0.00091 0.2    ] [1.00e-05 1.98e-02]
        """
        if missing := [name for name in _NEEDED if name not in futures]:
            raise ValueError(f"futures have no column {missing[0]}; a carry needs {', '.join(_NEEDED)}")
        bid, ask, mark, index, funding = (
            _numbers(futures, name) for name in ("bid", "ask", "mark", "index_price", "funding_8h")
        )
        spot = float(np.median(index[index > 0.0])) if (index > 0.0).any() else np.nan
        mid = np.where((bid > 0.0) & (ask >= bid), 0.5 * (bid + ask), np.nan)
        good = np.abs(mid / np.where(mark > 0.0, mark, np.nan) - 1.0) < _FAR_FROM_MARK
        price = np.where(good | ~(mark > 0.0), mid, mark)
        expiry, _ = read_instants(futures["expiry"])
        years = years_between(read_instants(futures["quote_time"])[0], expiry)
        with np.errstate(divide="ignore", invalid="ignore"):
            basis = np.log(price / np.where(index > 0.0, index, spot))
        perpetual = np.isnat(expiry) & (np.abs(funding) <= _LARGEST_FUNDING)
        years, basis = np.where(perpetual, _FUNDING_YEARS, years), np.where(perpetual, funding, basis)
        used = (years > 0.0) & (np.abs(basis) <= _LARGEST_BASIS + _LARGEST_RATE * years)
        if not used.any() or not spot > 0.0:
            return None
        nodes = pd.Series(basis[used]).groupby(years[used]).median()
        return cls(spot, np.asarray(nodes.index, np.float64), np.asarray(nodes, np.float64))

    def forward(self, years: Numbers, spot: Numbers | None = None) -> FloatColumn:
        """Forwards at these times, of this spot, if it is given: the index may have moved since."""
        at = np.asarray(years, float)
        nodes, values = np.append(0.0, self.years), np.append(0.0, self.basis)
        basis = np.where(at > nodes[-1], at * (values[-1] / nodes[-1]), np.interp(at, nodes, values))
        level = self.spot if spot is None else np.asarray(spot, float)
        return np.asarray(level * np.exp(basis), float)


def with_carry(
    quotes: pd.DataFrame, futures: pd.DataFrame, *, tolerance: timedelta = timedelta(minutes=15)
) -> pd.DataFrame:
    """Add the forwards implied by futures to a quote table, for expiries with neither a forward nor pairs for parity.

    Args:
        quotes: the tidy table, with `quote_time` and `expiry` as times.
        futures: as for `Carry.from_futures`, with `underlying` if there are several. Linear contracts (`BTC_USDC`)
            take the futures of the coin (`BTC`) if they have none with an expiry.
        tolerance: futures whose time is further from that of the quotes are not used; of several times the nearest is.

    Returns:
        The table with the column `carry_forward`, which `inspect_quotes` takes after `forward` and put-call parity,
        and before `spot`; NaN where there are no futures. Its index moves with `index_price`, where the table has it.

    Raises:
        ValueError: a column is missing.

    Example:
        >>> import pandas as pd
        >>> from jaxcal.market.forwards.futures_carry import with_carry
        >>> time, expiry = pd.Timestamp("2026-03-27T08:00Z"), pd.Timestamp("2026-06-08T08:00Z")
        >>> futures = pd.DataFrame({"quote_time": [time], "expiry": expiry, "mark": 102.0, "index_price": 100.0})
        >>> quotes = pd.DataFrame({"quote_time": [time], "expiry": expiry, "strike": 110.0, "iv": 0.5})
        >>> print(with_carry(quotes, futures)["carry_forward"].round(6).tolist())
        [102.0]
    """
    if missing := [name for name in ("quote_time", "expiry") if name not in quotes]:
        raise ValueError(f"the quote table has no column {missing[0]}")
    times, expiries = read_instants(quotes["quote_time"])[0], read_instants(quotes["expiry"])[0]
    futures_times = read_instants(futures["quote_time"])[0]
    names, of_futures = _names(quotes), _names(futures)
    years, index = years_between(times, expiries), _numbers(quotes, "index_price")
    dated = futures["expiry"].notna().to_numpy()
    forward = np.full(len(quotes), np.nan)
    for name in np.unique(names):
        own = of_futures == name
        coin = of_futures == name.partition("_")[0]
        mine = own if (own & dated).any() or not (coin & dated).any() else coin
        for time in np.unique(times[(names == name) & ~np.isnat(times)]):
            rows = (names == name) & (times == time)
            near = _nearest(futures_times, mine, time, tolerance)
            carry = Carry.from_futures(futures[near]) if near.any() else None
            if carry is not None:
                level = index[rows]
                forward[rows] = carry.forward(years[rows], np.where(level > 0.0, level, carry.spot))
    return quotes.assign(carry_forward=forward)


def _nearest(times: Instants, mine: NDArray[np.bool_], time: np.datetime64, tolerance: timedelta) -> NDArray[np.bool_]:
    """Rows of `mine` at the time nearest to this one, if that is near enough."""
    gap = np.abs((times - time) / np.timedelta64(1, "s"))
    gap[~mine | np.isnan(gap)] = np.inf
    return (gap == gap.min(initial=np.inf)) & (gap <= tolerance.total_seconds())


def _numbers(table: pd.DataFrame, name: str) -> FloatColumn:
    if name not in table:
        return np.full(len(table), np.nan)
    return pd.to_numeric(table[name], errors="coerce").to_numpy(float, na_value=np.nan)


def _names(table: pd.DataFrame) -> np.ndarray:
    names = table["underlying"].astype(str).fillna("").tolist() if "underlying" in table else [""] * len(table)
    return np.asarray(names, str)
