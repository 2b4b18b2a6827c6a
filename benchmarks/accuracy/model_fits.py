"""How long a fit takes, model by model: 120 options that each model priced itself.

    python -m benchmarks.accuracy.model_fits

Milliseconds once compiled, medians. "from a start" is one optimisation from parameters 10 % off; "from the data" is
what `calibrate(Model, surface)` does: simpler models first, and several starts where there are several optima, up to
the first that prices every quote. Writes `benchmarks/results/model_fits.csv`.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.accuracy.recovery import MODELS
from benchmarks.inputs.truths import EXPIRY, Ranges, strikes, truth, vols
from benchmarks.instruments.machine import description
from jaxcal.models.parameters import from_vector, to_vector

RESULTS = Path(__file__).parents[1] / "results" / "model_fits.csv"
NEARBY = 0.1  # on the search scales


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    rows = []
    for name in options.models.split(","):
        ranges = Ranges(np.random.default_rng(11), crypto=False)
        model = truth(name, ranges)
        strike = strikes(ranges.level)
        surface = jc.Surface.from_vols(EXPIRY, strike, vols(model, strike), forward=100.0)
        free = tuple(field for field in model.bounds if field not in model.held)
        start = model  # one with parameters of each expiry starts at them
        if not model.per_expiry:
            arrays = jax.tree.map(jnp.asarray, model)
            start = from_vector(arrays, free, to_vector(arrays, free) - NEARBY)
        row = {"model": name, "parameters": sum(np.size(getattr(model, field)) for field in free)}
        for label, begin in (("from a start", start), ("from the data", type(model))):
            fit, milliseconds = timed(begin, surface, options.rounds)
            row |= {
                f"ms, {label}": milliseconds,
                f"steps, {label}": int(fit.num_steps),
                f"{label}": str(fit.status)[:14],
            }
        rows.append(row)
        print(row, flush=True)
        pd.DataFrame(rows).to_csv(RESULTS, index=False)
    table = pd.DataFrame(rows).set_index("model")
    if {"SVCJ", "Bates"} <= set(table.index):
        ratio = table["ms, from a start"]["SVCJ"] / table["ms, from a start"]["Bates"]
        steps = table["steps, from a start"]["SVCJ"] / table["steps, from a start"]["Bates"]
        print(f"SVCJ takes {ratio:.2f} times Bates from a start, with {steps:.2f} times the steps")
    print(*(f"{key}: {value}" for key, value in description().items()), sep="\n")


def timed(begin: jc.AbstractModel | type[jc.AbstractModel], surface: jc.Surface, rounds: int) -> tuple[jc.Fit, float]:
    fit = jax.block_until_ready(jc.calibrate(begin, surface))
    seconds = []
    for _ in range(rounds):
        clock = time.perf_counter()
        jax.block_until_ready(jc.calibrate(begin, surface))
        seconds.append(time.perf_counter() - clock)
    return fit, 1e3 * float(np.median(seconds))


if __name__ == "__main__":
    main()
