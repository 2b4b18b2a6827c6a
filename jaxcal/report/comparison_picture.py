"""The picture of a comparison: how large the errors are, and every smile with a line for each model."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxcal.calibration.comparison import Comparison, Entry
from jaxcal.calibration.results.fit import Fit
from jaxcal.report.smile_panel import (
    FAINT,
    INK,
    Line,
    day_names,
    draw_panels,
    figure_text,
    finished,
    model_lines,
    new_figure,
    panel_grid,
    split_smiles,
    style,
)

_COLOURS = (
    "#d1495b", "#2a9d8f", "#e9a23b", "#6a4c93", "#3a86c8", "#8d6e63", "#7a9e2b", "#e573b5", "#4d5d6c", "#12b5cb",
)  # fmt: skip
_MOST_PANELS = 12  # smiles drawn: a surface of more expiries is shown in part
_LINE_HEIGHT, _BAR_MARGIN = 0.27, 0.95  # inches of a bar, and of what is above and below the bars


def plot_comparison(
    comparison: Comparison, path: str | PathLike[str] | None = None, *, title: str | None = None
) -> Figure:
    """Draw a comparison: bars of the errors above, and below them the smiles with one line a model.

    Args:
        comparison: the result of `compare`.
        path: where to write the picture; its ending (`.png`, `.pdf`, `.svg`) chooses the format. None writes nothing.
        title: printed above; the numbers of models and quotes if absent.

    Returns:
        The matplotlib figure. On the left, for every model the root-mean-square error in vol points of the fit to all
        quotes (bar) and of the held-out quotes under the refit (ring); on the right, the share of quotes fitted between
        bid and ask, or, where the surface has no spreads, the error against the number of parameters. Below, at most 12
        smiles, evenly chosen from the shortest to the longest expiry, with the fits to all quotes. A model without a
        fit has neither bar nor line. The figure belongs to no window and no pyplot state.

    Raises:
        OSError: the file cannot be written.
        ValueError: the ending is no picture format.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5, 1.0], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]] * 2, forward=100.0)
        >>> figure = jc.plot_comparison(jc.compare({"flat": jc.BlackScholes}, surface, repeats=0))
        >>> [axes.get_title() for axes in figure.axes][2:]
        ['182 days', '365 days']
    """
    colours = {entry.name: _COLOURS[i % len(_COLOURS)] for i, entry in enumerate(comparison.entries)}
    fits = comparison.fits
    smiles, lines = _lines(fits, colours)
    across, down, width, height = panel_grid(len(smiles))
    bars = _BAR_MARGIN + _LINE_HEIGHT * len(comparison.entries)
    panels = down * height + 0.5 if smiles else 0.0
    figure = new_figure(max(across * width, 8.5), bars + panels + 0.4)
    heights = [bars, panels] if smiles else [bars]
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
    left, right = parts[0, 0].subplots(1, 2, width_ratios=[3, 2])
    _draw_errors(left, comparison.entries, colours)
    _draw_spreads(right, comparison.entries, colours)
    if smiles:
        draw_panels(parts[1, 0], across, down, smiles, day_names(smiles), lines)
    return finished(figure, title or _title(comparison), path)


def _title(comparison: Comparison) -> str:
    surface, models = comparison.surface, len(comparison.entries)
    quotes, expiries = surface.num_quotes, surface.num_expiries
    return (
        f"{models} model{'s' * (models != 1)}: {quotes:,} quote{'s' * (quotes != 1)}, "
        f"{expiries} expir{'ies' if expiries != 1 else 'y'}, {int(comparison.held_out.sum())} held out"
    )


def _lines(fits: dict[str, Fit[Any]], colours: dict[str, str]) -> tuple[list[pd.DataFrame], list[tuple[Line, ...]]]:
    """Some smiles, and for each the lines of all models."""
    if not fits:
        return [], []
    smiles = split_smiles(next(iter(fits.values())))
    if len(smiles) > _MOST_PANELS:
        chosen = np.unique(np.linspace(0, len(smiles) - 1, _MOST_PANELS).round().astype(int))
        smiles = [smiles[i] for i in chosen]
    dashed = {name: i >= len(_COLOURS) for i, name in enumerate(colours)}
    of_models = [model_lines(fit, smiles, figure_text(name), colours[name], dashed[name]) for name, fit in fits.items()]
    return smiles, list(zip(*of_models, strict=True))


def _draw_errors(axes: Axes, entries: Sequence[Entry], colours: dict[str, str]) -> None:
    """Bars of the error in sample, rings of the error out of sample; the numbers stand beside them."""
    inside, outside = (np.array([getattr(e, name) for e in entries]) for name in ("rmse_points", "rmse_out_points"))
    _bars(axes, inside, entries, colours)
    at = np.arange(len(entries))
    axes.plot(outside, at, "o", markersize=6, markerfacecolor="white", markeredgecolor=INK, markeredgewidth=1.3)
    known = [number for number in (*inside, *outside) if np.isfinite(number)]
    pairs = zip(inside, outside, strict=True)
    texts = [f"{_number(a)}  ({_number(b)})" if np.isfinite(a) else "not fitted" for a, b in pairs]
    _label(axes, texts, np.fmax(np.nan_to_num(inside), np.nan_to_num(outside)), 1.35 * max(known, default=1.0))
    axes.set_title("RMSE, vol points: all quotes (held-out quotes: ring)", fontsize=9, color=INK, loc="left")


def _draw_spreads(axes: Axes, entries: Sequence[Entry], colours: dict[str, str]) -> None:
    """Bars of the share inside bid-ask; without spreads, the error against the number of parameters."""
    share = np.array([100.0 * entry.inside for entry in entries])
    if np.isfinite(share).any():
        _bars(axes, share, entries, colours)
        axes.set_yticklabels([])
        texts = [f"{number:.0f} %" if np.isfinite(number) else "" for number in share]
        _label(axes, texts, np.nan_to_num(share), 100.0)
        axes.set_title("share of quotes fitted inside bid-ask", fontsize=9, color=INK, loc="left")
        return
    for entry in entries:
        if np.isfinite(entry.rmse_points) and entry.rmse_points > 0:
            axes.plot(entry.num_parameters, entry.rmse_points, "o", color=colours[entry.name], markersize=7)
            axes.plot(
                entry.num_parameters, entry.rmse_out_points, "o", markersize=6, markerfacecolor="white",
                markeredgecolor=colours[entry.name], markeredgewidth=1.3,
            )  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else ""))
    axes.set_xlabel("parameters", fontsize=8, color=INK)
    axes.set_title("RMSE against number of parameters", fontsize=9, color=INK, loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.margins(0.08, 0.15)
    style(axes)
    axes.tick_params(which="minor", labelsize=7.5, labelcolor=INK, length=0)


def _bars(axes: Axes, lengths: np.ndarray, entries: Sequence[Entry], colours: dict[str, str]) -> None:
    at = np.arange(len(entries))
    axes.barh(at, np.nan_to_num(lengths), height=0.62, color=[colours[entry.name] for entry in entries], alpha=0.85)
    axes.set_yticks(at, [figure_text(entry.name) for entry in entries])
    axes.invert_yaxis()
    style(axes)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", labelsize=9, length=0)
    axes.spines["left"].set_visible(False)


def _label(axes: Axes, texts: Sequence[str], ends: np.ndarray, room: float) -> None:
    """Words at the ends of bars, on an axis as long as `room` and a little more."""
    for i, (text, end) in enumerate(zip(texts, ends, strict=True)):
        axes.annotate(
            text, (end, i), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8.5,
            color=INK if text != "not fitted" else FAINT,
        )  # fmt: skip
    axes.set_xlim(0.0, 1.05 * room if room > 0 else 1.0)


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"
