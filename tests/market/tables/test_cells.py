"""Cells, headers and files of text as people write them: read as what they can only be, or refused with the remedy."""

import gzip
import math

import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.market.surface import Surface
from jaxcal.market.tables.cells import number_of, read_numbers
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.venues.read_quotes import read_quotes

NAMES = ("expiry", "strike", "option_type", "bid", "ask", "forward")


def smile(strikes=(90.0, 95.0, 100.0, 105.0, 110.0)) -> pd.DataFrame:
    """Calls and puts out of the money, of 25 % volatility at a forward of 100, half a year; prices in cents."""
    is_call = np.asarray(strikes) >= 100.0
    mid = np.asarray(jc.black_price(0.25, np.asarray(strikes), 0.5, forward=100.0, is_call=is_call))
    mid = np.round(mid, 4)
    sides = np.where(is_call, "C", "P")
    columns = (0.5, strikes, sides, np.round(mid - 0.01, 4), np.round(mid + 0.01, 4), 100.0)
    return pd.DataFrame(dict(zip(NAMES, columns, strict=True)))


def text(table: pd.DataFrame, separator: str = ",", decimal: str = ".") -> str:
    return table.to_csv(index=False, sep=separator, decimal=decimal)


def vols(path) -> np.ndarray:
    surface = Surface.from_quotes(read_quotes(path))
    return np.asarray(surface.vol)[np.asarray(surface.weight) > 0.0]


@pytest.mark.parametrize(
    ("cell", "point", "comma"),
    [
        ("1050", 1050.0, 1050.0),
        ("1,050.00", 1050.0, math.nan),
        ("1.050,00", math.nan, 1050.0),
        ("1,050", 1050.0, 1.05),
        ("1.050", 1.05, 1050.0),
        ("1,234,567", 1234567.0, math.nan),
        ("1'050.5", 1050.5, math.nan),
        ("2,12,500.5", 212500.5, math.nan),
        ("1,2,500", math.nan, math.nan),
        ("\u20b91,05,000", 105000.0, math.nan),
        ("25%", math.nan, math.nan),
        ("1\u2019050", 1050.0, 1050.0),
        ("1\u00a0050,5", math.nan, 1050.5),
        ("1\u202f050", 1050.0, 1050.0),
        ("0,250", math.nan, 0.25),
        ("1,05", math.nan, 1.05),
        ("1,0500", math.nan, 1.05),
        ("1,234'567", math.nan, math.nan),
        ("$1,050", 1050.0, 1.05),
        ("-\u20ac5", -5.0, -5.0),
        ("\u22125", -5.0, -5.0),
        ("1e-3", 0.001, 0.001),
        (" .5 ", 0.5, math.nan),
        ("0x1F", math.nan, math.nan),
        ("1_000", math.nan, math.nan),
        ("\u0663", math.nan, math.nan),
        ("(5)", math.nan, math.nan),
        ("9" * 400, math.inf, math.inf),
    ],
)
def test_a_cell_is_the_number_that_it_can_only_be(cell, point, comma):
    assert [number_of(cell), number_of(cell, ",")] == pytest.approx([point, comma], nan_ok=True, rel=1e-15)


def test_cells_without_a_value_and_cells_that_are_no_number():
    nothing = ["", "-", "--", ".", "\u2013", "\u2014", "N/A", "#N/A", "nan", "None", " null ", None, math.nan]
    values, odd = read_numbers(pd.Series([*nothing, "x", True, 10**400, -(10**400), 7], dtype=object))
    assert np.isnan(values[:15]).all()
    assert values[15:].tolist() == [math.inf, -math.inf, 7.0]
    assert odd.tolist() == [False] * len(nothing) + [True, True, False, False, False]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz"])
@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", ","), (";", "."), ("\t", ","), ("|", ".")])
def test_separators_and_decimals(tmp_path, ending, separator, decimal):
    path = tmp_path / f"chain{ending}"
    data = text(smile(), separator, decimal).encode()
    path.write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)
    assert vols(path) == pytest.approx(np.full(5, 0.25), abs=2e-4)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1"])
