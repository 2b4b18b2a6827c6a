"""ResultTable: a table for a terminal of any width."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from jaxcal._text import printable, shortened

_NARROWEST_TEXT = 16  # columns of the terminal to which a column of sentences may shrink
_UNBOUNDED = 100_000
_LONGEST_NAME, _LONGEST_TEXT = 32, 200


@dataclass(frozen=True)
class ResultTable:
    """A table of `rich`; where the terminal is too narrow for it, a line for every cell instead.

    Sentences are wrapped; numbers and names never are, and never cut: half of a number is another number.

    Attributes:
        table: its cells are texts; a column whose cells have no blank in them is one of numbers or names.
    """

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        """The table, or its cells one below the other."""
        unbounded = options.update(max_width=_UNBOUNDED)
        least = Measurement.get(console, unbounded, self.table).maximum
        for column in self.table.columns:
            cells = [_text(cell) for cell in column.cells]
            if all(len(cell.plain.split()) < 2 for cell in cells):
                column.no_wrap = True
            else:
                column.overflow = "fold"
                widest = max(Measurement.get(console, unbounded, cell).maximum for cell in cells)
                least -= max(widest - _NARROWEST_TEXT, 0)
        if least <= options.max_width:
            yield self.table
            return
        if self.table.title:
            yield _text(self.table.title)
        for i, row in enumerate(zip(*(column.cells for column in self.table.columns), strict=True)):
            if i > 0:
                yield Text()
            for column, cell in zip(self.table.columns, row, strict=True):
                if not _text(cell).plain:
                    continue
                head = str(column.header).replace("-\n", "").replace("\n", " ")
                yield Text.assemble(f"{head}: ", _text(cell), overflow="fold")


def name_cell(value: Any) -> Text:
    """The name of something in a file as a cell: printable, and shortened where it is very long.

    Example:
        >>> name_cell("BTC" * 100).plain
        'BTCBTCBTCBTCBTCBTCBT...BTCBTCBTC'
    """
    return Text(shortened(_shown(value), _LONGEST_NAME))


def text_cell(value: Any) -> Text:
    """A sentence, a time or a number as a cell: printable, and shortened where it is very long.

    Example:
        >>> text_cell(0.123456789).plain
        '0.123457'
    """
    return Text(shortened(_shown(value), _LONGEST_TEXT))


def _shown(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value))


def _text(cell: Any) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))
