"""The command `jaxcal calibrate`: one model to one table of quotes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jaxcal.cli.console.terminal import default_folder, refuse, say
from jaxcal.cli.options.loss_names import LossOption, ScaleOption
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
from jaxcal.cli.options.spec_choice import SpecOption, chosen_spec, model_option
from jaxcal.models.registry import ModelName


@with_cleaning
def calibrate(
    quotes: QuotesArgument,
    model: model_option(ModelName.HESTON) = None,  # type: ignore[valid-type]
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for parameters.json, residuals.csv and smiles.png; it is made if need be.",
            show_default="the name of the table with -fit, in the working directory",
        ),
    ] = None,
    venue: VenueOption = None,
    underlying: UnderlyingOption = None,
    time: TimeOption = None,
    rate: RateOption = None,
    quote_time: QuoteTimeOption = None,
    sheet: SheetOption = None,
    loss: LossOption = None,
    loss_scale: ScaleOption = None,
    spec: SpecOption = None,
    *,
    rules: Any,
) -> None:
    """Fit a model to a table of quotes; write the parameters, the residuals and a picture of every smile.

    Rows that cannot be used are left out and counted by reason.

    Exit codes: 0 the fit converged, 1 it did not (the files are written all the same), 2 the input cannot be used or
    the files cannot be written.
    """
    from jaxcal.cli.console.fit_output import show_fit, timed_fit, write_files
    from jaxcal.cli.options.quotes_choice import read_surface

    asked = chosen_spec(spec, ModelName.HESTON, model, loss, loss_scale, rules)
    report, surface, name = read_surface(
        quotes, venue, underlying, time, rate, asked.rules, asked.clock, quote_time=quote_time, sheet=sheet
    )
    chosen = asked.template.__name__
    try:
        fit, seconds = timed_fit(asked, surface)
    except ValueError as error:
        refuse(f"{quotes}: {chosen} cannot be fitted: {error}")
    title = f"{chosen}, {name or quotes.name}"
    show_fit(fit, title, None)
    say(f"Fitted in {seconds:.2f} s, compiling or loading the programs included.")
    write_files(fit, default_folder(quotes, "fit") if out is None else out, report, str(quotes), None)
    raise typer.Exit(0 if fit.converged else 1)
