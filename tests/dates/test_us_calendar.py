"""The US exchanges' days: holidays by their rules, early closes, settlement by root, and what the market priced."""

import numpy as np
import pandas as pd
import pytest

from jaxcal.dates.us_calendar import close_us, is_session, last_open, session_before, settle_us
from jaxcal.dates.us_calendar import third_friday as monthly_expiry
from jaxcal.dates.us_roots import exercise_of, settlement_of, underlying_of
from jaxcal.market.cleaning.quote_report import inspect_quotes
from jaxcal.market.tables.layouts import LAYOUTS
from jaxcal.venues.read_quotes import read_quotes


def days(*texts):
    return np.array(texts, "datetime64[D]")


# From the exchange's published lists of holidays.
CLOSED = days(
    "2019-04-19", "2020-07-03", "2021-12-24", "2022-06-20", "2023-01-02", "2023-06-19", "2024-03-29", "2024-11-28",
    "2025-01-09", "2025-01-20", "2025-04-18", "2026-07-03", "2026-11-26",
)  # fmt: skip
OPEN = days("2021-06-18", "2021-12-31", "2022-01-03", "2023-10-09", "2023-11-10", "2024-11-11", "2025-11-28")


def test_holidays_of_the_exchange():
    assert not is_session(CLOSED).any()
    assert is_session(OPEN).all()  # before Juneteenth was one; New Year on a Saturday; Columbus, Veterans, half days
    assert not is_session(days("2025-01-11", "2025-01-12")).any()


def test_an_expiry_on_a_holiday_falls_on_the_day_before():
    assert session_before(days("2025-04-18", "2019-04-19", "2013-01-19")).tolist() == [
        day.item() for day in days("2025-04-17", "2019-04-18", "2013-01-18")
    ]
    friday, thursday = settle_us(days("2025-04-18"), "AM"), settle_us(days("2025-04-17"), "AM")
    assert friday[0] == thursday[0] == np.datetime64("2025-04-17T13:30")


def test_settlement_in_summer_in_winter_and_on_half_days():
    dates = days("2026-01-16", "2026-07-17", "2025-11-28")
    assert settle_us(dates, "PM").astype("datetime64[m]").astype(str).tolist() == [
        "2026-01-16T21:00", "2026-07-17T20:00", "2025-11-28T18:00",
    ]  # fmt: skip
    assert settle_us(dates, "AM").astype("datetime64[m]").astype(str).tolist() == [
        "2026-01-16T14:30", "2026-07-17T13:30", "2025-11-28T14:30",
    ]  # fmt: skip
    assert close_us(days("2025-11-27")).astype("datetime64[h]").astype(str).tolist() == ["2025-11-27T21"]


def test_unknown_dates_stay_unknown():
    assert np.isnat(settle_us(np.array(["NaT", "2026-01-16"], "datetime64[us]"), "PM")).tolist() == [True, False]


def test_last_trading_day_of_options_that_settle_in_the_morning_and_in_the_evening():
    assert session_before(days("2025-04-18", "2026-01-16"), 1).astype(str).tolist() == ["2025-04-16", "2026-01-15"]
    assert session_before(days("2025-04-18"), 0).astype(str).tolist() == ["2025-04-17"]


def test_monthly_expiries():
    found = monthly_expiry(days("2025-04-01", "2025-08-31", "2026-06-10"))
    assert found.astype(str).tolist() == ["2025-04-17", "2025-08-15", "2026-06-18"]  # Juneteenth is the third Friday


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2024-01-05 15:59", "2024-01-05T20:59"),
        ("2024-01-05 22:00", "2024-01-05T21:00"),
        ("2024-01-07 10:52", "2024-01-05T21:00"),
        ("2024-01-08 09:29", "2024-01-05T21:00"),
        ("2024-01-08 09:30", "2024-01-08T14:30"),
        ("2025-11-28 15:00", "2025-11-28T18:00"),
        ("2025-04-21 08:00", "2025-04-17T20:00"),
    ],
)
def test_last_time_at_which_the_market_was_open(stamp, expected):
    assert last_open(pd.Timestamp(stamp, tz="America/New_York")) == pd.Timestamp(expected, tz="UTC")


def test_roots():
    roots = pd.Series(["SPX", "SPXW", "NDX", "NDXP", "VIX", "spx", "SPY", "AAPL"])
    dates = np.resize(days("2026-01-16"), 8)
    assert settlement_of(roots, dates).tolist() == ["AM", "PM", "AM", "PM", "AM", "AM", "PM", "PM"]
    assert exercise_of(roots).tolist() == ["E", "E", "E", "E", "E", "E", "A", "A"]
    assert [underlying_of(root) for root in roots[:4]] == ["SPX", "SPX", "NDX", "NDX"]


def test_an_underlying_alone_tells_the_monthly_options():
    dates = days("2025-04-17", "2025-04-18", "2025-04-24", "2025-05-16", "2025-05-21")
    assert settlement_of(pd.Series(["SPX"] * 5), dates, by_root=False).tolist() == ["AM", "AM", "PM", "AM", "PM"]
    assert settlement_of(pd.Series(["VIX"]), days("2025-05-21"), by_root=False).tolist() == ["AM"]


@pytest.mark.market_data
def test_settlement_and_exercise_of_every_recorded_row(market_data):
    paths = sorted(market_data.glob("us/*/*.parquet"))
    checked = 0
    for path in paths:
        table = pd.read_parquet(path)
        if "settlement" not in table or "root" not in table:
            continue
        dates = table["expiry"].to_numpy("datetime64[us]")
        assert (settlement_of(table["root"], dates) == table["settlement"].to_numpy()).all(), path
        assert (exercise_of(table["root"]) == table["exercise"].to_numpy()).all(), path
        checked += len(table)
        without = LAYOUTS["us"].to_tidy(table.drop(columns=["settlement", "exercise"]))  # they need not be there
        assert (without["settlement"] == table["settlement"]).all()
    assert checked > 100_000


@pytest.mark.market_data
def test_the_market_priced_the_expiry_of_a_closed_day_as_the_day_before(market_data):
    """On 6 January 2025 the exchange was known to be closed on the 9th: both expiries had one price."""
    path = market_data / "us/chains/spx_2025-01-06.parquet"
    if not path.exists():
        pytest.skip("the chain is not in this set")
    quotes = read_quotes(path)
    mid = 0.5 * (quotes["bid"] + quotes["ask"])
    near = quotes["strike"].between(5900, 6050)
    dates = quotes["expiry"].astype(str).str[:10]
    by_expiry = mid[near].groupby([dates, quotes["strike"], quotes["option_type"]]).first()
    eighth, ninth, tenth = (by_expiry[f"2025-01-{day}"] for day in ("08", "09", "10"))
    assert (ninth - eighth).abs().median() < 0.2 < (tenth - ninth).abs().median()
    table = inspect_quotes(quotes).table
    assert (table["verdict"].eq("duplicate") & dates.eq("2025-01-09")).sum() > 50
