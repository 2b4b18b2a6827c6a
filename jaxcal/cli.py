"""The command line: `jaxcal demo`, `calibrate`, `compare`, `inspect`, `replay`, `bulk`, `warm-up` and `live`."""

import functools
import time as clock
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from jaxcal.cli_bulk import bulk
from jaxcal.cli_inspect import inspect
from jaxcal.cli_live import deribit
from jaxcal.cli_options import (
    QuotesArgument,
    QuoteTimeOption,
    RateOption,
    SheetOption,
    TimeOption,
    UnderlyingOption,
    VenueOption,
    with_cleaning,
)
from jaxcal.cli_replay import replay
from jaxcal.cli_warm_up import warm_up
from jaxcal.loss_names import LossName, LossOption, ScaleOption
from jaxcal.model_names import ModelName, model_names
from jaxcal.report.terminal import complain, default_folder, prepare_streams, refuse, say, show

# The library is imported inside the commands, so that asking for help does not wait for it.
if TYPE_CHECKING:
    from jaxcal.calibration.fit import Fit
    from jaxcal.calibration.loss import AbstractLoss
    from jaxcal.market.cleaning_rules import CleaningRules, SuitedRules
    from jaxcal.market.quote_report import QuoteReport
    from jaxcal.market.surface import Surface
    from jaxcal.models.base import AbstractModel


class _Commands(TyperGroup):
    def main(self, *args: Any, **options: Any) -> Any:
        """Everything that a command does, its help and its complaints about options included."""
        prepare_streams()
        return super().main(*args, **options)


app = typer.Typer(
    cls=_Commands,
    name="jaxcal",
    help="Calibrate option pricing models to market quotes: quotes in, fitted parameters with error bars out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"jaxcal {version('jaxcal')}")
        raise typer.Exit
    return wanted


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files; it is made if need be.")] = Path(
        "jaxcal-demo"
    ),
) -> None:
    """Fit Heston to two chains that come with jaxcal, and draw them.

    The DAX surface of 5 July 2002 (A. Sepp, 2003) and a synthetic Bitcoin chain, made from known parameters, with
    bid-ask spreads, noise and missing quotes. Neither needs a network.

    Exit codes: 0 both fits converged, 1 one did not, 2 the files could not be written.
    """
    _prepare_jax()
    from jaxcal.market.csv_file import write_csv
    from jaxcal.market.quote_report import inspect_quotes
    from jaxcal.market.surface import Surface
    from jaxcal.models.heston import Heston
    from jaxcal.published import dax_quotes
    from jaxcal.synthetic import BTC_MODEL, synthetic_chain

    chains = (
        ("dax", "DAX, 5 July 2002", dax_quotes, None),
        ("btc", "synthetic BTC chain", synthetic_chain, BTC_MODEL),
    )
    converged = True
    for name, title, make_quotes, truth in chains:
        quotes = make_quotes()
        report = inspect_quotes(quotes)
        say(f"{title}, profile {report.profile}: {report.summary()}")
        fit, first = _timed_fit(Heston, surface := Surface.from_quotes(report))
        _, again = _timed_fit(Heston, surface)
        _show(fit, f"Heston, {title}", truth)
        say(f"Fitted in {first:.2f} s, compiling or loading the programs included; once more in {1e3 * again:.1f} ms.")
        _write(fit, out / name, report, f"jaxcal demo: {title}", title)
        write_csv(quotes, out / name / "quotes.csv")
        say("")
        converged = converged and fit.converged
    say(f"To fit one of these tables yourself: jaxcal calibrate {out / 'btc' / 'quotes.csv'}")
    raise typer.Exit(0 if converged else 1)


@app.command()
@with_cleaning
def calibrate(
    quotes: QuotesArgument,
    model: Annotated[ModelName, typer.Option(help="Model to fit.")] = ModelName.HESTON,
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
    loss: LossOption = LossName.LINEAR,
    loss_scale: ScaleOption = None,
    *,
    rules: "CleaningRules | SuitedRules",
) -> None:
    """Fit a model to a table of quotes; write the parameters, the residuals and a picture of every smile.

    Rows that cannot be used are left out and counted by reason.

    Exit codes: 0 the fit converged, 1 it did not (the files are written all the same), 2 the input cannot be used or
    the files cannot be written.
    """
    _prepare_jax()
    counts = _loss(loss, loss_scale)
    report, surface, name = _read(quotes, venue, underlying, time, rate, rules, quote_time=quote_time, sheet=sheet)
    chosen = model.model
    try:
        fit, seconds = _timed_fit(chosen, surface, counts)
    except ValueError as error:
        refuse(f"{quotes}: {chosen.__name__} cannot be fitted: {error}")
    title = f"{chosen.__name__}, {name or quotes.name}"
    _show(fit, title, None)
    say(f"Fitted in {seconds:.2f} s, compiling or loading the programs included.")
    _write(fit, default_folder(quotes, "fit") if out is None else out, report, str(quotes), None)
    raise typer.Exit(0 if fit.converged else 1)


