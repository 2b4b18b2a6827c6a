"""What the commands that read quotes have in common: the argument for a table and the options that choose from it."""

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jaxcal.market.cleaning_rules import CleaningRules


class Profile(StrEnum):
    """Names of the profiles of `CleaningRules`."""

    CRYPTO = "crypto"
    INDEX = "index"
    EQUITY = "equity"


def rules_of(profile: Profile | None, **given: float | None) -> "CleaningRules":
    """The rules of a profile, the general ones without one; those given take the place of its own.

    Raises:
        ValueError: one of them cannot be.

    Example:
        >>> from jaxcal.cli_options import Profile, rules_of
        >>> rules_of(Profile.CRYPTO, min_expiry=0.01).min_expiry
        0.01
    """
    from jaxcal.market.cleaning_rules import CleaningRules

    rules = CleaningRules() if profile is None else CleaningRules.profile(profile.value)
    return dataclasses.replace(rules, **{name: value for name, value in given.items() if value is not None})


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
ProfileOption = Annotated[
    Profile | None,
    typer.Option(
        help="Thresholds of the cleaning, made for a market: quotes that their neighbours contradict are left out too.",
        show_default="rules for any market, which compare no neighbours",
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
