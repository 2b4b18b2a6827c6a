"""Panels of a picture: the market quotes of each expiry, and the lines of one or several models."""

from collections.abc import Sequence
from functools import cache
from os import PathLike
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxcal._text import printable, shortened
from jaxcal.calibration.results.fit import Fit
from jaxcal.models.base import AbstractVolModel
from jaxcal.pricing.vanilla import model_vol

MARKET, MODEL, FAINT = "#1f4e79", "#d1495b", "#9aa5b1"
INK, RULE = "#2b2f36", "#e6e9ee"
_LONGEST = 90  # letters of a text
_POINTS = 512  # of all lines of a model together: one size of the pricing program for up to 16 expiries
_SIZES = {  # panels across, and inches of a panel, up to this many expiries
    1: (1, 7.0, 4.6),
    4: (2, 4.8, 3.4),
    8: (3, 4.0, 2.9),
    15: (4, 3.4, 2.5),
    24: (5, 3.0, 2.3),
}
_SMALLEST = (6, 2.8, 2.1)


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches, which belongs to no window and no pyplot state."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def finished(figure: Figure, title: str, path: str | PathLike[str] | None) -> Figure:
    """The figure with its title, if there is one; written to `path`, if that is given."""
    if title:
        figure.suptitle(figure_text(title), fontsize=12, color=INK)
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure


class Line(NamedTuple):
    """A model's volatilities (decimal, NaN where it has none) over strikes, with its name and colour."""

    label: str
    colour: str
    broken: bool
    strikes: np.ndarray
    vols: np.ndarray


def split_smiles(fit: Fit) -> list[pd.DataFrame]:
    """The rows of `fit.to_frame()` by expiry, each sorted by strike."""
    return [smile for _, smile in fit.to_frame().sort_values(["expiry", "strike"]).groupby("expiry")]


