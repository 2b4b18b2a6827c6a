"""The tables of a chain for a terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from jaxcal.chain.chain_fit import CANDIDATE_HEADS, EXPIRY_HEADS, ChainFit, candidate_cells, expiry_cells
from jaxcal.cli.console.result_table import ResultTable, name_cell, text_cell


def chain_tables(chain: ChainFit, *, title: str) -> Group:
    """What was decided, the candidates and the expiries of a chain, for a console of `rich`; what was read is said
    before.
    """
    head = text_cell(title)
    head.stylize("bold")
    lines = [Text(line) for line in chain.sentences if not line.startswith("Quotes: ")]
    return Group(
        head,
        *lines,
        Text(),
        ResultTable(_table(("model", *CANDIDATE_HEADS), candidate_cells(chain.candidates))),
        Text(),
        ResultTable(_table(EXPIRY_HEADS, expiry_cells(chain.by_expiry))),
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for place, name in enumerate(heads):
        table.add_column(name, justify="left" if place == 0 or name == "status" else "right")
    for first, *rest in rows:
        table.add_row(name_cell(first), *map(text_cell, rest))
    return table
