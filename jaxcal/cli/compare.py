"""The command `jaxcal compare`: several models to one table of quotes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jaxcal.cli.console.terminal import default_folder, refuse, show
from jaxcal.cli.options.loss_names import LossName, LossOption, ScaleOption
from jaxcal.cli.options.quote_options import (
    QuotesArgument,
    QuoteTimeOption,
    RateOption,
    SheetOption,
    TimeOption,
    UnderlyingOption,
    VenueOption,
    with_cleaning,
)
from jaxcal.models.registry import ModelName, model_names


@with_cleaning
def compare(
    quotes: QuotesArgument,
    models: Annotated[
        str, typer.Option(metavar="NAMES", help="Models to fit, with commas: " + ", ".join(ModelName) + ".")
    ] = "black-scholes,heston,bates,svcj",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for comparison.csv, comparison.json and comparison.png; it is made if need be.",
            show_default="the name of the table with -comparison, in the working directory",
        ),
    ] = None,
    venue: VenueOption = None,
    underlying: UnderlyingOption = None,
    time: TimeOption = None,
    rate: RateOption = None,
    quote_time: QuoteTimeOption = None,
    sheet: SheetOption = None,
    loss: LossOption = LossName.LINEAR,
    loss_scale: ScaleOption = None,
    *,
    rules: Any,
) -> None:
    """Fit several models to a table of quotes; write how well each does, and a picture with all of them.

    Errors are in vol points: of all quotes, and of every fifth under a fit to the others. Rows that cannot be used are
    left out and counted by reason.

    Exit codes: 0 all fits converged, 1 one did not or is not possible (the files are written all the same), 2 the
    input cannot be used, a model is unknown, or the files cannot be written.
    """
    from jaxcal.calibration.compare import compare as compare_models
    from jaxcal.cli.console.fit_output import list_files
    from jaxcal.cli.console.fit_tables import comparison_table
    from jaxcal.cli.options.quotes_choice import chosen_loss, read_surface
    from jaxcal.report.files import write_comparison

    try:
        names = model_names(models)
    except ValueError as error:
        refuse(f"--models: {error}")
    counts = chosen_loss(loss, loss_scale)
    report, surface, name = read_surface(
        quotes, venue, underlying, time, rate, rules, quote_time=quote_time, sheet=sheet
    )
    comparison = compare_models([name.model for name in names], surface, loss=counts)
    show(comparison_table(comparison, title=name or quotes.name))
    folder = default_folder(quotes, "comparison") if out is None else out
    try:
        paths = write_comparison(comparison, folder, report=report, source=str(quotes))
    except OSError as error:
        refuse(f"the files cannot be written to {folder}: {error}")
    list_files(paths)
    raise typer.Exit(0 if comparison.converged else 1)
