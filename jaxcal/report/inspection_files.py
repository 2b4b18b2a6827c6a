"""The files of `jaxcal inspect`: verdicts, forwards, arbitrage and a picture of a table of quotes."""

from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcal.market.arbitrage.repair import Repair
from jaxcal.market.arbitrage.static_arbitrage import ArbitrageReport
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.tables.csv_file import write_csv
from jaxcal.market.tables.verdict import Verdict
from jaxcal.report.quotes_picture import plot_quotes


def write_inspection(
    report: QuoteReport,
    arbitrage: ArbitrageReport,
    folder: str | PathLike[str],
    *,
    repair: Repair | None = None,
    title: str | None = None,
) -> dict[str, Path]:
    """Write a cleaned table to `verdicts.csv`, `forwards.csv`, `arbitrage.csv` and `quotes.png`, and a repair.

    Args:
        report: of the table.
        arbitrage: among its used rows.
        folder: made if need be; files of these names in it are replaced.
        repair: of the used rows; written to `repaired.csv`, a tidy table of volatilities that reads like any other.
        title: of the picture.

    Returns:
        The paths, by the names "verdicts", "forwards", "arbitrage", "quotes" and "repaired". `verdicts.csv` has every
        row of the table with the columns that `QuoteReport` adds.

    Raises:
        OSError: the folder or a file cannot be written.

    Example:
        >>> import tempfile, pandas as pd, jaxcal as jc
        >>> quotes = pd.DataFrame({"expiry": 0.5, "strike": [90.0, -1.0], "iv": 0.2, "forward": 100.0})
        >>> report = jc.inspect_quotes(quotes)
        >>> paths = write_inspection(report, jc.find_arbitrage(report), tempfile.mkdtemp())
        >>> pd.read_csv(paths["verdicts"])["verdict"].tolist()
        ['used', 'strike not positive']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        "verdicts": "verdicts.csv",
        "forwards": "forwards.csv",
        "arbitrage": "arbitrage.csv",
        "quotes": "quotes.png",
    }
    paths = {name: folder / file for name, file in names.items()}
    write_csv(report.table, paths["verdicts"])
    write_csv(report.forwards, paths["forwards"])
    write_csv(arbitrage.to_frame(), paths["arbitrage"])
    plot_quotes(report, paths["quotes"], title=title)
    if repair is not None:
        paths["repaired"] = folder / "repaired.csv"
        write_csv(_repaired(repair), paths["repaired"])
    return paths


def _repaired(repair: Repair) -> pd.DataFrame:
    table = repair.report.table
    table = table[table["verdict"].eq(str(Verdict.USED))]
    kept = [name for name in ("underlying", "quote_time", "expiry", "settlement", "exercise") if name in table]
    return table[kept].assign(
        strike=table["strike"],
        option_type=np.where(table["is_call"], "C", "P"),
        iv=table["vol"],
        bid_iv=table["bid_vol"],
        ask_iv=table["ask_vol"],
        forward=table["forward"],
        discount=table["discount"],
    )
