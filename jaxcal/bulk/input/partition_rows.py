"""PartitionRows: the rows of a part by themselves, which may be sent to another process."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal.bulk.input.input_files import Source
from jaxcal.bulk.input.input_problem import BulkError
from jaxcal.bulk.input.partition import Partition, PartitionKey, RawSurface, cut_partitions
from jaxcal.bulk.input.row_blocks import RowBlock, read_windows
from jaxcal.bulk.settings import Settings


@dataclass(frozen=True, eq=False)
class PartitionRows:
    """The rows of a part, copied from the blocks of the input: those hold rows of other parts too.

    Attributes:
        cut: which part.
        keys: underlying, and microseconds since 1970 in UTC, of every surface.
        sources: files of every surface.
        num_rows: of every surface; also where it has so many that none is in the tables.
        tables: the rows, as few tables as their columns allow, each with the surface (position in the part) of its
            rows. The columns `source` and `source_row` say where a row comes from. All rows of a surface are in one
            table.
    """

    cut: PartitionKey
    keys: tuple[tuple[str | None, int | None], ...]
    sources: tuple[tuple[str, ...], ...]
    num_rows: tuple[int, ...]
    tables: list[tuple[pd.DataFrame, NDArray[np.int64]]]

    @classmethod
    def of(cls, part: Partition) -> "PartitionRows":
        r"""Take the rows of a part out of their blocks."""
        return cls(
            cut=part.cut,
            keys=tuple(surface.key[:2] for surface in part.surfaces),
            sources=tuple(surface.sources for surface in part.surfaces),
            num_rows=tuple(surface.num_rows for surface in part.surfaces),
            tables=_tables(part.surfaces),
        )


def read_partitions(
    source: Source, settings: Settings, done: Mapping[int, str]
) -> Iterator[PartitionKey | PartitionRows]:
    r"""Read the input of a job, part by part.

    Args:
        source: the input.
        settings: of the job.
        done: for every part that is written, the digest of what it was made from.

    Yields:
        The rows of every part, or its cut alone if it is done.

    Raises:
        BulkError: a part that is done was made from other rows than are read now; the rows of surfaces are scattered
            all over the input.
    """
    for part in cut_partitions(read_windows(source, settings.venue), settings.part_size):
        cut = part.cut
        before = done.get(cut.number)
        if before is not None and before != cut.digest:
            raise BulkError(
                f"part {cut.number} was made from other rows than are read now, so that surfaces would be missing or "
                "there twice: give --restart to start anew"
            )
        yield PartitionRows.of(part) if before is None else cut


def _tables(surfaces: tuple[RawSurface, ...]) -> list[tuple[pd.DataFrame, NDArray[np.int64]]]:
    forms: dict[tuple[str, ...], dict[int, tuple[RowBlock, list[NDArray[np.int64]], list[int]]]] = {}
    mixed: list[tuple[pd.DataFrame, NDArray[np.int64]]] = []
    for place, surface in enumerate(surfaces):
        if len({block.form for block, _ in surface.rows}) > 1:
            table = pd.concat([_take(block, rows) for block, rows in surface.rows], ignore_index=True)
            mixed.append((table, np.full(len(table), place)))
            continue
        for block, rows in surface.rows:
            blocks = forms.setdefault(block.form, {})
            _, taken, places = blocks.setdefault(id(block), (block, [], []))
            taken.append(rows)
            places.append(place)
    tables = []
    for blocks in forms.values():
        chunks = [_take(block, np.concatenate(taken)) for block, taken, _ in blocks.values()]
        places = [place for _, _, found in blocks.values() for place in found]
        of_row = np.repeat(places, [len(rows) for _, taken, _ in blocks.values() for rows in taken])
        tables.append((chunks[0] if len(chunks) == 1 else pd.concat(chunks, ignore_index=True), of_row))
    return tables + mixed


def _take(block: RowBlock, rows: NDArray[np.int64]) -> pd.DataFrame:
    names = np.array(block.files, object)[block.file[rows]]
    return block.table.take(rows).assign(source=names, source_row=block.row[rows]).reset_index(drop=True)
