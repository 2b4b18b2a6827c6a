"""Surface: the quotes of one underlying at one time, as padded arrays [E, K]."""

import warnings
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import NDArray

from jaxcal._arguments import refuse_tracers
from jaxcal.dates.variance_clock import VarianceClock
from jaxcal.market.cleaning.cleaning_rules import CleaningRules, SuitedRules
from jaxcal.market.cleaning.quote_report import QuoteReport, inspect_quotes
from jaxcal.market.padding import FILLERS, padded
from jaxcal.market.tables.quote_columns import QuoteKey
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.market.tables.verdict import Verdict

Quotes = pd.DataFrame | QuoteReport
Numbers = Array | np.ndarray | Sequence[Any] | float | int


class Surface(eqx.Module):
    """Market data of one underlying at one time: arrays only, sorted by expiry, then strike.

    `E` expiries and `K` strikes an expiry are rounded up to a few sizes, so that a stream of chains compiles a
    handful of programs. A place without a quote has weight 0 and harmless numbers: an at-the-money call of volatility
    0.2 (with expiry, forward and discount 1 if the whole expiry is padding). Names, times and the reasons why quotes
    were left out are in the `QuoteReport`.

    Attributes:
        expiry: `[E]` years, actual/365 to the second, or of the `VarianceClock`.
        forward: `[E]` forward price of the underlying for the expiry, in the units of the strikes.
        discount: `[E]` discount factor (1 where prices are paid in the coin).
        strike: `[E, K]`.
        is_call: `[E, K]` whether the quote is a call.
        vol: `[E, K]` target Black volatility, decimal, per square root of a year.
        bid_vol: `[E, K]` Black volatility of the bid, NaN where unknown.
        ask_vol: `[E, K]` Black volatility of the ask, NaN where unknown.
        weight: `[E, K]` 0 = no quote.
        row: `[E, K]` position of the quote in the caller's table, from 0; -1 at padding.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from jaxcal.market.surface import Surface
        >>> Surface.from_vols([0.5, 1.0], [90.0, 100.0, 110.0], [[0.22, 0.2, 0.19]] * 2, forward=[101.0, 102.0])
        Surface(6 quotes, 2 expiries from 0.5 to 1 years, padded to 2 x 8, float64)
    """

    expiry: Float[Array, "*b e"]
    forward: Float[Array, "*b e"]
    discount: Float[Array, "*b e"]
    strike: Float[Array, "*b e k"]
    is_call: Bool[Array, "*b e k"]
    vol: Float[Array, "*b e k"]
    bid_vol: Float[Array, "*b e k"]
    ask_vol: Float[Array, "*b e k"]
    weight: Float[Array, "*b e k"]
    row: Int[Array, "*b e k"]

    @classmethod
    def from_quotes(
        cls,
        quotes: Quotes,
        *,
        rules: CleaningRules | SuitedRules | None = None,
        rate: float | None = None,
        dividend_yield: float | None = None,
        clock: VarianceClock | None = None,
    ) -> "Surface":
        """Clean a tidy quote table of one underlying at one time and keep the usable quotes.

        Args:
            quotes: the tidy table (see `read_quotes`), or the `QuoteReport` of it, which is not cleaned again.
            rules: cleaning settings for a table; by default the profile that suits it, as in `inspect_quotes`.
            rate, dividend_yield: for rows that have none, as in `inspect_quotes`; American quotes need a rate.
            clock: for a table, its business time; calendar time by default.

        Returns:
            The surface, in float64 if `jax_enable_x64` is on, else in float32 and with a warning.

        Raises:
            QuoteError: the table has several underlyings or times (use `surfaces_from_quotes`), cannot be read,
                or has no usable quote (the message counts the reasons).

        Example:
            >>> import pandas as pd
            >>> from jaxcal.market.surface import Surface
            >>> quotes = pd.DataFrame({"expiry": 0.5, "strike": [90.0, 110.0], "iv": [0.22, 0.19], "forward": 101.0})
            >>> Surface.from_quotes(quotes).num_quotes
            2
        """
        _warn_of_float32()
        report = _report(quotes, rules, clock, rate=rate, dividend_yield=dividend_yield)
        if len(report.keys) > 1:
            names = (" at ".join(str(part) for part in key if part is not None) for key in report.keys[:2])
            raise QuoteError(
                f"the table holds {len(report.keys)} surfaces, the first two being {' and '.join(names)}: "
                "use surfaces_from_quotes, or select one underlying and one time"
            )
        surface = _surface(report, 0)
        if surface is None:
            raise QuoteError(f"no quote can be used: {report.summary()}; {report.table['reason'].iloc[0]}")
        return surface

    @classmethod
    def from_vols(
        cls,
        expiry: Numbers,
        strike: Numbers,
        vol: Numbers,
        *,
        forward: Numbers,
        discount: Numbers = 1.0,
        weight: Numbers | None = None,
    ) -> "Surface":
        """Build a surface straight from arrays, without cleaning.

        Args:
            expiry: `[E]` years.
            strike: `[E, K]`, or `[K]` for the same strikes at every expiry.
            vol: `[E, K]` decimal volatilities; NaN = no quote.
            forward: `[E]`, or one number.
            discount: `[E]`, or one number.
            weight: `[E, K]`, 0 = no quote; 1 everywhere by default.

        Returns:
            The surface, sorted and padded as by `from_quotes`; `row` is the position in the flattened `vol`, and
            quotes with `strike >= forward` are calls.

        Raises:
            QuoteError: the shapes do not fit, or a number that is used is not positive and finite.

        Example:
            >>> from jaxcal.market.surface import Surface
            >>> Surface.from_vols([0.5], [90.0, 110.0], [[0.2, float("nan")]], forward=100.0).num_quotes
            1
        """
        refuse_tracers("Surface.from_vols", *jax.tree.leaves((expiry, strike, vol, forward, discount, weight)))
        _warn_of_float32()
        years, vols = np.atleast_1d(np.asarray(expiry, float)), np.asarray(vol, float)
        if years.ndim != 1 or vols.ndim != 2 or len(vols) != len(years):
            raise QuoteError(f"vol must be [E, K] and expiry [E]; their shapes are {vols.shape} and {years.shape}")
        try:
            strikes = np.broadcast_to(np.asarray(strike, float), vols.shape).ravel()
            forwards = np.broadcast_to(np.asarray(forward, float), years.shape)
            discounts = np.broadcast_to(np.asarray(discount, float), years.shape)
            weights = np.broadcast_to(np.asarray(1.0 if weight is None else weight, float), vols.shape).ravel()
        except ValueError as error:
            raise QuoteError(f"strike, forward, discount or weight does not fit vol {vols.shape}: {error}") from None
        rows = np.flatnonzero((weights != 0.0) & ~np.isnan(vols.ravel()))
        strikes, weights, used_vols = strikes[rows], weights[rows], vols.ravel()[rows]
        of_expiries = {"expiry": years, "forward": forwards, "discount": discounts}
        of_quotes = {"strike": strikes, "vol": used_vols, "weight": weights}
        for name, values in (of_expiries | of_quotes).items():
            if (bad := ~((values > 0.0) & np.isfinite(values))).any():
                raise QuoteError(f"{name} {values[bad][0]} must be positive and finite")
        of_expiry = rows // vols.shape[1]
        unknown = np.full(len(rows), np.nan)
        return _on_device(padded(
            years, forwards, discounts, of_expiry,
            strike=strikes, is_call=strikes >= forwards[of_expiry], vol=used_vols,
            bid_vol=unknown, ask_vol=unknown, weight=weights, row=rows,
        ))  # fmt: skip

    def widened(self, shape: tuple[int, int]) -> "Surface":
        """The same quotes in arrays of at least this shape `(E, K)`, so that few shapes are compiled.

        Example:
            >>> from jaxcal.market.surface import Surface
            >>> Surface.from_vols([0.5], [90.0, 110.0], [[0.22, 0.2]], forward=100.0).widened((2, 4)).vol.shape
            (2, 8)
        """
        old = jax.tree.map(np.asarray, self)
        e, k = (max(size, least) for size, least in zip(old.vol.shape, shape, strict=True))
        if (e, k) == old.vol.shape:
            return self

        def filled(values: NDArray, filler: NDArray | float | int | bool) -> NDArray:
            whole = np.array(np.broadcast_to(np.asarray(filler, values.dtype), (e, k)[: values.ndim]))
            whole[tuple(slice(size) for size in values.shape)] = values
            return whole

        fields = {name: filled(getattr(old, name), 1.0) for name in ("expiry", "forward", "discount")}
        fillers = {"strike": fields["forward"][:, None], **FILLERS}
        fields |= {name: filled(getattr(old, name), filler) for name, filler in fillers.items()}
        return Surface(**{name: jnp.asarray(values) for name, values in fields.items()})

    @property
    def num_quotes(self) -> int:
        """Number of quotes with weight (on the host: not inside `jit`)."""
        return int((np.asarray(self.weight) > 0.0).sum())

    @property
    def num_expiries(self) -> int:
        """Number of expiries that have a quote (on the host: not inside `jit`)."""
        return int((np.asarray(self.weight) > 0.0).any(axis=-1).sum())

    def expiries(self) -> NDArray[np.floating[Any]]:
        """Years to the expiries that have a quote, in rising order, without padding (on the host: not inside `jit`).

        Raises:
            ValueError: the surface is a batch.

        Example:
            >>> from jaxcal.market.surface import Surface
            >>> surface = Surface.from_vols([0.25, 0.5, 1.0, 1.5, 2.0], [90.0], [[0.2]] * 5, forward=100.0)
            >>> surface.expiries().tolist(), surface.expiry.shape
            ([0.25, 0.5, 1.0, 1.5, 2.0], (6,))
        """
        if np.ndim(self.expiry) != 1:
            raise ValueError("the surface is a batch: its surfaces have expiries of their own")
        return np.asarray(self.expiry)[(np.asarray(self.weight) > 0.0).any(axis=-1)]

    def __repr__(self) -> str:
        """One line: size, span, precision."""
        weight = self.weight
        if not isinstance(weight, jax.Array | np.ndarray) or isinstance(weight, jax.core.Tracer):
            return f"Surface({weight})"  # a leaf that a transformation put there
        shape = f"padded to {' x '.join(map(str, weight.shape))}, {weight.dtype}"
        years = np.asarray(self.expiry)[(np.asarray(weight) > 0.0).any(axis=-1)]
        span = f" from {years.min():.3g} to {years.max():.3g} years" if years.size else ""
        return f"Surface({self.num_quotes} quotes, {self.num_expiries} expiries{span}, {shape})"


