"""The command line: `jaxcal demo` and `jaxcal calibrate`."""

import time as clock
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

# The library is imported inside the commands, so that asking for help does not wait for it.
if TYPE_CHECKING:
    from jaxcal.calibration.fit import Fit
    from jaxcal.market.quote_columns import QuoteKey
    from jaxcal.market.quote_report import QuoteReport
    from jaxcal.market.surface import Surface
    from jaxcal.models.base import AbstractFourierModel

_MOST_LISTED = 30  # surfaces of a table that a message lists

app = typer.Typer(
    name="jaxcal",
    help="Calibrate option pricing models to market quotes: quotes in, fitted parameters with error bars out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class ModelName(StrEnum):
    """The models that `--model` takes."""

    HESTON = "heston"
    BLACK_SCHOLES = "black-scholes"


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
        _say(f"{title}: {report.summary()}")
        fit, first = _timed_fit(Heston, surface := Surface.from_quotes(report))
        _, again = _timed_fit(Heston, surface)
        _show(fit, f"Heston, {title}", truth)
        _say(f"Fitted in {first:.2f} s, compiling or loading the programs included; once more in {1e3 * again:.1f} ms.")
        _write(fit, out / name, report, f"jaxcal demo: {title}", title)
        quotes.to_csv(out / name / "quotes.csv", index=False)
        _say("")
        converged = converged and fit.converged
    _say(f"To fit one of these tables yourself: jaxcal calibrate {out / 'btc' / 'quotes.csv'}")
    raise typer.Exit(0 if converged else 1)


@app.command()
def calibrate(
    quotes: Annotated[
        Path,
        typer.Argument(
            metavar="QUOTES",
            help="Table of option quotes, .csv, .csv.gz or .parquet: one row a quote, with the columns expiry, strike, "
            "option_type and one of bid/ask, price, iv; or a layout that --venue names.",
        ),
    ],
    model: Annotated[ModelName, typer.Option(help="Model to fit.")] = ModelName.HESTON,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for parameters.json, residuals.csv and smiles.png; it is made if need be.",
            show_default="the name of the table with -fit, in the working directory",
        ),
    ] = None,
    venue: Annotated[
        str | None,
        typer.Option(
            metavar="LAYOUT",
            help="Layout of the table: tidy, deribit, us or published.",
            show_default="recognised by its columns",
        ),
    ] = None,
    underlying: Annotated[
        str | None, typer.Option(metavar="NAME", help="Underlying to fit, where the table has several.")
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time of the quotes to fit, where the table has several: 2026-03-11T14:30:00Z, in UTC, or as much of "
            "its beginning as is enough to tell.",
        ),
    ] = None,
) -> None:
    """Fit a model to a table of quotes; write the parameters, the residuals and a picture of every smile.

    Rows that cannot be used are left out and counted by reason.

    Exit codes: 0 the fit converged, 1 it did not (the files are written all the same), 2 the input cannot be used or
    the files cannot be written.
    """
    _prepare_jax()
    from jaxcal.market.quote_report import inspect_quotes
    from jaxcal.market.quotes import read_quotes
    from jaxcal.models.black_scholes import BlackScholes
    from jaxcal.models.heston import Heston

    if not quotes.is_file():
        _refuse(f"{quotes}: there is no such file")
    try:
        report, surface = _one_surface(inspect_quotes(read_quotes(quotes, venue)), underlying, time)
    except (OSError, ValueError) as error:  # a QuoteError, or what a reader of CSV or parquet says of a damaged file
        _refuse(f"{quotes}: {error}")
    name = _text(report.keys[0])
    _say(f"{name}: {report.summary()}" if name else report.summary())
    classes: dict[ModelName, type[AbstractFourierModel]] = {
        ModelName.HESTON: Heston,
        ModelName.BLACK_SCHOLES: BlackScholes,
    }
    chosen = classes[model]
    fit, seconds = _timed_fit(chosen, surface)
    title = f"{chosen.__name__}, {name or quotes.name}"
    _show(fit, title, None)
    _say(f"Fitted in {seconds:.2f} s, compiling or loading the programs included.")
    stem = quotes.name.removesuffix(".gz").rpartition(".")[0] or quotes.name
    _write(fit, Path(f"{stem}-fit") if out is None else out, report, str(quotes), None)
    raise typer.Exit(0 if fit.converged else 1)


