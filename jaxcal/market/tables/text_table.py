"""TextTable: how a file of text is written (its letters, the signs between cells and before decimals), and its rows."""

import codecs
import csv
import gzip
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from jaxcal.market.tables.cells import NOTHING, number_of
from jaxcal.market.tables.file_limits import UnreadableFileError
from jaxcal.market.tables.headers import collision, known_name
from jaxcal.market.tables.sentences import quoted

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
_HEAD = 1 << 18  # bytes that decide how a file is written
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_OTHER_KINDS = (
    (b"PAR1", "a parquet file", ".parquet"),
    (b"PK\x03\x04", "an Excel workbook or a zip archive", ".xlsx, or unpack it"),
    (b"\x1f\x8b", "packed by gzip", ".csv.gz"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "nothing that is read: save it as .xlsx or .csv"),
    (b"[{", "JSON", ".json"),
    (b'{"', "JSON", ".json"),
    (b"%PDF", "a PDF", "nothing that is read: save its table as .csv"),
)
_SEPARATORS = (",", ";", "\t", "|")
_NUMBERS = frozenset({
    "strike", "bid", "ask", "price", "iv", "bid_iv", "ask_iv", "forward", "discount", "rate", "spot", "dividend_yield",
    "T", "days_to_expiry", "zero_rate", "underlying_price", "mark_iv", "delta", "last", "expiry",
})  # fmt: skip
_MOST_ODD = 0.1  # of the cells that say where decimals stand: so few are cells that are wrong
_TOLD = re.compile(r'"?sep=.?"?', re.IGNORECASE)  # for a spreadsheet
_AMBIGUOUS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", re.ASCII)


