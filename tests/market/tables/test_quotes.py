"""Files in, the tidy table out; times, sides and groups of the rows."""

import gzip
import io

import numpy as np
import pandas as pd
import pytest

from jaxcal.dates.instants import first_of_poll
from jaxcal.market.tables import file_limits
from jaxcal.market.tables.file_limits import oversize
from jaxcal.market.tables.quote_columns import validate_quotes
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.venues.read_quotes import read_quotes

DERIBIT = pd.DataFrame(
    {
        "snapshot_ts": ["2026-01-05T15:33:00Z", "2026-01-05T15:34:00Z", "2026-01-05T16:30:00Z"],
        "underlying": "BTC",
        "expiry": "2026-01-30T08:00:00Z",
        "strike": [90000.0, 90000.0, 95000.0],
        "option_type": ["C", "P", "C"],
        "bid": 0.05,
        "ask": 0.051,
        "mark_iv": 0.5,
        "underlying_price": 92000.0,
    }
)
US = pd.DataFrame(
    {
        "session_date": "2026-07-22",
        "underlying": "SPX",
        "expiry": ["2026-08-21", "2026-08-21"],
        "strike": 6000.0,
        "option_type": ["C", "P"],
        "bid": [100.0, 90.0],
        "ask": [101.0, 91.0],
        "last": 99.0,
        "iv": 0.1,
        "underlying_price": 6010.0,
        "exercise": "E",
        "settlement": ["AM", "PM"],
    }
)


def test_deribit_layout(tmp_path):
    DERIBIT.to_csv(tmp_path / "q.csv", index=False)
    quotes = read_quotes(tmp_path / "q.csv")
    assert quotes["forward"].tolist() == [92000.0] * 3
    assert quotes["currency_of_price"].eq("coin").all()
    assert "iv" not in quotes
    assert "price" not in quotes
    assert [str(time)[11:16] for time in quotes["quote_time"]] == ["15:33", "15:33", "16:30"]  # one poll, then another
    columns = validate_quotes(quotes)
    assert columns.in_coin.all()
    assert columns.side.tolist() == [1, -1, 1]
    assert columns.years[0] == pytest.approx((24 + 16.45 / 24) / 365, rel=1e-12)
    assert [key[0] for key in columns.keys] == ["BTC", "BTC"]
    assert columns.group.tolist() == [0, 0, 1]


def test_bare_deribit_expiry_is_at_0800_utc(tmp_path):
    DERIBIT.assign(expiry="2026-01-30").to_csv(tmp_path / "q.csv", index=False)
    years = validate_quotes(read_quotes(tmp_path / "q.csv")).years
    assert years[0] == pytest.approx((24 + 16.45 / 24) / 365, rel=1e-12)


def test_us_layout(tmp_path):
    US.to_parquet(tmp_path / "q.parquet")
    quotes = read_quotes(tmp_path / "q.parquet")
    assert {"spot", "published_iv", "last", "quote_time"} <= set(quotes)
    assert not {"iv", "price"} & set(quotes)
    assert quotes["quote_time"].iloc[0] == pd.Timestamp("2026-07-22T20:00Z")  # 16:00 in summer
    years = validate_quotes(quotes).years * 365
    assert years == pytest.approx([30 - 6.5 / 24, 30.0], rel=1e-12)


def test_clock_counts_seconds_across_a_change_of_summer_time(tmp_path):
    US.assign(session_date="2026-10-30", expiry="2026-11-06", settlement="PM").to_csv(tmp_path / "q.csv", index=False)
    assert validate_quotes(read_quotes(tmp_path / "q.csv")).years * 365 == pytest.approx(7 + 1 / 24, rel=1e-12)


@pytest.mark.parametrize(("drop", "target"), [(["bid", "ask"], "price"), (["bid", "ask", "last"], "iv")])
def test_us_target_without_bid_and_ask(tmp_path, drop, target):
    US.drop(columns=drop).to_csv(tmp_path / "q.csv", index=False)
    assert target in read_quotes(tmp_path / "q.csv")


def test_us_exercise_follows_the_root_where_the_file_does_not_say(tmp_path):
    US.drop(columns=["exercise", "settlement"]).assign(underlying=["SPX", "AAPL"]).to_csv(tmp_path / "q.csv")
    quotes = read_quotes(tmp_path / "q.csv")
    assert quotes["exercise"].tolist() == ["E", "A"]
    assert quotes["settlement"].tolist() == ["AM", "PM"]  # SPX on a third Friday


