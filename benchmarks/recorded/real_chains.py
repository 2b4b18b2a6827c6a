"""Every model on recorded chains: how far from the quotes it saw, from quotes it did not, and from bid and ask.

    python -m benchmarks.recorded.real_chains                  # every model and chain: an hour or more on two cores
    python -m benchmarks.recorded.real_chains --chains dax,btc_2025 --models Heston,Bates

Writes `benchmarks/results/real_chains.csv`, one row a chain and model, as `jc.compare` measures it (every fifth quote
held out). "by spread" means weights of one over the squared half-spread, "in half-spreads" residuals in them with
Cauchy's loss: what a user asks for who wants quotes fitted between bid and ask. Chains "on a clock" are index chains in
a time whose nights count half and whose weekends a tenth. Rows that are there already are kept; `--again` fits them
anew.
"""

import argparse
import itertools
from pathlib import Path

import jax
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.accuracy.recovery import MODELS
from benchmarks.inputs.chains import CLOCK, SNAPSHOT_WEEKS, dax, single_chains, snapshots, us_chains
from benchmarks.inputs.variants import VARIANTS, variant
from benchmarks.instruments.machine import description

RESULTS = Path(__file__).parents[1] / "results" / "real_chains.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join([MODELS, *VARIANTS]))
    parser.add_argument("--chains", default="", help="beginnings of names, all by default")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    rows = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    for chain, surface in itertools.chain(
        dax(), single_chains(), snapshots(SNAPSHOT_WEEKS), us_chains(), us_chains(CLOCK)
    ):
        if not chain.startswith(tuple(options.chains.split(","))):
            continue
        jax.clear_caches()  # a process may run out of memory mappings, of which every compiled program takes many
        for name in options.models.split(","):
            if any((row["chain"], row["model"]) == (chain, name) for row in rows) and not options.again:
                continue
            if name in VARIANTS and not np.isfinite(surface.bid_vol).any():
                continue
            model, how = variant(name)
            row = jc.compare({name: model}, surface, repeats=1, **how).to_frame().iloc[0].to_dict()
            rows = [r for r in rows if (r["chain"], r["model"]) != (chain, name)]
            rows.append({"chain": chain, "quotes": surface.num_quotes, **row})
            print({key: value for key, value in rows[-1].items() if key != "reason"}, flush=True)
            pd.DataFrame(rows).to_csv(RESULTS, index=False)
    print(*(f"{key}: {value}" for key, value in description().items()), sep="\n")


if __name__ == "__main__":
    main()