@app.command()
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
    rules: "CleaningRules | SuitedRules",
) -> None:
    """Fit several models to a table of quotes; write how well each does, and a picture with all of them.

    Errors are in vol points: of all quotes, and of every fifth under a fit to the others. Rows that cannot be used are
    left out and counted by reason.

    Exit codes: 0 all fits converged, 1 one did not or is not possible (the files are written all the same), 2 the
    input cannot be used, a model is unknown, or the files cannot be written.
    """
    try:
        names = model_names(models)
    except ValueError as error:
        refuse(f"--models: {error}")
    _prepare_jax()
    from jaxcal.calibration.compare import compare as compare_models
    from jaxcal.report.console import comparison_table
    from jaxcal.report.files import write_comparison

    counts = _loss(loss, loss_scale)
    report, surface, name = _read(quotes, venue, underlying, time, rate, rules, quote_time=quote_time, sheet=sheet)
    comparison = compare_models([name.model for name in names], surface, loss=counts)
    show(comparison_table(comparison, title=name or quotes.name))
    folder = default_folder(quotes, "comparison") if out is None else out
    try:
        paths = write_comparison(comparison, folder, report=report, source=str(quotes))
    except OSError as error:
        refuse(f"the files cannot be written to {folder}: {error}")
    _list(paths)
    raise typer.Exit(0 if comparison.converged else 1)


def _prepared(command: Callable[..., None], *, turns: bool = True) -> Callable[..., None]:
    @functools.wraps(command)
    def run(**options: Any) -> None:
        _prepare_jax(turns=turns)
        command(**options)

    return run


app.command()(_prepared(inspect))
app.command()(_prepared(replay))
app.command()(_prepared(bulk, turns=False))  # this and the next have a display of their own
app.command("warm-up")(_prepared(warm_up))
live = typer.Typer(help="Follow an exchange's stream and fit a model to it again and again.", no_args_is_help=True)
live.command()(_prepared(deribit, turns=False))
app.add_typer(live, name="live")


def _prepare_jax(*, turns: bool = True) -> None:
    """Double precision, compiled programs kept between runs, and a word while one compiles."""
    import jax

    from jaxcal.compilation_cache import enable_compilation_cache
    from jaxcal.report.compilation_spinner import show_compilations

    show_compilations(turns=turns)
    jax.config.update("jax_enable_x64", True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        enable_compilation_cache()
    for warning in caught:
        complain(f"jaxcal: {warning.message}")


def _read(
    quotes: Path,
    venue: str | None,
    underlying: str | None,
    time: str | None,
    rate: float | None,
    rules: "CleaningRules | SuitedRules",
    **how: str | None,
) -> "tuple[QuoteReport, Surface, str]":
    """The report, surface and name of the quotes that the options name, which are announced; else the end."""
    from jaxcal.market.quote_report import inspect_quotes
    from jaxcal.market.quotes import read_quotes
    from jaxcal.surface_choice import choose_surface, key_text

    if not quotes.exists():
        refuse(f"{quotes}: there is no such file")
    try:
        every = inspect_quotes(read_quotes(quotes, venue, **how), rules=rules, rate=rate)
        report, surface = choose_surface(every, underlying, time)
    except (OSError, ValueError) as error:  # a QuoteError, or what a reader of CSV or parquet says of a damaged file
        refuse(f"{quotes}: {error}")
    name = key_text(report.keys[0])
    say(f"{name}, profile {report.profile}: {report.summary()}".removeprefix(", "))
    return report, surface, name


def _loss(name: LossName, points: float | None) -> "AbstractLoss | None":
    try:
        return name.loss(points)
    except ValueError as error:
        refuse(f"--loss-scale: {error}")


def _timed_fit(
    model: "type[AbstractModel]", surface: "Surface", loss: "AbstractLoss | None" = None
) -> "tuple[Fit, float]":
    import jax

    from jaxcal.calibration.calibrate import calibrate as fit_model

    start = clock.perf_counter()
    fit = jax.block_until_ready(fit_model(model, surface, loss=loss))
    return fit, clock.perf_counter() - start


def _show(fit: "Fit", title: str, truth: "AbstractModel | None") -> None:
    from jaxcal.report.console import fit_table

    show(fit_table(fit, title=title, truth=truth))


def _write(fit: "Fit", folder: Path, report: "QuoteReport", source: str, title: str | None) -> None:
    from jaxcal.report.files import write_fit

    try:
        paths = write_fit(fit, folder, report=report, source=source, title=title)
    except OSError as error:
        refuse(f"the files cannot be written to {folder}: {error}")
    _list(paths)


def _list(paths: dict[str, Path]) -> None:
    for path in paths.values():
        say(f"  {path}")
