"""Every recorded file: rows in are rows used and rows left out with a reason, and parity holds on European chains."""

import time

import numpy as np
import pandas as pd
import pytest

import jaxcal as jc

pytestmark = [pytest.mark.market_data, pytest.mark.slow]

# Not quotes of options: a grid of a paper, parameters, levels, terms of contracts, futures.
NO_QUOTES = (
    "cui2017_heston_grid.csv", "spx_svi_2005-09-15.csv", "btc_2020-05-21_levels.csv", "get_instruments_BTC_2021-07-22",
    "deribit_book_summary_btc_future", "deribit_get_instruments", "deribit_ticker_btc_perpetual",
)  # fmt: skip


def account(report, quotes):
    """Rows used; every other row has a verdict and a reason of its own."""
    table = report.table
    assert table.index.equals(quotes.index)
    used = table["verdict"].eq("used")
    assert report.counts().sum() == len(quotes)
    assert table["reason"].eq("").equals(used)
    assert table.loc[used, "vol"].gt(0.0).all()
    assert np.isfinite(table.loc[used, ["years", "forward", "discount", "vol"]].to_numpy(float)).all()
    return int(used.sum())


def test_rows_in_are_rows_out_of_every_file(market_data):
    paths = sorted(path for path in market_data.rglob("*") if path.is_file() and path.name != "README.md")
    rows = used = tables = 0
    for path in paths:
        if path.name.startswith(NO_QUOTES):
            with pytest.raises(jc.QuoteError):
                jc.read_quotes(path)
            continue
        start = time.process_time()
        quotes = jc.read_quotes(path)
        if path.suffix == ".parquet":
            assert len(quotes) == len(pd.read_parquet(path, columns=["strike"]))
        report = jc.inspect_quotes(quotes)
        found = account(report, quotes)
        surfaces = jc.surfaces_from_quotes(report)
        assert sum(surface.num_quotes for surface in surfaces.values()) == found, path
        print(f"{path.name}: {time.process_time() - start:.1f} s, {report.summary()}")
        rows, used, tables = rows + len(quotes), used + found, tables + 1
    print(f"{tables} files, {rows:,} rows, {used:,} used")
    assert tables > 40
    assert rows > 1_000_000


def test_parity_of_european_chains_says_how_well_it_knows(market_data):
    """Rates of neighbouring expiries agree within their errors, and forwards are known to a basis point."""
    paths = sorted(p for root in ("spx", "ndx") for p in market_data.glob(f"us/*/{root}*.parquet"))
    assert paths
    for path in paths:
        forwards = jc.inspect_quotes(jc.read_quotes(path)).forwards
        good = forwards[forwards["num_pairs"].ge(10) & forwards["years"].gt(7 / 365)]
        assert good["forward_source"].eq("parity").all()
        assert (good["forward_error"] / good["forward"]).median() < 1e-4, path
        rate = -np.log(good["discount"].to_numpy()) / good["years"].to_numpy()
        error = good["discount_error"] / good["discount"] / good["years"]
        assert error.median() < 5e-3, path
        assert ((rate > -0.01) & (rate < 0.08)).all(), path