def test_published_layout(tmp_path):
    table = pd.DataFrame({"T": [0.5], "strike": 100.0, "iv": 0.2, "zero_rate": 0.03, "underlying_price": 101.0})
    table.to_csv(tmp_path / "q.csv", index=False)
    assert read_quotes(tmp_path / "q.csv").columns.tolist() == ["expiry", "strike", "iv", "rate", "spot"]
    table.drop(columns="T").assign(days_to_expiry=73).to_csv(tmp_path / "q.csv", index=False)
    assert read_quotes(tmp_path / "q.csv")["expiry"].tolist() == [0.2]


def test_tidy_layout_in_every_format(tmp_path):
    table = pd.DataFrame({"expiry": [0.5, 0.6], "strike": [100.0, 101.0], "iv": [0.2, 0.21]})
    table.to_csv(tmp_path / "q.csv", index=False)
    table.to_csv(tmp_path / "q.csv.gz", index=False)
    table.set_index("strike", drop=False).to_parquet(tmp_path / "q.parquet")
    for name in ("q.csv", "q.csv.gz", "q.parquet"):
        pd.testing.assert_frame_equal(read_quotes(tmp_path / name), table)
        pd.testing.assert_frame_equal(read_quotes(str(tmp_path / name), venue="tidy"), table)


def test_venue_forces_a_layout(tmp_path):
    DERIBIT.to_csv(tmp_path / "q.csv", index=False)
    assert "forward" in read_quotes(tmp_path / "q.csv", venue="deribit")
    with pytest.raises(QuoteError, match=r"us layout needs the columns session_date; columns found: snapshot_ts"):
        read_quotes(tmp_path / "q.csv", venue="us")
    with pytest.raises(QuoteError, match=r"venue 'cme' is not known; known layouts.*tidy.*deribit"):
        read_quotes(tmp_path / "q.csv", venue="cme")


def test_unknown_layout_lists_columns_and_layouts(tmp_path):
    (tmp_path / "q.csv").write_text("a,b\n1,2\n")
    with pytest.raises(QuoteError, match=r"columns found: a, b; known layouts.*tidy.*deribit.*us.*published"):
        read_quotes(tmp_path / "q.csv")
    (tmp_path / "levels.csv").write_text("side,level,price,amount\nbid,0,1,2\n")
    with pytest.raises(QuoteError, match="order-book levels"):
        read_quotes(tmp_path / "levels.csv")
    (tmp_path / "q.xml").write_text("{}")
    with pytest.raises(QuoteError, match=r"only \.csv, \.csv\.gz, \.parquet"):
        read_quotes(tmp_path / "q.xml")


def test_forward_from_delta_where_a_file_has_only_volatilities(tmp_path):
    from scipy.special import ndtr

    forward, vol, years = 91000.0, 0.45, 25 / 365
    strike = np.array([70000.0, 88000.0, 92000.0, 140000.0])
    d1 = np.log(forward / strike) / (vol * np.sqrt(years)) + 0.5 * vol * np.sqrt(years)
    table = pd.DataFrame(
        {
            "snapshot_ts": "2026-01-05T08:00:00Z",
            "underlying": "BTC",
            "expiry": "2026-01-30T08:00:00Z",
            "strike": strike,
            "option_type": ["C", "C", "P", "C"],
            "mark_iv": vol,
            "delta": ndtr(d1) - np.array([0.0, 0.0, 1.0, 0.0]),
        }
    )
    table.to_csv(tmp_path / "q.csv", index=False)
    quotes = read_quotes(tmp_path / "q.csv")
    assert quotes["iv"].eq(vol).all()
    assert quotes["forward"].iloc[1:3].to_numpy() == pytest.approx(forward, rel=1e-9)
    assert quotes["forward"].isna().tolist() == [True, False, False, True]  # delta is blunt in the wings


