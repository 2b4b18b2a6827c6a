"""Do 95 % intervals hold the truth 95 times in a hundred, and is what is called identified known? Random Heston truths
with noise on every quote.

    python -m benchmarks.accuracy.coverage                    # 2,000 surfaces a case: some minutes on two cores
    python -m benchmarks.accuracy.coverage --surfaces 200

Half of the surfaces are like equity indices, half like crypto. The cases: all 8 expiries of 15 quotes with normal noise
of 0.3 vol points; the same with a noise of 1; with the four expiries up to two months only; and with Huber's loss.
Writes `benchmarks/results/coverage.csv`.
"""

# pyright: reportArgumentType=false
# (arrays on the host, where the nouns are declared with those of JAX)
import argparse
import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.many_surfaces import Many, many
from benchmarks.inputs.work import PARAMETERS
from benchmarks.instruments.machine import description

RESULTS = Path(__file__).parents[1] / "results" / "coverage.csv"
LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Case:
    """What is done to the exact surfaces, and how they are fitted."""

    name: str
    noise: float = 0.003  # decimal volatility
    expiries: int = 8  # the shortest ones
    loss: str | None = None


CASES = (
    Case("8 expiries"),
    Case("8 expiries, noise 1", noise=0.01),
    Case("4 expiries to 61 days", expiries=4),
    Case("8 expiries, Huber", loss="huber"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surfaces", type=int, default=2000)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    surfaces, rows = many(options.surfaces, seed=20), []
    for case in CASES:
        rows += covered(surfaces, case)
        pd.DataFrame(rows).to_csv(RESULTS, index=False, float_format="%.4g")
    print(pd.DataFrame(rows).to_string(index=False))
    print(*(f"{key}: {value}" for key, value in description().items()), sep="\n")


def noisy(surfaces: Many, case: Case, seed: int = 1) -> jc.Surface:
    """The surfaces with a leading axis, with noise, and without weight beyond the case's expiries."""
    exact = surfaces.surface()
    vol = exact.vol + case.noise * np.random.default_rng(seed).standard_normal(exact.vol.shape)
    weight = np.where(np.arange(vol.shape[1])[:, None] < case.expiries, exact.weight, 0.0)
    # deep in the wings a noise of a vol point may leave nothing
    return dataclasses.replace(exact, vol=jnp.maximum(vol, 0.01), weight=jnp.asarray(weight))


def covered(surfaces: Many, case: Case) -> list[dict[str, object]]:
    """A row for every market and parameter."""
    fits = jc.calibrate_many(jc.Heston, noisy(surfaces, case), loss=case.loss)
    intervals, known = jc.confidence_intervals(fits, LEVEL), jc.identified(fits)
    crypto = np.arange(len(surfaces)) % 2 == 1
    rows: list[dict[str, object]] = []
    for market, chosen in (("equity", ~crypto), ("crypto", crypto)):
        for j, name in enumerate(PARAMETERS):
            truth, low, high = surfaces.truth[:, j], getattr(intervals.lower, name), getattr(intervals.upper, name)
            inside, sure = ((low <= truth) & (truth <= high))[chosen], np.asarray(getattr(known, name))[chosen]
            error, value = getattr(fits.standard_errors, name)[chosen], getattr(fits.model, name)[chosen]
            rows.append(
                {
                    "case": case.name,
                    "market": market,
                    "parameter": name,
                    "surfaces": int(chosen.sum()),
                    "converged": fits.converged[chosen].mean(),
                    "identified": sure.mean(),
                    "covered": inside[sure].mean() if sure.any() else np.nan,
                    "covered_of_the_others": inside[~sure].mean() if (~sure).any() else np.nan,
                    "median_error": np.nanmedian(error / (1.0 if name == "rho" else value)),
                }
            )
    return rows


if __name__ == "__main__":
    main()
