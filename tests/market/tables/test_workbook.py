"""Excel workbooks: the sheet with the quotes, dates as Excel has them, and what is too large or damaged."""

import datetime as dt
import io
import zipfile

import numpy as np
import openpyxl
import pytest

import jaxcal as jc
from jaxcal.bulk.input.file_chunks import FileChunk, read_file
from jaxcal.bulk.input.input_files import find_source
from jaxcal.market.tables import workbook
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.venues.read_quotes import read_quotes
from tests.market.tables.test_cells import smile

ROWS = [list(smile().columns), *smile().to_numpy(object).tolist()]


def save(path, **sheets):
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_the_sheet_with_quotes_is_found(tmp_path):
    titled = [
        ["Close of the day"],
        [],
        ["", *(f" {name.upper()}" for name in ROWS[0])],
        *([None, *row] for row in ROWS[1:]),
    ]
    for sheets in ({"one": ROWS}, {"notes": [["hello", 1]], "quotes": ROWS}, {"titled": titled}):
        quotes = read_quotes(save(tmp_path / "chain.xlsx", **sheets))
        surface = jc.Surface.from_quotes(quotes)
        assert np.asarray(surface.vol)[np.asarray(surface.weight) > 0.0] == pytest.approx(np.full(5, 0.25), abs=2e-4)


def test_two_sheets_with_quotes_must_be_told_apart(tmp_path):
    other = [ROWS[0], ROWS[1]]
    path = save(tmp_path / "chain.xlsx", first=ROWS, second=other)
    with pytest.raises(QuoteError, match="sheets 'first', 'second' all hold quotes: choose one, with sheet="):
        read_quotes(path)
    assert len(read_quotes(path, sheet="second")) == 1
    with pytest.raises(QuoteError, match="has no sheet 'third', only first, second"):
        read_quotes(path, sheet="third")
    with pytest.raises(QuoteError, match="none of its sheets 'a', 'b' has a header"):
        read_quotes(save(tmp_path / "chain.xlsx", a=[["x"]], b=[["y"]]))
    with pytest.raises(QuoteError, match="is empty"):
        read_quotes(save(tmp_path / "chain.xlsx", a=[]))


def test_dates_of_excel_and_odd_cells(tmp_path):
    head = ["quote_time", "settlement", *ROWS[0]]
    rows = [[dt.datetime(2026, 5, 1, 20), "PM", dt.datetime(2026, 5, 29), *row[1:]] for row in ROWS[1:]]
    report = jc.inspect_quotes(read_quotes(save(tmp_path / "chain.xlsx", quotes=[head, *rows])))
    assert report.table["years"].tolist() == pytest.approx([28 / 365] * 5, rel=1e-12)
    rows[0][3], rows[1][3], rows[2][2], rows[3][5] = dt.datetime(2026, 1, 5), True, "soon", "1,0x"
    report = jc.inspect_quotes(read_quotes(save(tmp_path / "chain.xlsx", quotes=[head, *rows])))
    assert report.table["verdict"].tolist() == ["not a number"] * 2 + ["unreadable value", "not a number", "used"]


def test_a_job_reads_workbooks_too(tmp_path):
    save(tmp_path / "chain.xlsx", quotes=ROWS)
    [chunk] = read_file(find_source(tmp_path).files[0])
    assert isinstance(chunk, FileChunk)
    assert len(chunk.table) == 5


def test_bombs_and_damage_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "chain.xlsx"
    book = openpyxl.Workbook()
    for row in ROWS:
        book.worksheets[0].append(row)
    book.worksheets[0]["XFD1048576"] = 1
    book.save(path)
    with pytest.raises(QuoteError, match="its cells reach to row 1,048,576 and column 16,384, too far apart"):
        read_quotes(path)
    whole = save(path, quotes=ROWS).read_bytes()
    for size in (10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(QuoteError, match="is no Excel workbook, or is damaged"):
            read_quotes(path)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * (5 << 20))
    path.write_bytes(packed.getvalue())
    monkeypatch.setattr(workbook, "LARGEST", 4 << 20)
    with pytest.raises(QuoteError, match="holds more than 4 MiB unpacked"):
        read_quotes(path)
