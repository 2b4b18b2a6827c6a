"""Deribit's answers become the quote table: conventions, units, an account of every entry, no crash on bad input."""

import contextlib
import gzip
import json
import random

import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.venues.deribit.instrument import DeribitInstrument

TIME = 1749938299495  # 2025-06-14T21:58:19.495Z
SUMMARY = {
    "instrument_name": "BTC-27JUN25-100000-C", "bid_price": 0.062, "ask_price": 0.0635, "mark_price": 0.06267,
    "mark_iv": 41.3, "underlying_price": 105500.0, "underlying_index": "BTC-27JUN25", "creation_timestamp": TIME,
    "estimated_delivery_price": 105383.0, "base_currency": "BTC", "quote_currency": "BTC", "open_interest": 12.5,
    "volume": 3.0, "interest_rate": 0.0, "high": None, "low": None, "last": 0.064,
}  # fmt: skip
TICKER = {
    "instrument_name": "BTC-27JUN25-110000-P",
    "best_bid_price": 0.0555, "best_ask_price": 0.0565, "best_bid_amount": 4.0, "best_ask_amount": 9.0,
    "mark_price": 0.05607, "mark_iv": 40.0, "bid_iv": 39.2, "ask_iv": 41.0, "state": "open",
    "timestamp": TIME, "underlying_price": 105500.0, "underlying_index": "SYN.BTC-27JUN25", "index_price": 105383.0,
    "greeks": {"delta": -0.66}, "stats": {"volume": None}, "open_interest": 3.0,
}  # fmt: skip
LINEAR = {
    "instrument_name": "XRP_USDC-27JUN25-2d25-C", "bid_price": 0.081, "ask_price": 0.091, "mark_price": 0.08601,
    "mark_iv": 75.0, "underlying_price": 2.17, "creation_timestamp": TIME, "base_currency": "XRP",
    "quote_currency": "USDC", "estimated_delivery_price": 2.168,
}  # fmt: skip


def answer(result):
    return {"jsonrpc": "2.0", "id": 1, "result": result, "testnet": False}


def message(data, channel="ticker.X.100ms"):
    return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}


def write(path, *values):
    text = "\n".join(json.dumps(value) for value in values)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.write(text)
    return path


def faults(*values):
    return jc.DeribitTable.of(values).entries["fault"].tolist()


@pytest.mark.parametrize(
    ("name", "underlying", "kind", "strike"),
    [
        ("BTC-27JUN25-100000-C", "BTC", "option", 100000.0),
        ("ETH-6AUG21-2800-P", "ETH", "option", 2800.0),
        ("BTC_USDC-27JUN25-100000-C", "BTC_USDC", "option", 100000.0),
        ("XRP_USDC-30JUN23-0d625-C", "XRP_USDC", "option", 0.625),
        ("BTC-27JUN25", "BTC", "future", None),
        ("SOL_USDC-PERPETUAL", "SOL_USDC", "perpetual", None),
    ],
)
def test_names_are_read(name, underlying, kind, strike):
    found = DeribitInstrument.of(name)
    assert (found.underlying, found.kind, found.strike, found.inverse) == (underlying, kind, strike, "_" not in name)


@pytest.mark.parametrize(
    "name",
    [
        "", "BTC", "BTC_USDC", "BTC-27JUN25-100000-X", "BTC-027JUN25-1-C", "BTC-30FEB25-1-C",
        "BTC-27JUN25--5-C", "btc-27JUN25-1-C",
        "BTC-27JUN25-0-C", "BTC-27JUN25-1e5-C", "BTC-27JUN25-100000-C\n",
        "BTC-CS-27JUN25-90000_100000", "BTC-27JUN25-1٣-C", "A" * 999,
    ],
)  # fmt: skip
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=r"^instrument '"):
        DeribitInstrument.of(name)


@pytest.mark.parametrize("ending", [".json", ".json.gz", ".jsonl", ".jsonl.gz"])
@pytest.mark.parametrize("bare", [False, True])
def test_whole_answers_and_bare_results(tmp_path, ending, bare):
    result = [SUMMARY, TICKER]
    path = write(tmp_path / f"odd \x01 näme{ending}", result if bare else answer(result))
    quotes = jc.read_quotes(path)
    assert quotes["strike"].tolist() == [100000.0, 110000.0]
    assert quotes["option_type"].tolist() == ["C", "P"]
    assert quotes["mark_iv"].tolist() == [0.413, 0.4]  # percent no more
    assert quotes["bid_iv"][1] == 0.392
    assert quotes["underlying_index"].tolist() == ["BTC-27JUN25", "SYN.BTC-27JUN25"]
    assert set(quotes["currency_of_price"]) == {"coin"}
    assert (quotes["expiry"] == pd.Timestamp("2025-06-27T08:00Z")).all()
    assert (quotes["quote_time"] == pd.Timestamp("2025-06-14T21:58:19.495Z")).all()
    report = jc.inspect_quotes(quotes)
    assert report.summary() == "2 of 2 quotes used"
    np.testing.assert_allclose(report.table["vol"], [0.413, 0.4], atol=0.01)
    seconds = (quotes["expiry"][0] - quotes["quote_time"][0]).total_seconds()
    assert report.table["years"][0] == seconds / (365 * 86400)


