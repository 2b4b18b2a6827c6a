"""Index chains on a clock: what knots by need and a second kind of jumps gain, and which quotes are still missed.

    python -m benchmarks.recorded.knots_and_jumps                    # four chains: an hour on two cores
    python -m benchmarks.recorded.knots_and_jumps --chains ndx

`ClockedHestonJumps` in half-spreads under Cauchy's loss, to all quotes: with ten knots as `calibrate` places them; with
more by `add_knots`; and these with a second kind of jumps. Writes `benchmarks/results/knots_and_jumps.csv`, one row a
chain and fit, and `knots_and_jumps_missed.csv`, one row a chain, fit and group of quotes: the share inside bid and ask
by years to expiry, and by moneyness ln(K / F) / (vol at the money sqrt(T)).
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.chains import CLOCK, us_chains
from benchmarks.inputs.variants import IN_HALF_SPREADS
from benchmarks.instruments.machine import description

RESULTS = Path(__file__).parents[1] / "results"
TABLE, MISSED = RESULTS / "knots_and_jumps.csv", RESULTS / "knots_and_jumps_missed.csv"
YEARS = (0.0, 7 / 365, 31 / 365, 92 / 365, 0.5, 1.0, np.inf)
MONEYNESS = (-np.inf, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, np.inf)


def fits(surface: jc.Surface) -> Iterator[tuple[str, jc.Fit[Any], float]]:
    """Each fit and the CPU seconds it took, what had to be compiled included."""
    begin = time.process_time()
    fit = jc.calibrate(jc.ClockedHestonJumps, surface, **IN_HALF_SPREADS)
    yield "ten knots", fit, time.process_time() - begin
    begin = time.process_time()
    more = jc.add_knots(fit)
    yield "knots by need", more, time.process_time() - begin
    begin = time.process_time()
    start = jc.ClockedHestonJumps.of(more.model, jumps=2)
    yield (
        "knots by need, two kinds of jumps",
        jc.calibrate(start, surface, **IN_HALF_SPREADS),
        time.process_time() - begin,
    )


def missed(fit: jc.Fit[Any]) -> Iterator[dict[str, object]]:
    """The share inside bid and ask by group of quotes."""
    quotes = fit.to_frame()
    inside = quotes["model_vol"].between(quotes["bid_vol"], quotes["ask_vol"])
    log_strike = pd.Series(np.log(quotes["strike"] / quotes["forward"]), quotes.index)
    nearest = log_strike.abs().groupby(quotes["expiry"]).transform("idxmin")
    at_the_money = quotes["market_vol"].loc[nearest].to_numpy()
    moneyness = log_strike / (at_the_money * np.sqrt(quotes["expiry"]))
    for by, values, edges in (("years", quotes["expiry"], YEARS), ("moneyness", moneyness, MONEYNESS)):
        for group, rows in inside.groupby(pd.cut(values, edges), observed=True):
            yield {"by": by, "group": str(group), "quotes": rows.size, "inside": float(rows.mean())}


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", default="", help="beginnings of names, all by default")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    tables: list[list[dict[Any, Any]]] = [
        pd.read_csv(path).to_dict("records") if path.exists() else [] for path in (TABLE, MISSED)
    ]
    for chain, surface in us_chains(CLOCK):
        if not chain.startswith(tuple(options.chains.split(","))):
            continue
        jax.clear_caches()  # a process may run out of memory mappings, of which every compiled program takes many
        tables = [[row for row in rows if row["chain"] != chain] for rows in tables]
        for name, fit, seconds in fits(surface):
            row = {
                "chain": chain, "quotes": surface.num_quotes, "expiries": surface.num_expiries, "fit": name,
                "knots": int(fit.model.knots.size), "parameters": fit.information.shape[-1],
                "effective_parameters": fit.effective_parameters, "inside": fit.inside,
                "rmse_half_spreads": fit.rmse_half_spreads, "rmse_points": 100.0 * float(fit.rmse_vol),
                "cost": float(fit.cost), "steps": int(fit.num_steps), "cpu_seconds": seconds, "status": str(fit.status),
            }  # fmt: skip
            tables[0].append(row)
            tables[1] += [{"chain": chain, "fit": name, **group} for group in missed(fit)]
            print(row, flush=True)
            for path, rows in zip((TABLE, MISSED), tables, strict=True):
                pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g")
    print(*(f"{key}: {value}" for key, value in description().items()), sep="\n")


if __name__ == "__main__":
    main()
