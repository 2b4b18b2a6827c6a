"""JSON that is not as the exchange sent it: saved again, written by pandas, of another venue."""

import json
import math

import pandas as pd
import pytest

import jaxcal as jc
from tests.market.tables.test_cells import smile

ENTRY = {
    "instrument_name": "BTC-27JUN25-110000-C", "bid_price": 0.02, "ask_price": 0.0205, "mark_price": 0.0202,
    "mark_iv": 45.0, "underlying_price": 105500.0, "open_interest": 12.5, "timestamp": 1749938299495,
}  # fmt: skip
NUMBERS = [name for name, value in ENTRY.items() if name != "instrument_name"]


def read(tmp_path, content, name="chain.json"):
    path = tmp_path / name
    path.write_text(content)
    return jc.read_quotes(path)


@pytest.mark.parametrize("name", ["chain.json", "chain.jsonl"])
def test_entries_saved_again_are_as_sent(tmp_path, name):
    sent = read(tmp_path, json.dumps(ENTRY), name)
    texts = {key: str(value) if key in NUMBERS else value for key, value in ENTRY.items()}
    floats = ENTRY | {"timestamp": float(ENTRY["timestamp"])}
    for again in (texts, floats, texts | {"timestamp": "1749938299495.0"}):
        pd.testing.assert_frame_equal(read(tmp_path, json.dumps(again), name), sent)


def test_a_document_saved_again_may_hold_nan_and_single_texts(tmp_path):
    sent = read(tmp_path, json.dumps(ENTRY | {"bid_iv": None}))
    again = ENTRY | {"bid_iv": math.nan, "bid_price": "0.02", "open_interest": "12.5"}
    pd.testing.assert_frame_equal(read(tmp_path, json.dumps({"jsonrpc": "2.0", "result": [again]})), sent)
    with pytest.raises(jc.QuoteError, match="Infinity is no number"):
        read(tmp_path, json.dumps(ENTRY | {"bid_price": math.inf}))
    with pytest.raises(jc.QuoteError, match="bid_price 'cheap' is not a number"):
        read(tmp_path, json.dumps(ENTRY | {"bid_price": "cheap"}))


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "table"])
def test_records_that_pandas_writes(tmp_path, orient):
    if orient == "index":
        with pytest.raises(jc.QuoteError, match="records with the columns of a quote table"):
            read(tmp_path, smile().to_json(orient=orient))
        return
    quotes = read(tmp_path, smile().to_json(orient=orient))
    assert jc.Surface.from_quotes(quotes).num_quotes == 5
    lines = read(tmp_path, smile().to_json(orient="records", lines=True), "chain.jsonl")
    assert jc.Surface.from_quotes(lines).num_quotes == 5


def test_times_that_pandas_writes(tmp_path):
    ms = [
        int(pd.Timestamp(text).timestamp() * 1000) for text in ("2026-05-01T20:00Z", "2026-05-29T20:00Z", "2026-05-29")
    ]
    table = smile().assign(quote_time=ms[0], expiry=ms[1])
    report = jc.inspect_quotes(read(tmp_path, table.to_json(orient="records")))
    assert report.table["years"].tolist() == pytest.approx([28 / 365] * 5, rel=1e-12)
    table = smile().assign(quote_time=ms[0], expiry=ms[2], settlement="PM")  # a date has no zone
    report = jc.inspect_quotes(read(tmp_path, table.to_json(orient="records")))
    assert report.table["years"].tolist() == pytest.approx([28 / 365] * 5, rel=1e-12)


def test_integers_that_no_double_holds(tmp_path):
    records = smile().to_dict("records")
    records[0]["strike"] = 10**400
    report = jc.inspect_quotes(read(tmp_path, json.dumps(records)))
    assert report.table["verdict"].tolist() == ["not a number"] + ["used"] * 4


@pytest.mark.parametrize(
    ("venue", "answer"),
    [
        ("Bybit", {"retCode": 0, "result": {"category": "option", "list": [{"symbol": "BTC-29AUG26-100000-C"}]}}),
        ("OKX", {"code": "0", "data": [{"instId": "BTC-USD-231229-40000-P", "bidVol": "0", "fwdPx": "40000"}]}),
        ("Binance", [{"symbol": "BTC-251120-126000-C", "markPrice": "1.0", "bidIV": "-1.0", "markIV": "0.5"}]),
        ("Derive", {"id": "1", "result": {"tickers": {"ETH-20260627-3500-C": {"option_pricing": {"f": "1"}}}}}),
        ("Gate", [{"name": "BTC_USDT-20211231-59800-C", "bid1_price": "1", "ask1_price": "2"}]),
        ("Yahoo", {"optionChain": {"result": [{"options": [{"calls": []}]}]}}),
    ],
)
def test_answers_of_other_venues_are_named(tmp_path, venue, answer):
    with pytest.raises(jc.QuoteError, match=rf"looks like an answer of {venue}, whose JSON is not read: make a table"):
        read(tmp_path, json.dumps(answer))
