"""Units: what numbers imply gives away the wrong ones; the sentence names the cause and the remedy."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from jaxcal.market.cleaning.cleaning_rules import CleaningRules
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.cleaning.quote_report import inspect_quotes as inspect_by_profile
from jaxcal.market.surface import Surface, surfaces_from_quotes
from jaxcal.market.tables.table_file import QuoteError
from tests.market.conftest import black


def inspect_quotes(quotes: pd.DataFrame) -> QuoteReport:
    """By rules that compare no neighbours: chains of seven strikes have few."""
    return inspect_by_profile(quotes, rules=CleaningRules())


COIN_REMEDY = r"prices look like prices in the coin.*Add a column currency_of_price with coin"
GRID = np.array([0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2])


def chain(
    forward=100.0, vol=0.25, days=30.0, grid=GRID, coin=False, half=0.01, sides="both", rate=0.0, spread=True, seed=None
):
    """Calls and puts of a smile, in money or in coin; `expiry` in years."""
    strike, is_call = (x.ravel() for x in np.meshgrid(forward * grid, [True, False], indexing="ij"))
    x = strike / forward - 1.0
    vols = vol * (1.0 - 0.4 * x + 0.5 * x**2)
    years = days / 365.0
    value = np.exp(-rate * years) * black(vols, strike, years, forward, is_call) / (forward if coin else 1.0)
    noise = 1.0 if seed is None else 1.0 + half * np.random.default_rng(seed).uniform(-0.7, 0.7, len(value))
    table = pd.DataFrame(
        {"expiry": years, "strike": strike, "option_type": np.where(is_call, "C", "P"), "true_vol": vols}
    )
    if spread:
        table = table.assign(bid=value * noise * (1.0 - half), ask=value * noise * (1.0 + half))
    else:
        table = table.assign(price=value * noise)
    if sides == "otm":
        table = table[is_call == (strike >= forward)]
    return table.reset_index(drop=True)


def refused(table, words):
    with pytest.raises(QuoteError, match=words) as caught:
        inspect_quotes(table)
    assert len(str(caught.value)) < 500
    # beside a good surface it takes only its own rows with it
    good = chain().assign(underlying="GOOD", forward=100.0)
    names = table.get("underlying", pd.Series("BAD", table.index))
    report = inspect_quotes(pd.concat([good, table.assign(underlying=names)], ignore_index=True))
    assert [surface_key[0] for surface_key in surfaces_from_quotes(report)] == ["GOOD"]
    ((_, sentence),) = report.refused.items()
    assert sentence == str(caught.value)
    assert report.table["verdict"][len(good) :].isin(["implausible units", "in the money", "wide"]).any()
    assert report.table["verdict"][: len(good)].eq("used").sum() == 7


@pytest.mark.parametrize("forward", [3.0, 40.0, 3_000.0, 100_000.0, 1e-3])
@pytest.mark.parametrize("known", ["forward", "spot", None])
def test_coin_prices_that_are_not_said_to_be(forward, known):
    table = chain(forward, vol=0.6, coin=True, seed=1)
    refused(table if known is None else table.assign(**{known: forward}), COIN_REMEDY)


@pytest.mark.parametrize("forward", [40.0, 3_000.0, 100_000.0])
@pytest.mark.parametrize("days", [3.0, 30.0, 300.0])
@pytest.mark.parametrize("known", ["forward", "spot"])
def test_coin_prices_out_of_the_money(forward, days, known):
    grid = 1.0 + (GRID - 1.0) * np.sqrt(days / 30.0) * 0.9
    refused(
        chain(forward, 0.7, days, grid, coin=True, sides="otm", spread=False).assign(**{known: forward}), COIN_REMEDY
    )


def test_coin_prices_that_are_said_to_be():
    table = chain(100_000.0, vol=0.6, coin=True).assign(currency_of_price="coin")
    used = inspect_quotes(table).table.query("verdict == 'used'")
    assert used["vol"].to_numpy(float) == pytest.approx(used["true_vol"].to_numpy(float), abs=1e-4)


def test_prices_in_money_that_are_said_to_be_in_coin():
    table = chain(100_000.0, vol=0.6).assign(currency_of_price="coin", forward=100_000.0)
    refused(
        table, r"said to be in the coin, but call less put falls by 1 for 1 of strike.*set currency_of_price to quote"
    )
    refused(table.drop(columns="forward"), "set currency_of_price to quote")
    refused(chain(3_000.0, sides="otm").assign(currency_of_price="coin", forward=3_000.0), "currency_of_price to quote")


@pytest.mark.parametrize("scale", [1000.0, 100.0, 10.0, 0.01])
@pytest.mark.parametrize("known", ["forward", "spot", "rate"])
@pytest.mark.parametrize("sides", ["both", "otm"])
def test_strikes_in_another_unit(scale, known, sides):
    if sides == "otm" and known == "rate":
        return  # nothing to hold the strikes against
    table = chain(sides=sides).assign(
        strike=lambda t: t["strike"] * scale, **{known: 0.03 if known == "rate" else 100.0}
    )
    refused(table, r"strikes are|prices are about")


@pytest.mark.parametrize("scale", [100.0, 1000.0, 10.0, 0.01])
@pytest.mark.parametrize("known", ["forward", "spot", "rate"])
def test_prices_per_contract_or_in_cents(scale, known):
    table = chain(seed=2).assign(bid=lambda t: t["bid"] * scale, ask=lambda t: t["ask"] * scale)
    # a hundredth of a price is, at a forward of 100, a price in the coin
    words = COIN_REMEDY if scale == 0.01 else r"prices are about|strikes are about"
    refused(table.assign(**{known: 0.03 if known == "rate" else 100.0}), words)


def test_prices_per_contract_out_of_the_money():
    table = chain(sides="otm").assign(bid=lambda t: t["bid"] * 100, ask=lambda t: t["ask"] * 100, forward=100.0)
    refused(table, r"most prices at the money are above the forward.*per contract")
    table = chain(sides="otm").assign(bid=lambda t: t["bid"] / 100, ask=lambda t: t["ask"] / 100, forward=100.0)
    refused(table, COIN_REMEDY)
    table = chain(2.0, grid=np.linspace(0.9, 1.1, 21), sides="otm").assign(
        bid=lambda t: t["bid"] / 100, ask=lambda t: t["ask"] / 100, forward=2.0
    )
    refused(table, r"prices are too small for the forward")


def test_strikes_as_moneyness():
    refused(chain(1.0).assign(forward=4000.0), r"strikes are .* moneyness")


@pytest.mark.parametrize(
    "days",
    [[30.0], [7.0], [14.0], [1.0], [3.0], [30.0, 90.0], [7.0, 14.0, 28.0], [1.0, 2.0, 5.0], [180.0], [29.83, 57.83],
     [7.0, 30.0, 400.0]],
)  # fmt: skip
def test_expiries_in_days(days):
    tables = [chain(days=d).assign(expiry=d, forward=100.0) for d in days]
    with pytest.raises(QuoteError, match=r"days\. Divide by 365, or call the column days_to_expiry|divide days by 365"):
        Surface.from_quotes(inspect_quotes(pd.concat(tables, ignore_index=True)))


@pytest.mark.parametrize("days", [[30], [7, 14], [30, 60, 90], [7]])
def test_volatilities_at_days(days):
    tables = [pd.DataFrame({"expiry": d, "strike": [90.0, 100.0, 110.0], "iv": 0.2, "forward": 100.0}) for d in days]
    with pytest.raises(QuoteError, match=r"look like days"):
        inspect_quotes(pd.concat(tables, ignore_index=True))


@pytest.mark.parametrize("years", [[0.1], [0.5, 1.0, 2.0], [1.0, 2.0, 3.0, 5.0], [1, 5, 10, 20, 30], [1 / 365], [7.0]])
def test_years_are_years(years):
    tables = [chain(days=365.0 * y, vol=0.16, grid=np.linspace(0.7, 1.4, 8)).assign(expiry=y) for y in years]
    assert Surface.from_quotes(inspect_quotes(pd.concat(tables).assign(forward=100.0))).num_expiries == len(years)


def test_rates_and_yields_in_percent():
    table = chain(rate=0.005).assign(rate=0.5, forward=100.0)
    refused(table, r"rate 0.5 would be 50% a year, where put-call parity says .*in percent\? Divide it by 100")
    with pytest.raises(QuoteError, match=r"rate 4.5 is above 100 %, so it looks like percent: divide by 100"):
        Surface.from_quotes(inspect_quotes(table.assign(rate=4.5)))
    table = chain().assign(rate=0.0, dividend_yield=0.9, spot=100.0)
    refused(table, r"dividend_yield 0.9 would be 90% a year, .* say -?0.0.*in percent\? Divide it by 100")
    assert (
        Surface.from_quotes(inspect_quotes(chain(rate=0.3).assign(rate=0.3, forward=100.0))).num_quotes == 7
    )  # as high as that


def test_volatilities_in_percent():
    table = pd.DataFrame({"expiry": 0.5, "strike": [90.0, 100.0, 110.0], "iv": [22.0, 20.0, 19.0], "forward": 100.0})
    refused(table, "column iv: its median is 20, so it seems to be in percent: divide by 100")
    decimals = table.assign(iv=table["iv"] / 100.0)
    refused(decimals.assign(bid_iv=21.0, ask_iv=0.3), "bid_iv is 105 times iv .* divide bid_iv by 100")


def test_volatilities_in_percent_that_no_price_needs():
    table = chain().assign(iv=25.0, forward=100.0)
    assert Surface.from_quotes(inspect_quotes(table)).num_quotes == 7
    table.loc[table["strike"].eq(100.0), ["bid", "ask"]] = np.nan  # those rows need it
    assert inspect_quotes(table).table["verdict"].eq("percent volatility").sum() == 2


def test_single_volatilities_in_percent():
    strikes = np.linspace(80, 120, 21)
    table = pd.DataFrame(
        {"expiry": 0.5, "strike": strikes, "iv": 0.045 + 0.02 * (strikes / 100 - 1) ** 2, "forward": 100.0}
    )
    table.loc[[4, 5, 15], "iv"] *= 100.0  # below 500 %, and in percent all the same
    other = table.assign(expiry=1.0)
    report = inspect_quotes(pd.concat([table, other], ignore_index=True)).table
    assert np.flatnonzero(report["verdict"].eq("percent volatility")).tolist() == [4, 5, 15, 25, 26, 36]
    assert "stands among volatilities of 0.045" in report["reason"][15]


def test_an_expiry_in_percent():
    table = pd.concat(
        [chain(days=d).assign(expiry=d / 365, iv=lambda t: t["true_vol"], forward=100.0) for d in (30, 60, 90)]
    )
    table = table.drop(columns=["bid", "ask"]).reset_index(drop=True)
    table.loc[14:27, "iv"] *= 100.0
    verdicts = inspect_quotes(table).table["verdict"]
    assert np.flatnonzero(verdicts.eq("percent volatility")).tolist() == list(range(14, 28))


def test_a_wing_of_two_days_is_as_high_as_its_neighbours_say():
    moneyness = np.linspace(-0.6, 0.6, 25)
    table = pd.DataFrame(
        {"expiry": 2 / 365, "strike": 100 * np.exp(moneyness), "iv": 0.5 + 14 * moneyness**2, "forward": 100.0}
    )
    assert table["iv"].max() > 5.5
    report = inspect_quotes(pd.concat([table, table.assign(expiry=0.5, iv=0.5)], ignore_index=True))
    assert report.table["verdict"].eq("used").all()


def test_forward_and_spot_of_two_underlyings():
    refused(chain().assign(spot=400.0, rate=0.03), "400")
    refused(chain(sides="otm").assign(spot=40.0, forward=100.0), "spot is 40 and the forward 100")


def test_a_third_of_the_expiries_does_not_condemn_a_surface():
    tables = [chain(days=d) for d in (30, 60, 90)]
    tables[1] = tables[1].assign(bid=lambda t: t["bid"] * 100, ask=lambda t: t["ask"] * 100)
    report = inspect_quotes(pd.concat(tables, ignore_index=True).assign(forward=100.0))
    assert not report.refused
    assert report.table["verdict"].eq("used").sum() >= 14


@pytest.mark.parametrize(
    "good",
    [
        lambda: chain(1.2, 0.9),  # a low-priced coin, linear
        lambda: chain(0.6, 1.3, 8.0),
        lambda: chain(1e-5, 1.0, 20.0),
        lambda: chain(1.1, 0.07, 365.0, grid=np.linspace(0.9, 1.1, 9)),  # a pair of currencies
        lambda: chain(7.8, 0.006, 180.0, grid=np.linspace(0.99, 1.01, 9)),  # a pegged one
        lambda: chain(95.5, 0.003, 90.0, grid=np.linspace(0.996, 1.004, 9), sides="otm"),  # a future on a short rate
        lambda: chain(5000.0, 0.12, 1.0, grid=np.linspace(0.97, 1.03, 13)),
        lambda: chain(20.0, 4.0, 3.0, grid=np.linspace(0.5, 2.0, 12)),  # a share before its news
        lambda: chain(5.0, 0.8, 60.0, sides="otm", spread=False),  # all prices below 1
        lambda: chain(100.0, 0.2, 30 * 365.0, grid=np.linspace(0.4, 2.5, 9), rate=0.05),
        lambda: chain(100.0, 0.3, 365.0, rate=0.28),
    ],
)
@pytest.mark.parametrize("known", ["forward", None])
def test_unusual_markets_are_not_refused(good: Callable[[], pd.DataFrame], known):
    table = good()
    if known is None and table["option_type"].nunique() == 2 and table.groupby("strike").size().max() < 2:
        return
    at = {} if known is None else {"forward": float(table["strike"].mean())}
    report = inspect_quotes(table.assign(expiry=table["expiry"].where(table["expiry"] < 20, table["expiry"]), **at))
    assert not report.refused
    assert report.table["verdict"].eq("used").any()
