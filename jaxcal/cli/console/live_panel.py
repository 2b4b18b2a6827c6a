"""live_panel: a live session on the terminal."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from jaxcal.cli.console.result_table import ResultTable
from jaxcal.live.recalibration import Recalibration


def live_panel(step: Recalibration, *, title: str) -> Group:
    """The parameters with their bands, what became of the last look, and how the feed is."""
    table = Table("parameter", "value", "low", "high", title=title, box=None, padding=(0, 2, 0, 0))
    for name in _names(step):
        values = (step.parameters[name], step.parameters[f"{name}_low"], step.parameters[f"{name}_high"])
        table.add_row(name, *(f"{value:.4f}" for value in values))
    return Group(ResultTable(table), Text(live_line(step)), Text(health_line(step)), Text(step.sentence))


def live_line(step: Recalibration) -> str:
    """A recalibration in a line.

    Example:
        >>> import pandas as pd
        >>> live_line(Recalibration(3, pd.Timestamp("2026-03-02T12:00Z"), "SKIPPED", "Not used: no quote."))
        '12:00:00 SKIPPED: 0 quotes, 0.00 s'
    """
    values = ", ".join(f"{name} {step.parameters[name]:.4g}" for name in _names(step))
    rmse = "" if step.rmse_vol != step.rmse_vol else f", RMSE {100.0 * step.rmse_vol:.3g} vol points"
    late = ", late" if step.late else ", compiling included" if step.warming else ""
    line = f"{step.time:%H:%M:%S} {step.update}: {step.quotes} quotes{rmse}, {step.seconds:.2f} s{late}"
    return f"{line}; {values}" if values else line


def health_line(step: Recalibration) -> str:
    """The feed in a line.

    Example:
        >>> import pandas as pd
        >>> health_line(Recalibration(3, pd.Timestamp("2026-03-02T12:00Z"), "SKIPPED", "Not used: no quote."))
        'not connected; 0 contracts, 0 messages, 0 snapshots asked for again, 0 garbage, 0 connections; 0 looks missed'
    """
    h = step.health
    gaps, garbage = h.counts.get("snapshots asked for again", 0), h.counts.get("garbage", 0)
    line = (
        f"{'connected' if h.connected else 'not connected'}; {h.contracts:,} contracts, {h.messages:,} messages, "
        f"{gaps:,} snapshots asked for again, {garbage:,} garbage, {h.connections:,} connections; "
        f"{step.missed:,} looks missed"
    )
    line += "".join(f"; {count:,} {name}" for name, count in h.doubts.items())
    return f"{line}; last error: {h.last_error}" if h.last_error else line


def _names(step: Recalibration) -> list[str]:
    return [name for name in step.parameters if not name.endswith(("_low", "_high"))]
