"""The files of a fit: parameters, residuals and picture."""

import json
import math
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from jaxcal.calibration.fit import Fit
from jaxcal.market.quote_report import QuoteReport
from jaxcal.market.verdict import Verdict
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
        `standard_errors`, `status` (a sentence), `converged`, `rmse_vol` (decimal), `cost`, `num_steps`, and `quotes`:
        `used`, and `left_out` by reason; null stands for what is unknown or not a number. `residuals.csv` is
        `fit.to_frame()`, its `row` counted from 0 in the caller's table.

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
    text = json.dumps(_record(fit, report, source), indent=2, allow_nan=False, ensure_ascii=False)
    paths["parameters"].write_text(text + "\n", encoding="utf-8")
    fit.to_frame().to_csv(paths["residuals"], index=False)
    plot_smiles(fit, paths["smiles"], title=title)
    return paths


def _record(fit: Fit, report: QuoteReport | None, source: str | None) -> dict[str, Any]:
    key = report.keys[0] if report is not None and len(report.keys) == 1 else (None, None)
    left_out = None
    if report is not None:
        left_out = {str(reason): int(count) for reason, count in report.counts().items() if reason != Verdict.USED}
    errors = fit.standard_errors
    return {
        "jaxcal": version("jaxcal"),
        "model": type(fit.model).__name__,
        "source": source,
        "underlying": key[0],
        "quote_time": None if key[1] is None else key[1].isoformat(),
        "parameters": {name: _number(value) for name, value in fit.parameters.items()},
        "standard_errors": {name: _number(getattr(errors, name)) for name in fit.parameters},
        "status": str(fit.status),
        "converged": bool(fit.converged),
        "rmse_vol": _number(fit.rmse_vol),
        "cost": _number(fit.cost),
        "num_steps": int(fit.num_steps),
        "quotes": {"used": fit.surface.num_quotes, "left_out": left_out},
    }


def _number(value: Any) -> Any:
    """A finite number, or None: JSON knows no NaN. A list of them for an array."""
    numbers = np.asarray(value, np.float64).tolist()
    if isinstance(numbers, list):
        return [number if math.isfinite(number) else None for number in numbers]
    return numbers if math.isfinite(numbers) else None