def panel_grid(panels: int) -> tuple[int, int, float, float]:
    """Panels across and down, and the inches of each, for this many expiries."""
    across, width, height = next((size for most, size in _SIZES.items() if panels <= most), _SMALLEST)
    # one more column where that leaves fewer empty places
    across = max(1, min((across, across + 1), key=lambda number: -panels % number))
    return across, max(1, -(-panels // across)), width, height


def model_lines(
    fit: Fit,
    smiles: Sequence[pd.DataFrame],
    label: str = "model",
    colour: str = MODEL,
    broken: bool = False,
) -> list[Line]:
    """The line of a fitted model through every smile, priced in one call.

    Where every expiry has parameters of its own, each line is of that expiry's. A line is NaN where the model has no
    volatility.
    """
    if not smiles:
        return []
    number = max(32, _POINTS // len(smiles))
    lows, highs = (np.array([smile["strike"].agg(end) for smile in smiles]) for end in ("min", "max"))
    alone = np.where(lows == highs, 0.03, 0.0)  # a smile of one strike still gets a line
    strikes = np.geomspace(lows * (1.0 - alone), highs * (1.0 + alone), number, axis=1)
    years, forwards = (np.array([smile[name].iloc[0] for smile in smiles])[:, None] for name in ("expiry", "forward"))
    vols = _vols(fit, *(x.astype(fit.surface.strike.dtype) for x in (strikes, years, forwards)))
    return [Line(label, colour, broken, *line) for line in zip(strikes, vols, strict=True)]


def _vols(fit: Fit, strikes: np.ndarray, years: np.ndarray, forwards: np.ndarray) -> np.ndarray:
    if isinstance(fit.model, AbstractVolModel) and fit.model.per_expiry:
        quoted = np.flatnonzero(np.any(np.asarray(fit.surface.weight) > 0, axis=-1))
        of_smile = quoted[np.searchsorted(np.asarray(fit.surface.expiry)[quoted], years[:, 0])]
        slices = jax.tree.map(lambda leaf: jnp.asarray(leaf)[of_smile, None], fit.model)
        vols = slices.vol(*(jnp.asarray(x) for x in (strikes, years, forwards)))
    elif all(np.isfinite(value).all() for value in fit.parameters.values()):
        vols = model_vol(fit.model, strikes, years, forward=forwards)
    else:
        vols = np.full(strikes.shape, np.nan)
    return np.asarray(vols, np.float64)


def day_names(smiles: Sequence[pd.DataFrame]) -> list[str]:
    """Days to expiry as panels name them: with a decimal where whole days are too coarse or name two panels alike."""
    days = [365.0 * smile["expiry"].iloc[0] for smile in smiles]
    whole = [f"{number:.0f}" for number in days]
    coarse = [number < 10.0 and abs(number - round(number)) > 0.05 for number in days]
    names = [
        f"{number:.1f}" if rough or whole.count(name) > 1 else name
        for number, name, rough in zip(days, whole, coarse, strict=True)
    ]
    return [f"{name} day" if name == "1" else f"{name} days" for name in names]


def draw_panels(
    figure: Figure | SubFigure,
    across: int,
    down: int,
    smiles: Sequence[pd.DataFrame],
    titles: Sequence[str],
    lines: Sequence[Sequence[Line]],
) -> None:
    """A panel for every smile, with the lines through it, and one legend below."""
    panels = np.atleast_1d(figure.subplots(down, across, squeeze=False)).ravel()
    for axes in panels[len(smiles) :]:
        axes.remove()
    legend = {}
    for axes, smile, title, through in zip(panels, smiles, titles, lines, strict=False):
        _draw(axes, smile, title, through)
        legend |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    for axes in panels[: len(smiles) : across]:
        axes.set_ylabel("implied volatility, %", fontsize=8, color=INK)
    for axes in panels[max(0, len(smiles) - across) : len(smiles)]:
        axes.set_xlabel("strike", fontsize=8, color=INK)
    rows = -(-len(legend) // 8)
    columns = -(-len(legend) // rows) if rows else 1
    figure.legend(
        legend.values(), legend.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=9,
        labelcolor=INK,
    )  # fmt: skip


def _draw(axes: Axes, smile: pd.DataFrame, title: str, lines: Sequence[Line]) -> None:
    """Quotes as dots, bid to ask as bars, the forward as a broken line, and the lines of the models."""
    strike, market = smile["strike"].to_numpy(), 100.0 * smile["market_vol"].to_numpy()
    bid, ask = 100.0 * smile["bid_vol"].to_numpy(), 100.0 * smile["ask_vol"].to_numpy()
    crowded = len(smile) > 40
    axes.axvline(smile["forward"].iloc[0], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1, label="forward")
    bottom, top = np.where(np.isnan(bid), market, bid), np.where(np.isnan(ask), market, ask)
    if (top > bottom).any():
        width = 0.9 if crowded else 1.6
        axes.vlines(strike, bottom, top, color=MARKET, alpha=0.45, linewidth=width, zorder=2, label="bid to ask")
    size = 1.8 if crowded else 3.0
    axes.plot(strike, market, "o", color=MARKET, markersize=size, markeredgewidth=0, zorder=3, label="market")
    # one line lies over the quotes, several would hide them
    width, height = (1.4, 4.0) if len(lines) == 1 else (1.2, 2.5)
    for line in lines:
        axes.plot(
            line.strikes, 100.0 * line.vols, color=line.colour, linestyle="--" if line.broken else "-",
            linewidth=width, zorder=height, label=line.label,
        )  # fmt: skip
    shown = [100.0 * line.vols[np.isfinite(line.vols)] for line in lines]
    _limit(axes, market, np.concatenate([bottom, top, *shown]))
    axes.set_title(title, fontsize=9, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))
    axes.yaxis.set_major_locator(MaxNLocator(5, min_n_ticks=3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    style(axes)


def style(axes: Axes) -> None:
    """Light rules, small labels, no box."""
    axes.tick_params(labelsize=7.5, color=FAINT, labelcolor=INK, length=3)
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def _limit(axes: Axes, market: np.ndarray, others: np.ndarray) -> None:
    """Show all mids; a very wide quote, or a model line that runs away, must not flatten the smile."""
    market, others = market[np.isfinite(market)], others[np.isfinite(others)]
    if not market.size:
        return
    height = max(market.max() - market.min(), 2.0)
    low = max(others.min(), market.min() - 0.4 * height)
    high = min(others.max(), market.max() + 0.4 * height)
    margin = 0.08 * max(high - low, 2.0)
    axes.set_ylim(max(0.0, low - margin), high + margin)


def _short(strike: float) -> str:
    """A strike as an axis label: 95000 as 95k, 0.0125 as it is."""
    if abs(strike) >= 1e6:
        return f"{strike / 1e6:g}m"
    return f"{strike / 1e3:g}k" if abs(strike) >= 2e4 else f"{strike:g}"


def figure_text(text: str) -> str:
    r"""A text for a title or a legend: what is not in the font is a question mark, and a dollar begins no formula.

    Example:
        >>> print(figure_text("$^_{ 漢"))
        \$^_{ ?
    """
    letters = _font_letters()
    drawn = "".join(letter if ord(letter) in letters else "?" for letter in shortened(printable(text), _LONGEST))
    # matplotlib leaves names that begin with an underscore out of a legend
    return (" " if drawn.startswith("_") else "") + drawn.replace("$", r"\$")


@cache
def _font_letters() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())
