"""The picture of profiles: what the quotes say about each parameter, whatever the others are."""

from collections.abc import Mapping
from os import PathLike

import numpy as np
from matplotlib.figure import Figure

from jaxcal.report.smile_panel import INK, finished, new_figure
from jaxcal.uncertainty.profile import Profile
from jaxcal.uncertainty.student_t import t_quantile


def plot_profiles(
    profiles: Profile | Mapping[str, Profile], path: str | PathLike[str] | None = None, *, level: float = 0.95
) -> Figure:
    """Draw a profile, or several side by side: |t| over the values of the parameter.

    Where the cost is a parabola the lines are straight and make a V. A curved one says that intervals from standard
    errors mislead; a flat one that the quotes do not determine the parameter.

    Args:
        profiles: of `profile`, or a dict of them, as `profiles` gives it.
        path: where to write the picture; its ending (`.png`, `.pdf`, `.svg`) chooses the format. None writes nothing.
        level: of the interval that is shaded, with the quantile of t as a horizontal line.

    Returns:
        The matplotlib figure, a panel a parameter; dots are fits that converged, the vertical line is the fitted value.

    Raises:
        OSError: the file cannot be written.
        ValueError: the ending is no picture format; a level that is not between 0 and 1.

    Example:
        >>> import jaxcal as jc
        >>> vols = [[0.21, 0.2, 0.2]]
        >>> fit = jc.calibrate(jc.BlackScholes, jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], vols, forward=100.0))
        >>> figure = jc.plot_profiles(jc.profile(fit, "sigma"))
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['sigma']
    """
    several = {profiles.label: profiles} if isinstance(profiles, Profile) else dict(profiles)
    across = min(3, len(several))
    down = -(-len(several) // across)
    figure = new_figure(3.4 * across, 2.8 * down)
    for place, (label, one) in enumerate(several.items()):
        axes = figure.add_subplot(down, across, place + 1)
        size, limit = np.abs(one.t), t_quantile(level, one.dof)
        good = np.isfinite(size)
        axes.plot(np.asarray(one.values)[good], size[good], "o-", color="#1f5fa8", markersize=3, linewidth=1.2)
        axes.axvline(float(one.fitted), color=INK, linewidth=0.8)
        if np.isfinite(limit):
            axes.axhline(limit, color="#b4461e", linewidth=0.8, linestyle="--")
        low, high = one.interval(level)
        if np.isfinite(low) and np.isfinite(high):
            axes.axvspan(low, high, color="#1f5fa8", alpha=0.1, linewidth=0)
        axes.set_xlabel(label, color=INK)
        axes.set_ylabel("|t|" if place % across == 0 else "", color=INK)
        axes.set_ylim(bottom=0.0)
        axes.spines[["top", "right"]].set_visible(False)
    return finished(figure, "", path)