def surfaces_from_quotes(
    quotes: Quotes,
    *,
    rules: CleaningRules | SuitedRules | None = None,
    rate: float | None = None,
    dividend_yield: float | None = None,
    clock: VarianceClock | None = None,
) -> dict[QuoteKey, Surface]:
    """Clean a tidy quote table of any number of underlyings and times: one surface each.

    Args:
        quotes: the tidy table (see `read_quotes`), or the `QuoteReport` of it, which is not cleaned again.
        rules: cleaning settings for a table; by default the profile that suits it, as in `inspect_quotes`.
        rate, dividend_yield: for rows of a table that have none, as in `inspect_quotes`; American quotes need a rate.
        clock: for a table, its business time; calendar time by default.

    Returns:
        Surfaces keyed `(underlying, quote_time)`, sorted: a string or None, a UTC timestamp or None. A group
        without a usable quote is left out; the `QuoteReport` has the reasons.

    Raises:
        QuoteError: the table cannot be read.

    Example:
        >>> import pandas as pd
        >>> from jaxcal.market.surface import surfaces_from_quotes
        >>> quotes = pd.DataFrame({"underlying": ["B", "A"], "expiry": 0.5, "strike": 9.0, "iv": 0.2, "forward": 9.1})
        >>> list(surfaces_from_quotes(quotes))
        [('A', None), ('B', None)]
    """
    _warn_of_float32()
    report = _report(quotes, rules, clock, rate=rate, dividend_yield=dividend_yield)
    surfaces = ((key, _surface(report, group)) for group, key in enumerate(report.keys))
    return {key: surface for key, surface in surfaces if surface is not None}


