"""Partition: consecutive surfaces of the input, which are fitted in one batch and written together."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal.bulk.input.input_problem import BulkError, Problem
from jaxcal.bulk.input.row_blocks import RowBlock, SurfaceKey, Window

MOST_ROWS = 500_000  # of a surface: ten times those of the largest chains
MOST_PART_ROWS = 4_000_000  # rows with which a part is full, however few its surfaces are
_MOST_OPEN = 8_000_000  # rows of surfaces that are not complete
_MOST_SCATTERED = 1_000  # surfaces with rows after their end, before the job stops


@dataclass(frozen=True, eq=False)
class RawSurface:
    """The rows of one surface, before any cleaning.

    Attributes:
        key: of the surface.
        rows: blocks in input order, each with the positions of the surface's rows.
        dropped: number of rows that are not kept, because there are more than `MOST_ROWS`.
        files: that these rows come from.
    """

    key: SurfaceKey
    rows: list[tuple[RowBlock, NDArray[np.int64]]]
    dropped: int = 0
    files: tuple[str, ...] = ()

    @property
    def num_kept(self) -> int:
        """Number of rows that are kept."""
        return sum(len(rows) for _, rows in self.rows)

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return self.num_kept + self.dropped

    def emptied(self) -> "RawSurface":
        """The same with its rows counted, and no longer kept."""
        return RawSurface(self.key, [], self.num_rows, self.sources)

    @property
    def sources(self) -> tuple[str, ...]:
        """Files that the rows come from, in order."""
        found = dict.fromkeys(self.files)
        for block, rows in self.rows:
            found |= {block.files[i]: None for i in np.unique(block.file[rows]).tolist()}
        return tuple(found)


@dataclass(frozen=True)
class PartitionKey:
    """Which part something is of.

    Attributes:
        number: position of the part, from 0.
        size: surfaces in it.
        digest: a hash of keys, numbers of rows and files: equal if the part was cut from the same rows.
        bytes_read: about how much of the input this part and those before it are.
        problems: found while reading since the part before was cut.
    """

    number: int
    size: int
    digest: str
    bytes_read: int = 0
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, eq=False)
class Partition:
    """Consecutive surfaces.

    Attributes:
        number: position of the part, from 0.
        surfaces: in the order of their first rows, window by window.
        bytes_read: about how much of the input this part and those before it are.
        problems: found while reading since the part before was cut.
    """

    number: int
    surfaces: tuple[RawSurface, ...]
    bytes_read: int = 0
    problems: tuple[Problem, ...] = ()

    @property
    def cut(self) -> PartitionKey:
        """The part without its rows."""
        found = hashlib.sha256()
        for surface in self.surfaces:
            found.update(f"{surface.key}{surface.num_rows}{surface.sources}\n".encode())
        return PartitionKey(self.number, len(self.surfaces), found.hexdigest()[:16], self.bytes_read, self.problems)


@dataclass
class _Open:
    """A surface that may have rows in the next window."""

    surface: RawSurface
    window: int


class _Seen:
    """Which surfaces are complete, in eight bytes each."""

    def __init__(self) -> None:
        self._old = np.empty(0, np.uint64)
        self._new: set[int] = set()

    def _code(self, key: SurfaceKey) -> int:
        return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "big")

    def __contains__(self, key: SurfaceKey) -> bool:
        code = self._code(key)
        place = int(np.searchsorted(self._old, np.uint64(code)))
        return code in self._new or (place < len(self._old) and int(self._old[place]) == code)

    def add(self, key: SurfaceKey) -> None:
        self._new.add(self._code(key))
        if len(self._new) > 65_536:
            self._old = np.sort(np.concatenate([self._old, np.fromiter(self._new, np.uint64)]))
            self._new = set()


@dataclass
class _Cutter:
    """Surfaces that are not complete yet, and complete ones that do not fill a part yet."""

    size: int
    open: dict[SurfaceKey, _Open] = field(default_factory=dict)
    ready: list[RawSurface] = field(default_factory=list)
    rows_ready: int = 0
    seen: _Seen = field(default_factory=_Seen)
    scattered: int = 0
    complete: int = 0
    bytes_read: int = 0
    rows_read: int = 0
    rows_cut: int = 0

    def add(self, window: Window, number: int) -> list[Problem]:
        """Take in a window; surfaces without a row in it are complete."""
        problems = []
        self.bytes_read = window.bytes_read
        for block in window.blocks:
            self.rows_read += len(block.key)
            order = np.argsort(block.key, kind="stable")
            bounds = np.searchsorted(block.key[order], np.arange(len(block.keys) + 1))
            for place, key in enumerate(block.keys):
                rows = order[bounds[place] : bounds[place + 1]]
                if key in self.seen:
                    problems.append(self._scattered(key, block, rows))
                    continue
                opened = self.open.setdefault(key, _Open(RawSurface(key, []), number))
                opened.surface.rows.append((block, rows))
                opened.window = number
                if opened.surface.num_rows > MOST_ROWS:
                    opened.surface = opened.surface.emptied()
        if sum(opened.surface.num_kept for opened in self.open.values()) > _MOST_OPEN:
            raise BulkError(
                f"the rows of {len(self.open):,} surfaces are mixed over more than {_MOST_OPEN:,} rows of the input: "
                "sort it by underlying and quote_time, so that a surface can be fitted before all is read"
            )
        self.close(number)
        return problems

    def close(self, before: int) -> None:
        """Complete what has no row in window `before` or later."""
        for key in [key for key, opened in self.open.items() if opened.window < before]:
            self.ready.append(self.open.pop(key).surface)
            self.rows_ready += self.ready[-1].num_kept
            self.seen.add(key)
            self.complete += 1

    @property
    def full(self) -> bool:
        """Whether there is a whole part of what is complete."""
        return len(self.ready) >= self.size or self.rows_ready >= MOST_PART_ROWS

    def cut(self, number: int, problems: list[Problem]) -> Partition:
        """The next part of what is complete."""
        rows = np.cumsum([0, *(surface.num_kept for surface in self.ready)])
        count = min(self.size, int(np.searchsorted(rows, MOST_PART_ROWS)))
        chosen, self.ready = self.ready[:count], self.ready[count:]
        self.rows_ready -= sum(surface.num_kept for surface in chosen)
        self.rows_cut += sum(surface.num_rows for surface in chosen)
        done = self.bytes_read * self.rows_cut // max(self.rows_read, 1)
        return Partition(number, tuple(chosen), done, tuple(problems))

    def _scattered(self, key: SurfaceKey, block: RowBlock, rows: NDArray[np.int64]) -> Problem:
        self.scattered += 1
        if self.scattered > max(_MOST_SCATTERED, self.complete // 10):
            raise BulkError(
                f"the rows of {self.scattered:,} surfaces do not stand together: sort the input by underlying and "
                "quote_time"
            )
        names = ", ".join(dict.fromkeys(block.files[i] for i in block.file[rows].tolist()))
        return Problem(
            names,
            "scattered",
            f"{len(rows):,} rows of {surface_text(key)} are left out: rows of the same surface stand earlier in the "
            "input, and not next to these; it was fitted to those alone",
        )


def cut_partitions(windows: Iterator[Window], size: int) -> Iterator[Partition]:
    r"""Cut the input into parts of `size` surfaces, in an order and at places that depend on the input alone.

    A surface is complete when a whole window has no row of it. Rows of it that come later are left out,
    with a problem. Memory is bounded by rows: a part is full with `MOST_PART_ROWS` of them too, and of a surface with
    more than `MOST_ROWS` none is kept.

    Args:
        windows: of the input.
        size: surfaces in a part.

    Yields:
        Parts; the last one, and those that are full of rows, may have fewer surfaces, or none.

    Raises:
        BulkError: the rows of surfaces are scattered all over the input.
    """
    cutter = _Cutter(size)
    number, problems = 0, []
    for position, window in enumerate(windows):
        problems += [*window.problems, *cutter.add(window, position)]
        while cutter.full:
            yield cutter.cut(number, problems)
            number, problems = number + 1, []
    cutter.close(1 << 62)
    while cutter.ready or problems or not number:
        yield cutter.cut(number, problems)
        number, problems = number + 1, []


def surface_text(key: SurfaceKey) -> str:
    """A surface as a person writes it.

    Example:
        >>> surface_text(("BTC", 0, None))
        'BTC 1970-01-01T00:00:00Z'
    """
    when = None if key[1] is None else pd.Timestamp(key[1], unit="us").isoformat() + "Z"
    name = key[0] if key[0] is None or len(key[0]) <= 80 else f"{key[0][:80]}..."
    return " ".join(word for word in (name, when) if word) or "an unnamed surface"