@dataclass(frozen=True)
class TextTable:
    r"""A table in a file of text.

    Attributes:
        path: of the file.
        encoding: of its letters: UTF-8, UTF-16 with a byte order mark, else cp1252.
        separator: between cells: the sign that the header has most of.
        decimal: the sign before decimals, "." or ",".
        skip: lines before the header, where the first only tells a spreadsheet the separator (`sep=;`).

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "chain.csv"
        >>> _ = path.write_text("expiry;strike;iv\n0,5;1.050;0,2\n", "utf-16")
        >>> table = TextTable.of(path)
        >>> table.encoding, table.separator, table.decimal
        ('utf-16', ';', ',')
        >>> table.read()["strike"].tolist()
        [1050.0]
    """

    path: Path
    encoding: str
    separator: str
    decimal: str
    skip: int = 0

    @classmethod
    def of(cls, path: Path) -> "TextTable":
        """Look at the beginning of a file.

        Between decimals and thousands the cells decide that can be only one: `0,25`, `1.5`, `1.050,25`. Where there are
        none, decimals stand behind a comma if a semicolon is between cells, else behind a point.

        Raises:
            UnreadableFileError: it is empty or no text, two columns are one, or numbers can be read in two ways.
            OSError: it cannot be opened, or is damaged.
        """
        head = _beginning(path)
        for magic, kind, ending in _OTHER_KINDS:
            if head.startswith(magic):
                raise UnreadableFileError(f"it is {kind}, not a table of text: name it {ending}")
        encoding = next((name for mark, name in _BOMS if head.startswith(mark)), None) or _encoding(head)
        text = head.decode(encoding, errors="replace" if encoding == "cp1252" else "ignore")
        if "\0" in text:
            raise UnreadableFileError("it is not a CSV table: it holds bytes that no text has; save it as UTF-8")
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            raise UnreadableFileError("it is empty: it has neither columns nor rows")
        if len(head) == _HEAD:
            lines = lines[:-1] or lines
        skip = 0
        if len(lines) > 1 and _TOLD.fullmatch(lines[0].strip()):
            skip, lines = 1 + text.splitlines().index(lines[0]), lines[1:]
        separator = max(_SEPARATORS, key=lambda sign: len(_cells(lines[0], sign)))
        header = _cells(lines[0], separator)
        if twice := collision(header):
            raise UnreadableFileError(twice)
        return cls(path, encoding, separator, _decimal(header, lines[1:], separator), skip)

    def read(self) -> pd.DataFrame:
        """All rows.

        Raises:
            ValueError, OSError, EOFError, zlib.error: what pandas says of a damaged file.
        """
        with _long_rows_are_errors():
            return self.numbers_of(pd.read_csv(self.path, **self.options))

    def pieces(self, stream: Any, rows: int) -> Iterator[pd.DataFrame]:
        """So many rows at a time of the open file."""
        options: dict[str, Any] = {**self.options, "compression": None, "chunksize": rows}
        with pd.read_csv(stream, **options) as reader:
            while True:
                with _long_rows_are_errors():
                    piece = next(reader, None)
                if piece is None:
                    return
                yield self.numbers_of(piece)

    @property
    def options(self) -> dict[str, Any]:
        """What `pandas.read_csv` must know."""
        return {
            "sep": self.separator,
            "encoding": self.encoding,
            "encoding_errors": "replace" if self.encoding == "cp1252" else "strict",
            "compression": "gzip" if self.path.name.lower().endswith(".gz") else None,
            "skiprows": self.skip,
            "low_memory": False,
            # Without it pandas takes the first cells of rows that are longer than the header for an index.
            "index_col": False,
            **({} if self.decimal == "." else {"dtype": str}),
        }

    def numbers_of(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows with numbers for texts where decimals stand behind a comma."""
        if self.decimal == ".":
            return table
        return table.assign(**{name: _with_commas(table[name]) for name in table.columns if isinstance(name, str)})


@contextmanager
def _long_rows_are_errors() -> Iterator[None]:
    """Where all rows have more cells than the header, pandas would drop the last ones and only warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        yield


def _beginning(path: Path) -> bytes:
    with path.open("rb") as raw:
        if not path.name.lower().endswith(".gz"):
            return raw.read(_HEAD)
        with gzip.open(raw) as file:
            return file.read(_HEAD)


def _encoding(head: bytes) -> str:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # a cell of more than 128 kB
        return line.split(separator)


def _decimal(header: list[str], lines: list[str], separator: str) -> str:
    """The sign before decimals, by the cells of columns of numbers that can be read in one way only."""
    places = [i for i, name in enumerate(header) if known_name(name) in _NUMBERS]
    clear: dict[str, list[str]] = {}
    unclear = ""
    for line in lines:
        cells = _cells(line, separator)
        for i in places:
            cell = cells[i].strip() if i < len(cells) else ""
            if _AMBIGUOUS.fullmatch(cell):
                unclear = unclear or cell
            elif sign := next((sign for sign in ".," if sign in cell and _is_decimal(cell, sign)), ""):
                clear.setdefault(sign, []).append(cell)
    if clear:
        few, many = min(clear.values(), key=len), max(clear.values(), key=len)
        if len(clear) == 2 and len(few) > _MOST_ODD * len(many):
            raise UnreadableFileError(
                f"decimals stand behind a point in {quoted(clear['.'][0])} and behind a comma in "
                f"{quoted(clear[','][0])}: write all of them in one way"
            )
        return max(clear, key=lambda sign: len(clear[sign]))
    usual = "," if separator == ";" else "."
    if unclear and separator != "," and usual not in unclear:
        raise UnreadableFileError(
            f"{quoted(unclear)} may be thousands or a number with three decimals, and no other cell tells: write "
            "a cell with one or two decimals, or none"
        )
    return usual


def _is_decimal(cell: str, sign: str) -> bool:
    """Whether the cell is a number with this sign before decimals, and none with the other."""
    other = "," if sign == "." else "."
    return not math.isnan(number_of(cell, sign)) and math.isnan(number_of(cell, other))


def _with_commas(column: pd.Series) -> pd.Series:
    """Numbers for texts, where most of the cells are numbers; a cell that is none stays as it is."""
    cells = column.tolist()
    values = {cell: number_of(cell, ",") for cell in set(cells) if isinstance(cell, str)}
    filled = [cell for cell in cells if isinstance(cell, str) and cell.strip().lower() not in NOTHING]
    good = sum(not math.isnan(values[cell]) for cell in filled)
    if not filled or 2 * good < len(filled):
        return column
    if good == len(filled):
        return pd.Series([values.get(cell, math.nan) for cell in cells], column.index, dtype=float)
    return pd.Series(
        [cell if math.isnan(values.get(cell, math.nan)) else values[cell] for cell in cells], column.index, dtype=object
    )
