"""RowBlock: rows of the input in the tidy layout, with the surface to which each belongs."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal.bulk.input.file_chunks import CHUNK_ROWS, FileChunk, read_file
from jaxcal.bulk.input.input_files import Source, SourceFile
from jaxcal.bulk.input.input_problem import Problem, told
from jaxcal.dates.instants import read_instants
from jaxcal.market.tables.identity import identify
from jaxcal.market.tables.layouts import LAYOUTS, Layout
from jaxcal.market.tables.table_file import QuoteError, layout_of

FILES = 64  # small files that are read as one table
_EARLIEST, _LATEST = np.datetime64("1800-01-01", "us"), np.datetime64("2300-01-01", "us")  # what a quote_time may be
_MOST_TRIES = 1_000  # to find the rows that a table cannot be read for

# Underlying; microseconds since 1970 in UTC; and the file, for surfaces that do not continue in another one.
SurfaceKey = tuple[str | None, int | None, str | None]


@dataclass(frozen=True, eq=False)
class RowBlock:
    """Consecutive rows of the input that are read together.

    Attributes:
        table: `[n]` rows, tidy.
        key: `[n]` position in `keys`; -1 where the row does not say to which surface it belongs.
        keys: surfaces in the order of their first rows.
        file: `[n]` position in `files`.
        row: `[n]` position of the row in its file.
        files: names.
        form: what must be equal for the tables of two blocks to be concatenated.
    """

    table: pd.DataFrame
    key: NDArray[np.int64]
    keys: tuple[SurfaceKey, ...]
    file: NDArray[np.int64]
    row: NDArray[np.int64]
    files: tuple[str, ...]
    form: tuple[str, ...]


@dataclass
class Window:
    """What is read in one go: blocks, problems, and the bytes of the input read so far."""

    blocks: list[RowBlock] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    bytes_read: int = 0


def read_windows(source: Source, venue: str | None = None) -> Iterator[Window]:
    r"""Read the input in order, in windows that depend on the files alone: about `CHUNK_ROWS` rows, at most `FILES`.

    Args:
        source: the input.
        venue: layout of every table; recognised by the columns if None.
    """
    window, chunks = Window(), []
    polls: dict[str, pd.DataFrame] = {}
    rows = before = 0
    for file in source.files:
        for found in read_file(file):
            if isinstance(found, Problem):
                window.problems.append(found)
            elif not len(found.table):
                if found.whole:
                    window.problems.append(Problem(file.name, "empty", "it has no rows"))
            else:
                chunks.append(found)
                rows += len(found.table)
                window.bytes_read = before + found.bytes_read
            if rows >= CHUNK_ROWS:
                yield _finish(window, chunks, source, venue, polls)
                window, chunks, rows = Window(bytes_read=window.bytes_read), [], 0
        before += file.size
        window.bytes_read = before
        if len({chunk.file.name for chunk in chunks}) >= FILES:
            yield _finish(window, chunks, source, venue, polls)
            window, chunks, rows = Window(bytes_read=window.bytes_read), [], 0
    yield _finish(window, chunks, source, venue, polls)


def _finish(
    window: Window, chunks: list[FileChunk], source: Source, venue: str | None, polls: dict[str, pd.DataFrame]
) -> Window:
    """The chunks as blocks: consecutive whole files with the same columns are concatenated."""
    start = 0
    for stop in range(1, len(chunks) + 1):
        if stop < len(chunks) and _alike(chunks[start], chunks[stop]):
            continue
        group, start = chunks[start:stop], stop
        found = _block(group, source, venue, polls)
        if isinstance(found, Problem):  # one bad file must not fail the others, nor a bad row its file
            alone = [one for chunk in group for one in _salvaged(chunk, source, venue, polls)]
        else:
            alone = [found]
        for one in alone:
            if isinstance(one, Problem):
                window.problems.append(one)
                continue
            window.blocks.append(one)
            window.problems += _without_key(one)
    return window


def _alike(a: FileChunk, b: FileChunk) -> bool:
    if not (a.whole and b.whole and a.tidy == b.tidy and a.table.columns.equals(b.table.columns)):
        return False
    return _kinds(a.table) == _kinds(b.table)


def _kinds(table: pd.DataFrame) -> tuple[str, ...]:
    """The formats of the times of a table: different formats must not be parsed as one column."""
    kinds = []
    for name in ("expiry", "quote_time", "snapshot_ts", "session_date"):
        column = table.get(name)
        if not isinstance(column, pd.Series):
            continue
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            kinds.append("zoned time")
        elif pd.api.types.is_datetime64_any_dtype(column):
            kinds.append("time")
        else:
            kinds.append("number" if pd.api.types.is_numeric_dtype(column) else "text")
    return tuple(kinds)


def _block(
    chunks: list[FileChunk], source: Source, venue: str | None, polls: dict[str, pd.DataFrame]
) -> RowBlock | Problem:
    first = chunks[0]
    sizes = [len(chunk.table) for chunk in chunks]
    table = pd.concat([chunk.table for chunk in chunks], ignore_index=True)
    file = np.repeat(np.arange(len(chunks)), sizes)
    row = np.concatenate([chunk.start + chunk.table.index.to_numpy(np.int64) for chunk in chunks])
    layout = LAYOUTS["tidy"] if first.tidy else _layout(table, venue)
    if isinstance(layout, str):
        return Problem(first.file.name, "file", layout)
    try:
        tidy = _polled(layout, table, file, first, polls) if layout.name == "deribit" else layout.to_tidy(table)
        tidy = _timed(identify(tidy)[0])
        names = tuple(chunk.file.name for chunk in chunks)
        key, keys = _keys(tidy, file, [chunk.file for chunk in chunks], source)
    except MemoryError:
        raise
    except QuoteError as error:
        return Problem(first.file.name, "file", str(error))
    except Exception as error:
        return Problem(first.file.name, "file", f"it is not a table of the {layout.name} layout: {told(error)}")
    return RowBlock(tidy, key, keys, file, row, names, (*map(str, tidy.columns), *_kinds(tidy)))


def _salvaged(
    chunk: FileChunk, source: Source, venue: str | None, polls: dict[str, pd.DataFrame]
) -> list[RowBlock | Problem]:
    """A chunk by itself; where that cannot be read, without the rows that cannot be read by themselves."""
    found = _block([chunk], source, venue, polls)
    if isinstance(found, RowBlock) or (isinstance(_layout(chunk.table, venue), str) and not chunk.tidy):
        return [found]
    bad: list[int] = []
    todo, tries = [(0, len(chunk.table))], 0
    while todo:
        start, stop = todo.pop()
        tries += 1
        if tries > _MOST_TRIES:
            return [found]  # the cause is not some of the rows
        rows = replace(chunk, table=chunk.table.iloc[start:stop])
        if tries > 1 and isinstance(_block([rows], source, venue, {}), RowBlock):
            continue
        if stop - start == 1:
            bad.append(start)
        else:
            middle = (start + stop) // 2
            todo += [(middle, stop), (start, middle)]
    rest = chunk.table.drop(chunk.table.index[bad])
    kept = _block([replace(chunk, table=rest)], source, venue, polls) if len(rest) else found
    if isinstance(kept, Problem):
        return [found]
    count = f"{len(bad):,} row{' is' if len(bad) == 1 else 's are'} left out, the first of them row"
    first = chunk.start + int(chunk.table.index[bad[0]])
    return [kept, Problem(found.source, "rows", f"{count} {first}: {found.sentence}")]


def _layout(table: pd.DataFrame, venue: str | None) -> Layout | str:
    try:
        return layout_of(table, venue)
    except QuoteError as error:
        return str(error)


def _polled(
    layout: Layout, table: pd.DataFrame, file: NDArray[np.int64], first: FileChunk, polls: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    """A table of a venue that is polled instrument by instrument: a poll ends with its file, not with a chunk."""
    if not first.whole:
        before = polls.get(first.file.name)
        whole = table if before is None or not first.start else pd.concat([before, table], ignore_index=True)
        tidy = layout.to_tidy(whole)
        named = ["underlying", "snapshot_ts"] if "underlying" in whole else ["snapshot_ts"]
        last = tidy["quote_time"]
        if "underlying" in whole:
            last = last.groupby(whole["underlying"].astype(str)).transform("max")
        else:
            last = pd.Series(last.max(), last.index)
        polls.clear()
        polls[first.file.name] = whole[tidy["quote_time"].eq(last)].drop_duplicates(named)
        return tidy.iloc[len(whole) - len(table) :].reset_index(drop=True)
    if file[-1] == 0:
        return layout.to_tidy(table)
    names = table.get("underlying")
    words = [""] * len(table) if names is None else names.astype(str)
    marked = [f"{place} {word}" for place, word in zip(file.tolist(), words, strict=True)]
    tidy = layout.to_tidy(table.assign(underlying=marked))
    return tidy.drop(columns="underlying") if names is None else tidy.assign(underlying=names)


def _timed(tidy: pd.DataFrame) -> pd.DataFrame:
    """Times with their zone, so that a midnight among them is not taken for a bare date once it stands alone."""
    if "quote_time" not in tidy:
        return tidy
    instants, bare = read_instants(tidy["quote_time"])
    if np.isnat(instants).any() or bare.all():
        return tidy
    return tidy.assign(quote_time=pd.DatetimeIndex(instants).tz_localize("UTC"))


def _keys(
    tidy: pd.DataFrame, file: NDArray[np.int64], files: list[SourceFile], source: Source
) -> tuple[NDArray[np.int64], tuple[SurfaceKey, ...]]:
    """The surface of every row, numbered by first appearance."""
    size = len(tidy)
    code, names = np.zeros(size, np.int64), np.array([None], object)
    known = np.ones(size, bool)
    own = np.zeros(size, bool)  # surfaces that end with their file
    if "underlying" in tidy:
        code, found = pd.factorize(tidy["underlying"].astype(object))
        names = np.array([*(_readable(str(name)) for name in found), ""], object)
        blank = np.isin(names, ["", "nan", "NaN", "None"])[code]
        known &= ~blank
        if blank.all():
            code, names, known = np.zeros(size, np.int64), np.array([None], object), np.ones(size, bool)
    if names[0] is None:
        own[:] = True
        if source.is_folder:
            stems = [one.name.removesuffix(".gz").rpartition(".")[0] or one.name for one in files]
            code, names = file, np.array(stems, object)
    time = np.zeros(size, np.int64)
    if "quote_time" in tidy:
        instants, _ = read_instants(tidy["quote_time"])
        time = instants.astype(np.int64)
        known &= (instants >= _EARLIEST) & (instants < _LATEST)  # NaT is neither
    else:
        own[:] = True
    moment, moments = pd.factorize(time)
    place = np.where(own, file, -1)
    combined = (code * len(moments) + moment) * (len(files) + 1) + place
    number, _ = pd.factorize(combined[known])
    key = np.full(size, -1, np.int64)
    key[known] = number
    _, first = np.unique(number, return_index=True)
    timed = "quote_time" in tidy
    labels: list[str | None] = names.tolist()
    return key, tuple(
        (labels[code[row]], int(time[row]) if timed else None, files[place[row]].name if place[row] >= 0 else None)
        for row in np.flatnonzero(known)[first].tolist()
    )


def _readable(name: str) -> str:
    """A name that can be written to a file, also with a lone surrogate in it."""
    return name.strip().encode(errors="backslashreplace").decode()


def _without_key(block: RowBlock) -> list[Problem]:
    """A problem for every file with rows that do not say to which surface they belong."""
    lost = np.flatnonzero(block.key < 0)
    problems = []
    for place in np.unique(block.file[lost]).tolist():
        rows = lost[block.file[lost] == place]
        count = f"{len(rows):,} row{'s' if len(rows) > 1 else ''}"
        first = int(block.row[rows[0]])
        problems.append(
            Problem(
                block.files[place],
                "rows",
                f"{count} without a readable underlying or quote_time, the first of them row {first}",
            )
        )
    return problems
