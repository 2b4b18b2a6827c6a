"""The surface that the options of a command name, or a refusal."""

from pathlib import Path

from jaxcal.cli.console.terminal import refuse, say
from jaxcal.dates.variance_clock import VarianceClock
from jaxcal.market.cleaning.cleaning_rules import CleaningRules, SuitedRules
from jaxcal.market.cleaning.quote_report import QuoteReport, inspect_quotes
from jaxcal.market.surface import Surface
from jaxcal.market.surface_choice import choose_surface, key_text
from jaxcal.venues.read_quotes import read_quotes


def read_surface(
    quotes: Path,
    venue: str | None,
    underlying: str | None,
    time: str | None,
    rate: float | None,
    rules: CleaningRules | SuitedRules,
    clock: VarianceClock | None,
    **how: str | None,
) -> tuple[QuoteReport, Surface, str]:
    """The report, surface and name of the quotes that the options name, which are announced; else the end."""
    return read_chain(quotes, venue, underlying, time, rate, rules, clock, **how)[1:]


def read_chain(
    quotes: Path,
    venue: str | None,
    underlying: str | None,
    time: str | None,
    rate: float | None,
    rules: CleaningRules | SuitedRules,
    clock: VarianceClock | None,
    **how: str | None,
) -> tuple[QuoteReport, QuoteReport, Surface, str]:
    """The report of the whole file, and what `read_surface` gives."""
    if not quotes.exists():
        refuse(f"{quotes}: there is no such file")
    try:
        every = inspect_quotes(read_quotes(quotes, venue, **how), rules=rules, rate=rate, clock=clock)
        report, surface = choose_surface(every, underlying, time, named=("--underlying", "--time"))
    except (OSError, ValueError) as error:  # a QuoteError, or what a reader of CSV or parquet says of a damaged file
        refuse(f"{quotes}: {error}")
    name = key_text(report.keys[0])
    say(f"{name}, profile {report.profile}: {report.summary()}".removeprefix(", "))
    return every, report, surface, name
