"""Cboe's table of delayed quotes becomes the quote table: layouts, times, settlement, an account of every row."""

import gzip

import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.venues.cboe.cboe_stamp import page_time

SIDE = "Last Sale,Net,Bid,Ask,Volume,IV,Delta,Gamma,Open Interest"
HEADER = f"Expiration Date,Calls,{SIDE},Strike,Puts,{SIDE}"
TITLE = "Standard & Poors 500 Index,Last: 4697.2402,Change:  8.5602"
STAMP = '"Date: January 7, 2024 at 10:52 AM EST",Bid: 4686.1,Ask: 4709.1,Size: 1*1,"Volume: 2,265,377"'


def line(strike=4700.0, root="SPXW", day="2024-02-14", call=(71.2, 71.8), put=(53.0, 53.6), written="%a %b %d %Y"):
    date = pd.Timestamp(day)
    symbols = [f"{root}{date:%y%m%d}{side}{round(1000 * strike):08d}" for side in "CP"]
    both = zip(symbols, (call, put), strict=True)
    sides = [f"{symbol},1.5,0,{bid},{ask},9,0.1234,0.5,0.001,7" for symbol, (bid, ask) in both]
    return f"{date.strftime(written)},{sides[0]},{strike:.2f},{sides[1]}"


def write(path, *lines, title=TITLE, stamp=STAMP, header=HEADER):
    path.write_text("\n".join(["", title, stamp, header, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_page_is_read(tmp_path):
    path = write(tmp_path / "spx_quotedata.csv", line(), line(4800.0, "SPX", "2024-02-16"))
    quotes = jc.read_quotes(path)
    assert quotes[["underlying", "root"]].to_numpy().tolist() == [["SPX", "SPXW"]] * 2 + [["SPX", "SPX"]] * 2
    assert quotes[["strike", "option_type", "bid", "ask"]].iloc[:2].to_numpy().tolist() == [
        [4700.0, "C", 71.2, 71.8],
        [4700.0, "P", 53.0, 53.6],
    ]
    assert quotes["settlement"].tolist() == ["PM", "PM", "AM", "AM"]
    assert quotes["exercise"].eq("E").all()
    assert quotes["spot"].eq(4697.2402).all()
    assert quotes["published_iv"].eq(0.1234).all()
    assert quotes["quote_time"].eq(pd.Timestamp("2024-01-05T21:00Z")).all()  # saved on a Sunday
    assert "fault" not in quotes
    report = jc.inspect_quotes(quotes)
    years = report.table["years"].to_numpy()
    assert years[0] == pytest.approx(40.0 / 365.0, abs=1e-12)
    assert years[2] == pytest.approx((42.0 - 6.5 / 24.0) / 365.0, abs=1e-12)


def test_variants_of_the_page(tmp_path):
    plain = jc.read_cboe(write(tmp_path / "a.csv", line()))
    old_header = HEADER.replace("Volume", "Vol").replace("Open Interest", "Open Int")
    # of 2019: bare numbers in the title, another way to write dates
    old = write(
        tmp_path / "b.csv", line(written="%m/%d/%Y"), header=old_header,
        title="SPX (S&P 500 INDEX),4697.2402,+8.56", stamp="Jan 7 2024 @ 10:52 ET,Bid,4686.1,Ask,4709.1,",
    )  # fmt: skip
    pd.testing.assert_frame_equal(jc.read_cboe(old), plain)
    european = write(
        tmp_path / "c.csv", line(written="%d/%m/%Y"), stamp="Date: 7 January 2024, 10:52 UTC\u22125,Bid: 4686.1"
    )
    pd.testing.assert_frame_equal(jc.read_cboe(european), plain)
    crlf = tmp_path / "d.csv"
    crlf.write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.csv").read_bytes().replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(jc.read_cboe(crlf), plain)
    packed = tmp_path / "e.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    pd.testing.assert_frame_equal(jc.read_quotes(packed), plain)
    bare = tmp_path / "f.csv"  # only the table
    bare.write_text(HEADER + "\n" + line())
    given = jc.read_cboe(bare, quote_time="2024-01-05T21:00Z")
    pd.testing.assert_frame_equal(given.drop(columns="spot"), plain.drop(columns="spot"))
    assert given["spot"].isna().all()


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("Date: February 5 2022, 8:09 PM EST", "2022-02-06T01:09Z"),
        ("Date: January 5, 2024 at 10:52 AM EST", "2024-01-05T15:52Z"),
        ("Date: August 20 2023 at 12:35 AM EDT", "2023-08-20T04:35Z"),
        ("Date: 26 May 2023 5:18 PM EDT", "2023-05-26T21:18Z"),
        ("Date: 5 April 2023, 19:41 UTC\u22124", "2023-04-05T23:41Z"),
        ("Date: 9 June 2023 at 13:40 GMT-4", "2023-06-09T17:40Z"),
        ("Date: January 6, 2025 at 9:30\u202fPM EST", "2025-01-07T02:30Z"),
        ("May 13 2019 @ 20:13 ET,Bid,2811.6", "2019-05-14T00:13Z"),
        ("Date: May 13 2019 12:13:59 PM,Bid", "2019-05-13T16:13:59Z"),
        ("Date: 5 avril 2023, 19:41", None),
        ("Date: February 30 2022, 8:09 PM EST", None),
        ("Date: February 5 2022, 13:09 PM EST", None),
        ("Date: February 5 2022, 8:79 PM EST", None),
        ("Date: February 5 2022, 8:09 PM CET,Bid", None),
        ("Date: February 5 2022", None),
        ("", None),
    ],
)
def test_times_on_pages(stamp, expected):
    assert page_time(stamp) == (None if expected is None else pd.Timestamp(expected))


def test_a_page_of_the_session_is_quarter_of_an_hour_late(tmp_path):
    stamp = STAMP.replace("January 7", "January 5")
    path = write(tmp_path / "a.csv", line(), stamp=stamp)
    assert jc.read_cboe(path)["quote_time"][0] == pd.Timestamp("2024-01-05T15:37Z")
    live = jc.read_cboe(path, delay=pd.Timedelta(0))
    assert live["quote_time"][0] == pd.Timestamp("2024-01-05T15:52Z")


def test_a_page_without_a_time_says_what_to_do(tmp_path):
    path = write(tmp_path / "a.csv", line(), stamp="")
    with pytest.raises(jc.QuoteError, match=r"a\.csv does not say in English when .*: use read_cboe with quote_time"):
        jc.read_quotes(path)
    assert len(jc.read_cboe(path, quote_time="2024-01-05 16:00-05:00")) == 2
    with pytest.raises(jc.QuoteError, match="quote_time 'soon' is no time"):
        jc.read_cboe(path, quote_time="soon")


def faults(path, *lines):
    """Sentences by row, and the prices of the other rows."""
    quotes = jc.read_cboe(write(path / "a.csv", line(4600.0), *lines))
    told = quotes["fault"] if "fault" in quotes else pd.Series("", quotes.index)
    assert len(quotes) == 2 + 2 * len(lines)
    good = quotes[told.eq("")]
    assert good[["bid", "ask"]].iloc[:2].to_numpy().tolist() == [[71.2, 71.8], [53.0, 53.6]]
    assert jc.inspect_quotes(quotes).counts().sum() == len(quotes)
    return {row: sentence for row, sentence in told.items() if sentence}


@pytest.mark.parametrize(
    ("old", "new", "rows", "sentence"),
    [
        ("71.2", "71.2x", [2], "line 6: bid '71.2x' is not a number"),
        ("71.2", "1e99", [2], "line 6: bid '1e99' is no price"),
        ("53.6", "", [3], "line 6: ask is missing"),
        ("53.6", "5,3.6", [2, 3], "line 6: 23 cells, the header has 22"),
        ("SPXW240214P", "SPXW240214C", [3], "line 6: symbol 'SPXW240214C04700000' stands on the side of the puts"),
        ("C04700000", "C04710000", [2], "line 6: symbol 'SPXW240214C04710000' contradicts the strike '4700.00'"),
        ("240214P", "240215P", [3], "line 6: symbol 'SPXW240215P04700000' contradicts the date 'Wed Feb 14 2024'"),
        ("Wed Feb 14", "Thu Feb 14", [2, 3], "line 6: symbol 'SPXW240214C04700000' contradicts the date"),
        ("240214P", "240231P", [3], "line 6: symbol 'SPXW240231P04700000' is no symbol of an option"),
        (",4700.00,", ",,", [2, 3], "line 6: symbol 'SPXW240214C04700000' contradicts the strike ''"),
        ("SPXW240214C", "SPXW1240214C", [2], "line 6: symbol 'SPXW1240214C04700000' is of an option that was adjusted"),
    ],
)
def test_a_bad_line_is_named_and_nothing_else_is_lost(tmp_path, old, new, rows, sentence):
    assert old in line()
    found = faults(tmp_path, line().replace(old, new))
    assert list(found) == rows
    assert found[rows[0]].startswith(sentence)


def test_a_page_on_which_no_call_has_a_symbol(tmp_path):
    bad = line().replace("SPXW240214C", "?"), line(4800.0).replace("SPXW240214C", "")
    quotes = jc.read_cboe(write(tmp_path / "a.csv", *bad))
    assert quotes["fault"].str.contains("is no symbol of an option").tolist() == [True, False, True, False]
    assert quotes["fault"][1] == ""


def test_thousands_and_quotes_in_cells(tmp_path):
    found = jc.read_cboe(write(tmp_path / "a.csv", line().replace(",9,", ',"12,345",').replace("71.2", '"1,071.2"')))
    assert found["volume"].tolist() == [12345.0, 12345.0]
    assert found["bid"].tolist() == [1071.2, 53.0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no table of delayed quotes of Cboe"),
        (HEADER, "has a header and no rows"),
        (HEADER.replace("Bid", "Offer") + "\n" + line(), "its header has no Bid for Calls"),
        (HEADER.replace("Ask,", "Ask,Bid,", 1) + "\n" + line(), "its header has Bid twice for one side"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, text, sentence):
    path = tmp_path / "page.csv"
    path.write_text(f"{STAMP}\n{text}")
    with pytest.raises(jc.QuoteError, match=sentence):
        jc.read_cboe(path)


def test_damaged_and_foreign_files(tmp_path):
    packed = tmp_path / "page.csv.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / "a.csv", *[line()] * 99).read_bytes())[:-20])
    with pytest.raises(jc.QuoteError, match="is damaged"):
        jc.read_cboe(packed)
    other = tmp_path / "chain.csv"
    other.write_text("expiry,strike,iv\n0.5,100,0.2\n")
    assert jc.read_quotes(other)["iv"].tolist() == [0.2]
    with pytest.raises(jc.QuoteError, match="no table of delayed quotes"):
        jc.read_cboe(other)
    with pytest.raises(FileNotFoundError):
        jc.read_quotes(tmp_path / "absent.csv")


@pytest.mark.market_data
@pytest.mark.parametrize("name", ["spx_2024-01-05", "nvda_2025-01-06"])
def test_a_recorded_chain_written_as_a_page_reads_the_same(market_data, tmp_path, name):
    path = market_data / f"us/chains/{name}.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not in this set")
    table = pd.read_parquet(path)
    sides = [table[table["option_type"].eq(side)] for side in "CP"]
    both = sides[0].merge(sides[1], on=["root", "expiry", "strike"], suffixes=("_call", "_put"))
    spot = both["underlying_price_call"].iloc[0]
    lines = [
        line(strike, root, day, (call_bid, call_ask), (put_bid, put_ask))
        for strike, root, day, call_bid, call_ask, put_bid, put_ask in both[
            ["strike", "root", "expiry", "bid_call", "ask_call", "bid_put", "ask_put"]
        ].itertuples(index=False)
    ]
    stamp = f"Date: {table['session_date'].iloc[0]:%B %d, %Y} at 8:00 PM EST,Bid: 1"
    quotes = jc.read_quotes(write(tmp_path / "page.csv", *lines, title=f"X,Last: {spot},Change: 1", stamp=stamp))
    assert "fault" not in quotes
    key = ["root", "expiry", "strike", "option_type"]
    expected = jc.read_quotes(path).set_index(key)
    found = quotes.set_index(key)
    expected = expected.loc[found.index]
    for column in ("quote_time", "underlying", "bid", "ask", "settlement", "exercise"):
        np.testing.assert_array_equal(found[column], expected[column])
    np.testing.assert_array_equal(found["spot"], expected["spot"])
    assert len(found) > 1000
