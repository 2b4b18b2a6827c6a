"""TableFile: the raw tables of a file, and what of it cannot be read."""

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jaxcal.bulk.input.input_files import SourceFile
from jaxcal.bulk.input.input_problem import Problem, told
from jaxcal.market.tables.csv_file import read_back
from jaxcal.market.tables.file_limits import UnreadableFileError
from jaxcal.market.tables.headers import with_known_names
from jaxcal.market.tables.sentences import one_line
from jaxcal.market.tables.table_file import NoQuoteError, QuoteError
from jaxcal.market.tables.text_table import TextTable
from jaxcal.market.tables.workbook import read_workbook
from jaxcal.venues.read_quotes import read_venue_file

LARGE = 32 * 1024 * 1024  # bytes from which no reader of a venue is tried
CHUNK_ROWS = 131_072  # rows that are read at a time, however small their compressed file is
MOST_TEXT = 256 * 1024 * 1024  # bytes of text of so many rows
MOST_COLUMNS = 1_000


@dataclass(frozen=True, eq=False)
class FileChunk:
    """Consecutive rows of a file, as it names its columns; what a venue's own reader reads, as the tidy table.

    Attributes:
        file: which.
        start: position of the first row in the file, from 0.
        table: the rows; its index is their position after `start`.
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


def read_file(file: SourceFile) -> Iterator[FileChunk | Problem]:
    r"""Read a file in chunks of at most `CHUNK_ROWS` rows: memory depends on them, not on the decompressed file.

    What cannot be read is a problem instead of an exception, and reading continues after it where that is possible:
    after a damaged row group of a parquet file, after a row of a CSV file with too many cells.

    Raises:
        MemoryError: there is not enough memory for a chunk.
    """
    try:
        for chunk in _parquet(file) if file.is_parquet else _other(file):
            if isinstance(chunk, FileChunk):
                if len(chunk.table.columns) > MOST_COLUMNS:
                    yield Problem(file.name, "file", _too_wide(len(chunk.table.columns)))
                    return
                if not chunk.tidy:
                    chunk = replace(chunk, table=with_known_names(chunk.table))
                given = {name: value for name, value in file.columns if name not in chunk.table.columns}
                chunk = replace(chunk, table=chunk.table.assign(**given)) if given else chunk
            yield chunk
    except MemoryError:
        raise
    except NoQuoteError as error:
        yield Problem(file.name, "empty", str(error).removeprefix(f"{file.path.name}: "))
    except UnreadableFileError as error:
        yield Problem(file.name, "file", error.of("the file"))
    except Exception as error:
        yield Problem(file.name, "file", f"the file cannot be read: {_sentence(error)}")


def _other(file: SourceFile) -> Iterator[FileChunk | Problem]:
    """A workbook, a file that a venue's own reader takes, else a CSV table."""
    if file.is_workbook:
        yield FileChunk(file, 0, read_workbook(file.path), True, file.size)
        return
    tidy = read_venue_file(file.path) if file.size < LARGE or not file.is_csv else None
    if tidy is None:
        yield from _csv(file)
    else:
        yield FileChunk(file, 0, tidy, True, file.size, tidy=True)


def _parquet(file: SourceFile) -> Iterator[FileChunk | Problem]:
    """Small row groups together, large ones in batches."""
    with pq.ParquetFile(file.path) as reader:
        metadata, schema = reader.metadata, reader.schema_arrow
    if metadata.num_columns > MOST_COLUMNS:
        yield Problem(file.name, "file", _too_wide(metadata.num_columns))
        return
    # Dictionary-encoded strings are decoded only once their total length is known.
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    with pq.ParquetFile(file.path, metadata=metadata, read_dictionary=texts, page_checksum_verification=True) as reader:
        sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        total, start = max(sum(sizes), 1), 0
        for chosen in _together(sizes):
            end = start + sum(sizes[i] for i in chosen)
            try:
                if end - start <= CHUNK_ROWS:
                    tables = iter([reader.read_row_groups(chosen)])
                else:
                    tables = (
                        pa.Table.from_batches([batch]) for batch in reader.iter_batches(CHUNK_ROWS, row_groups=chosen)
                    )
                for encoded in tables:
                    table = _decoded(encoded, schema).to_pandas().reset_index(drop=True)
                    read = int(file.size * (start + len(table)) / total)
                    yield FileChunk(file, start, table, len(table) == sum(sizes), read)
                    start += len(table)
            except MemoryError:
                raise
            except Exception as error:
                lost = f"rows {start} to {end - 1} cannot be read: {_sentence(error)}"
                yield Problem(file.name, "rows" if len(sizes) > len(chosen) else "file", lost)
            start = end
        if not sizes:
            yield FileChunk(file, 0, schema.empty_table().to_pandas(), True, file.size)


