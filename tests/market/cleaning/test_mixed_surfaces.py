"""Two surfaces in one, which nothing in the table tells apart, are refused; a few odd repeats are not."""

import numpy as np
import pandas as pd
import pytest

from jaxcal.formulas.black import black_price
from jaxcal.market.cleaning.quote_report import inspect_quotes
from jaxcal.market.tables.table_file import QuoteError

_STRIKES = np.arange(85.0, 120.0, 5.0)


def _chain(forward: float = 100.0, vol: float = 0.25) -> pd.DataFrame:
    strike, is_call = np.tile(_STRIKES, 2), np.repeat([True, False], len(_STRIKES))
    price = np.asarray(black_price(vol, strike, 0.25, forward=forward, is_call=is_call))
    sides = np.where(is_call, "C", "P")
    quotes = {"bid": price - 0.01, "ask": price + 0.01}
    return pd.DataFrame({"expiry": 0.25, "strike": strike, "option_type": sides, **quotes})


@pytest.mark.parametrize("other", [{"vol": 0.35}, {"forward": 103.0}], ids=["volatility", "forward"])
def test_two_surfaces_in_one_are_refused_and_the_column_named(other: dict[str, float]) -> None:
    table = pd.concat([_chain().assign(desk="north"), _chain(**other).assign(desk="south")])
    with pytest.raises(QuoteError, match=r"several prices that cannot be of one moment.*\(perhaps desk\)"):
        inspect_quotes(table)
    told = inspect_quotes(table.rename(columns={"desk": "underlying"}))
    assert len(told.keys) == 2
    used = told.table[told.table["verdict"] == "used"]
    assert len(used) == 14
    right = np.where(used["underlying"] == "north", 0.25, other.get("vol", 0.25))
    np.testing.assert_allclose(used["vol"], right, atol=1e-3)


def test_times_of_day_beside_a_date_are_named() -> None:
    table = pd.concat([_chain().assign(time="09:35"), _chain(vol=0.35).assign(time="15:55")]).assign(date="2026-05-01")
    with pytest.raises(QuoteError, match=r"\(perhaps time\)"):
        inspect_quotes(table)


def test_volatilities_alone_tell_it_too() -> None:
    table = pd.DataFrame({"expiry": 0.25, "strike": _STRIKES, "iv": 0.25, "forward": 100.0})
    with pytest.raises(QuoteError, match="7 of 7 contracts"):
        inspect_quotes(pd.concat([table, table.assign(iv=0.3)]))


def test_other_surfaces_of_the_table_stay() -> None:
    both = pd.concat([_chain(), _chain(vol=0.35)]).assign(underlying="B")
    report = inspect_quotes(pd.concat([_chain().assign(underlying="A"), both], ignore_index=True))
    assert list(report.refused) == [("B", None)]
    assert (report.table["verdict"][report.table["underlying"] == "B"] == "several surfaces").all()
    assert ((report.table["verdict"] == "used") & (report.table["underlying"] == "A")).sum() == 7


def test_negative_volatilities_are_no_several_prices() -> None:
    report = inspect_quotes(pd.DataFrame({"expiry": 0.25, "strike": _STRIKES, "iv": -0.25, "forward": 100.0}))
    assert not report.refused
    assert (report.table["verdict"] == "no implied volatility").all()


@pytest.mark.parametrize("repeats", [2, 5])
def test_some_repeats_are_left_to_the_cleaning(repeats: int) -> None:
    """Fewer than half of the contracts, or quotes that overlap: rows that a file has twice."""
    odd = _chain().iloc[:repeats].assign(bid=lambda t: t["bid"] + 1.0, ask=lambda t: t["ask"] + 1.0)
    near = _chain().assign(bid=lambda t: t["bid"] + 0.005, ask=lambda t: t["ask"] + 0.005)
    report = inspect_quotes(pd.concat([_chain(), odd, near], ignore_index=True))
    assert not report.refused
    assert (report.table["verdict"] == "used").sum() == 7


@pytest.mark.parametrize("header", ["Name", "und", "isin", "[BASE_CURRENCY]", "Company Name"])
def test_names_in_other_columns_are_two_surfaces(header: str) -> None:
    report = inspect_quotes(pd.concat([_chain().assign(**{header: "AAA"}), _chain(vol=0.35).assign(**{header: "BBB"})]))
    assert [name for name, _ in report.keys] == ["AAA", "BBB"]


@pytest.mark.parametrize("header", ["[QUOTE_DATE]", "valuation_date", "Pricing Date", "day"])
def test_dates_in_other_columns_are_two_surfaces(header: str) -> None:
    days = [_chain().assign(**{header: "2026-05-01"}), _chain(vol=0.35).assign(**{header: "2026-05-04"})]
    assert len(inspect_quotes(pd.concat(days)).keys) == 2


@pytest.mark.parametrize("header", ["secid", "PERMNO"])
def test_numbers_of_securities_are_refused(header: str) -> None:
    table = pd.concat([_chain().assign(**{header: 101}), _chain().assign(**{header: 108})])
    with pytest.raises(QuoteError, match=f"column {header} holds numbers"):
        inspect_quotes(table)


@pytest.mark.parametrize("written", ["1,000.5", "$1000.50", "1000.5"])
def test_a_price_is_no_name(written: str) -> None:
    with pytest.raises(QuoteError, match="column underlying holds numbers"):
        inspect_quotes(_chain().assign(underlying=written))


def test_a_share_may_be_called_inf() -> None:
    assert inspect_quotes(_chain().assign(underlying="INF")).keys == (("INF", None),)
