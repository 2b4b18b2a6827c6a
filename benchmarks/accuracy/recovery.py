"""Does a fit find the parameters that made the quotes? Random truths, exact volatilities, a start from the data.

    python -m benchmarks.accuracy.recovery                     # 200 truths a model: some twenty minutes on two cores
    python -m benchmarks.accuracy.recovery --truths 20 --models Heston,SVCJ

Recovered means: the fitted model, priced by a contour for each quote, is within 1e-6 of every volatility. Misses are
listed by kind. Writes `benchmarks/results/recovery.csv`.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.truths import EXPIRY, Ranges, strikes, truth, vols
from benchmarks.instruments.machine import description
from jaxcal.models.smiles.ssvi import SSVIHeston

RESULTS = Path(__file__).parents[1] / "results" / "recovery.csv"
MODELS = (
    "BlackScholes,Heston,Bates,SVCJ,DoubleHeston,Merton,Kou,VarianceGamma,NIG,CGMY,BlackScholesHullWhite,"
    "HestonHullWhite,PiecewiseHeston,PiecewiseBates,ClockedDoubleHeston,SABR,SVI,SSVI,SSVIHeston"
)
TARGET = {"Heston": 0.999, "SVCJ": 0.95, "DoubleHeston": 0.95}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truths", type=int, default=200)
    parser.add_argument("--models", default=MODELS)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    rows = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    for name in options.models.split(","):
        row = {"model": name, "truths": options.truths, **recover(name, options.truths)}
        rows = [r for r in rows if r["model"] != name] + [row]
        print(row, flush=True)
        pd.DataFrame(rows).to_csv(RESULTS, index=False)
    print(*(f"{key}: {value}" for key, value in description().items()), sep="\n")


def recover(name: str, truths: int) -> dict[str, object]:
    rng = np.random.default_rng(3)
    model = SSVIHeston if name == "SSVIHeston" else getattr(jc, name)
    missed, false, seconds, steps, quotes = Counter(), 0, [], [], []
    for i in range(truths):
        ranges = Ranges(rng, crypto=bool(i % 2))
        strike = strikes(ranges.level)
        vol = vols(truth(name, ranges), strike)
        surface = jc.Surface.from_vols(EXPIRY, strike, vol, forward=100.0)
        begin = time.perf_counter()
        fit = jax.block_until_ready(jc.calibrate(model, surface))
        seconds.append(time.perf_counter() - begin)
        steps.append(int(fit.num_steps))
        quotes.append(surface.num_quotes)
        error = np.nanmax(np.abs(vols(fit.model, strike) - vol)) if np.isfinite(float(fit.rmse_vol)) else np.inf
        if not error <= 1e-6:
            size = "1e-6 to 1e-4" if error <= 1e-4 else "1e-4 to 1e-2" if error <= 1e-2 else "above 1e-2"
            missed[f"{fit.status.outcome.name}{' at a bound' if fit.status.at_bounds else ''}, {size}"] += 1
            false += fit.converged and error > 1e-4
    share = 1.0 - sum(missed.values()) / truths
    return {
        "recovered": share,
        "target": TARGET.get(name, 0.99),
        "misses": "; ".join(f"{count} {kind}" for kind, count in missed.most_common()),
        "fewest_quotes": min(quotes),
        "median_ms": 1e3 * float(np.median(seconds)),
        "median_steps": float(np.median(steps)),
    }


if __name__ == "__main__":
    main()
