"""Does the default `calibrate` find the best fit there is? Against the best of many starts of a global search.

    python -m benchmarks.accuracy.local_minima                 # 256 starts a model and chain
    python -m benchmarks.accuracy.local_minima --starts 16 --models Bates --chains dax
    python -m benchmarks.accuracy.local_minima --starts 64 --models "ClockedHestonJumps in half-spreads"

Writes `benchmarks/results/local_minima.csv`, one row a chain and model. A search already there, of as many starts, is
kept and only the default fit is measured anew; `--again` searches anew. With a loss, as of the models "in half-spreads"
have, `rmse` is the root of twice the cost a quote, which is what such a fit minimises.
"""

import argparse
import itertools
import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.chains import dax, single_chains, snapshots, us_chains
from benchmarks.inputs.variants import variant
from benchmarks.instruments.machine import description

RESULTS = Path(__file__).parents[1] / "results" / "local_minima.csv"
POLISHED = 16  # of the distinct ends, the lowest
MOST_QUOTES, LIKELY = 1000, 4  # of a surface that is searched whole; of the optima of a larger one, the lowest
TOLERANCE, TOLERANCE_OF_HESTON = 0.01, 0.001  # of the best RMSE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=256)
    parser.add_argument("--models", default="Heston,Bates,SVCJ")
    parser.add_argument("--chains", default="", help="beginnings of names, all by default")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    rows = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    chains = itertools.chain(dax(), single_chains(), snapshots(), us_chains())
    for name, surface in chains:
        if not name.startswith(tuple(options.chains.split(","))):
            continue
        jax.clear_caches()  # a process may run out of memory mappings, of which every compiled program takes many
        for model in options.models.split(","):
            old = [row for row in rows if (row["chain"], row["model"]) == (name, model)]
            keep = bool(old) and old[0]["starts"] >= options.starts and not options.again
            best = old[0] if keep else from_random_starts(model, surface, options.starts)
            row = {"chain": name, "quotes": surface.num_quotes, "model": model, **default_fit(model, surface)}
            row |= {key: best[key] for key in ("best_rmse", "starts", "share_at_best", "seconds_a_start")}
            row["excess"] = row["rmse"] / min(row["rmse"], row["best_rmse"]) - 1.0
            row["reached"] = bool(row["excess"] <= (TOLERANCE_OF_HESTON if model == "Heston" else TOLERANCE))
            rows = [r for r in rows if (r["chain"], r["model"]) != (name, model)] + [row]
            print(
                {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()}, flush=True
            )
            pd.DataFrame(rows).to_csv(RESULTS, index=False)
    table = pd.DataFrame(rows)
    print(
        table.groupby("model", sort=False)["reached"].agg(["sum", "count"]),
        *(f"{k}: {v}" for k, v in description().items()),
        sep="\n",
    )


def from_random_starts(name: str, surface: jc.Surface, starts: int) -> dict[str, float]:
    """The best of fits from so many starts over the ranges that markets have shown, and the share that end there
    (within 0.1 %). Of a surface with very many quotes every n-th strike is searched, and all quotes are fitted from
    the lowest optima found.
    """
    model, how = variant(name)
    begin = time.perf_counter()
    every = -(-surface.num_quotes // MOST_QUOTES)
    some = jax.tree.map(lambda x: x[:, ::every] if x.ndim == 2 else x, surface)  # rows are filled from the left
    optima = jc.global_search(model, some, num_starts=starts, num_polished=POLISHED, **how)
    fits = list(optima) if every == 1 else [jc.calibrate(fit.model, surface, **how) for fit in optima.fits[:LIKELY]]
    seconds = (time.perf_counter() - begin) / starts
    rmse = np.asarray([misfit(fit) for fit in fits])
    best = float(np.nanmin(rmse))
    share = float(np.sum(optima.share[: len(rmse)][rmse <= 1.001 * best]))
    return {"best_rmse": best, "starts": starts, "share_at_best": share, "seconds_a_start": seconds}


def default_fit(name: str, surface: jc.Surface) -> dict[str, float | str | int]:
    """The fit a user gets, and how long it takes once compiled."""
    model, how = variant(name)
    fit = jax.block_until_ready(jc.calibrate(model, surface, **how))
    begin = time.perf_counter()
    jax.block_until_ready(jc.calibrate(model, surface, **how))
    seconds = time.perf_counter() - begin
    return {
        "rmse": misfit(fit),
        "seconds": seconds,
        "steps": int(fit.num_steps),
        "outcome": fit.status.outcome.name,
    }


def misfit(fit: jc.Fit) -> float:
    """What the fit minimised: the RMSE in vol points, or with a loss the root of twice the cost a quote."""
    if fit.loss is None:
        return 100.0 * float(fit.rmse_vol)
    return float(np.sqrt(2.0 * float(fit.cost) / fit.surface.num_quotes))


if __name__ == "__main__":
    main()
