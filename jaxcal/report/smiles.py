"""The picture of a fit: every smile, market against model."""

from os import PathLike

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jaxcal.calibration.results.fit import Fit
from jaxcal.report.smile_panel import (
    day_names,
    draw_panels,
    finished,
    model_lines,
    new_figure,
    panel_grid,
    split_smiles,
)


def plot_smiles(fit: Fit, path: str | PathLike[str] | None = None, *, title: str | None = None) -> Figure:
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
        >>> surface = jc.Surface.from_vols([0.5, 1.0], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]] * 2, forward=100.0)
        >>> figure = jc.plot_smiles(jc.calibrate(jc.BlackScholes, surface))
        >>> [axes.get_title() for axes in figure.axes]
        ['182 days · RMSE 0.47', '365 days · RMSE 0.47']
    """
    smiles = split_smiles(fit)
    across, down, width, height = panel_grid(len(smiles))
    figure = new_figure(across * width, down * height + 0.9)
    titles = [days + _error(smile) for days, smile in zip(day_names(smiles), smiles, strict=True)]
    draw_panels(figure, across, down, smiles, titles, [[line] for line in model_lines(fit, smiles)])
    return finished(figure, title or _title(fit), path)


def _title(fit: Fit) -> str:
    quotes, expiries = fit.surface.num_quotes, fit.surface.num_expiries
    counted = f"{quotes:,} quote{'s' * (quotes != 1)}, {expiries} expir{'ies' if expiries != 1 else 'y'}"
    rmse = 100.0 * float(fit.rmse_vol)
    return f"{type(fit.model).__name__}: {counted}" + (f", RMSE {rmse:.2f} vol points" if np.isfinite(rmse) else "")


def _error(smile: pd.DataFrame) -> str:
    rmse = float(np.sqrt(np.mean((smile["model_vol"] - smile["market_vol"]).to_numpy() ** 2)))  # NaN if one is
    return f" · RMSE {100.0 * rmse:.2f}" if np.isfinite(rmse) else ""
