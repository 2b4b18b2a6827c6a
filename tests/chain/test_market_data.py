"""A recorded chain in one call: a clocked model, most quotes between bid and ask, and nothing to trade."""

import pandas as pd
import pytest

import jaxcal as jc

pytestmark = [pytest.mark.market_data, pytest.mark.slow]


def test_a_bitcoin_chain(market_data):
    path = market_data / "deribit" / "snapshots" / "2026-W08.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not in this set")
    chain = jc.fit_chain(path, underlying="BTC", time="2026-02-19T04:45", fee=jc.TakerFee.deribit())
    assert chain.converged
    assert chain.candidates["chosen"].tolist()[0] is False  # Heston
    chosen = chain.candidates[chain.candidates["chosen"]].iloc[0]
    assert chosen["model"] == "ClockedHestonJumps"
    assert float(chosen["inside"]) > 0.93
    assert float(chosen["inside_out"]) > 0.88
    assert int(chosen["num_parameters"]) < 40
    assert chain.arbitrage.num_to_trade == 0
    assert chain.arbitrage_of_model is not None
    assert chain.arbitrage_of_model.num_violations == 0
    assert chain.by_expiry["used"].sum() == chain.surface.num_quotes
    quotes = jc.read_quotes(path)
    used = quotes.iloc[chain.fit.to_frame()["row"]]
    assert used["underlying"].eq("BTC").all()
    assert pd.to_datetime(used["quote_time"]).nunique() == 1
