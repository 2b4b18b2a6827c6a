"""The picture of a fit: every smile, market against model."""

from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from jaxcal.calibration.fit import Fit
from jaxcal.pricing.vanilla import model_vol

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKET, _MODEL, _FORWARD = "#1f4e79", "#d1495b", "#9aa5b1"
_INK, _GRID = "#2b2f36", "#e6e9ee"
_POINTS = 512  # of all model lines together: one size of the pricing program for up to 16 expiries
_SIZES = {  # panels across, and inches of a panel, up to this many expiries
    1: (1, 7.0, 4.6),
    4: (2, 4.8, 3.4),
    8: (3, 4.0, 2.9),
    15: (4, 3.4, 2.5),
    24: (5, 3.0, 2.3),
}
_SMALLEST = (6, 2.8, 2.1)


def plot_smiles(fit: Fit, path: str | PathLike[str] | None = None, *, title: str | None = None) -> "Figure":
    """Draw every smile of a fit in its own panel: market quotes with their bid-ask bars, and the model's line.

    Args:
        fit: the result of `calibrate`.
        path: where to write the picture; its ending (`.png`, `.pdf`, `.svg`) chooses the format. None writes nothing.
        title: printed above the panels; the model and the overall error if absent.

    Returns:
        The matplotlib figure: volatility in percent over strike, panels by expiry, each with its days to expiry and its
        root-mean-square error in vol points; the vertical line is the forward. It belongs to no window and no pyplot
        state. Where a model has no volatility (far wings, parameters that are not finite) the line stops.

    Raises:
        OSError: the file cannot be written.
        ValueError: the ending is no picture format.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> from jaxcal.report.smiles import plot_smiles
        >>> surface = jc.Surface.from_vols([0.5, 1.0], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]] * 2, forward=100.0)
        >>> figure = plot_smiles(jc.calibrate(jc.BlackScholes, surface))
        >>> [axes.get_title() for axes in figure.axes]
        ['182 days · RMSE 0.47', '365 days · RMSE 0.47']
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    smiles = [smile for _, smile in fit.to_frame().sort_values(["expiry", "strike"]).groupby("expiry")]
    across, width, height = next((size for most, size in _SIZES.items() if len(smiles) <= most), _SMALLEST)
    # one more column where that leaves fewer empty places
    across = max(1, min((across, across + 1), key=lambda number: -len(smiles) % number))
    down = max(1, -(-len(smiles) // across))
    figure = Figure(figsize=(across * width, down * height + 0.9), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(down, across, squeeze=False)).ravel()
    for axes in panels[len(smiles) :]:
        axes.remove()
    legend = {}
    for axes, smile, days, line in zip(panels, smiles, _days(smiles), _model_lines(fit, smiles), strict=False):
        _draw(axes, smile, days, *line)
        legend |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    for axes in panels[: len(smiles) : across]:
        axes.set_ylabel("implied volatility, %", fontsize=8, color=_INK)
    for axes in panels[max(0, len(smiles) - across) : len(smiles)]:
        axes.set_xlabel("strike", fontsize=8, color=_INK)
    figure.legend(
        legend.values(), legend.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=9, labelcolor=_INK
    )
    figure.suptitle(title or _title(fit), fontsize=12, color=_INK)
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure


def _title(fit: Fit) -> str:
    quotes, expiries = fit.surface.num_quotes, fit.surface.num_expiries
    counted = (
        f"{quotes:,} {'quote' if quotes == 1 else 'quotes'}, {expiries} {'expiry' if expiries == 1 else 'expiries'}"
    )
    return f"{type(fit.model).__name__}: {counted}, RMSE {100.0 * float(fit.rmse_vol):.2f} vol points"


def _model_lines(fit: Fit, smiles: "list[pd.DataFrame]") -> list[tuple[np.ndarray, np.ndarray]]:
    """Strikes and model volatilities of every line, priced in one call."""
    if not smiles:
        return []
    number = max(32, _POINTS // len(smiles))
    lows, highs = (np.array([smile["strike"].agg(end) for smile in smiles]) for end in ("min", "max"))
    alone = np.where(lows == highs, 0.03, 0.0)  # a smile of one strike still gets a line
    strikes = np.geomspace(lows * (1.0 - alone), highs * (1.0 + alone), number, axis=1)
    years, forwards = (np.array([smile[name].iloc[0] for smile in smiles])[:, None] for name in ("expiry", "forward"))
    if not all(np.isfinite(value) for value in fit.parameters.values()):
        return [(strike, np.full(number, np.nan)) for strike in strikes]
    dtype = fit.surface.strike.dtype
    vols = model_vol(fit.model, strikes.astype(dtype), years.astype(dtype), forward=forwards.astype(dtype))
    return list(zip(strikes, np.asarray(vols, np.float64), strict=True))


def _days(smiles: "list[pd.DataFrame]") -> list[str]:
    """Days to expiry as panels name them: with a decimal where whole days are too coarse or name two panels alike."""
    days = [365.0 * smile["expiry"].iloc[0] for smile in smiles]
    whole = [f"{number:.0f}" for number in days]
    coarse = [number < 10.0 and abs(number - round(number)) > 0.05 for number in days]
    names = [
        f"{number:.1f}" if rough or whole.count(name) > 1 else name
        for number, name, rough in zip(days, whole, coarse, strict=True)
    ]
    return [f"{name} day" if name == "1" else f"{name} days" for name in names]


def _draw(axes: "Axes", smile: "pd.DataFrame", days: str, strikes: np.ndarray, vols: np.ndarray) -> None:
    """One panel."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    strike, market = smile["strike"].to_numpy(), 100.0 * smile["market_vol"].to_numpy()
    bid, ask = 100.0 * smile["bid_vol"].to_numpy(), 100.0 * smile["ask_vol"].to_numpy()
    crowded = len(smile) > 40
    axes.axvline(
        smile["forward"].iloc[0], color=_FORWARD, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1, label="forward"
    )
    bottom, top = np.where(np.isnan(bid), market, bid), np.where(np.isnan(ask), market, ask)
    if (top > bottom).any():
        width = 0.9 if crowded else 1.6
        axes.vlines(strike, bottom, top, color=_MARKET, alpha=0.45, linewidth=width, zorder=2, label="bid to ask")
    size = 1.8 if crowded else 3.0
    axes.plot(strike, market, "o", color=_MARKET, markersize=size, markeredgewidth=0, zorder=3, label="market")
    axes.plot(strikes, 100.0 * vols, color=_MODEL, linewidth=1.4, zorder=4, label="model")
    _limit(axes, market, np.concatenate([bottom, top, 100.0 * vols[np.isfinite(vols)]]))
    rmse = float(np.sqrt(np.mean((smile["model_vol"] - smile["market_vol"]) ** 2)))
    axes.set_title(f"{days} · RMSE {100.0 * rmse:.2f}" if np.isfinite(rmse) else days, fontsize=9, color=_INK)
    axes.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))
    axes.yaxis.set_major_locator(MaxNLocator(5, min_n_ticks=3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.tick_params(labelsize=7.5, color=_FORWARD, labelcolor=_INK, length=3)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FORWARD)


def _limit(axes: "Axes", market: np.ndarray, others: np.ndarray) -> None:
    """Show all mids; a very wide quote, or a model line that runs away, must not flatten the smile."""
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
