"""The rules that compare a quote with its neighbours, one by one, on chains where the answer is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from jaxcal.market.cleaning.cleaning_rules import CleaningRules
from jaxcal.market.cleaning.local_smile import local_smile
from jaxcal.market.cleaning.quote_report import inspect_quotes
from jaxcal.report.quotes_picture import plot_quotes

RULES = CleaningRules.index()
STRIKES = np.arange(80.0, 121.0, 2.0)


def volatilities(*, changes=(), expiries=(0.1, 0.5), half=0.002, **columns):
    """A table of volatilities with bid and ask; `changes` are (row, column, value)."""
    years, strike = (x.ravel() for x in np.meshgrid(expiries, STRIKES, indexing="ij"))
    z = np.log(strike / 100.0) / np.sqrt(years)
    iv = 0.2 - 0.05 * z + 0.1 * z * z / (1.0 + np.abs(z))
    iv = iv + 0.2 * half * np.sin(7.0 * np.arange(iv.size))
    table = {"expiry": years, "strike": strike, "iv": iv, "bid_iv": iv - half, "ask_iv": iv + half, "forward": 100.0}
    quotes = pd.DataFrame(table | columns)
    for row, column, value in changes:
        quotes.loc[row, column] = value
    return quotes


def moved(row, by, half=0.002):
    iv = volatilities()["iv"][row] + by
    return [(row, "iv", iv), (row, "bid_iv", iv - half), (row, "ask_iv", iv + half)]


def verdicts(quotes, rules=RULES):
    table = inspect_quotes(quotes, rules=rules).table
    return {row: str(verdict) for row, verdict in table["verdict"].items() if verdict != "used"}


def test_a_smooth_chain_is_left_alone():
    assert verdicts(volatilities()) == {}


def test_one_quote_off_the_smile():
    quotes = volatilities(changes=moved(10, 0.05))
    assert verdicts(quotes) == {10: "butterfly outlier"}
    reason = inspect_quotes(quotes, rules=RULES).table["reason"][10]
    assert reason.startswith("row 10: its volatility 0.2503 is off the smile of its neighbours, 0.2005, by ")
    assert verdicts(quotes, CleaningRules()) == {}


def test_a_small_shift_is_called_stale():
    quotes = volatilities(changes=moved(30, 0.005))
    assert verdicts(quotes) == {30: "stale"}
    assert "but would be at a forward" in inspect_quotes(quotes, rules=RULES).table["reason"][30]


def test_a_wide_market_is_not_called_an_outlier():
    # ten times the noise, inside spreads that are all as wide
    wide = volatilities(half=0.02, changes=moved(10, 0.02, half=0.02))
    assert verdicts(wide) == {}


def test_one_side_off_is_wide_against_its_neighbours():
    quotes = volatilities(changes=[(10, "ask_iv", 0.3), (10, "iv", 0.2)])
    assert verdicts(quotes) == {10: "wide"}
    assert "usual among its neighbours" in inspect_quotes(quotes, rules=RULES).table["reason"][10]


@pytest.mark.parametrize("row", [0, 1, 20, 21, 41])
def test_at_the_ends_of_a_smile(row):
    assert verdicts(volatilities(changes=moved(row, 0.3))) == {row: "butterfly outlier"}


def test_several_beside_one_another():
    quotes = volatilities(changes=[change for row in (8, 9, 12) for change in moved(row, 0.1)])
    assert set(verdicts(quotes)) == {8, 9, 12}


def test_an_expiry_too_small_for_a_smile_is_judged_by_the_next():
    whole = volatilities(expiries=(0.1, 0.5))
    middle = whole.iloc[[26, 32]].assign(expiry=0.3)
    assert verdicts(pd.concat([whole, middle], ignore_index=True)) == {}
    low = middle.assign(iv=[0.02, 0.2], bid_iv=[0.018, 0.198], ask_iv=[0.022, 0.202])
    assert verdicts(pd.concat([whole, low], ignore_index=True)) == {42: "calendar outlier"}


def test_strikes_too_far():
    quotes = volatilities(expiries=(0.01, 0.5))
    table = inspect_quotes(quotes, rules=CleaningRules(max_deviations=8.0)).table
    # of the first expiry: 20 per cent away, with 2 per cent a deviation
    assert set(table["verdict"][:21]) == {"used", "too far"}
    assert set(table["verdict"][21:]) == {"used"}
    reason = table["reason"][0]
    assert "standard deviations from the forward, above 8" in reason


def test_of_a_repeated_contract_the_one_on_the_smile_is_kept():
    quotes = volatilities(changes=[])
    rogue = quotes.iloc[[10]].assign(iv=0.2035, bid_iv=0.201, ask_iv=0.206)
    found = verdicts(pd.concat([rogue, quotes], ignore_index=True))
    assert list(found) == [0]
    # without a smile to compare with it is the first
    assert verdicts(pd.concat([rogue, quotes], ignore_index=True), CleaningRules()) == {11: "duplicate"}


def test_the_order_of_rows_does_not_matter():
    quotes = volatilities(changes=moved(10, 0.05) + moved(30, 0.005))
    shuffled = quotes.sample(frac=1.0, random_state=1)
    assert verdicts(shuffled) == verdicts(quotes)


def test_tables_with_hardly_a_quote():
    for rows in (1, 2, 4):
        quotes = volatilities().iloc[:rows]
        assert verdicts(quotes) == {}
    assert inspect_quotes(volatilities().iloc[:1], rules=RULES).table["smile_vol"].isna().all()
    nothing = inspect_quotes(volatilities().assign(strike=-1.0), rules=RULES)
    assert nothing.counts().to_dict() == {"strike not positive": 42}
    assert nothing.worst().empty


def test_surfaces_are_judged_one_by_one():
    one = volatilities(underlying="A")
    other = volatilities(underlying="B").assign(iv=lambda t: t["iv"] + 0.3, bid_iv=np.nan, ask_iv=np.nan)
    assert verdicts(pd.concat([one, other], ignore_index=True)) == {}


def test_profiles():
    assert CleaningRules.profile("index") == CleaningRules.index()
    assert not CleaningRules().compares
    assert all(CleaningRules.profile(name).compares for name in ("crypto", "index", "equity"))
    with pytest.raises(ValueError, match="profile 'bonds' is not known; there are crypto, index, equity"):
        CleaningRules.profile("bonds")
    for name in ("max_outlier", "max_deviations", "max_spread_ratio"):
        with pytest.raises(ValueError, match=f"{name} -1.0 must not be negative"):
            replace(CleaningRules(), **{name: -1.0})


def test_a_robust_parabola_ignores_a_fifth_of_its_neighbours():
    rng = np.random.default_rng(1)
    x = np.linspace(-1.0, 1.0, 60)
    y = 0.3 - 0.1 * x + 0.2 * x * x
    spoilt = y.copy()
    spoilt[rng.permutation(60)[:12]] += rng.choice([-1.0, 1.0], 12) * 0.3
    smile = local_smile(np.zeros(60, int), x, spoilt, np.full(60, 0.005), np.arange(60))
    assert (np.abs(smile.value - y) < 0.001).mean() > 0.9
    assert (np.abs(smile.value - y) < 4.0 * smile.error + 0.001).mean() > 0.95


def test_a_prediction_does_not_see_its_own_quote_nor_other_lines():
    x, y = np.tile(np.linspace(-1.0, 1.0, 9), 2), np.repeat([0.2, 0.5], 9)
    line, scale = np.repeat([0, 1], 9), np.full(18, 0.01)
    before = local_smile(line, x, y, scale, np.array([4, 13]))
    np.testing.assert_allclose(before.value, [0.2, 0.5], atol=1e-9)
    y[4] = 9.0
    assert local_smile(line, x, y, scale, np.array([4])).value == pytest.approx(0.2, abs=1e-9)
    assert np.isnan(local_smile(line[:4], x[:4], y[:4], scale[:4], np.array([0])).value).all()


def test_the_picture_shows_faults_of_the_surface_with_most(tmp_path):
    good = volatilities(underlying="A")
    bad = volatilities(underlying="B", changes=moved(10, 0.05))
    report = inspect_quotes(pd.concat([good, bad], ignore_index=True), rules=RULES)
    figure = plot_quotes(report, tmp_path / "quotes.png")
    assert figure.get_suptitle() == "B: 41 quotes used, 1 at fault"
    assert [axes.get_title() for axes in figure.axes] == ["36.5 days · 20 used, 1 at fault", "182.5 days · 21 used"]
    assert (tmp_path / "quotes.png").read_bytes().startswith(b"\x89PNG")
    assert plot_quotes(report, group=0).get_suptitle() == "A: 42 quotes used, 0 at fault"
    empty = inspect_quotes(volatilities().assign(strike=-1.0), rules=RULES)
    assert not plot_quotes(empty).axes
