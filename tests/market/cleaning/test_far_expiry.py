"""An expiry in days among years, and a date that stands for none, are refused; long expiries are not."""

import numpy as np
import pandas as pd
import pytest

from jaxcal.formulas.black import black_price
from jaxcal.market.cleaning.quote_report import inspect_quotes
from jaxcal.market.tables.table_file import QuoteError

_STRIKES = np.arange(85.0, 120.0, 5.0)


def _quotes(years: float, vol: float = 0.25) -> pd.DataFrame:
    strike, is_call = np.tile(_STRIKES, 2), np.repeat([True, False], len(_STRIKES))
    price = np.asarray(black_price(vol, strike, years, forward=100.0, is_call=is_call))
    sides = np.where(is_call, "C", "P")
    return pd.DataFrame({"expiry": years, "strike": strike, "option_type": sides, "price": price})


def test_days_among_years_are_refused() -> None:
    table = pd.concat([_quotes(30 / 365).assign(expiry=30.0), _quotes(0.25), _quotes(0.5)])
    with pytest.raises(QuoteError, match=r"expiry of 30 years has a volatility of 0\.013.*in days"):
        inspect_quotes(table)


def test_a_date_that_stands_for_none_is_refused() -> None:
    time = pd.Timestamp("2026-05-01T20:00Z")
    table = pd.concat([_quotes(years).assign(expiry=time + pd.Timedelta(days=365 * years)) for years in (0.25, 0.5)])
    table.iloc[:14, 0] = pd.Timestamp("2099-12-31T00:00Z")
    with pytest.raises(QuoteError, match=r"stands for none.*leave these rows out"):
        inspect_quotes(table.assign(quote_time=time))


@pytest.mark.parametrize("vols", [(0.8, 0.2, 0.15), (0.25, 0.2, 0.1)], ids=["crash", "long"])
def test_long_expiries_of_a_market_are_read(vols: tuple[float, ...]) -> None:
    table = pd.concat([_quotes(years, vol) for years, vol in zip((0.1, 6.5, 30.5), vols, strict=True)])
    report = inspect_quotes(table)
    used = report.table[report.table["verdict"] == "used"]
    np.testing.assert_allclose(used.groupby("years")["vol"].median(), vols, atol=1e-3)


@pytest.mark.parametrize("discount", [99.6, 0.04])
def test_a_discount_that_is_none_is_refused(discount: float) -> None:
    report = inspect_quotes(_quotes(0.25).assign(forward=100.0, discount=discount))
    assert (report.table["verdict"] == "bad carry").all()
    assert report.table["reason"].str.contains("discount .* would be a rate of").all()


@pytest.mark.parametrize("discount", [0.25, 0.996, 1.02])
def test_a_discount_that_is_one_is_used(discount: float) -> None:
    quotes = _quotes(20.0 if discount < 0.5 else 0.25)
    report = inspect_quotes(quotes.assign(price=quotes["price"] * discount, forward=100.0, discount=discount))
    used = report.table[report.table["verdict"] == "used"]
    np.testing.assert_allclose(used["vol"], 0.25, atol=1e-6)
    assert len(used) == 7
