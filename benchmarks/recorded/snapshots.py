"""Every recorded snapshot of Deribit: chain to clean surface to a fit of a model that a desk would use, none crashing.

    python -m benchmarks.recorded.snapshots                               # every week, Heston, Bates and SVCJ: hours
    python -m benchmarks.recorded.snapshots --models SVCJ --weeks 2026-W02
    python -m benchmarks.recorded.snapshots --models "ClockedHestonJumps in half-spreads"

Writes `benchmarks/results/snapshots.csv`, one row a snapshot, coin and model, after every coin of a week; those that
are there already for a model are kept (`--again` fits them anew), so it can be run by parts.
Prints the table by model. Quotes are cleaned by `CleaningRules.crypto()` and fitted by `calibrate_many`, in implied
volatility, unweighted, if the name of the model does not say otherwise. "inside" is the share of used quotes that the
model prices within bid and ask; half-spreads below a tenth of the surface's median count as that.
"""

import argparse
import itertools
import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.chains import DATA
from benchmarks.inputs.variants import variant
from benchmarks.instruments.machine import description

MODELS = "Heston,Bates,SVCJ"
RESULTS = Path(__file__).parents[1] / "results" / "snapshots.csv"


def rows_of(path: Path, coin: str, name: str) -> list[dict[str, object]]:
    """Read, clean and fit the snapshots of a coin in a file: one row for every time in it, fitted or not."""
    model, how = variant(name)
    start = time.perf_counter()
    quotes = jc.read_quotes(path)
    quotes = quotes[quotes["underlying"].eq(coin)].reset_index(drop=True)
    report = jc.inspect_quotes(quotes, rules=jc.CleaningRules.crypto())
    surfaces = jc.surfaces_from_quotes(report)
    sizes = report.table["group"].value_counts()
    cleaned = time.perf_counter()
    fits = jc.calibrate_many(model, surfaces, **how)
    outcomes = dict(zip(surfaces, fits.to_frame()["outcome"], strict=True))
    seconds = time.perf_counter() - cleaned
    rows: list[dict[str, object]] = []
    for group, key in enumerate(report.keys):
        row: dict[str, object] = {
            "file": path.stem, "model": name, "underlying": key[0], "quote_time": key[1],
            "rows": int(sizes.get(group, 0)), "clean_s": (cleaned - start) / len(report.keys),
            "fit_s": seconds / max(len(surfaces), 1),
        }  # fmt: skip
        if key in surfaces:
            fit = fits[key]
            row |= {"quotes": fit.surface.num_quotes, "outcome": outcomes[key]}
            row |= {"converged": bool(fit.converged), "steps": int(fit.num_steps)} | misfit(fit)
        rows.append(row)
    return rows


def misfit(fit: jc.Fit) -> dict[str, float]:
    """How far a fit is from its quotes: in vol points, in half-spreads, and by the share between bid and ask."""
    used = np.asarray(fit.surface.weight) > 0
    gap, vol, bid, ask = (
        np.asarray(values)[used]
        for values in (
            fit.model_vol - fit.surface.vol, fit.model_vol, fit.surface.bid_vol, fit.surface.ask_vol,
        )
    )  # fmt: skip
    half = 0.5 * (ask - np.nan_to_num(bid))
    half = np.maximum(half, 0.1 * np.nanmedian(half))
    known = np.isfinite(ask)
    return {
        "rmse_points": 100.0 * float(np.sqrt(np.mean(gap**2))),
        "half_spread_points": 100.0 * float(np.nanmedian(half)),
        "rmse_half_spreads": float(np.sqrt(np.mean((gap / half)[known] ** 2))),
        "median_half_spreads": float(np.median(np.abs(gap / half)[known])),
        "inside": float(np.mean(((vol <= ask) & ~(vol < bid))[known])),
    }


def by_model(rows: pd.DataFrame) -> pd.DataFrame:
    """The table by model: medians over the surfaces, with the quotes that were kept of all rows."""
    of = rows.groupby("model", sort=False)
    return pd.DataFrame(
        {
            "files": of["file"].nunique(),
            "surfaces": of.size(),
            "converged": of["converged"].mean(),
            "rows": of["rows"].sum(),
            "kept": of["quotes"].sum() / of["rows"].sum(),
            **{name: of[name].median() for name in ("rmse_points", "half_spread_points", "rmse_half_spreads",
                                                    "median_half_spreads", "inside", "steps", "fit_s")},
        }
    ).round(4)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--weeks", default="", help="beginnings of file names, all by default")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    rows = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    for path in sorted((DATA / "deribit" / "snapshots").glob("*.parquet")):
        if not path.stem.startswith(tuple(options.weeks.split(","))):
            continue
        for name, coin in itertools.product(options.models.split(","), ("BTC", "ETH")):
            place = (path.stem, name, coin)
            if any((row["file"], row["model"], row["underlying"]) == place for row in rows) and not options.again:
                continue
            jax.clear_caches()  # a process may run out of memory mappings, of which every compiled program takes many
            found = rows_of(path, coin, name)
            rows = [row for row in rows if (row["file"], row["model"], row["underlying"]) != place] + found
            by = ["model", "file", "underlying", "quote_time"]
            table = pd.DataFrame(rows).sort_values(by, key=lambda column: column.astype(str))
            table.to_csv(RESULTS, index=False, float_format="%.6g")
            print(path.stem, coin, by_model(pd.DataFrame(found)).to_string(), sep="\n", flush=True)
    if rows:
        print(by_model(pd.DataFrame(rows)).to_string())
    print(*(f"{key}: {value}" for key, value in description().items()), sep="\n")


if __name__ == "__main__":
    main()