def test_linear_options_are_another_underlying_without_discount():
    quotes = jc.DeribitTable.of([[SUMMARY, LINEAR]]).quotes
    assert quotes["underlying"].tolist() == ["BTC", "XRP_USDC"]
    assert quotes["currency_of_price"].tolist() == ["coin", "quote"]
    report = jc.inspect_quotes(quotes)
    assert [key[0] for key in report.keys] == ["BTC", "XRP_USDC"]
    assert report.forwards["discount"].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(report.table["vol"][1], 0.75, atol=0.01)


def test_every_entry_is_accounted_for():
    combo = SUMMARY | {"instrument_name": "BTC-CS-27JUN25-90000_100000"}
    future = {
        "instrument_name": "BTC-27JUN25",
        "mark_price": 105500.0,
        "creation_timestamp": TIME,
        "quote_currency": "USD",
    }
    terms = {"instrument_name": "BTC-27JUN25-100000-C", "expiration_timestamp": 1751011200000, "creation_timestamp": 1}
    table = jc.DeribitTable.of(
        [answer([SUMMARY, combo, future, terms, 7]), answer("ok"), {"method": "heartbeat"}, ValueError("cut")]
    )
    assert len(table.entries) == 8
    assert table.entries["fault"].eq("").tolist() == [True] + 7 * [False]
    assert table.futures["mark"].tolist() == [105500.0]
    assert table.summary().startswith("1 of 8 entries is an option's quote; ")
    report = jc.inspect_quotes(table.quotes)  # the reasons arrive where those of all other rows are
    assert report.summary() == "1 of 8 quotes used; 7 unreadable value"
    assert report.table["reason"][2] == "row 2: a future, no option"
    assert report.keys[0][0] == "BTC"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mark_iv": 0.413}, "mark_iv 0.413 looks like a decimal"),
        ({"bid_price": 6900.0, "ask_price": 7100.0}, "bid 6900 is above 1 BTC"),
        ({"mark_price": 7000.0}, "mark 7000 is above 1 BTC"),
        ({"mark_price": 0.0007}, "mark_price 0.0007 is not near the 0.06"),
        ({"underlying_price": 2003.0}, "is not the forward of an index of"),
        ({"base_currency": "ETH"}, "base_currency ETH contradicts the name BTC-27JUN25-100000-C, which says BTC"),
        ({"expiration_timestamp": 1751014800000}, "expiration_timestamp 1751014800000 contradicts the name"),
        ({"creation_timestamp": TIME // 1000}, "creation_timestamp 1749938299 is no time in milliseconds"),
        ({"creation_timestamp": None}, "timestamp is missing"),
        ({"bid_price": "0.062"}, "bid_price '0.062' is not a number"),
        ({"bid_price": True}, "bid_price True is not a number"),
        ({"ask_price": [1]}, "ask_price [1] is not a number"),
        ({"ask_price": 10**400}, "is no number that a quote can have"),
        ({"mark_iv": float("inf")}, "is no number that a quote can have"),
        ({"instrument_name": None}, "an entry without instrument_name"),
        ({"bids": [[0.07, 1.0]], "best_bid_price": 0.062}, "best_bid_price 0.062 is not the first of the bids, 0.07"),
        ({"bids": [3], "best_bid_price": 0.062}, "bids is no list of prices with amounts"),
    ],
)
def test_bad_entries_have_a_sentence(change, says):
    [good, bad] = faults([SUMMARY, SUMMARY | change])
    assert good == ""
    assert says in bad


def test_a_coin_price_of_a_linear_option_is_found():
    [fault] = faults([LINEAR | {"instrument_name": "XRP_USDC-27JUN25-1-C", "mark_price": 0.54, "mark_iv": 75.0}])
    assert "is not near the 1.17 USDC" not in fault  # 0.54 is wrong, but not by a unit
    [fault] = faults([LINEAR | {"instrument_name": "XRP_USDC-27JUN25-1-C", "mark_price": 0.01}])
    assert "is not near the 1.17 USDC" in fault


def test_a_subscription_ends_with_its_last_messages():
    later, early = TICKER | {"timestamp": TIME + 500, "best_bid_price": 0.0558}, TICKER | {"timestamp": TIME - 1}
    other = TICKER | {"instrument_name": "BTC-27JUN25-90000-P", "mark_price": 0.0057, "timestamp": TIME - 60_000}
    table = jc.DeribitTable.of([message(other), message(TICKER), message(later), message(early)])
    assert table.entries["fault"].str.contains("later message|its time is before").tolist() == [
        False,
        True,
        False,
        True,
    ]
    used = table.quotes[table.quotes["fault"].eq("")]
    assert used["bid"].tolist() == [0.0555, 0.0558]
    assert set(used["quote_time"]) == {pd.Timestamp(TIME + 500, unit="ms", tz="UTC")}


