"""The command `jaxcal demo`: fits of two chains that come with jaxcal."""

from pathlib import Path
from typing import Annotated

import typer

from jaxcal.cli.console.terminal import say


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files; it is created if missing.")] = Path(
        "jaxcal-demo"
    ),
) -> None:
    """Fit Heston to two chains that come with jaxcal, and draw them.

    The DAX surface of 5 July 2002 (A. Sepp, 2003) and a synthetic Bitcoin chain, made from known parameters, with
    bid-ask spreads, noise and missing quotes. Neither needs a network.

    Exit codes: 0 both fits converged, 1 one did not, 2 the files could not be written.
    """
    from jaxcal.cli.console.fit_output import show_fit, timed_fit, write_files
    from jaxcal.market.cleaning.quote_report import inspect_quotes
    from jaxcal.market.surface import Surface
    from jaxcal.market.tables.csv_file import write_csv
    from jaxcal.models.diffusions.heston import Heston
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
        fit, first = timed_fit(Heston, surface := Surface.from_quotes(report))
        _, again = timed_fit(Heston, surface)
        show_fit(fit, f"Heston, {title}", truth)
        say(f"Fitted in {first:.2f} s, compiling or loading the programs included; once more in {1e3 * again:.1f} ms.")
        write_files(fit, out / name, report, f"jaxcal demo: {title}", title)
        write_csv(quotes, out / name / "quotes.csv")
        say("")
        converged = converged and fit.converged
    say(f"To fit one of these tables yourself: jaxcal calibrate {out / 'btc' / 'quotes.csv'}")
    raise typer.Exit(0 if converged else 1)