def test_encodings(tmp_path, encoding):
    content = text(smile().assign(name="Société Générale"), ";", ",")
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    (tmp_path / "chain.csv").write_bytes(mark + content.encode(encoding))
    quotes = read_quotes(tmp_path / "chain.csv")
    assert quotes["name"][0] == "Société Générale"
    assert quotes["strike"].tolist() == smile()["strike"].tolist()


@pytest.mark.parametrize("before", ["sep=;\n", "\ufeffsep=;\r\n", "\n\nSEP=;\n", '"sep=;"\n'])
def test_a_line_that_tells_a_spreadsheet_the_separator_is_no_header(tmp_path, before):
    path = tmp_path / "chain.csv"
    path.write_text(before + "expiry;strike;iv;forward\n0,5;90;0,21;100\n0,5;110;0,19;100\n", "utf-8")
    assert jc.read_quotes(path)["iv"].tolist() == [0.21, 0.19]


def test_headers_in_any_dress(tmp_path):
    lines = text(smile()).split("\n")
    lines[0] = "\ufeff[EXPIRY], Strike ,Option Type,\"'BID'\",[ask] ,FORWARD"
    (tmp_path / "chain.csv").write_text("\n".join(lines))
    assert vols(tmp_path / "chain.csv") == pytest.approx(np.full(5, 0.25), abs=2e-4)
    table = smile().rename(columns=str.title)
    assert Surface.from_quotes(table).num_quotes == 5


@pytest.mark.parametrize(
    ("second", "words"), [(" Bid", "columns 'bid' and ' Bid' are both bid"), ("bid", "column bid occurs twice")]
)
def test_headers_that_mean_one_column_are_refused(tmp_path, second, words):
    lines = text(smile().assign(other=1.0)).split("\n")
    lines[0] = lines[0].replace("other", second)
    (tmp_path / "chain.csv").write_text("\n".join(lines))
    with pytest.raises(QuoteError, match=f"{words}.*: drop or rename one"):
        read_quotes(tmp_path / "chain.csv")


def test_thousands_are_read_everywhere_that_a_strike_is_used(tmp_path):
    table = smile()
    for name in ("strike", "bid", "ask", "forward"):
        table[name] = [f"{100.0 * value:,.2f}" for value in table[name]]
    table.to_csv(tmp_path / "chain.csv", index=False)
    assert vols(tmp_path / "chain.csv") == pytest.approx(np.full(5, 0.25), abs=2e-4)
    report = jc.inspect_quotes(read_quotes(tmp_path / "chain.csv"))
    assert report.table["strike"].tolist() == [9000.0, 9500.0, 10000.0, 10500.0, 11000.0]
    assert jc.find_arbitrage(report).num_violations == 0


def test_what_can_be_read_in_two_ways_is_refused(tmp_path):
    path = tmp_path / "chain.csv"
    path.write_text("expiry;strike;iv;forward\n1;1.050;1;1.000\n")
    with pytest.raises(QuoteError, match=r"'1\.050' may be thousands or a number with three decimals"):
        read_quotes(path)
    path.write_text("expiry;strike;iv;forward\n0,5;105;0.2;100\n")
    with pytest.raises(QuoteError, match=r"behind a point in '0\.2' and behind a comma in '0,5'"):
        read_quotes(path)
    path.write_text("expiry;strike;iv;forward\n1;1,050;0,2;1,000\n")  # the semicolon says what the comma is
    assert read_quotes(path)["strike"].tolist() == [1.05]
    path.write_text('expiry,strike,iv,forward\n"0,5","1.050","0,2","1.000"\n')  # and so do cells that are clear
    assert read_quotes(path)["strike"].tolist() == [1050.0]


@pytest.mark.parametrize("column", ["bid_iv", "ask_iv", "iv", "price", "spot", "volume", "open_interest"])
@pytest.mark.parametrize("cell", ["-", "garbage", "9" * 400, "25%", math.inf])
def test_a_cell_that_no_price_needs_spoils_nothing(column, cell):
    assert Surface.from_quotes(smile().assign(**{column: cell})).num_quotes == 5


