"""What `jaxcal inspect` shows: verdicts, worst offenders, forwards and arbitrage of a table of quotes."""

from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from jaxcal.cli.console.result_table import ResultTable, name_cell, text_cell
from jaxcal.market.arbitrage.static_arbitrage import ArbitrageReport
from jaxcal.market.cleaning.quote_report import QuoteReport

_MOST_EXPIRIES = 40
_FORWARD_HEADS = ("days", "forward", "from", "error", "discount", "from", "pairs", "used")


def inspection_tables(report: QuoteReport, arbitrage: ArbitrageReport, *, worst: int = 10) -> Group:
    """Tables for a console of `rich`: rows by verdict, the worst prices, forwards by expiry, and the arbitrage.

    Args:
        report: of the table.
        arbitrage: among its used rows.
        worst: how many of the worst prices.

    Returns:
        The tables, each with a title; one without rows is left out. Of more than 40 expiries the first are shown.

    Example:
        >>> import pandas as pd, jaxcal as jc
        >>> import rich.console
        >>> quotes = pd.DataFrame({"expiry": 0.5, "strike": [90.0, -1.0], "iv": 0.2, "forward": 100.0})
        >>> report = jc.inspect_quotes(quotes)
        >>> tables = inspection_tables(report, jc.find_arbitrage(report))
        >>> rich.console.Console(width=100).print(tables)
        Rows by verdict
        ...
        strike not positive 1 row 1: strike -1.0 must be positive
        ...
        Arbitrage among the quotes used
        no arbitrage in ... strategies
    """
    parts: list[Any] = [_title("Rows by verdict"), _verdicts(report)]
    if len(found := report.worst(worst)):
        parts += [_title("Worst prices, by distance from the smile of the others"), _worst(found)]
    if len(report.forwards):
        parts += [_title("Forwards by expiry"), _forwards(report)]
        if (more := len(report.forwards) - _MOST_EXPIRIES) > 0:
            parts.append(Text(f"and {more:,} more expiries, in forwards.csv"))
    return Group(*parts, _title("Arbitrage among the quotes used"), Text(str(arbitrage)))


def _title(text: str) -> Text:
    return Text("\n" + text, style="bold")


def _table(*heads: str) -> Table:
    names = (head.replace("option_type", "type").replace("_", " ") for head in heads)
    return Table(*names, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)


def _verdicts(report: QuoteReport) -> ResultTable:
    """Rows by verdict, with the reason of the first of them."""
    table = _table("verdict", "rows", "the first of them")
    table.columns[1].justify = "right"
    first = report.table.drop_duplicates("verdict").set_index("verdict")["reason"]
    for verdict, count in report.counts().items():
        table.add_row(text_cell(verdict), f"{count:,}", text_cell(first[str(verdict)]))
    return ResultTable(table)


def _worst(found: pd.DataFrame) -> ResultTable:
    several = [name for name in ("underlying", "quote_time") if name in found and found[name].nunique() > 1]
    given = [name for name in ("expiry", "strike", "option_type", "bid", "ask") if name in found]
    table = _table(*several, *given, "vol, %", "smile, %", "verdict")
    for row in found.to_dict("records"):
        vols = [f"{100.0 * row[name]:.4g}" for name in ("vol", "smile_vol")]
        table.add_row(*(name_cell(row[name]) for name in (*several, *given)), *vols, text_cell(row["verdict"]))
    return ResultTable(table)


def _forwards(report: QuoteReport) -> ResultTable:
    frame = report.forwards.head(_MOST_EXPIRIES)
    several = [name for name in ("underlying", "quote_time") if frame[name].nunique() > 1]
    table = _table(*several, *_FORWARD_HEADS)
    for row in frame.to_dict("records"):
        table.add_row(
            *(name_cell(row[name]) for name in several),
            f"{365.0 * row['years']:.4g}",
            f"{row['forward']:.8g}",
            name_cell(row["forward_source"]),
            f"{row['forward_error']:.2g}" if np.isfinite(row["forward_error"]) else "",
            f"{row['discount']:.6g}",
            name_cell(row["discount_source"]),
            str(row["num_pairs"]),
            str(row["num_used"]),
        )
    return ResultTable(table)
