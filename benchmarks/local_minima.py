"""Does the default `calibrate` find the best fit there is? Against the best of many random starts, on recorded chains.

    python -m benchmarks.local_minima                 # 256 starts a model and chain: an hour or two on two cores
    python -m benchmarks.local_minima --starts 16 --models Bates --chains dax

Writes `benchmarks/results/local_minima.csv`, one row a chain and model. Random starts already there in that number are
kept and only the default fit is measured anew; `--again` draws anew.
"""

import argparse
import itertools
import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.chains import dax, single_chains, snapshots, us_chains
from benchmarks.machine import description
from jaxcal.calibration.arguments import start_of
from jaxcal.calibration.batch import rounds
from jaxcal.calibration.residuals import ImpliedVolResidual
from jaxcal.calibration.round import Method
from jaxcal.calibration.target import Target
from jaxcal.models.parameters import search_bounds

RESULTS = Path(__file__).parent / "results" / "local_minima.csv"
POLISHED = 16  # of the random starts, those that ended lowest
TOLERANCE = {"Heston": 0.001, "Bates": 0.01, "SVCJ": 0.01}  # of the best RMSE


def random_start(model: type[jc.AbstractModel], level: float, rng: np.random.Generator) -> jc.AbstractModel:
    """Parameters over the ranges that markets have shown, in units of the surface's level of volatility."""

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    values = {
        "v0": level**2 * between(0.1, 10.0),
        "kappa": between(0.1, 60.0),
        "theta": level**2 * between(0.1, 10.0),
        "sigma": between(0.1, 15.0),
        "rho": rng.uniform(-0.95, 0.95),
    }
    if model in (jc.Bates, jc.SVCJ):
        values |= {
            "jump_intensity": between(0.02, 100.0),
            "jump_mean": level * rng.uniform(-1.0, 0.6),
            "jump_std": level * between(0.02, 1.5),
        }
    if model is jc.SVCJ:
        mean = level**2 * between(0.05, 10.0)
        values |= {"variance_jump_mean": mean, "jump_correlation": min(level * rng.uniform(-1.0, 0.5), 0.8) / mean}
    return model(**values)


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
        for model in (getattr(jc, text) for text in options.models.split(",")):
            old = [row for row in rows if (row["chain"], row["model"]) == (name, model.__name__)]
            keep = bool(old) and old[0]["starts"] >= options.starts and not options.again
            best = old[0] if keep else from_random_starts(model, surface, options.starts)
            row = {"chain": name, "quotes": surface.num_quotes, "model": model.__name__, **default_fit(model, surface)}
            row |= {key: best[key] for key in ("best_rmse", "starts", "share_at_best", "seconds_a_start")}
            row["excess"] = row["rmse"] / min(row["rmse"], row["best_rmse"]) - 1.0
            row["reached"] = bool(row["excess"] <= TOLERANCE[model.__name__])
            rows = [r for r in rows if (r["chain"], r["model"]) != (name, model.__name__)] + [row]
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


def from_random_starts(model: type[jc.AbstractModel], surface: jc.Surface, starts: int) -> dict[str, float]:
    """The best of fits from `starts` random points, and the share of them that end there (within 0.1 %)."""
    level = float(np.median(np.asarray(surface.vol)[np.asarray(surface.weight) > 0]))
    rng = np.random.default_rng(20261123)
    points = [random_start(model, level, rng) for _ in range(starts)]
    begin = time.perf_counter()
    # all of them on one fine grid without the check, then the best of them as a user's fit
    names = tuple(model.bounds)
    one, quotes = start_of(points[0], surface), Target.of(surface)
    box = search_bounds(one, model.bounds, names, surface.vol.dtype)
    method = Method(ImpliedVolResidual(), None, jc.LevenbergMarquardt(), box, jc.Sinh(64), None)
    target = jax.tree.map(lambda field: np.broadcast_to(np.asarray(field), (starts, *field.shape)), quotes)
    rough = rounds(names, method, target, jax.tree.map(lambda *leaves: np.stack(leaves), *points))
    order = np.argsort(np.nan_to_num(rough.cost, nan=np.inf), kind="stable")[:POLISHED]
    near = [jax.tree.map(lambda leaf, i=i: leaf[i], rough.model) for i in order]
    polished = 100.0 * np.asarray(jc.calibrate_many(near, [surface] * len(near)).rmse_vol)
    seconds = (time.perf_counter() - begin) / starts
    best = float(np.nanmin(polished))
    share = float(np.mean(100.0 * rough.rmse_vol <= 1.001 * best))
    return {"best_rmse": best, "starts": starts, "share_at_best": share, "seconds_a_start": seconds}


def default_fit(model: type[jc.AbstractModel], surface: jc.Surface) -> dict[str, float | str | int]:
    """The fit a user gets, and how long it takes once compiled."""
    fit = jax.block_until_ready(jc.calibrate(model, surface))
    begin = time.perf_counter()
    jax.block_until_ready(jc.calibrate(model, surface))
    seconds = time.perf_counter() - begin
    return {
        "rmse": 100.0 * float(fit.rmse_vol),
        "seconds": seconds,
        "steps": int(fit.num_steps),
        "outcome": fit.status.outcome.name,
    }


if __name__ == "__main__":
    main()
