"""The files of a fit: parameters, residuals and picture; and those of a comparison."""

import math
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from jaxcal.calibration.comparison import Comparison
from jaxcal.calibration.results.fit import Fit
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.tables.csv_file import write_csv
from jaxcal.market.tables.verdict import Verdict
from jaxcal.report.comparison_picture import plot_comparison
from jaxcal.report.saved import FORMAT, fit_record, write_json
from jaxcal.report.smiles import plot_smiles


def write_fit(
    fit: Fit,
    folder: str | PathLike[str],
    *,
    report: QuoteReport | None = None,
    source: str | None = None,
    title: str | None = None,
) -> dict[str, Path]:
    """Write a fit to `parameters.json`, `residuals.csv` and `smiles.png` in a folder, which is made if need be.

    Args:
        fit: the result of `calibrate`.
        folder: files of these names in it are replaced.
        report: of the quotes of this one surface; says in the JSON how many were left out and why.
        source: where the quotes came from, for the JSON.
        title: of the picture.

    Returns:
        The paths, by the names "parameters", "residuals" and "smiles".

        `parameters.json` holds `jaxcal` (the version), `model`, `source`, `underlying`, `quote_time`, `parameters`,
        `standard_errors`, `expiries` (years; null but for a model with parameters of each expiry, which are then lists
        in this order), `status` (a sentence), `converged`, `rmse_vol` (decimal), `inside` (share of the quotes between
        bid and ask), `rmse_half_spreads`, `cost`, `num_steps`, and `quotes`: `used`, and `left_out` by reason; null
        stands for what is unknown or not a number. Then all that makes the fit anew, which `load` reads: `spec`, what
        was asked; `fit`, its numbers and quotes; and `digest`, by which `load` knows a file that was changed.
        `residuals.csv` is `fit.to_frame()`, its `row` counted from 0 in the caller's table.

    Raises:
        OSError: the folder or a file cannot be written.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import json, tempfile, jaxcal as jc
        >>> from jaxcal.report.files import write_fit
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.2, 0.2, 0.2]], forward=100.0)
        >>> paths = write_fit(jc.calibrate(jc.BlackScholes, surface), tempfile.mkdtemp())
        >>> json.loads(paths["parameters"].read_text(encoding="utf-8"))["parameters"]
        {'sigma': 0.200000}
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {
        "parameters": folder / "parameters.json",
        "residuals": folder / "residuals.csv",
        "smiles": folder / "smiles.png",
    }
    write_json(parameters_record(fit, report, source), paths["parameters"])
    write_csv(fit.to_frame(), paths["residuals"])
    plot_smiles(fit, paths["smiles"], title=title)
    return paths


def write_comparison(
    comparison: Comparison,
    folder: str | PathLike[str],
    *,
    report: QuoteReport | None = None,
    source: str | None = None,
    title: str | None = None,
) -> dict[str, Path]:
    """Write a comparison to `comparison.csv`, `comparison.json` and `comparison.png` in a folder, made if need be.

    Args:
        comparison: the result of `compare`.
        folder: files of these names in it are replaced.
        report: of the quotes of this one surface; says in the JSON how many were left out and why.
        source: where the quotes came from, for the JSON.
        title: of the picture.

    Returns:
        The paths, by the names "table", "record" and "picture".

        `comparison.csv` is `comparison.to_frame()`. `comparison.json` holds `jaxcal`, `source`, `underlying`,
        `quote_time` and `quotes` as `parameters.json` of `write_fit`, the number of quotes `held_out`, and `models`:
        for each the columns of the table, and `parameters`, `standard_errors` and `expiries` of its fit to all quotes
        (null where there is none).

    Raises:
        OSError: the folder or a file cannot be written.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import tempfile, jaxcal as jc
        >>> from jaxcal.report.files import write_comparison
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)
        >>> comparison = jc.compare({"flat": jc.BlackScholes}, surface, repeats=0)
        >>> paths = write_comparison(comparison, tempfile.mkdtemp())
        >>> paths["table"].read_text(encoding="utf-8").splitlines()[1].split(",")[:3]
        ['flat', '1', '3']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = {"table": "comparison.csv", "record": "comparison.json", "picture": "comparison.png"}
    paths = {name: folder / file for name, file in names.items()}
    table = comparison.to_frame()
    rows = table.to_dict("records")
    record = {
        "jaxcal": version("jaxcal"),
        "source": source,
        **_origin(report, comparison.surface.num_quotes),
        "held_out": int(comparison.held_out.sum()),
        "models": [_row(row) | _of_fit(entry.fit) for row, entry in zip(rows, comparison.entries, strict=True)],
    }
    write_csv(table, paths["table"])
    write_json(record, paths["record"])
    plot_comparison(comparison, paths["picture"], title=title)
    return paths


def _row(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): _number(value) if isinstance(value, float) else value for name, value in row.items()}


def parameters_record(fit: Fit, report: QuoteReport | None, source: str | None) -> dict[str, Any]:
    """What `parameters.json` holds, see `write_fit`."""
    return {
        "jaxcal": version("jaxcal"),
        "format": FORMAT,
        "model": type(fit.model).__name__,
        "source": source,
        **_of_fit(fit),
        "status": str(fit.status),
        "converged": bool(fit.converged),
        "rmse_vol": _number(fit.rmse_vol),
        "inside": _number(fit.inside),
        "rmse_half_spreads": _number(fit.rmse_half_spreads),
        "cost": _number(fit.cost),
        "num_steps": int(fit.num_steps),
        **_origin(report, fit.surface.num_quotes),
        **fit_record(fit),
    }


def _origin(report: QuoteReport | None, used: int) -> dict[str, Any]:
    """Name and time of a surface, and what became of its quotes."""
    key = report.keys[0] if report is not None and len(report.keys) == 1 else (None, None)
    left_out = None
    if report is not None:
        left_out = {str(reason): int(count) for reason, count in report.counts().items() if reason != Verdict.USED}
    return {
        "underlying": key[0],
        "quote_time": None if key[1] is None else key[1].isoformat(),
        "quotes": {"used": used, "left_out": left_out},
    }


def _of_fit(fit: Fit | None) -> dict[str, Any]:
    """Parameters and their standard errors; of the expiries that have quotes, where each has its own."""
    if fit is None:
        return {"parameters": None, "standard_errors": None, "expiries": None}
    quoted = np.any(np.asarray(fit.surface.weight) > 0, axis=-1)

    def shown(model: Any) -> dict[str, Any]:
        values = {name: np.asarray(getattr(model, name), np.float64) for name in fit.parameters}
        return {name: _number(x[quoted] if fit.by_expiry and x.ndim else x) for name, x in values.items()}

    # what is not free has no standard error, a setting that is no array included
    errors = {name: value if name in fit.free else None for name, value in shown(fit.standard_errors).items()}
    years = np.asarray(fit.surface.expiry, np.float64)[quoted].tolist() if fit.by_expiry else None
    return {"parameters": shown(fit.model), "standard_errors": errors, "expiries": years}


def _number(value: Any) -> Any:
    """A finite number, or None: JSON knows no NaN. A list of them for an array."""
    numbers = np.asarray(value, np.float64).tolist()
    if isinstance(numbers, list):
        return [number if math.isfinite(number) else None for number in numbers]
    return numbers if math.isfinite(numbers) else None
