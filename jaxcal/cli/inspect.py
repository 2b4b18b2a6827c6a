"""The command `jaxcal inspect`: its options, what it says, and its exit codes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jaxcal.cli.console.terminal import default_folder, refuse, say, show, write_or_refuse
from jaxcal.cli.options.quote_options import (
    QuotesArgument,
    QuoteTimeOption,
    RateOption,
    SheetOption,
    VenueOption,
    with_cleaning,
)


@with_cleaning
def inspect(
    quotes: QuotesArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for verdicts.csv, forwards.csv, arbitrage.csv and quotes.png; it is created if missing.",
            show_default="the name of the table with -inspection, in the working directory",
        ),
    ] = None,
    venue: VenueOption = None,
    rate: RateOption = None,
    quote_time: QuoteTimeOption = None,
    sheet: SheetOption = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Also write repaired.csv: the used quotes, moved as little as possible to remove all arbitrage.",
        ),
    ] = False,
    *,
    rules: Any,
) -> None:
    """Inspect a table of quotes: a verdict for every row, forwards, arbitrage.

    Shows the rows by verdict, the worst prices, the forward of every expiry with its source, and the static arbitrage
    among the used quotes.

    Exit codes: 0 some quotes can be used, 1 none can (the files are written all the same), 2 the input cannot be used
    or the files cannot be written.
    """
    from jaxcal.cli.console.inspection_tables import inspection_tables
    from jaxcal.market.arbitrage.repair import repair_arbitrage
    from jaxcal.market.arbitrage.static_arbitrage import find_arbitrage
    from jaxcal.market.cleaning.quote_report import inspect_quotes
    from jaxcal.market.tables.table_file import QuoteError
    from jaxcal.report.inspection_files import write_inspection
    from jaxcal.venues.read_quotes import read_quotes

    if not quotes.exists():
        refuse(f"{quotes}: there is no such file")
    try:
        report = inspect_quotes(read_quotes(quotes, venue, quote_time=quote_time, sheet=sheet), rules=rules, rate=rate)
    except (OSError, ValueError) as error:  # a QuoteError, or what a reader of CSV or parquet says of a damaged file
        refuse(f"{quotes}: {error}")
    say(f"{len(report.keys):,} surface{'s' * (len(report.keys) != 1)}, profile {report.profile}: {report.summary()}")
    arbitrage = find_arbitrage(report)
    show(inspection_tables(report, arbitrage))
    repaired = None
    if repair:
        try:
            repaired = repair_arbitrage(report)
        except QuoteError as error:
            refuse(f"{quotes}: {error}")
        say(f"Repair: {repaired}")
    folder = default_folder(quotes, "inspection") if out is None else out
    write_or_refuse(lambda folder: write_inspection(report, arbitrage, folder, repair=repaired), folder)
    raise typer.Exit(0 if report.table["verdict"].eq("used").any() else 1)