def _together(sizes: list[int]) -> Iterator[list[int]]:
    """Row groups that are read in one go: as many as have `CHUNK_ROWS` rows, but one at least."""
    chosen: list[int] = []
    for i, size in enumerate(sizes):
        if chosen and sum(sizes[j] for j in chosen) + size > CHUNK_ROWS:
            yield chosen
            chosen = []
        chosen.append(i)
    if chosen:
        yield chosen


def _decoded(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Strings decoded, not dictionary-encoded."""
    encoded = [name for name in table.column_names if pa.types.is_dictionary(table.schema.field(name).type)]
    length = 0
    for name in encoded:
        for chunk in table[name].chunks:
            lengths = pc.call_function("binary_length", [chunk.dictionary]).cast(pa.int64())
            length += pc.call_function("sum", [lengths.take(chunk.indices)]).as_py() or 0
    if length > MOST_TEXT:
        raise QuoteError(f"its texts are {length:,} bytes long, more than the {MOST_TEXT:,} of so many rows of quotes")
    for name in encoded:
        kind = schema.field(name).type
        if not pa.types.is_dictionary(kind):
            table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    return table.replace_schema_metadata(schema.metadata)


def _csv(file: SourceFile) -> Iterator[FileChunk | Problem]:
    """Pieces of a CSV table; `start` counts the rows that can be read."""
    start = 0
    text = TextTable.of(file.path)
    try:
        with file.path.open("rb") as raw, _text(file, raw) as stream:
            for table in text.pieces(stream, CHUNK_ROWS):
                whole = not start and len(table) < CHUNK_ROWS
                place = file.size if whole else raw.tell()
                yield FileChunk(file, start, read_back(table.reset_index(drop=True)), whole, place)
                start += len(table)
                stream.taken = 0
    except pd.errors.ParserWarning:
        yield Problem(file.name, "file", "the file is not a CSV table: its rows have more cells than its header")
    except pd.errors.EmptyDataError:
        yield Problem(file.name, "file", "the file is empty: it has neither columns nor rows")
    except pd.errors.ParserError as error:
        yield from _csv_rows(file, text, start, error)


class _Text(io.RawIOBase):
    """A stream that raises where a chunk takes too many bytes: a quotation mark never closed, or one huge line.

    Attributes:
        taken: bytes since the last chunk.
    """

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream, self.taken = stream, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self.taken += len(chunk)
        if self.taken > MOST_TEXT:
            raise QuoteError(
                f"{CHUNK_ROWS:,} rows of it are more than {MOST_TEXT:,} bytes of text: it is no table of quotes"
            )
        return len(chunk)


def _text(file: SourceFile, raw: io.BufferedIOBase) -> _Text:
    return _Text(gzip.open(raw) if file.name.lower().endswith(".gz") else raw)


def _csv_rows(file: SourceFile, text: TextTable, start: int, error: Exception) -> Iterator[FileChunk | Problem]:
    """What is left from row `start` on, read by a slower reader that skips rows with too many cells."""
    bad: list[str] = []
    count, read = 0, 0

    def skip(cells: list[str]) -> None:
        nonlocal count
        count += 1
        if not bad:
            bad.append(one_line(",".join(map(str, cells[:50])), 120))

    options = {name: value for name, value in text.options.items() if name not in ("low_memory", "index_col")}
    options |= {"compression": None, "engine": "python", "on_bad_lines": skip, "chunksize": CHUNK_ROWS}
    with file.path.open("rb") as raw, _text(file, raw) as stream, pd.read_csv(stream, **options) as reader:
        for table in map(text.numbers_of, reader):
            stream.taken = 0
            rest = read_back(table.iloc[max(start - read, 0) :].reset_index(drop=True))
            whole = not read and len(table) < CHUNK_ROWS and not start
            if len(rest):
                place = file.size if whole else raw.tell()
                yield FileChunk(file, read + len(table) - len(rest), rest, whole, place)
            read += len(table)
    if not count or not read:
        yield Problem(file.name, "file", f"the file is not a CSV table: {_sentence(error)}")
        return
    rows = "1 row has" if count == 1 else f"{count:,} rows have"
    yield Problem(file.name, "rows", f"{rows} more cells than the header, the first of them: {bad[0]}")


def _too_wide(count: int) -> str:
    return f"it has {count:,} columns, more than {MOST_COLUMNS:,}: it is no table of quotes"


def _sentence(error: BaseException) -> str:
    """What is wrong; for exceptions that no reader raises itself, their type too."""
    known = isinstance(
        error, QuoteError | UnreadableFileError | OSError | EOFError | pa.ArrowException | pd.errors.ParserError
    )
    return (" ".join(str(error).split())[:300] if known else "") or told(error)
