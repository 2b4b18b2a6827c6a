"""What a table means by its times: dates, midnights, settlements, and what is no time at all."""

import numpy as np
import pandas as pd
import pytest

from jaxcal.market.cleaning.cleaning_rules import CleaningRules
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.cleaning.quote_report import inspect_quotes as inspect_by_profile
from jaxcal.market.surface import Surface


def inspect_quotes(quotes: pd.DataFrame) -> QuoteReport:
    """By rules that compare no neighbours: chains of seven strikes have few."""
    return inspect_by_profile(quotes, rules=CleaningRules())


QUOTED = "2026-05-01T20:00:00Z"


def one_chain(**columns):
    table = pd.DataFrame({"strike": [90.0, 100.0, 110.0], "iv": [0.27, 0.25, 0.24], "forward": 100.0})
    return table.assign(**({"quote_time": QUOTED} | columns))


@pytest.mark.parametrize(
    "expiry",
    ["2026-05-29", "2026-05-29 00:00:00", "2026-05-29T00:00:00", "2026-05-29T00:00:00Z", "2026-05-29 00:00:00+00:00",
     "2026-05-29 00:00:00.000", pd.Timestamp("2026-05-29"), pd.Timestamp("2026-05-29", tz="UTC"),
     "2026-05-29T00:00:00-04:00", "2026-05-29 00:00:00+0200", "2026-05-29T00:00:00.000-04:00",
     "2026-05-29 00:00:00-04", pd.Timestamp("2026-05-29", tz="America/New_York")],
)  # fmt: skip
@pytest.mark.parametrize(("settlement", "days"), [("PM", 28.0), ("AM", 28.0 - 6.5 / 24.0)])
def test_a_midnight_with_a_settlement_is_a_date(expiry, settlement, days):
    surface = Surface.from_quotes(inspect_quotes(one_chain(expiry=expiry, settlement=settlement)))
    assert float(surface.expiry[0]) * 365.0 == pytest.approx(days, rel=1e-12)


@pytest.mark.parametrize("expiry", ["2026-05-29", "2026-05-29 00:00:00", pd.Timestamp("2026-05-29")])
def test_a_midnight_without_one_is_refused(expiry):
    table = inspect_quotes(one_chain(expiry=expiry)).table
    assert table["reason"].str.contains("is a bare date: add a time of day, or a settlement of AM or PM").all()


def test_a_time_of_day_with_a_settlement_is_kept():
    surface = Surface.from_quotes(inspect_quotes(one_chain(expiry="2026-05-29T08:00:00Z", settlement="PM")))
    assert float(surface.expiry[0]) * 365.0 == pytest.approx(27.5, rel=1e-12)


@pytest.mark.parametrize("time", ["2026-05-01", "2026-05-01 00:00:00", pd.Timestamp("2026-05-01")])
def test_a_bare_quote_time_is_refused_but_where_it_is_only_a_name(time):
    table = inspect_quotes(one_chain(expiry="2026-05-29T20:00Z", quote_time=time)).table
    assert table["verdict"].eq("unreadable value").all()
    assert table["reason"].str.contains("quote_time 2026-05-01 is a bare date: add a time of day and its zone").all()
    assert Surface.from_quotes(inspect_quotes(one_chain(expiry=0.1, quote_time=time))).num_quotes == 3


def test_midnights_among_times_of_day_are_instants():
    tables = [
        one_chain(
            expiry=pd.Timestamp("2026-05-29T08:00"), quote_time=pd.Timestamp("2026-05-01") + pd.Timedelta(hours=h)
        )
        for h in (0, 1, 2)
    ]
    report = inspect_quotes(pd.concat(tables, ignore_index=True))
    assert len(report.keys) == 3
    assert report.table["verdict"].eq("used").all()


def test_bare_times_of_the_deribit_layout(tmp_path):
    import jaxcal as jc

    chain = one_chain(expiry="2026-05-29").drop(columns=["iv", "quote_time"])
    chain = chain.assign(option_type="C", bid=[0.11, 0.04, 0.01], ask=[0.12, 0.05, 0.011]).rename(
        columns={"forward": "underlying_price"}
    )
    chain.assign(snapshot_ts="2026-05-01").to_csv(tmp_path / "bare.csv", index=False)
    assert "is a bare date" in jc.inspect_quotes(jc.read_quotes(tmp_path / "bare.csv")).table["reason"][0]
    chain.assign(snapshot_ts="2026-05-01T00:00Z").to_csv(tmp_path / "zoned.csv", index=False)
    report = jc.inspect_quotes(jc.read_quotes(tmp_path / "zoned.csv"))
    assert report.table["years"].to_numpy() * 365.0 == pytest.approx(np.full(3, 28 + 8 / 24), rel=1e-12)


@pytest.mark.parametrize("expiry", ["9999-12-31", "9999-12-31T00:00Z", "2300-01-01T08:00Z", "1900-01-01T00:00:00Z"])
def test_an_expiry_that_stands_for_no_date_is_refused(expiry):
    for settlement in (None, "PM"):
        columns = {} if settlement is None else {"settlement": settlement}
        table = inspect_quotes(one_chain(expiry=["2026-05-29T20:00Z", expiry, "2026-05-29T20:00Z"], **columns)).table
        assert table["verdict"].tolist() == ["used", "unreadable value", "used"]
        if expiry != "9999-12-31" or settlement:
            assert "years" in table["reason"][1]
            assert "the quote of 2026-05-01" in table["reason"][1]


@pytest.mark.parametrize(
    ("expiry", "words"),
    [
        (20260529, 'it looks like a date: use pd.to_datetime(..., format="%Y%m%d")'),
        (1_780_084_800, 'it looks like seconds since 1970: use pd.to_datetime(..., unit="s", utc=True)'),
        (1_780_084_800_000, 'it looks like milliseconds since 1970: use pd.to_datetime(..., unit="ms", utc=True)'),
        (1_780_084_800_000_000, 'it looks like microseconds since 1970: use pd.to_datetime(..., unit="us", utc=True)'),
        (180, "divide days by 365, or call the column days_to_expiry"),
    ],
)
def test_numbers_that_are_no_years_say_what_they_look_like(expiry, words):
    assert words in inspect_quotes(one_chain(expiry=expiry)).table["reason"][0]


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ("1777665600000", 'it looks like milliseconds since 1970: use pd.to_datetime(..., unit="ms", utc=True)'),
        (1777665600, 'it looks like seconds since 1970: use pd.to_datetime(..., unit="s", utc=True)'),
        ("01/05/2026 20:00", "day and month cannot be told apart: use pd.to_datetime(..., dayfirst=True or False)"),
    ],
)
def test_quote_times_that_are_not_understood_say_what_they_look_like(time, words):
    assert words in inspect_quotes(one_chain(expiry="2026-05-29T08:00Z", quote_time=time)).table["reason"][0]


@pytest.mark.parametrize(
    ("expiry", "words"),
    [
        (QUOTED, "expires at the time of the quote"),
        ("2026-05-01T19:59:30Z", "expired 0.5 minutes before the quote"),
        ("2026-05-01T08:00:00Z", "expired 12 hours before the quote"),
        ("2026-03-26T08:00:00Z", "expired 36.5 days before the quote"),
    ],
)
def test_how_long_ago_an_option_expired(expiry, words):
    assert inspect_quotes(one_chain(expiry=expiry)).table["reason"][0] == f"row 0: {words}"
