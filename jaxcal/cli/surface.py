"""The command `jaxcal surface`: a chain of quotes to a surface to trade on."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jaxcal.cli.console.terminal import default_folder, refuse, say, show
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
from jaxcal.models.registry import ModelName

_CAP = 0.125  # as of `TakerFee`


@with_cleaning
def surface(
    quotes: QuotesArgument,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Candidates, with commas: " + ", ".join(ModelName) + ".",
            show_default="laws without arbitrage, from few parameters to many",
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The JSON file with all of it.",
            show_default="the name of the table with -surface.json, in the working directory",
        ),
    ] = None,
    fee: Annotated[
        str | None,
        typer.Option(
            metavar="FEE",
            help="The venue's fee for an option: a share of the underlying such as 0.0003, or deribit.",
            show_default="none",
        ),
    ] = None,
    fee_cap: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="The most a fee can be, as a share of the option's price.", show_default=str(_CAP)
        ),
    ] = None,
    no_repair: Annotated[
        bool, typer.Option("--no-repair", help="Leave quotes as they are where there is arbitrage at bid and ask.")
    ] = False,
    venue: VenueOption = None,
    underlying: UnderlyingOption = None,
    time: TimeOption = None,
    rate: RateOption = None,
    quote_time: QuoteTimeOption = None,
    sheet: SheetOption = None,
    *,
    rules: Any,
) -> None:
    """Make a surface to trade on: clean and repair quotes, choose a model by quotes it did not see, and fit it.

    Says what was left out, which arbitrage the quotes hold, and how well each expiry is fitted.

    Exit codes: 0 the fit converged, 1 it did not (the file is written all the same), 2 the input cannot be used or the
    file cannot be written.
    """
    from jaxcal.chain.fit_chain import fit_chain
    from jaxcal.cli.console.chain_tables import chain_tables
    from jaxcal.cli.options.quotes_choice import read_chain
    from jaxcal.models.registry import model_names

    try:
        names = None if models is None else [name.model for name in model_names(models)]
    except ValueError as error:
        refuse(f"--models: {error}")
    charged = _fee(fee, fee_cap)
    path = Path(f"{default_folder(quotes, 'surface')}.json") if json is None else json
    if not path.parent.is_dir():  # before a fit that takes a minute
        refuse(f"the file cannot be written to {path}: there is no folder {path.parent}")
    every, part, _, name = read_chain(
        quotes, venue, underlying, time, rate, rules, None, quote_time=quote_time, sheet=sheet
    )
    try:
        chain = fit_chain(
            every,
            models=names,
            fee=charged,
            repair=not no_repair,
            underlying=part.keys[0][0] if len(every.keys) > 1 else None,
            time=time,
            source=str(quotes),
        )
    except ValueError as error:
        refuse(f"{quotes}: {error}")
    show(chain_tables(chain, title=f"{type(chain.model).__name__}, {name or quotes.name}"))
    try:
        chain.to_json(path)
    except OSError as error:
        refuse(f"the file cannot be written to {path}: {error}")
    say(f"  {path}")
    raise typer.Exit(0 if chain.converged else 1)


def _fee(fee: str | None, cap: float | None) -> Any:
    """The fee that the options name; None for nothing."""
    from jaxcal.market.taker_fee import TakerFee

    if fee is None:
        if cap is not None:
            refuse("--fee-cap: there is no fee to cap; give --fee too")
        return None
    if fee.strip().lower() == "deribit":
        if cap is not None:
            refuse("--fee-cap: --fee deribit has its own; give the fee as a number")
        return TakerFee.deribit()
    try:
        return TakerFee(float(fee), _CAP if cap is None else cap)
    except ValueError as error:
        refuse(f"--fee: {error}" if "fee" in str(error) else f"--fee {fee!r} is neither deribit nor a number")
