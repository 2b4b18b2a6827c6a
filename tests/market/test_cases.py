"""Small tables that go wrong, one fault each: read right, or refused with the cause and the remedy."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import jaxcal as jc

pytestmark = pytest.mark.market_data

# What must not be read, and the words of its remedy.
REFUSED = {
    "coin_unsaid": "Add a column currency_of_price with coin",
    "coin_unsaid_no_forward": "Add a column currency_of_price with coin",
    "coin_unsaid_otm_only": "Add a column currency_of_price with coin",
    "expiry_in_days": "days. Divide by 365, or call the column days_to_expiry",
    "prices_per_contract": "per contract, or in cents? Divide them by the multiplier",
    "strikes_times_1000": "strikes in thousandths",
}
# What must be said of what is read; days to expiry; surfaces.
READ = {
    "dollars_in_deribit_layout": ("", 29.5, 1),
    "index_with_caret": ("", 28.0, 1),
    "midnight_expiry": ("", 28.0, 1),
    "spy_exercise_unsaid": ("American by the name SPY", 30.0, 1),
    "ticks_the_last_counts": ("the last of each contract counts", 30.0, 1),
    "two_dates_expiry_in_years": ("quote_time from column date (2 times)", 30.0, 2),
    "two_tickers": ("underlying from column ticker (2 names)", 30.0, 2),
}


@pytest.fixture(scope="module")
def cases(market_data: Path) -> Path:
    folder = market_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip("no small tables beside the project (../shared/cases)")
    return folder


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_remedy(cases, name):
    with pytest.raises(jc.QuoteError) as caught:
        jc.Surface.from_quotes(jc.read_quotes(cases / f"{name}.csv"))
    assert REFUSED[name] in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", READ)
def test_read_right(cases, name):
    said, days, number = READ[name]
    report = jc.inspect_quotes(jc.read_quotes(cases / f"{name}.csv"), rules=jc.CleaningRules())
    assert said in report.summary()
    assert len(report.keys) == number
    used = report.table[report.table["verdict"].eq("used")]
    assert used["years"].to_numpy() * 365.0 == pytest.approx(np.full(len(used), days), abs=1e-3)
    assert len(used) >= 7 * number
    # Prices are of 30 days, whatever the file says; those of the wings are of a few cents.
    level = used["forward"].to_numpy(float) if name == "two_tickers" else 100_000.0 if "dollars" in name else 100.0
    x = used["strike"].to_numpy(float) / level - 1.0
    truth = (0.6 + 0.3 * x**2 - 0.1 * x if "dollars" in name else 0.25 - 0.15 * x) * np.sqrt(30.0 / days)
    near = np.abs(used["strike"].to_numpy(float) / used["forward"].to_numpy(float) - 1.0) < 0.02
    assert near.sum() >= number
    assert used["vol"].to_numpy(float)[near] == pytest.approx(truth[near], abs=0.003)


DEAR = {"american_negative_rate"}  # early exercise with two boundaries takes half a minute


@pytest.mark.parametrize("dear", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_table_is_accounted_for(cases, dear):
    for path in sorted(cases.glob("*.csv")):
        if (path.stem in DEAR) != dear:
            continue
        try:
            table = jc.inspect_quotes(jc.read_quotes(path)).table
        except jc.QuoteError:
            continue
        assert isinstance(table, pd.DataFrame)
        assert table["reason"].eq("").equals(table["verdict"].eq("used")), path