def test_a_cut_recording_keeps_its_lines(tmp_path):
    path = tmp_path / "cut.jsonl"
    path.write_text(json.dumps(answer([SUMMARY])) + "\n" + json.dumps(answer([TICKER]))[:50])
    assert "line 2 is no JSON" in jc.read_deribit(path).entries["fault"][1]
    packed = tmp_path / "cut.jsonl.gz"
    packed.write_bytes(gzip.compress("\n".join([json.dumps(answer([SUMMARY]))] * 2000).encode())[:-20])
    table = jc.read_deribit(packed)
    assert table.entries["fault"].eq("").sum() > 100
    assert "the file ends here" in table.entries["fault"].iloc[-1]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b'{"result": [', "a.json is no JSON"),
        ("a.json", b"", "a.json is no JSON"),
        ("a.json", b"[" * 100_000, "a.json is no JSON: it is nested too deep"),
        ("a.json", b'{"a": NaN}', "a.json is no JSON: NaN is no number"),
        ("a.json", b'{"a": 1, "a": 2}', "a.json is no JSON: a name is given twice"),
        ("a.json", b"\xff\xfe", "a.json is no JSON: byte 1 is not UTF-8"),
        ("a.json", b"9" * 5000, "a.json is no JSON"),
        ("a.json", b"__import__('os').system('true')", "a.json is no JSON"),
        ("a.json.gz", b"no gzip", "a.json.gz is damaged"),
        ("a.json.gz", gzip.compress(json.dumps([SUMMARY]).encode())[:-9], "a.json.gz is damaged"),
        ("a\n\x1b[31m.json", b"{", r"a??[31m.json is no JSON"),
        ("bomb.json.gz", gzip.compress(bytes(100 << 20), 1), "bomb.json.gz: more than 32 MiB of JSON"),
        ("bomb.jsonl.gz", gzip.compress(bytes(100 << 20), 1), "bomb.jsonl.gz: line 1 is longer than 4 MiB"),
        ("none.json", json.dumps(answer([])).encode(), "none.json: 0 of 1 entries are options' quotes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_files_have_a_sentence(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(jc.QuoteError) as caught:
        jc.read_quotes(path)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


def test_mutations_never_crash():
    """Bytes of an answer changed at random: read, or refused with the documented error."""
    from jaxcal.venues.json_file import parsed

    rng = random.Random(6)
    text = json.dumps(answer([SUMMARY, TICKER, LINEAR])).encode()
    pieces = [*b"null -1 1e999 true 0 99999999999999999999 \xff \\ud800 [] {} , } \x00".split(), b'"', b'"x"']
    values = []
    for _ in range(3000):
        raw = bytearray(text)
        for _ in range(rng.choice([1, 1, 1, 3, 8])):
            start = rng.randrange(len(raw))
            raw[start : start + rng.choice([0, 1, 1, 4, 20])] = rng.choice([*pieces, bytes([rng.randrange(256)])])
        with contextlib.suppress(ValueError):
            values.append(parsed(bytes(raw)))
    table = jc.DeribitTable.of(values)
    assert 500 < table.entries["fault"].eq("").sum() < len(table.entries) - 100
    assert all(fault.isprintable() for fault in table.entries["fault"])
    assert jc.inspect_quotes(table.quotes).counts().sum() == len(table.entries)


@pytest.mark.market_data
def test_every_recorded_answer_is_read(market_data):
    paths = sorted((market_data / "deribit/raw").iterdir())
    assert paths
    for path in paths:
        entries = jc.read_deribit(path).entries
        expected = {"option", "future", "perpetual", "instrument", "book"} | (
            {"other"} if "websocket" in path.name else set()
        )
        assert set(entries["kind"]) <= expected, path
        if entries["fault"].eq("").any():
            report = jc.inspect_quotes(jc.read_quotes(path))
            assert len(report.table) == len(entries) == report.counts().sum()


@pytest.mark.market_data
def test_marks_have_the_volatilities_of_the_exchange(market_data):
    path = market_data / "deribit/raw/get_book_summary_by_currency_BTC_option_2025-06-14.result.json.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not in this set")
    quotes = jc.read_quotes(path)
    table = jc.inspect_quotes(quotes.assign(price=quotes["mark"], bid=np.nan, ask=np.nan)).table
    # each contract with its own forward: those of an expiry differ by the milliseconds between its quotes
    table = table[
        (table["years"] > 1 / 365)
        & (table["mark"] >= 1e-4)
        & (table["is_call"] == (table["strike"] >= table["forward"]))
    ]
    gap = 100.0 * (table["vol"] - table["mark_iv"]).abs()
    assert len(table) > 200
    assert gap.median() <= 0.01
    assert gap.quantile(0.99) <= 0.5