def test_a_cell_that_a_price_needs_still_counts():
    table = smile().assign(iv="garbage")
    table.loc[0, "bid"] = math.nan
    report = jc.inspect_quotes(table)
    assert report.table["reason"][0] == "row 0: iv 'garbage' is not a number"
    percent = smile().assign(iv=25.0)
    assert Surface.from_quotes(percent).num_quotes == 5
    with pytest.raises(QuoteError, match="in percent"):
        Surface.from_quotes(percent.drop(columns=["bid", "ask"]))


def test_a_time_for_a_file_without_one(tmp_path):
    table = smile().assign(expiry="2026-10-30T20:00Z")
    table.to_csv(tmp_path / "chain.csv", index=False)
    for given in ("2026-04-30T20:00Z", "2026-04-30T20:00", pd.Timestamp("2026-04-30T16:00", tz="America/New_York")):
        quotes = read_quotes(tmp_path / "chain.csv", quote_time=given)
        assert jc.inspect_quotes(quotes).table["years"].tolist() == pytest.approx([183 / 365] * 5, rel=1e-12)
    with pytest.raises(QuoteError, match="bare date: add a time of day"):
        read_quotes(tmp_path / "chain.csv", quote_time="2026-04-30")
    table.assign(quote_time="2026-04-30T20:00Z").to_csv(tmp_path / "chain.csv", index=False)
    with pytest.raises(QuoteError, match="the file has times of its own in column quote_time"):
        read_quotes(tmp_path / "chain.csv", quote_time="2026-04-30T20:00Z")


def damaged() -> dict[str, bytes]:
    csv = text(smile()).encode()
    packed = gzip.compress(csv)
    noise = bytes(np.random.default_rng(0).integers(0, 256, 3000, np.uint8))
    names = (".csv", ".csv.gz", ".tsv", ".txt", ".parquet", ".json", ".json.gz", ".jsonl", ".xlsx")
    return {
        **{f"noise{ending}": noise for ending in names},
        **{f"empty{ending}": b"" for ending in names},
        "cut.csv.gz": packed[:-10],
        "text.csv.gz": csv,
        "packed.csv": packed,
        "text.parquet": csv,
        "text.json": csv,
        "text.xlsx": csv,
        "parquet.csv": b"PAR1" + noise,
        "json.csv": b'[{"strike": 1}]',
        "zip.csv": b"PK\x03\x04" + noise,
        "name.xls": noise,
        "wide.csv": ",".join(f"column {i}" for i in range(20_000)).encode() + b"\n1\n",
        "name.csv": b"x" * 1_000_000 + b",strike\n1,2\n",
        "steer.csv": b"\x1b[31mred,\x07bell\n1,2\n",
    }


@pytest.mark.parametrize("name", list(damaged()))
def test_a_damaged_file_is_one_short_sentence(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(damaged()[name])
    with pytest.raises(QuoteError) as caught:
        read_quotes(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_folder_and_a_parquet_that_is_cut(tmp_path):
    (tmp_path / "chain.csv").mkdir()
    with pytest.raises(QuoteError, match=r"chain\.csv is a folder"):
        read_quotes(tmp_path / "chain.csv")
    smile().to_parquet(tmp_path / "whole.parquet")
    data = (tmp_path / "whole.parquet").read_bytes()
    for size in (0, 4, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.parquet").write_bytes(data[:size])
        with pytest.raises(QuoteError, match="is no parquet file, or is damaged"):
            read_quotes(tmp_path / "cut.parquet")
    with pytest.raises(FileNotFoundError):
        read_quotes(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("cell", ["9" * 400, "9" * 5000, "x" * 3_000_000, "\x1b[31m\x07\r"])
@pytest.mark.parametrize("column", NAMES)
def test_any_cell_leaves_the_other_rows_in_use_and_the_reason_short(tmp_path, column, cell):
    table = smile().astype(object)
    table.loc[5] = table.loc[4]
    table.loc[5, column] = cell
    table.to_csv(tmp_path / "chain.csv", index=False)
    report = jc.inspect_quotes(read_quotes(tmp_path / "chain.csv"))
    assert report.table["verdict"].tolist()[:5] == ["used"] * 5
    reason = report.table["reason"][5]
    assert reason.startswith("row 5: ")
    assert reason.isprintable()
    assert len(reason) < 500