def _prepare_jax() -> None:
    """Double precision, and compiled programs kept between runs."""
    import jax

    from jaxcal.compilation_cache import enable_compilation_cache

    jax.config.update("jax_enable_x64", True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        enable_compilation_cache()
    for warning in caught:
        _complain(f"jaxcal: {warning.message}")


def _one_surface(report: "QuoteReport", underlying: str | None, time: str | None) -> "tuple[QuoteReport, Surface]":
    """The surface that the options name and its part of the report; a QuoteError if they do not name exactly one."""
    from jaxcal.market.quote_report import QuoteReport
    from jaxcal.market.quotes import QuoteError
    from jaxcal.market.surface import surfaces_from_quotes

    def named(key: "QuoteKey") -> bool:
        beginning = (time or "").strip().replace(" ", "T").removesuffix("Z")
        return underlying in (None, key[0]) and _time_text(key).startswith(beginning)

    keys = report.keys
    found = [group for group, key in enumerate(keys) if named(key)]
    if len(found) != 1 and keys:
        listed = [_text(keys[group]) or "unnamed" for group in (found or range(len(keys)))]
        more = f", and {len(listed) - _MOST_LISTED} more" if len(listed) > _MOST_LISTED else ""
        choices = ", ".join(listed[:_MOST_LISTED]) + more
        if found:
            raise QuoteError(
                f"the table holds {len(found)} surfaces to choose from with --underlying and --time: {choices}"
            )
        raise QuoteError(f"the table holds no surface of that --underlying and --time, only {choices}")
    if len(keys) > 1:
        forwards = report.forwards
        for column, value in zip(("underlying", "quote_time"), keys[found[0]], strict=True):
            if value is not None:
                forwards = forwards[forwards[column].eq(value)]
        table = report.table[report.table["group"].eq(found[0])]
        part = QuoteReport(table=table, forwards=forwards, keys=(keys[found[0]],))
    else:
        part = report
    # Built from the whole report, so that `row` stays the position in the file.
    surface = surfaces_from_quotes(report).get(keys[found[0]]) if keys else None
    if surface is None:
        raise QuoteError(f"no quote can be used: {part.summary()}")
    return part, surface


def _time_text(key: "QuoteKey") -> str:
    return "" if key[1] is None else key[1].isoformat().removesuffix("+00:00") + "Z"


def _text(key: "QuoteKey") -> str:
    """An underlying and a time as a person writes them."""
    return " ".join(part for part in (key[0], _time_text(key)) if part)


def _timed_fit(model: "type[AbstractFourierModel]", surface: "Surface") -> "tuple[Fit, float]":
    import jax

    from jaxcal.calibration.calibrate import calibrate as fit_model

    start = clock.perf_counter()
    fit = jax.block_until_ready(fit_model(model, surface))
    return fit, clock.perf_counter() - start


def _show(fit: "Fit", title: str, truth: "AbstractFourierModel | None") -> None:
    from jaxcal.report.console import fit_table

    Console().print(fit_table(fit, title=title, truth=truth))


def _write(fit: "Fit", folder: Path, report: "QuoteReport", source: str, title: str | None) -> None:
    from jaxcal.report.files import write_fit

    try:
        paths = write_fit(fit, folder, report=report, source=source, title=title)
    except OSError as error:
        _refuse(f"the files cannot be written to {folder}: {error}")
    for path in paths.values():
        _say(f"  {path}")


def _say(text: str) -> None:
    typer.echo(text)


def _complain(text: str) -> None:
    typer.echo(text, err=True)


def _refuse(reason: str) -> NoReturn:
    """End with one sentence on standard error."""
    sentence = " ".join(reason.split())  # messages of other libraries have several lines
    _complain("jaxcal: " + "".join(letter if letter.isprintable() else "?" for letter in sentence))
    raise typer.Exit(2)