def _report(
    quotes: Quotes, rules: CleaningRules | SuitedRules | None, clock: VarianceClock | None, **carry: float | None
) -> QuoteReport:
    if not isinstance(quotes, QuoteReport):
        return inspect_quotes(quotes, rules=rules, clock=clock, **carry)
    for name, given in {"rules": rules, "clock": clock, **carry}.items():
        if given is not None:
            raise ValueError(f"a QuoteReport is cleaned already: give {name} to inspect_quotes")
    return quotes


def _warn_of_float32() -> None:
    """Warn the caller of a public function; Python shows it once for each place in the caller's code."""
    if jax.dtypes.canonicalize_dtype(np.float64) == np.float32:
        warnings.warn(
            'surfaces are in float32, good to about 1e-6: call jax.config.update("jax_enable_x64", True) at the start '
            "of the program for float64",
            stacklevel=3,
        )


def _surface(report: QuoteReport, group: int) -> Surface | None:
    """The surface of one group of a report, or None where none of its rows is used."""
    table = report.table
    rows = np.flatnonzero(table["group"].eq(group) & table["verdict"].eq(str(Verdict.USED)))
    if not rows.size:
        return None
    used = table.iloc[rows]
    column = {
        name: used[name].to_numpy(float)
        for name in ("years", "forward", "discount", "strike", "vol", "bid_vol", "ask_vol")
    }
    years, first, of_expiry = np.unique(column.pop("years"), return_index=True, return_inverse=True)
    if "clock_years" in used:  # the total variance of a quote is the market's, whatever the clock
        calendar, years = years, used["clock_years"].to_numpy(float)[first]
        factor = np.sqrt(calendar / years)[of_expiry]
        column |= {name: factor * column[name] for name in ("vol", "bid_vol", "ask_vol")}
    return _on_device(padded(
        years, column.pop("forward")[first], column.pop("discount")[first], of_expiry,
        is_call=used["is_call"].to_numpy(bool), weight=np.ones(len(rows)), row=rows, **column,
    ))  # fmt: skip


def _on_device(fields: dict[str, NDArray]) -> Surface:
    # not `jnp.asarray`, which compiles a program for each of their shapes
    return Surface(**jax.device_put(fields | {"row": fields["row"].astype(np.int32)}))
