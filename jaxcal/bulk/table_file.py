"""TableFile: the raw tables of a file, and what of it cannot be read."""

import gzip
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jaxcal.bulk.problem import Problem
from jaxcal.bulk.source import SourceFile
from jaxcal.market.csv_file import read_back
from jaxcal.market.quotes import NoQuoteError, read_registered

LARGE = 32 * 1024 * 1024  # bytes from which a file is read piece by piece
PIECE = 131_072  # rows
_READ_ERRORS = (OSError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, pa.ArrowException)


@dataclass(frozen=True, eq=False)
class Piece:
    """Consecutive rows of a file, as it names its columns; what a venue's own reader reads, as the tidy table.

    Attributes:
        file: which.
        start: position of the first row in the file, from 0.
        table: the rows; its index is their position behind `start`.
        whole: whether these are all rows of the file.
        bytes_read: of the file, up to the last row.
        tidy: whether the columns are those of the tidy table already.
    """

    file: SourceFile
    start: int
    table: pd.DataFrame
    whole: bool
    bytes_read: int
    tidy: bool = False


def read_file(file: SourceFile) -> Iterator[Piece | Problem]:
    r"""Read a file: whole if it is small, else in pieces of about `PIECE` rows (of parquet, whole row groups).

    What cannot be read is a problem instead of an exception, and reading goes on behind it where that is possible:
    after a damaged row group of a parquet file, after a row of a CSV file with too many cells.

    Example:
        >>> import pathlib, tempfile
        >>> from jaxcal.bulk.source import find_source
        >>> from jaxcal.bulk.table_file import read_file
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "chain.csv"
        >>> _ = path.write_text("expiry,strike,iv\n0.5,100,0.2\n0.5,110,0.2,what\n")
        >>> for part in read_file(find_source(path).files[0]):
        ...     print(part if isinstance(part, Problem) else len(part.table))
        1
        chain.csv: 1 row has more cells than the header, the first of them: 0.5,110,0.2,what
    """
    try:
        for piece in _parquet(file) if file.is_parquet else _other(file):
            if isinstance(piece, Piece) and file.columns:
                given = {name: value for name, value in file.columns if name not in piece.table.columns}
                piece = replace(piece, table=piece.table.assign(**given))
            yield piece
    except NoQuoteError as error:
        yield Problem(file.name, "empty", _sentence(error).removeprefix(f"{file.path.name}: "))
    except _READ_ERRORS as error:
        yield Problem(file.name, "file", f"the file cannot be read: {_sentence(error)}")


def _other(file: SourceFile) -> Iterator[Piece | Problem]:
    """A file that a venue's own reader takes; else a CSV table."""
    tidy = read_registered(file.path) if file.size < LARGE or not file.is_csv else None
    if tidy is None:
        yield from _csv(file)
    else:
        yield Piece(file, 0, tidy, True, file.size, tidy=True)


def _parquet(file: SourceFile) -> Iterator[Piece | Problem]:
    if file.size < LARGE:
        with pq.ParquetFile(file.path) as reader:
            table = reader.read().to_pandas()
        yield Piece(file, 0, table.reset_index(drop=True), True, file.size)
        return
    with pq.ParquetFile(file.path) as reader:
        groups = [reader.metadata.row_group(i).num_rows for i in range(reader.num_row_groups)]
        start, chosen = 0, []
        for i in range(len(groups)):
            chosen.append(i)
            if i + 1 < len(groups) and sum(groups[j] for j in chosen) + groups[i + 1] <= PIECE:
                continue
            size = sum(groups[j] for j in chosen)
            try:
                table = reader.read_row_groups(chosen).to_pandas().reset_index(drop=True)
                read = int(file.size * (start + size) / max(sum(groups), 1))
                yield Piece(file, start, table, len(chosen) == len(groups), read)
            except _READ_ERRORS as error:
                yield Problem(
                    file.name, "rows", f"rows {start} to {start + size - 1} cannot be read: {_sentence(error)}"
                )
            start, chosen = start + size, []


def _csv(file: SourceFile) -> Iterator[Piece | Problem]:
    """Pieces of a CSV table; `start` counts the rows that can be read."""
    packed = "gzip" if file.name.lower().endswith(".gz") else None
    large = file.size >= (LARGE // 4 if packed else LARGE)
    start = 0
    try:
        with file.path.open("rb") as raw:
            if not large:
                with _long_rows_are_errors():
                    table = pd.read_csv(raw, low_memory=False, compression=packed, index_col=False)
                yield Piece(file, 0, read_back(table), True, file.size)
                return
            with pd.read_csv(raw, low_memory=False, compression=packed, index_col=False, chunksize=PIECE) as reader:
                while True:
                    with _long_rows_are_errors():
                        table = next(reader, None)
                    if table is None:
                        return
                    yield Piece(file, start, read_back(table.reset_index(drop=True)), False, raw.tell())
                    start += len(table)
    except pd.errors.ParserWarning:
        yield Problem(file.name, "file", "the file is not a CSV table: its rows have more cells than its header")
    except pd.errors.EmptyDataError:
        yield Problem(file.name, "file", "the file is empty: it has neither columns nor rows")
    except pd.errors.ParserError as error:
        yield from _csv_rows(file, start, error)


@contextmanager
def _long_rows_are_errors() -> Iterator[None]:
    """Where all rows have more cells than the header, pandas would drop the last ones and only warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        yield


def _csv_rows(file: SourceFile, start: int, error: Exception) -> Iterator[Piece | Problem]:
    """What is left from row `start` on, read by a slower reader that passes over rows with too many cells."""
    bad: list[list[str]] = []
    rest = read_back(pd.read_csv(file.path, engine="python", on_bad_lines=bad.append))
    if not len(rest) or not bad:
        yield Problem(file.name, "file", f"the file is not a CSV table: {_sentence(error)}")
        return
    for begin in range(start, len(rest), PIECE):
        table = rest.iloc[begin : begin + PIECE].reset_index(drop=True)
        read = int(file.size * (begin + len(table)) / len(rest))
        yield Piece(file, begin, table, begin == 0 and len(rest) <= PIECE, read)
    count = "1 row has" if len(bad) == 1 else f"{len(bad)} rows have"
    first = ",".join(map(str, bad[0]))[:120]
    yield Problem(file.name, "rows", f"{count} more cells than the header, the first of them: {first}")


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
