"""The tables of a fit and of a comparison for a terminal."""

import math

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from jaxcal.calibration.comparison import Comparison, cells, remarks
from jaxcal.calibration.results.fit import Fit
from jaxcal.cli.console.result_table import ResultTable, name_cell, text_cell
from jaxcal.models.base import AbstractModel


def fit_table(fit: Fit, *, title: str | None = None, truth: AbstractModel | None = None) -> Group:
    """The parameters of a fit with their standard errors, and how well they fit, for a console of `rich`.

    Args:
        fit: the result of `calibrate`.
        title: printed above; the name of the model if absent.
        truth: a model of the same class, known where the quotes are synthetic: one more column.

    Returns:
        The title, the table, and below it the error, the effort, the sentence of the status, the share of the quotes
        inside bid and ask where spreads are known, and which parameters are identified (see `Diagnostics`). A standard
        error that is not a number is explained: the parameter is fixed, at its bound, or the quotes do not determine
        it.

    Raises:
        AttributeError: `truth` lacks a parameter of the fitted model.
    """
    table = Table()
    table.add_column("parameter")
    table.add_column("value", justify="right")
    table.add_column("standard error", justify="right")
    if truth is not None:
        table.add_column("truth", justify="right")
    for label, value, note in fit.table():
        known = [] if truth is None else [_true(truth, label)]
        table.add_row(label, f"{value:.6g}", note, *known)
    inside, scale = (fit.goodness.sentences[part] for part in (slice(1), slice(1, None)))
    return Group(
        _title(title or type(fit.model).__name__), ResultTable(table), Text(_effort(fit)), Text(str(fit.status)),
        *map(Text, inside), Text(f"Identified: {fit.diagnostics().line}."), *map(Text, scale),
    )  # fmt: skip


def comparison_table(comparison: Comparison, *, title: str | None = None) -> Group:
    """The models of a comparison side by side, for a console of `rich`.

    Args:
        comparison: the result of `compare`.
        title: printed above.

    Returns:
        The title; a table of the number of parameters, the root-mean-square errors in vol points of all quotes and of
        the held-out ones, AIC, the share of quotes fitted inside bid-ask and of the held-out ones, the error in
        half-spreads, and the times; the best of a column is bold. Below it a sentence for every model
        that is not simply converged.
    """
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("model", no_wrap=True)
    heads = ("para-\nmeters", "RMSE", "held\nout", "AIC", "inside\nbid-ask", "held\nout", "half-\nspreads")
    for head in (*heads, "fit,\nms", "first,\ns"):
        table.add_column(head, justify="right")
    columns = [_with_best(comparison, name) for name in ("rmse_points", "rmse_out_points", "aic")]
    for entry, *best in zip(comparison.entries, *columns, strict=True):
        parameters, *numbers = cells(entry)
        shown = [Text(text, style="bold" if mark else "") for text, mark in zip(numbers, best, strict=False)]
        table.add_row(name_cell(entry.name), parameters, *shown, *numbers[len(shown) :])
    counted = f"{int(comparison.held_out.sum())} of {comparison.surface.num_quotes} quotes"
    below = [Text(line) for line in (f"RMSE in vol points; held out: {counted}.", *remarks(comparison))]
    return Group(*([_title(title)] if title else []), ResultTable(table), *below)


def _title(text: str) -> Text:
    title = text_cell(text)
    title.stylize("bold")
    return title


def _with_best(comparison: Comparison, name: str) -> list[bool]:
    """Which entries have the least value of a column; none where there is nothing to choose from."""
    values = [getattr(entry, name) for entry in comparison.entries]
    known = [value for value in values if np.isfinite(value)]
    return [len(known) > 1 and value == min(known) for value in values]


def _true(truth: AbstractModel, label: str) -> str:
    """The parameter of a label such as `rho` or `rho[2]`."""
    name, _, place = label.removesuffix("]").partition("[")
    value = np.asarray(getattr(truth, name), np.float64)
    return f"{value[int(place)] if place and value.ndim else float(value):.6g}"


def _effort(fit: Fit) -> str:
    quotes, expiries, steps = fit.surface.num_quotes, fit.surface.num_expiries, int(fit.num_steps)
    sizes = f"{quotes:,} quote{'s' * (quotes != 1)}, {expiries} expir{'ies' if expiries != 1 else 'y'}"
    rmse = float(fit.rmse_vol)
    error = "RMSE not known" if math.isnan(rmse) else f"RMSE {100.0 * rmse:.3f} vol points"
    return f"{error} over {sizes}; {steps} step{'s' * (steps != 1)}"
