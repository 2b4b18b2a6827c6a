"""A fit of the command line: timed, shown and written."""

import time as clock
from pathlib import Path

import jax

from jaxcal.calibration.calibrate import calibrate as fit_model
from jaxcal.calibration.calibration_spec import CalibrationSpec
from jaxcal.calibration.results.fit import Fit
from jaxcal.cli.console.fit_tables import fit_table
from jaxcal.cli.console.terminal import say, show, write_or_refuse
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.report.files import write_fit


def timed_fit(asked: CalibrationSpec | type[AbstractModel], surface: Surface) -> tuple[Fit, float]:
    """A fit, and how many seconds it took, compiling included."""
    start = clock.perf_counter()
    fit = jax.block_until_ready(fit_model(asked, surface))
    return fit, clock.perf_counter() - start


def show_fit(fit: Fit, title: str, truth: AbstractModel | None) -> None:
    """The table of a fit, beside the parameters that made the quotes where they are known."""
    show(fit_table(fit, title=title, truth=truth))


def write_files(fit: Fit, folder: Path, report: QuoteReport, source: str, title: str | None) -> None:
    """Write the files of a fit and say where they are; end with 2 where they cannot be written."""
    write_or_refuse(lambda folder: write_fit(fit, folder, report=report, source=source, title=title), folder)


def list_files(paths: dict[str, Path]) -> None:
    """Say which files were written."""
    for path in paths.values():
        say(f"  {path}")
