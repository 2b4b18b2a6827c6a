"""Recorded chains: every file reads, every row has a verdict, surfaces and forwards are plausible."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.accuracy.marks import differences
from jaxcal.market.cleaning.quote_report import inspect_quotes
from jaxcal.market.surface import Surface, surfaces_from_quotes
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.venues.read_quotes import read_quotes

pytestmark = pytest.mark.market_data


def files(market_data, *patterns):
    found = sorted(path for pattern in patterns for path in market_data.glob(pattern))
    assert found
    return found


def some_expiries(quotes, rows):
    """Whole expiries, spread over the chain, of about so many rows in all."""
    contract_times = ["expiry", "settlement"] if "settlement" in quotes else ["expiry"]
    number = quotes.groupby(contract_times, dropna=False).ngroup()
    return quotes[number % -(-len(quotes) // rows) == 0]


def check_rows(report):
    table = report.table
    used = table["verdict"].eq("used")
    assert report.counts().sum() == len(table)
    assert table["reason"].eq("").equals(used)
    assert used.sum() == report.forwards["num_used"].sum()
    return used


def check_surface(surface):
    used = np.asarray(surface.weight) > 0.0
    vol = np.asarray(surface.vol)[used]
    assert ((vol > 0.01) & (vol < 5.0)).all()
    assert np.isfinite(surface.strike).all()
    assert (np.asarray(surface.forward) > 0.0).all()
    # a smile is a curve: neighbours differ by little
    steps = np.diff(np.asarray(surface.vol), axis=1)[used[:, 1:]]
    assert np.median(np.abs(steps)) < 0.05


def test_every_deribit_file(market_data):
    small = [*files(market_data, "deribit/single/*", "deribit/daily/*", "deribit/hourly/*")]
    for path in [*small, *files(market_data, "deribit/snapshots/*")[:1]]:
        report = inspect_quotes(read_quotes(path))
        used = check_rows(report)
        assert used.mean() > 0.3, path
        surfaces = surfaces_from_quotes(report)
        assert sum(surface.num_quotes for surface in surfaces.values()) == used.sum()
        for surface in surfaces.values():
            check_surface(surface)


@pytest.mark.parametrize(
    ("name", "snapshots"),
    [
        ("2026-W02", 7),
        pytest.param("2026-W04", 28, marks=pytest.mark.slow),
        pytest.param("2026-W16", 30, marks=pytest.mark.slow),
        ("2026-W34", 6),
    ],
)
def test_a_poll_is_one_snapshot(market_data, name, snapshots):
    path = market_data / f"deribit/snapshots/{name}.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not in this set")
    assert len(inspect_quotes(read_quotes(path)).keys) == 2 * snapshots  # BTC and ETH


def test_parity_finds_the_forward_of_deribit(market_data):
    gaps = []
    for path in files(market_data, "deribit/single/*", "deribit/snapshots/2026-W02*", "deribit/snapshots/2026-W26*"):
        quotes = read_quotes(path)
        given = inspect_quotes(quotes).forwards
        found = inspect_quotes(quotes.drop(columns="forward")).forwards
        both = given.merge(found, on=["underlying", "quote_time", "years"], suffixes=("", "_parity"))
        both = both[both["num_pairs_parity"] >= 5]
        assert both["forward_source_parity"].eq("parity").all()
        assert both["discount_parity"].eq(1.0).all()
        gaps.extend(1e4 * np.abs(np.log(both["forward_parity"] / both["forward"])))
    assert len(gaps) > 100
    assert np.median(gaps) <= 2.0
    assert np.quantile(gaps, 0.95) <= 10.0


def test_volatilities_of_marks_are_those_of_deribit(market_data):
    paths = files(market_data, "deribit/single/*", "deribit/snapshots/2026-W02*", "deribit/snapshots/2026-W34*")
    found = pd.concat([differences(path) for path in paths])
    gap = found["points"].abs()
    assert len(gap) > 300
    assert gap.notna().all()
    assert gap.median() <= 0.01
    assert gap.quantile(0.99) <= 0.5
    rest = found[gap > 0.5]
    assert (rest["rounding"] | (rest["forward_bp"] < 30.0)).all()


def test_forward_of_the_hourly_file_joins_smoothly(market_data):
    path = market_data / "deribit/hourly/btc_2026-01_iv.parquet"
    quotes = read_quotes(path)
    spread = (
        quotes.dropna(subset=["forward"])
        .groupby(["quote_time", "expiry"])["forward"]
        .agg(lambda forward: 1e4 * forward.std() / forward.median())
    )
    assert spread.median() < 1.0  # basis points: the strikes agree on the forward


@pytest.mark.parametrize(("rows", "share"), [(3_000, 0.25), pytest.param(10**6, 0.35, marks=pytest.mark.slow)])
def test_every_us_chain(market_data, rows, share):
    surfaces = 0
    for path in files(market_data, "us/chains/*"):
        quotes = read_quotes(path)
        american = quotes["exercise"].eq("A").all()
        quotes = some_expiries(quotes, rows // 5 if american else rows)  # early exercise is dear
        report = inspect_quotes(quotes)
        used = check_rows(report)
        if american:
            given = {"rate", "spot"} <= set(quotes) and bool(quotes[["rate", "spot"]].notna().all(axis=None))
            assert used.any() == given, path
            if not given:
                with pytest.raises(QuoteError, match="American exercise"):
                    Surface.from_quotes(report)
            continue
        surfaces += 1
        assert used.mean() > share, path
        check_surface(Surface.from_quotes(report))
        forwards = report.forwards[report.forwards["num_used"] >= 10]
        assert forwards["forward_source"].eq("parity").all()
        years = forwards["years"].to_numpy()
        rate = -np.log(forwards["discount"].to_numpy()) / years
        assert ((rate > -0.01) & (rate < 0.08)).all(), path
        if quotes["spot"].notna().any():
            carry = np.log(forwards["forward"].to_numpy() / quotes["spot"].median()) / np.maximum(years, 0.25)
            assert np.abs(carry).max() < 0.06, path
    assert surfaces >= 5


@pytest.mark.parametrize("rows", [680, pytest.param(10**6, marks=pytest.mark.slow)])  # thrice 680: one small program
@pytest.mark.parametrize(
    ("name", "rate", "share"),
    [("spy_2019-09-06", 0.020, 0.5), ("qqq_2023-09-22", 0.053, 0.35), ("amd_2023", 0.053, 0.4)],
)
def test_american_chains_become_european(market_data, name, rate, share, rows):
    (path,) = files(market_data, f"us/chains/{name}*")
    report = inspect_quotes(some_expiries(read_quotes(path), rows), rate=rate)
    table = report.table
    assert check_rows(report).mean() > share
    check_surface(Surface.from_quotes(report))
    # with early exercise taken out, a call and a put at one strike have one volatility
    near = (np.abs(np.log(table["strike"] / table["forward"])) < 0.03) & table["years"].gt(0.02) & table["vol"].gt(0.0)
    sides = table[near].pivot_table(index=["years", "strike"], columns="is_call", values="vol").dropna()
    assert len(sides) > (30 if len(table) > 680 else 5)
    assert (sides[True] - sides[False]).abs().median() < 0.005
    forwards = report.forwards[report.forwards["years"].gt(0.1) & report.forwards["num_used"].ge(10)]
    carry = np.log(forwards["forward"] / table["spot"].median()) / forwards["years"]
    assert (rate - carry).between(-0.03, 0.06).all()


def test_am_and_pm_expiries_of_one_day_agree_on_the_forward(market_data):
    gaps = []
    for path in files(market_data, "us/chains/spx*", "us/chains/ndx*"):
        quotes = read_quotes(path)
        twice = quotes.groupby("expiry")["settlement"].transform("nunique").gt(1)
        if not twice.any():
            continue
        forwards = inspect_quotes(quotes[twice]).forwards
        forwards = forwards[forwards["num_pairs"] >= 20]
        same_day = np.diff(forwards["years"]) < 0.5 / 365
        gaps.extend(1e4 * np.abs(np.diff(np.log(forwards["forward"])))[same_day])
    assert len(gaps) > 20
    assert np.median(gaps) < 0.5
    assert np.max(gaps) < 3.0


@pytest.mark.slow
def test_every_large_file(market_data):
    for path in files(market_data, "us/daily/*", "us/bulk/*", "deribit/snapshots/*"):
        report = inspect_quotes(read_quotes(path))
        used = check_rows(report)
        for surface in surfaces_from_quotes(report).values():
            check_surface(surface)
        assert used.any() == (report.table["verdict"].ne("American exercise") & report.table["years"].gt(0.01)).any(), (
            path
        )


def test_one_large_file_of_each_kind(market_data):
    spx = inspect_quotes(some_expiries(read_quotes(files(market_data, "us/daily/spx*")[0]), 20_000))
    assert check_rows(spx).mean() > 0.4
    stocks = inspect_quotes(read_quotes(files(market_data, "us/bulk/stocks180*")[0]))
    assert not check_rows(stocks).any()
    assert set(stocks.counts().index) <= {"American exercise", "expired", "too short"}


def test_published_tables(market_data):
    dax = inspect_quotes(read_quotes(market_data / "published/dax_2002-07-05.csv"))
    assert dax.counts().to_dict() == {"used": 104}
    surface = Surface.from_quotes(dax)
    assert surface.vol.shape == (8, 16)
    assert surface.num_quotes == 104
    years = dax.forwards["years"].to_numpy()
    assert dax.forwards["forward"].iloc[0] == pytest.approx(4468.17 * np.exp(0.0357 * years[0]), rel=1e-12)
    vix = inspect_quotes(read_quotes(market_data / "published/spx_vix_white_paper.csv"))
    check_rows(vix)
    # the white paper finds 920.50 and 921.00 or so from the nearest strike
    assert vix.forwards["forward"].to_numpy() == pytest.approx([920.5, 920.5], abs=1.5)
    check_surface(Surface.from_quotes(vix))


def test_files_that_are_not_quote_tables(market_data):
    names = ["published/cui2017_heston_grid.csv", "published/spx_svi_2005-09-15.csv"]
    names += ["deribit/depth/btc_2020-05-21_levels.csv", "deribit/raw/deribit_ticker_btc_perpetual_2026-05-22.json"]
    for name in names:
        with pytest.raises(QuoteError, match=r"columns found|0 of 1 entries are options' quotes"):
            read_quotes(market_data / name)
