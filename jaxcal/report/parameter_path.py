"""The picture and the table of a replay: parameters over time, with their bands."""

from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxcal.market.tables.csv_file import write_csv
from jaxcal.report.smile_panel import FAINT, INK, RULE, figure_text, finished, new_figure

_COLOURS = ("#1f4e79", "#d1495b", "#2a9d8f", "#e9a23b", "#6a4c93", "#8d6e63")
_GAP = 10.0  # times the usual time between surfaces, after which a line is not drawn through


def write_path(
    table: pd.DataFrame,
    folder: str | PathLike[str],
    *,
    kind: Literal["csv", "parquet"] = "csv",
    title: str | None = None,
) -> dict[str, Path]:
    """Write a replay to `path.csv` (or `path.parquet`) and `path.png` in a folder, which is made if need be.

    Args:
        table: the result of `jaxcal.streams.replay.replay`.
        folder: files of these names in it are replaced.
        kind: of the table.
        title: of the picture.

    Returns:
        The paths, by the names "table" and "picture".

    Raises:
        OSError: the folder or a file cannot be written.

    Example:
        >>> import tempfile
        >>> from jaxcal.report.parameter_path import write_path
        >>> paths = write_path(_example(), tempfile.mkdtemp())
        >>> paths["table"].read_text(encoding="utf-8").splitlines()[0]
        'underlying,quote_time,used,rmse_vol,sigma,sigma_low,sigma_high'
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"table": folder / f"path.{kind}", "picture": folder / "path.png"}
    if kind == "csv":
        write_csv(table, paths["table"])
    else:
        table.to_parquet(paths["table"], index=False, write_page_checksum=True)
    plot_path(table, paths["picture"], title=title)
    return paths


def plot_path(table: pd.DataFrame, path: str | PathLike[str] | None = None, *, title: str | None = None) -> Figure:
    """Draw the parameters of a replay over time, one panel each, with their bands, and the misfit below.

    Args:
        table: the result of `jaxcal.streams.replay.replay`.
        path: where to write the picture; its ending chooses the format. None writes nothing.
        title: printed above.

    Returns:
        The matplotlib figure: one colour an underlying. Crosses mark surfaces that were not used; lines stop at long
        gaps. Positive parameters are drawn on a logarithmic axis. It belongs to no window and no pyplot state.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> from jaxcal.report.parameter_path import plot_path
        >>> [axes.get_ylabel() for axes in plot_path(_example()).axes]
        ['sigma', 'RMSE, vol points']
    """
    names = [name.removesuffix("_low") for name in map(str, table) if name.endswith("_low")]
    across = 1 if len(names) < 3 else 2
    down = -(-(len(names) + 1) // across)
    figure = new_figure(6.5 * across, 1.9 * down + 0.6)
    panels = figure.subplots(down, across, squeeze=False, sharex=True).ravel()
    for panel, name in zip(panels, [*names, None], strict=False):
        for colour, (underlying, stream) in zip(
            _COLOURS * len(table), table.groupby("underlying", dropna=False), strict=False
        ):
            label = None if underlying is None or underlying != underlying else figure_text(str(underlying))
            _draw(panel, stream, name, colour, label)
        _style(panel, name or "RMSE, vol points")
    for panel in panels[len(names) + 1 :]:
        panel.remove()
    if table["underlying"].nunique() > 1:
        panels[0].legend(frameon=False, fontsize=8, labelcolor=INK)
    for panel in panels[max(len(names) + 1 - across, 0) : len(names) + 1]:
        panel.tick_params(axis="x", labelbottom=True, rotation=20)
    return finished(figure, title or f"{len(table):,} surfaces", path)


def _draw(panel: Axes, stream: pd.DataFrame, name: str | None, colour: str, label: str | None) -> None:
    """One stream in one panel; without a name the misfit."""
    stream = stream.sort_values("quote_time")
    times = stream["quote_time"].dt.tz_localize(None).to_numpy("datetime64[s]")
    values = 100.0 * stream["rmse_vol"].to_numpy(float) if name is None else stream[name].to_numpy(float)
    steps = np.diff(times).astype(float)
    gaps = np.flatnonzero(steps > _GAP * np.median(steps)) + 1 if steps.size else np.empty(0, int)

    def broken(numbers: np.ndarray) -> np.ndarray:
        return np.insert(numbers, gaps, np.nan)

    when = np.insert(times, gaps, times[gaps])
    panel.plot(when, broken(values), color=colour, lw=1.2, label=label, marker="." if len(times) < 3 else None)
    if name is not None:
        low, high = (broken(stream[f"{name}_{end}"].to_numpy(float)) for end in ("low", "high"))
        panel.fill_between(when, low, high, color=colour, alpha=0.18, lw=0)
        known = np.isfinite(values)
        if known.any() and (values[known] > 0).all() and not (low <= 0).any():
            panel.set_yscale("log")
    unused = ~stream["used"].to_numpy(bool)
    panel.plot(times[unused], values[unused], "x", color=FAINT, ms=5, mew=1.4)


def _style(panel: Axes, label: str) -> None:
    panel.set_ylabel(label, fontsize=9, color=INK)
    panel.tick_params(labelsize=8, colors=INK)
    panel.grid(color=RULE, lw=0.8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(FAINT)


def _example() -> pd.DataFrame:
    times = pd.date_range("2026-03-02T16:00Z", periods=3)
    columns = {"used": [True, False, True], "rmse_vol": 0.01, "sigma": 0.2, "sigma_low": 0.19, "sigma_high": 0.21}
    return pd.DataFrame({"underlying": "X", "quote_time": times, **columns})
