"""Updates of contracts: the last state of each, at the last time; snapshots stay several surfaces."""

import numpy as np
import pandas as pd
import pytest

from jaxcal.market.cleaning.cleaning_rules import CleaningRules
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.cleaning.quote_report import inspect_quotes as inspect_by_profile
from jaxcal.market.surface import surfaces_from_quotes
from jaxcal.market.tables.updates import gather_updates
from jaxcal.venues.read_quotes import read_quotes


def inspect_quotes(quotes: pd.DataFrame) -> QuoteReport:
    """By rules that compare no neighbours: chains of seven strikes have few."""
    return inspect_by_profile(quotes, rules=CleaningRules())


LAST = pd.Timestamp("2026-05-01T20:00:00Z")


def state(make_chain, shift=0.0, **columns):
    """A chain whose prices are of a spot that has moved."""
    chain = make_chain(expiries=(0.25,), spot=100.0 + shift, rate=0.0, dividend_yield=0.0)
    return chain.assign(expiry=(LAST + pd.Timedelta(days=91.25)).isoformat(), forward=100.0 + shift, **columns)


def the_last_state(report, last):
    assert report.keys == (("AAA", LAST),)
    used = report.table[report.table["verdict"].eq("used")]
    assert set(used["strike"]) == set(last["strike"])
    assert used["vol"].to_numpy(float) == pytest.approx(used["true_vol"].to_numpy(float), abs=1e-5)
    assert used["forward"].eq(100.0).all()
    assert "the last of each contract counts" in report.summary()


@pytest.mark.parametrize("rounds", [2, 3, 5])
@pytest.mark.parametrize("seconds", [1.0, 60.0])
def test_whole_rounds_of_updates(make_chain, rounds, seconds):
    tables = [
        state(make_chain, shift=3.0 * i, underlying="AAA", quote_time=LAST - pd.Timedelta(seconds=seconds * i))
        for i in range(rounds)
    ]
    report = inspect_quotes(pd.concat(tables[::-1], ignore_index=True).assign(forward=100.0))
    the_last_state(report, tables[0])
    old = report.table[report.table["verdict"].eq("duplicate")]
    assert len(old) == 20 * (rounds - 1)
    assert old["reason"].str.contains("is a later update of the same contract").all()


@pytest.mark.parametrize("gap", [0.5, 20.0, 400.0])
def test_single_updates_in_any_order(make_chain, gap):
    random = np.random.default_rng(3)
    old, new = (state(make_chain, shift=s, underlying="AAA").assign(forward=100.0) for s in (4.0, 0.0))
    table = pd.concat([old.sample(frac=1.0, random_state=1), new.sample(frac=1.0, random_state=2)], ignore_index=True)
    steps = np.cumsum(random.uniform(0.5, 1.5, len(table))) * gap
    table["quote_time"] = LAST - pd.to_timedelta((steps[-1] - steps).round(3), unit="s")
    the_last_state(inspect_quotes(table), new)
    the_last_state(inspect_quotes(table.sample(frac=1.0, random_state=4).reset_index(drop=True)), new)


def test_a_last_update_without_a_bid_replaces_the_one_before(make_chain):
    old, new = (state(make_chain, underlying="AAA", quote_time=LAST - pd.Timedelta(seconds=s)) for s in (30, 0))
    new.loc[new["strike"].eq(80.0), "bid"] = np.nan
    report = inspect_quotes(pd.concat([old, new], ignore_index=True))
    assert 80.0 not in set(report.table.query("verdict == 'used'")["strike"])


@pytest.mark.parametrize("step", ["5min", "1h", "1D", "7D"])
@pytest.mark.parametrize("number", [2, 6])
def test_snapshots_stay_apart(make_chain, step, number):
    tables = [
        state(make_chain, shift=float(i), underlying="AAA", quote_time=LAST - i * pd.Timedelta(step))
        for i in range(number)
    ]
    # not every contract is quoted every time
    tables = [table.sample(frac=0.8, random_state=i) for i, table in enumerate(tables)]
    surfaces = surfaces_from_quotes(inspect_quotes(pd.concat(tables, ignore_index=True)))
    assert len(surfaces) == number


def test_snapshots_of_every_minute_stay_apart_where_they_last(make_chain):
    tables = [state(make_chain, underlying="AAA", quote_time=LAST - i * pd.Timedelta("1min")) for i in range(30)]
    assert len(surfaces_from_quotes(inspect_quotes(pd.concat(tables, ignore_index=True)))) == 30


def test_one_contract_over_a_day_is_a_series_of_surfaces():
    table = pd.DataFrame({"strike": [100.0], "iv": 0.2, "forward": 100.0, "expiry": 0.1})
    times = pd.DataFrame({"quote_time": LAST + pd.to_timedelta(np.arange(6), unit="h")})
    assert len(surfaces_from_quotes(inspect_quotes(table.merge(times, how="cross")))) == 6


def test_each_underlying_has_its_own_stream(make_chain):
    ticks = [state(make_chain, underlying="AAA", quote_time=LAST - pd.Timedelta(seconds=s)) for s in (30, 0)]
    other = state(make_chain, underlying="BBB", quote_time=LAST - pd.Timedelta(hours=1))
    assert [
        (key[0], key[1]) for key in surfaces_from_quotes(inspect_quotes(pd.concat([*ticks, other], ignore_index=True)))
    ] == [
        ("AAA", LAST),
        ("BBB", LAST - pd.Timedelta(hours=1)),
    ]


def test_updates_in_the_deribit_layout(tmp_path, make_chain):
    tables = []
    for seconds, shift in ((0.0, 0.0), (56.0, 5.0)):
        table = state(make_chain, shift, underlying="BTC_USDC")
        stamps = LAST - pd.to_timedelta(seconds + np.arange(len(table))[::-1] * 0.1, unit="s")
        tables.append(table.assign(snapshot_ts=stamps.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), underlying_price=100.0))
    pd.concat(tables[::-1]).drop(columns="forward").to_csv(tmp_path / "ticks.csv", index=False)
    report = inspect_quotes(read_quotes(tmp_path / "ticks.csv"))
    assert report.keys == (("BTC_USDC", LAST),)
    used = report.table[report.table["verdict"].eq("used")]
    assert len(used) == 10
    assert used["vol"].to_numpy(float) == pytest.approx(used["true_vol"].to_numpy(float), abs=1e-5)


def test_times_that_are_equal_or_dates_are_left_alone(make_chain):
    table = state(make_chain, underlying="AAA", quote_time=LAST)
    assert gather_updates(table)[0] is table
    dates = pd.concat([table.assign(quote_time=day) for day in ("2026-05-01", "2026-05-02")], ignore_index=True)
    assert gather_updates(dates)[0] is dates


def test_a_strike_that_arithmetic_has_moved_is_the_same_contract(make_chain):
    old, last = (
        state(make_chain, shift, quote_time=LAST + pd.Timedelta(seconds=shift), underlying="AAA")
        for shift in (-7.0, 0.0)
    )
    noisy = old.assign(strike=old["strike"] * (1.0 + 2e-16) + 1e-14)
    the_last_state(inspect_quotes(pd.concat([noisy, last], ignore_index=True)), last)
