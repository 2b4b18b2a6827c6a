"""The command `jaxcal replay`: its options, what it says, and its exit codes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxcal.cli.console.terminal import (
    INTERRUPTED,
    complain,
    default_folder,
    refuse,
    say,
    stopped_by_signals,
    write_or_refuse,
)
from jaxcal.cli.options.loss_names import LossOption, ScaleOption
from jaxcal.cli.options.quote_options import RateOption, VenueOfFilesOption, with_cleaning
from jaxcal.cli.options.spec_choice import SpecOption, chosen_spec, model_option
from jaxcal.models.registry import ModelName


class TableKind(StrEnum):
    """Format of the written table."""

    CSV = "csv"
    PARQUET = "parquet"


@with_cleaning
def replay(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Recorded quotes: a folder of tables or answers of Deribit, or one file."
        ),
    ],
    model: model_option(ModelName.HESTON) = None,  # type: ignore[valid-type]
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for path.csv (or .parquet) and path.png; it is created if missing.",
            show_default="the name of FOLDER with -replay, in the working directory",
        ),
    ] = None,
    kind: Annotated[TableKind, typer.Option("--format", help="Format of the table.")] = TableKind.CSV,
    venue: VenueOfFilesOption = None,
    rate: RateOption = None,
    underlying: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this underlying.", show_default="all")
    ] = None,
    memory: Annotated[
        float,
        typer.Option(
            metavar="DAYS",
            help="Days until the past is nearly forgotten: the smaller, the rougher the path.",
        ),
    ] = 60.0,
    loss: LossOption = None,
    loss_scale: ScaleOption = None,
    spec: SpecOption = None,
    *,
    rules: Any,
) -> None:
    """Run a recorded series of surfaces through a recalibrator; write the parameters over time with their bands.

    A surface is the set of quotes of one underlying at one time. The past is the prior of every fit; a surface that is
    implausible given the past is held back until the next one confirms it.

    Exit codes: 0 all fits converged; 1 one did not (the files are written all the same); 2 the input cannot be used,
    or the files cannot be written; 3 part of the input could not be read and was left out; 130 interrupted (the files
    are written with what was fitted before).
    """
    from jaxcal.report.parameter_path import write_path
    from jaxcal.streams.recalibrator import STREAM_SOLVER, Recalibrator
    from jaxcal.streams.replay import replay as replay_surfaces

    asked = chosen_spec(spec, ModelName.HESTON, model, loss, loss_scale, rules)
    try:
        recalibrator = Recalibrator(asked, memory=memory, solver=None if spec else STREAM_SOLVER)
    except ValueError as error:
        refuse(str(error))
    surfaces, unread = _surfaces(source, venue, underlying, rate, asked.rules, asked.clock)
    try:
        with stopped_by_signals("the fit at work is done") as stop:
            table = replay_surfaces(recalibrator, surfaces, stop=stop)
    except ValueError as error:
        refuse(f"{source}: {error}")
    if stop.is_set() and table.empty:
        complain("Interrupted before the first fit: nothing is written.")
        raise typer.Exit(INTERRUPTED)
    _tell(table)
    folder = default_folder(source.resolve(), "replay") if out is None else out
    title = f"{asked.template.__name__}, {source.name}"
    write_or_refuse(lambda folder: write_path(table, folder, kind=kind.value, title=title), folder)
    if len(table) < len(surfaces):
        complain(f"Interrupted: {len(table):,} of {len(surfaces):,} surfaces were fitted.")
        raise typer.Exit(INTERRUPTED)
    if unread:
        raise typer.Exit(3)
    raise typer.Exit(0 if table["converged"].all() else 1)


def _surfaces(
    source: Path,
    venue: str | None,
    underlying: str | None,
    rate: float | None,
    rules: Any,
    clock: Any,
) -> tuple[dict[Any, Any], int]:
    """All surfaces of the files, and how many files could not be read. Exits if there is none."""
    from jaxcal.bulk.input.input_files import find_source
    from jaxcal.bulk.input.input_problem import BulkError
    from jaxcal.market.cleaning.quote_report import inspect_quotes, profile_words
    from jaxcal.market.surface import surfaces_from_quotes
    from jaxcal.market.tables.table_file import NoQuoteError
    from jaxcal.venues.read_quotes import read_quotes

    try:
        files = find_source(source).files
    except BulkError as error:
        refuse(str(error))
    surfaces, used, unread = {}, {}, 0
    for file in files:
        try:
            table = read_quotes(file.path, venue)
            for name, value in file.columns:
                if name not in table:
                    table[name] = value
            report = inspect_quotes(table, rules=rules, rate=rate, clock=clock)
            surfaces |= surfaces_from_quotes(report)
            used |= dict(zip(report.keys, report.rules, strict=True))
        except NoQuoteError as error:
            complain(f"jaxcal: {file.name} is left out: {error}")
        except (OSError, ValueError) as error:  # a QuoteError, or what a reader of CSV or parquet says
            complain(f"jaxcal: {file.name} is left out: {' '.join(str(error).split())}")
            unread += 1
    if underlying is not None:
        found = sorted({str(key[0]) for key in surfaces})
        surfaces = {key: surface for key, surface in surfaces.items() if key[0] == underlying}
        if not surfaces:
            refuse(f"{source}: there is no underlying {underlying!r}, only {', '.join(found) or 'none'}")
    if not surfaces:
        refuse(f"{source}: no surface can be used")
    profile = profile_words(used[key] for key in surfaces)
    say(f"{len(surfaces):,} surface{'s' * (len(surfaces) != 1)}, profile {profile}")
    return surfaces, unread


def _tell(table: Any) -> None:
    """Print the outcomes of the surfaces, stream by stream."""
    from jaxcal.market.surface_choice import key_text

    for underlying, stream in table.groupby("underlying", dropna=False):
        counts = ", ".join(f"{count} {name}" for name, count in stream["update"].value_counts().items())
        rmse, inside = 100.0 * stream["rmse_vol"].dropna().median(), stream["inside"].dropna().median()
        how = "" if rmse != rmse else f"; RMSE {rmse:.3g} vol points in the median"
        how += "" if inside != inside else f", {inside:.0%} of the quotes between bid and ask"
        name = "" if underlying != underlying or underlying is None else f"{key_text((str(underlying), None))}: "
        say(f"{name}{len(stream)} surfaces ({counts}){how}")
