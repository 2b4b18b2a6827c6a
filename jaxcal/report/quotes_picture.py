"""The picture of a cleaned table: every smile with the quotes that are used, and those that are not by reason."""

from os import PathLike

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxcal._text import shortened
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.tables.verdict import Verdict
from jaxcal.report.smile_panel import FAINT, INK, MARKET, MODEL, finished, new_figure, panel_grid, style

_MOST = 24  # panels
_LONGEST_NAME = 30  # letters
_COLOURS = {
    Verdict.CROSSED: "#8e44ad",
    Verdict.WIDE: "#e08e0b",
    Verdict.DUPLICATE: "#7f6a56",
    Verdict.OUT_OF_BOUNDS: "#2b2f36",
    Verdict.STALE: "#0a9396",
    Verdict.BUTTERFLY: "#d1495b",
    Verdict.CALENDAR: "#3d8b37",
}


def plot_quotes(
    report: QuoteReport, path: str | PathLike[str] | None = None, *, group: int | None = None, title: str | None = None
) -> Figure:
    """Draw the smiles of one surface of a cleaned table: used quotes with bid to ask, and faulty ones by verdict.

    Args:
        report: of any table.
        path: where to write the picture; its ending (`.png`, `.pdf`, `.svg`) chooses the format. None writes nothing.
        group: position of the surface in `report.keys`; the one with most faulty rows if absent.
        title: printed above the panels; the surface and its counts if absent.

    Returns:
        The matplotlib figure: volatility in percent over strike, a panel for each expiry, at most 24: those with most
        faulty rows. Crosses are rows at fault; where there is a smile through the used quotes it is drawn as a line.
        It belongs to no window and no pyplot state.

    Raises:
        OSError: the file cannot be written.
        ValueError: the ending is no picture format.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import pandas as pd, jaxcal as jc
        >>> quotes = pd.DataFrame({"expiry": 0.5, "strike": [90.0, 100.0, 110.0], "iv": 0.2, "forward": 100.0})
        >>> figure = jc.plot_quotes(jc.inspect_quotes(quotes))
        >>> [axes.get_title() for axes in figure.axes]
        ['182.5 days · 3 used']
    """
    table = report.table
    faulty = report.at_fault()
    if group is None:
        counts = np.bincount(table["group"][faulty & (table["group"] >= 0)], minlength=max(len(report.keys), 1))
        group = int(counts.argmax())
    part = table[table["group"].eq(group) & (faulty | table["verdict"].eq(str(Verdict.USED)))]
    by_years = part["verdict"].ne(str(Verdict.USED)).groupby(part["years"]).sum()
    shown = sorted(by_years.sort_values(ascending=False, kind="stable").index[:_MOST].tolist())
    across, down, width, height = panel_grid(max(len(shown), 1))
    figure = new_figure(across * width, down * height + 0.9)
    panels = np.atleast_1d(figure.subplots(down, across, squeeze=False)).ravel()
    for axes in panels[len(shown) :]:
        axes.remove()
    legend = {}
    for axes, years in zip(panels, shown, strict=False):
        _draw(axes, part[part["years"].eq(years)])
        legend |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(
        legend.values(), legend.keys(), loc="outside lower center", ncols=max(len(legend), 1), frameon=False,
        fontsize=9, labelcolor=INK,
    )  # fmt: skip
    left_out = len(by_years) - len(shown)
    return finished(figure, title or _title(report, group, part, left_out), path)


def _title(report: QuoteReport, group: int, part: pd.DataFrame, left_out: int) -> str:
    key = report.keys[group] if group < len(report.keys) else (None, None)
    time = "" if key[1] is None else f"{key[1]:%Y-%m-%d %H:%M}"
    name = " ".join(word for word in (shortened(key[0] or "", _LONGEST_NAME), time) if word)
    used = int(part["verdict"].eq(str(Verdict.USED)).sum())
    counts = f"{used:,} quotes used, {len(part) - used:,} at fault"
    more = f"; {left_out} more expiries not drawn" if left_out else ""
    return (f"{name}: " if name else "") + counts + more


def _draw(axes: Axes, smile: pd.DataFrame) -> None:
    smile = smile.sort_values("strike")
    used = smile[smile["verdict"].eq(str(Verdict.USED))]
    axes.axvline(smile["forward"].iloc[0], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1, label="forward")
    bars = used.dropna(subset=["bid_vol", "ask_vol"])
    if len(bars):
        axes.vlines(
            bars["strike"], 100.0 * bars["bid_vol"], 100.0 * bars["ask_vol"], color=MARKET, alpha=0.45,
            linewidth=0.9 if len(used) > 40 else 1.6, zorder=2, label="bid to ask",
        )  # fmt: skip
    size = 1.8 if len(used) > 40 else 3.0
    axes.plot(used["strike"], 100.0 * used["vol"], "o", color=MARKET, markersize=size, markeredgewidth=0, label="used")
    line = used.dropna(subset=["smile_vol"])
    if len(line) > 1:
        axes.plot(line["strike"], 100.0 * line["smile_vol"], color=MODEL, linewidth=0.7, zorder=4, label="neighbours")
    if len(used):
        low, high = 100.0 * used["vol"].min(), 100.0 * used["vol"].max()
        margin = 0.6 * max(high - low, 4.0)
        axes.set_ylim(max(0.0, low - margin), high + margin)
    low, high = axes.get_ylim()
    for verdict, rows in smile[smile["verdict"].ne(str(Verdict.USED))].groupby("verdict", sort=False):
        # What lies outside the panel, or has no volatility, is marked at its edge.
        height = np.clip(100.0 * rows["vol"].fillna(0.0), low, high)
        colour = _COLOURS.get(Verdict(str(verdict)), FAINT)
        axes.plot(rows["strike"], height, "x", color=colour, markersize=5, clip_on=False, zorder=5, label=str(verdict))
    faults = f", {len(smile) - len(used)} at fault" if len(smile) > len(used) else ""
    axes.set_title(f"{365.0 * smile['years'].iloc[0]:.4g} days · {len(used)} used{faults}", fontsize=9, color=INK)
    style(axes)
