"""The command `jaxcal compare`: several models to one table of quotes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jaxcal._text import numbered
from jaxcal.cli.console.terminal import default_folder, refuse, show
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
from jaxcal.cli.options.spec_choice import chosen_spec
from jaxcal.models.registry import ModelName, model_names

_MODELS = "black-scholes,heston,bates,svcj"
SpecsOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE", help="Calibration spec of one more model, see `calibrate`; may be given several times."
    ),
]


@with_cleaning
def compare(
    quotes: QuotesArgument,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Models to fit, with commas: " + ", ".join(ModelName) + ".",
            show_default=f"{_MODELS}; none beside --spec",
        ),
    ] = None,
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
    loss: LossOption = None,
    loss_scale: ScaleOption = None,
    spec: SpecsOption = None,
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
    from jaxcal.cli.options.quotes_choice import read_surface
    from jaxcal.report.files import write_comparison

    files = spec or []
    try:
        names = model_names(_MODELS if models is None else models) if models is not None or not files else []
    except ValueError as error:
        refuse(f"--models: {error}")
    if files and not names and (loss is not None or loss_scale is not None):
        refuse("--loss and --spec: the files say that; give one of the two")
    asked = [(name.model.__name__, chosen_spec(None, name, None, loss, loss_scale, rules)) for name in names]
    asked += [(path.stem, chosen_spec(path, ModelName.HESTON, None, None, None, rules)) for path in files]
    made = asked[-1][1]
    if any((one.rules, one.clock) != (made.rules, made.clock) for _, one in asked):
        refuse("--spec: the models are compared on one surface, and these ask for several rules of cleaning or clocks")
    report, surface, name = read_surface(
        quotes, venue, underlying, time, rate, made.rules, made.clock, quote_time=quote_time, sheet=sheet
    )
    comparison = compare_models(numbered(asked), surface)
    show(comparison_table(comparison, title=name or quotes.name))
    folder = default_folder(quotes, "comparison") if out is None else out
    try:
        paths = write_comparison(comparison, folder, report=report, source=str(quotes))
    except OSError as error:
        refuse(f"the files cannot be written to {folder}: {error}")
    list_files(paths)
    raise typer.Exit(0 if comparison.converged else 1)
