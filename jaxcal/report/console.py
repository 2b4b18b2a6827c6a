"""The table of a fit for a terminal."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from jaxcal.calibration.fit import Fit
from jaxcal.models.base import AbstractModel


def fit_table(fit: Fit, *, title: str | None = None, truth: AbstractModel | None = None) -> Group:
    """The parameters of a fit with their standard errors, and how well they fit, for a console of `rich`.

    Args:
        fit: the result of `calibrate`.
        title: printed above; the name of the model if absent.
        truth: a model of the same class, known where the quotes are synthetic: one more column.

    Returns:
        The title, the table, and below it the error, the effort and the sentence of the status. A standard error that
        is not a number is explained: the parameter is fixed, at its bound, or the quotes do not determine it.

    Raises:
        AttributeError: `truth` lacks a parameter of the fitted model.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import rich.console, jaxcal as jc
        >>> from jaxcal.report.console import fit_table
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.3, 0.2, 0.2]], forward=100.0)
        >>> fit = jc.calibrate(jc.BlackScholes(0.25), surface)
        >>> rich.console.Console(width=80).print(fit_table(fit, title="Three quotes"))  # doctest: +ELLIPSIS
        Three quotes
        ┏...
        └...
        RMSE 4.714 vol points over 3 quotes, 1 expiry; ... steps
        Converged: no step within the bounds lowers the cost.
    """
    table = Table()
    table.add_column("parameter")
    table.add_column("value", justify="right")
    table.add_column("standard error", justify="right")
    if truth is not None:
        table.add_column("truth", justify="right")
    for label, value, note in fit.table():
        known = [] if truth is None else [f"{float(getattr(truth, label)):.6g}"]
        table.add_row(label, f"{value:.6g}", note, *known)
    return Group(
        Text(title or type(fit.model).__name__, style="bold"), table, Text(_effort(fit)), Text(str(fit.status))
    )


def _effort(fit: Fit) -> str:
    quotes, expiries, steps = fit.surface.num_quotes, fit.surface.num_expiries, int(fit.num_steps)
    sizes = f"{quotes:,} quote{'s' * (quotes != 1)}, {expiries} expir{'ies' if expiries != 1 else 'y'}"
    return f"RMSE {100.0 * float(fit.rmse_vol):.3f} vol points over {sizes}; {steps} step{'s' * (steps != 1)}"
