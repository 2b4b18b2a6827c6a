"""What the commands that read quotes have in common: the argument for a table and the options that choose from it."""

import dataclasses
import functools
import inspect as signatures
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxcal.cli.console.terminal import refuse


class Profile(StrEnum):
    """Names of the profiles of `CleaningRules`."""

    CRYPTO = "crypto"
    INDEX = "index"
    EQUITY = "equity"
    PLAIN = "plain"


def rules_of(profile: Profile | None, **given: float | None) -> Any:
    """The rules of a profile, of the one that suits each surface without one; those given take the place of its own.

    Raises:
        ValueError: one of them cannot be.

    Example:
        >>> rules_of(Profile.CRYPTO, min_expiry=0.01).min_expiry
        0.01
    """
    from jaxcal.market.cleaning.cleaning_rules import CleaningRules, SuitedRules

    rules = SuitedRules() if profile is None else CleaningRules.profile(profile.value)
    return dataclasses.replace(rules, **{name: value for name, value in given.items() if value is not None})


QuotesArgument = Annotated[
    Path,
    typer.Argument(
        metavar="QUOTES",
        help="Table of option quotes, .csv, .tsv, .txt (also .gz), .parquet or .xlsx: one row a quote, with columns "
        "expiry, strike, option_type and one of bid/ask, price, iv; or a layout that --venue names; or .json, .jsonl "
        "(also .gz): what Deribit's public interface answered.",
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
        "one, to be de-Americanised.",
        show_default="put-call parity; American options are left out",
    ),
]
ProfileOption = Annotated[
    Profile | None,
    typer.Option(
        help="Thresholds of the cleaning, made for a market; plain compares no quote with its neighbours.",
        show_default="crypto where prices are in coin or the underlying is one, equity where exercise is American, "
        "else index: for each surface",
    ),
]
QuoteTimeOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Time of the quotes, if the table has none: 2026-03-11T14:30:00Z, in UTC without a zone.",
    ),
]
SheetOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Sheet of a workbook with several sheets of quotes.")
]
UnderlyingOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Underlying to fit, if the table has several.")
]
TimeOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Time of the quotes to fit, where the table has several: 2026-03-11T14:30:00Z, in UTC, or as much of "
        "its beginning as is enough to tell.",
    ),
]


def _threshold(metavar: str, text: str, default: str) -> Any:
    return Annotated[float | None, typer.Option(metavar=metavar, help=text, show_default=default)]


_PROFILES_OWN = "the profile's"
_THRESHOLDS = {
    "min_expiry": _threshold("YEARS", "Options closer to expiry are left out.", "12 hours, 0.00137"),
    "max_relative_spread": _threshold(
        "RATIO", "Quotes with a larger spread, as a share of the mid, are left out.", "1"
    ),
    "max_deviations": _threshold(
        "NUMBER", "Strikes further from the forward, in standard deviations, are left out.", _PROFILES_OWN
    ),
    "max_outlier": _threshold(
        "NUMBER", "Quotes further off the smile of their neighbours, in standard deviations, are left out.",
        _PROFILES_OWN,
    ),
    "max_spread_ratio": _threshold(
        "RATIO", "Quotes with a larger spread, over what is usual among their neighbours, are left out.", _PROFILES_OWN
    ),
}  # fmt: skip


def with_cleaning(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of the cleaning, which it is given as one argument, `rules`.

    Example:
        >>> import inspect
        >>> @with_cleaning
        ... def command(name: str, rules) -> None:
        ...     print(name, rules.suited_to("index"))
        >>> list(inspect.signature(command).parameters)[:3]
        ['name', 'profile', 'min_expiry']
        >>> command("chain", max_outlier=3.0)
        chain index, max_outlier 3
    """
    options = {"profile": ProfileOption, **_THRESHOLDS}
    signature = signatures.signature(command)
    added = [
        signatures.Parameter(name, signatures.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in options.items()
    ]

    @functools.wraps(command)
    def run(*arguments: Any, **named: Any) -> None:
        given = {name: named.pop(name, None) for name in options}
        try:
            rules = rules_of(**given)
        except ValueError as error:
            refuse(f"--{str(error).replace('_', '-')}")
        command(*arguments, **named, rules=rules)

    own = [parameter for name, parameter in signature.parameters.items() if name != "rules"]
    hints = {name: hint for name, hint in command.__annotations__.items() if name != "rules"}
    run.__annotations__ = hints | options  # typer looks here, and at the signature
    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    return run
