"""What the commands that read quotes have in common: the argument for a table and the options that choose from it."""

from pathlib import Path
from typing import Annotated

import typer

QuotesArgument = Annotated[
    Path,
    typer.Argument(
        metavar="QUOTES",
        help="Table of option quotes, .csv, .csv.gz or .parquet: one row a quote, with the columns expiry, strike, "
        "option_type and one of bid/ask, price, iv; or a layout that --venue names; or .json, .jsonl (also .gz): what "
        "Deribit's public interface answered.",
    ),
]
VenueOption = Annotated[
    str | None,
    typer.Option(
        metavar="LAYOUT",
        help="Layout of the table: tidy, deribit, us or published.",
        show_default="recognised by its columns",
    ),
]
VenueOfFilesOption = Annotated[
    str | None,
    typer.Option(
        metavar="LAYOUT",
        help="Layout of the tables: tidy, deribit, us or published.",
        show_default="recognised by their columns, file by file",
    ),
]
RateOption = Annotated[
    float | None,
    typer.Option(
        metavar="RATE",
        help="Continuously compounded rate, a decimal a year, for rows without a column rate. American options need "
        "one: the value of early exercise is then taken out of their prices.",
        show_default="put-call parity; American options are left out",
    ),
]
UnderlyingOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Underlying to fit, where the table has several.")
]
TimeOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Time of the quotes to fit, where the table has several: 2026-03-11T14:30:00Z, in UTC, or as much of "
        "its beginning as is enough to tell.",
    ),
]
