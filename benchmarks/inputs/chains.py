"""The recorded chains that models are compared on, read in place from the folder beside the project."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import jaxcal as jc

RULES = jc.CleaningRules()  # faults only: every model is compared on all quotes that are no fault
DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
SNAPSHOT_WEEKS = ("W02", "W04", "W08", "W10", "W14", "W16", "W20", "W22", "W26", "W28", "W32", "W34")
CLOCK = jc.VarianceClock(night=0.5, weekend=0.1, holiday=0.1)
US_CHAINS = ("ndx_2023-05-26", "spx_2022-02-04", "spx_2023-02-03", "spx_2024-01-05")


def single_chains() -> Iterator[tuple[str, jc.Surface]]:
    """Every file of `deribit/single`."""
    for path in sorted((DATA / "deribit" / "single").glob("*.csv")):
        for surface in jc.surfaces_from_quotes(jc.read_quotes(path), rules=RULES).values():
            yield path.stem, surface


def snapshots(weeks: tuple[str, ...] = SNAPSHOT_WEEKS[::2]) -> Iterator[tuple[str, jc.Surface]]:
    """BTC and ETH at the middle snapshot of each week's file, by default of six weeks."""
    for week in weeks:
        for path in sorted((DATA / "deribit" / "snapshots").glob(f"*-{week}.parquet")):
            table = jc.read_quotes(path)
            times = sorted(table["quote_time"].unique())
            table = table[table["quote_time"].eq(times[len(times) // 2])]
            for (underlying, time), surface in jc.surfaces_from_quotes(table, rules=RULES).items():
                yield f"{str(underlying).lower()}_{pd.Timestamp(str(time)):%Y-%m-%dT%H}", surface


def us_chains(clock: jc.VarianceClock | None = None) -> Iterator[tuple[str, jc.Surface]]:
    """Four European index chains, in calendar time or in that of a clock."""
    for name in US_CHAINS:
        table = jc.read_quotes(DATA / "us" / "chains" / f"{name}.parquet")
        for surface in jc.surfaces_from_quotes(table, rules=RULES, clock=clock).values():
            yield name if clock is None else f"{name} on a clock", surface


def dax() -> Iterator[tuple[str, jc.Surface]]:
    """The DAX surface of 5 July 2002."""
    yield "dax_2002-07-05", jc.Surface.from_quotes(jc.dax_quotes())