def test_a_poll_ends_with_a_gap_or_after_a_quarter_of_an_hour():
    minutes = np.array([0, 2, 4, 7, 8])
    start = np.datetime64("2026-01-01", "us")
    first = first_of_poll(start + minutes * np.timedelta64(1, "m"))
    assert ((first - start) / np.timedelta64(1, "m")).tolist() == [0, 0, 0, 7, 7]
    endless = first_of_poll(start + np.arange(0, 40) * np.timedelta64(60, "s"))
    assert len(np.unique(endless)) == 3


def test_expiry_may_be_years_or_times_in_several_types():
    times = ["2026-07-02T12:00:00Z", "2026-07-02T12:00:00Z"]
    base = pd.DataFrame({"quote_time": "2026-01-01T00:00:00Z", "strike": 100.0, "iv": 0.2}, index=[0, 1])
    expected = 182.5 / 365
    for expiry in (
        times,
        pd.to_datetime(times),
        pd.to_datetime(times).tz_localize(None),
        [expected] * 2,
        [str(expected)] * 2,
    ):
        assert validate_quotes(base.assign(expiry=expiry)).years == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("word", ["C", "call", "CALL", " c ", "Call"])
def test_words_for_a_call(word):
    table = pd.DataFrame({"expiry": 0.5, "strike": 100.0, "price": 1.0, "option_type": [word, "put"]})
    assert validate_quotes(table).side.tolist() == [1, -1]


def test_keys_are_sorted_and_do_not_depend_on_the_row_order():
    table = pd.DataFrame(
        {
            "underlying": ["B", "A", "B", "A"],
            "quote_time": ["2026-01-02", "2026-01-02", "2026-01-01", "2026-01-01"],
            "expiry": 0.5,
            "strike": 100.0,
            "iv": 0.2,
        }
    )
    columns = validate_quotes(table)
    assert [(name, time.day) for name, time in columns.keys if time] == [("A", 1), ("A", 2), ("B", 1), ("B", 2)]
    assert columns.group.tolist() == [3, 1, 2, 0]
    assert validate_quotes(table.iloc[::-1]).keys == columns.keys


ROWS = "expiry,strike,iv,forward\n" + "".join(f"0.5,{strike},0.2,100\n" for strike in range(50, 150))


def test_damaged_gzip_is_a_sentence(tmp_path):
    packed = bytearray(gzip.compress(ROWS.encode()))
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    packed[30] ^= 0xFF
    packed[60] ^= 0xFF
    (tmp_path / "spoilt.csv.gz").write_bytes(packed)
    for name in ("cut", "spoilt"):
        with pytest.raises(QuoteError, match=rf"{name}.csv.gz is damaged"):
            read_quotes(tmp_path / f"{name}.csv.gz")


def test_rows_longer_than_the_header_are_not_read_shifted(tmp_path):
    (tmp_path / "q.csv").write_text("expiry,strike,iv\n0.5,90,0.2,7,8\n0.5,95,0.2,7,8\n")
    with pytest.raises(QuoteError, match="more cells than its header"):
        read_quotes(tmp_path / "q.csv")
    # a comma at the end of every row is harmless
    (tmp_path / "q.csv").write_text("expiry,strike,iv\n0.5,90,0.2,\n0.5,95,0.2,\n")
    assert read_quotes(tmp_path / "q.csv")["strike"].tolist() == [90, 95]


def test_files_too_large_are_refused_before_they_are_read(tmp_path, monkeypatch):
    table = pd.read_csv(io.StringIO(ROWS))
    paths = [tmp_path / name for name in ("q.csv", "q.csv.gz", "q.parquet")]
    paths[0].write_text(ROWS)
    paths[1].write_bytes(gzip.compress(ROWS.encode()))
    table.to_parquet(paths[2])
    for path in paths:
        assert oversize(path) == ""
        assert len(read_quotes(path)) == 100
        assert oversize(path, largest=1000).startswith("it holds more than 1,000 bytes unpacked, too many")
    monkeypatch.setattr(file_limits, "LARGEST_TABLE", 99)
    with pytest.raises(QuoteError, match=r"q.parquet: it holds 100 rows, too many to read whole"):
        read_quotes(paths[2])
    # damage is for the reader to name
    paths[2].write_bytes(b"PAR1")
    assert oversize(paths[2]) == ""
    packed = paths[1].read_bytes()
    paths[1].write_bytes(packed[: len(packed) // 2])
    assert oversize(paths[1], largest=5000) == ""
